"""Results for people, on standard output."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from prompt_keda.core.check import CheckResult, Verdict
from prompt_keda.core.untrusted import one_line

MARKS = {
    Verdict.OK: ("OK", "green"),
    Verdict.WARN: ("WARN", "yellow"),
    Verdict.FAIL: ("FAIL", "bold red"),
    Verdict.UNKNOWN: ("UNKNOWN", "bold yellow"),
    Verdict.SKIPPED: ("SKIPPED", "dim"),
}

RUN_STYLES = {"green": "green", "failed": "bold red", "interrupted": "yellow", "at work": "cyan"}
BAR = 40
"""The longest recovery's bar, in characters."""
SEEN = 60
"""How much of what a green check has seen is shown, in characters; --json has all of it."""


class _Console(Console):
    """A console that lets the program know when nobody reads any more; rich would end it with a code of its own."""

    def on_broken_pipe(self) -> None:
        """Raise on, for the one place that turns this into an exit code."""
        raise BrokenPipeError


def _console() -> Console:
    return _Console(file=sys.stdout, highlight=False, soft_wrap=True)


def show_header(header: str) -> None:
    """Say what is looked at, and from where."""
    _console().print(Text(one_line(header), style="bold"))


def show_checks(results: Sequence[CheckResult], console: Console | None = None) -> None:
    """Show every result by category; what is not green with its fix, runbook and page.

    Parameters
    ----------
    console
        Where to; None: standard output.
    """
    console, category = console or _console(), ""
    for one in results:
        if one.id.split("/")[0] != category:
            category = one.id.split("/")[0]
            console.print(Text(f"\n{category}", style="bold"))
        word, style = MARKS[one.verdict]
        line = Text("  ")
        line.append(f"{word:8}", style=style)
        line.append(f" {one.title}")
        if one.verdict is Verdict.OK and one.observed:
            line.append(f"  {one_line(one.observed)[:SEEN]}", style="dim")
        console.print(line)
        if one.verdict is not Verdict.OK:
            for name, text in (("seen", one.observed), ("more", one.detail), ("fix", one.fix)):
                if text:
                    console.print(Text(f"           {name}: {one_line(text)}"))
            if one.runbook:
                console.print(Text(f"           runbook: runbooks/{one.runbook}.md   page: docs/checks.md ({one.id})"))
    console.print()
    console.print(Text(summary(results), style="bold"))


def show_prepared(rows: Sequence[dict[str, Any]]) -> None:
    """Show what lies on this machine for a redeploy."""
    for one in rows:
        how = "fetched now" if one["fetched"] else "on this machine already"
        said = f"{one['what']}: {one['objects_count']} objects, SHA-256 {one['sha256'][:16]}…, {how}"
        _console().print(Text(f"{one_line(said)}\n  {one_line(one['file'])}"))


def summary(results: Sequence[CheckResult]) -> str:
    """Give a line or a few that can be pasted into a chat: the counts, then each thing that is broken or unknown."""
    count = {verdict: sum(one.verdict is verdict for one in results) for verdict in Verdict}
    counts = ", ".join(f"{number} {verdict.value}" for verdict, number in count.items() if number)
    worst = [one for one in results if one.verdict in (Verdict.FAIL, Verdict.UNKNOWN)]
    lines = [f"{len(results)} checks: {counts}"]
    lines += [f"{MARKS[one.verdict][0]} {one.id}: {one_line(one.observed)}" for one in worst[:8]]
    if len(worst) > 8:
        lines.append(f"… and {len(worst) - 8} more")
    return "\n".join(lines)


def show_plan(plan: dict[str, Any]) -> None:
    """Show what a redeploy would do."""
    console = _console()
    console.print(Text(one_line(f"mode {plan['mode']}: {plan['reason']}")))
    for step in plan["steps"]:
        removes = "  (removes)" if step["destructive"] else ""
        console.print(Text(one_line(f"  {step['id']:30} {step['title']}{removes}  {step.get('now', '')}".rstrip())))
    decisions = plan["decisions"]
    for one in decisions["deletions"]:
        why = f": {one['why']}" if one["why"] else ""
        console.print(Text(one_line(f"  will be removed: {one['kind']} {one['name']} (uid {one['uid']}){why}")))
    for what, names in (
        ("fields of others will be taken over in CRD", decisions["takes_over"]),
        ("will be unpaused: ScaledJob", decisions["unpauses"]),
        ("comes back from the snapshot:", decisions["saved"]),
        ("may be lost, as you say: Job", decisions["given_up"]),
    ):
        for name in names:
            console.print(Text(one_line(f"  {what} {name}")))
    for note in plan["notes"]:
        console.print(Text(one_line(f"  {note}"), style="yellow"))
    for one in plan["jobs_at_risk"]:
        name = f"{one['namespace']}/{one['name']}"
        console.print(Text(one_line(f"  made safe first: {one['kind']} {name} has generation {one['generation']}")))
    console.print(Text(f"digest {plan['digest']}", style="bold"))


def show_smoke(smoke: dict[str, Any]) -> None:
    """Show what the smoke test proved."""
    spans = ", ".join(f"{name.replace('_', ' ')} {value:.1f} s" for name, value in smoke["intervals_s"].items())
    _console().print(
        Text(
            f"smoke test: {smoke['events_count']} events sent, {len(smoke['job_uids'])} Jobs made, "
            f"{len(smoke['pod_uids'])} pods ran, {smoke['acknowledged_count']} acknowledged, lag 0\n  {spans}"
        )
    )


def show_cases(cases: Sequence[dict[str, Any]]) -> None:
    """Show what each case of the acceptance suite saw, and how many passed."""
    console = _console()
    for one in cases:
        word, style = MARKS[Verdict(one["verdict"])]
        line = Text(f"  {word:8}", style=style)
        line.append(f" {one['id']:28} {one_line(one['title'])} ({one['duration_s']:.1f} s)", style="default")
        console.print(line)
        if one["verdict"] != Verdict.OK.value:
            for name, told in (("seen", one["detail"]), ("fix", one["fix"])):
                if told:
                    console.print(Text(f"           {name}: {one_line(told)}"))
    verdicts = [one["verdict"] for one in cases]
    counts = ", ".join(f"{verdicts.count(one.value)} {one.value}" for one in Verdict if one.value in verdicts)
    console.print(Text(f"acceptance suite: {len(cases)} cases: {counts}", style="bold"))


def show_history(parts: dict[str, Any]) -> None:
    """Show a line for each run, newest first; then what is damaged, and what could not be seen.

    Names of modes and stages may come from a cluster's mirror, where others can write.
    """
    console, rows = _console(), parts["runs"]
    width = max((len(one["environment"]) for one in rows), default=0)
    longest = max([0.1, *(one["recovery_s"] or 0.0 for one in rows)])
    for one in rows:
        took = f"{one['recovery_s']:7.1f} s" if one["recovery_s"] is not None else " " * 9
        bar = "▇" * max(1, round(BAR * one["recovery_s"] / longest)) if one["recovery_s"] is not None else ""
        stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in one["parts_s"].items() if seconds >= 0.05)
        again = f"{one['starts_count']} starts" if one["starts_count"] > 1 else ""
        only = "only in the cluster" if one["places"] == ("cluster",) else ""
        line = Text(
            f"{one['began_at'][:19].replace('T', ' ')}  {one['environment']:{width}}  {one_line(one['mode']):9}  "
        )
        line.append(f"{one['state']:11}", style=RUN_STYLES.get(one["state"], ""))
        line.append(one_line(f"  {took}  {'; '.join(filter(None, (stages, again, only)))}").rstrip())
        line.append(f"\n  {bar}" if bar else "", style="cyan")
        line.append(f"\n  {one['run_id']}", style="dim")
        console.print(line)
    if not rows:
        console.print("no runs")
    for what in parts["damaged"]:
        console.print(Text(one_line(f"damaged: {what}"), style="yellow"))
    if parts["not_seen"]:
        console.print(Text(one_line(f"not seen: {parts['not_seen']}"), style="yellow"))


def show_lines(lines: Sequence[str]) -> None:
    """Show lines as they are, made safe."""
    for line in lines:
        _console().print(Text(one_line(line)))
