"""Results for people, on standard output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from prompt_keda.components.smoke.result import SmokeResult
from prompt_keda.core.check import Verdict
from prompt_keda.core.untrusted import one_line
from prompt_keda.report.checks_as_text import MARKS
from prompt_keda.report.history_page import History
from prompt_keda.report.layout import block, columns, console_of
from prompt_keda.report.redeploy_as_text import smoke_line

if TYPE_CHECKING:
    from prompt_keda.components.smoke.acceptance.case import CaseResult
    from prompt_keda.report.preparation import Preparation

RUN_STYLES = {"green": "green", "failed": "bold red", "interrupted": "yellow", "at work": "cyan"}
BAR = 40
"""The longest recovery's bar, in characters."""


def show_header(header: str) -> None:
    """Show what is looked at, and from where."""
    console = console_of()
    width, text = columns(console.file), one_line(header)
    if width is not None and len(text) > width:
        text = text.removeprefix("environment ")
    for line in block(text, width):
        console.print(Text(line, style="bold"))


def show_prepared(preparation: Preparation) -> None:
    """Show what lies on this machine for a redeploy, and whether the environment's file names it."""
    for row in preparation.prepared:
        if row.rendered is not None:
            same = row.sha256 == row.rendered.before_sha256
            how = f"rendered now from {row.rendered.path}" + (", the same as before" if same else "")
        else:
            how = "fetched now" if row.fetched else "on this machine already"
        text = f"{row.what}: {row.objects_count} objects, SHA-256 {row.sha256[:16]}…, {how}"
        console_of().print(Text(f"{one_line(text)}\n  {one_line(row.file)}"))
    if file := preparation.environment_file:
        show_lines([f"{file.file}: " + ("the digests are written" if file.written else f"as it was: {file.why}")])


def show_smoke(smoke: SmokeResult) -> None:
    """Show what the smoke test verified."""
    spans = ", ".join(f"{name.replace('_', ' ')} {value:.1f} s" for name, value in smoke.intervals_s.items())
    show_lines([smoke_line(smoke), f"  {spans}"])


def show_cases(cases: Sequence[CaseResult]) -> None:
    """Show what each case of the acceptance suite saw, and how many passed."""
    console = console_of()
    for case in cases:
        _, word, style = MARKS[case.verdict]
        line = Text(f"  {word:8}", style=style)
        line.append(f" {case.id:28} {one_line(case.title)} ({case.duration_s:.1f} s)", style="default")
        console.print(line)
        if case.verdict is not Verdict.OK:
            for name, text in (("seen", case.detail), ("fix", case.fix)):
                if text:
                    console.print(Text(f"           {name}: {one_line(text)}"))
    verdicts = [case.verdict for case in cases]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict.value}" for verdict in Verdict if verdict in verdicts)
    console.print(Text(f"acceptance suite: {len(cases)} cases: {counts}", style="bold"))


def show_history(history: History) -> None:
    """Show a line for each run, newest first; then what is damaged, and what could not be seen.

    Names of modes and stages may come from a copy in a cluster, where others can write.
    """
    console, rows = console_of(), history.runs
    width = max((len(run.environment) for run in rows), default=0)
    longest = max([0.1, *(run.recovery_s or 0.0 for run in rows)])
    for run in rows:
        took = f"{run.recovery_s:7.1f} s" if run.recovery_s is not None else " " * 9
        bar = "▇" * max(1, round(BAR * run.recovery_s / longest)) if run.recovery_s is not None else ""
        stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in run.parts_s.items() if seconds >= 0.05)
        again = f"{run.starts_count} starts" if run.starts_count > 1 else ""
        only = "only in the cluster" if run.places == ("cluster",) else ""
        line = Text(f"{run.began_at[:19].replace('T', ' ')}  {run.environment:{width}}  {one_line(run.mode):9}  ")
        line.append(f"{run.state:11}", style=RUN_STYLES.get(run.state, ""))
        line.append(one_line(f"  {took}  {'; '.join(filter(None, (stages, again, only)))}").rstrip())
        line.append(f"\n  {bar}" if bar else "", style="cyan")
        line.append(f"\n  {run.run_id}", style="dim")
        console.print(line)
    if not rows:
        console.print("no runs")
    for problem in history.damaged:
        console.print(Text(one_line(f"damaged: {problem}"), style="yellow"))
    if history.not_seen:
        console.print(Text(one_line(f"not seen: {history.not_seen}"), style="yellow"))


def show_lines(lines: Sequence[str]) -> None:
    """Show lines, made safe; what is longer than the terminal goes on below itself."""
    console = console_of()
    width = columns(console.file)
    for line in lines:
        for part in block(one_line(line), width):
            console.print(Text(part))
