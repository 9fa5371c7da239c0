"""Results of checks for people: the root cause and the next command first, a line for each category, and a paste for a chat."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from prompt_keda.core.check import CheckResult, Verdict
from prompt_keda.core.untrusted import one_line
from prompt_keda.report.causes import Cause, causes, waits_for
from prompt_keda.report.layout import can_show, columns, console_of, cut, hanging, plain

MARKS = {
    Verdict.OK: ("✓", "OK", "green"),
    Verdict.WARN: ("!", "WARN", "yellow"),
    Verdict.FAIL: ("✗", "FAIL", "bold red"),
    Verdict.UNKNOWN: ("?", "UNKNOWN", "bold yellow"),
    Verdict.SKIPPED: ("·", "SKIPPED", "dim"),
}
"""A symbol and a word for each verdict: its colour is never the only sign."""
WORST_FIRST = (Verdict.FAIL, Verdict.UNKNOWN, Verdict.WARN, Verdict.SKIPPED, Verdict.OK)
BAD = (Verdict.FAIL, Verdict.UNKNOWN)
MARK_WIDTH = 10
NAME_WIDTH = 7
MOST_MORE = 4
"""So many things beside the root cause are shown, in a line each; ``--verbose`` shows all of all."""
MOST_LINES = 2
"""A text of the root cause is cut after so many lines."""
PASTED = 4
"""So many broken or unknown things go into a chat, beside the counts, the rest's number, and the next command."""


def show_checks(
    results: Sequence[CheckResult], environment: str = "", verbose: bool = False, console: Console | None = None
) -> None:
    """Show what is at the root, what waits for it and what to type; then a line for each category, and the lines to paste.

    Parameters
    ----------
    environment
        As ``--env`` takes it, for the next command.
    verbose
        Every check with all that it saw, by category, instead of a line for each category.
    console
        Where to; None: standard output.
    """
    page = _Page(console)
    ranked = causes(results)
    if ranked:
        page.root_cause(ranked[0], environment)
        page.others(ranked, environment, verbose)
    page.blank()
    if verbose:
        page.all_checks(results)
    else:
        page.categories(results)
    if ranked:
        page.blank()
    for line in summary(results, environment).splitlines():
        page.line(cut(line, page.width, page.stream), style="bold")


def summary(results: Sequence[CheckResult], environment: str = "") -> str:
    """Return at most eight lines for a chat: the counts, each thing that is broken or unknown, and the next command."""
    where = f"{environment}: " if environment else ""
    lines = [f"{where}{len(results)} checks: {counts(results)}"]
    ranked = causes(results)
    worst = [check for _, check in _rows(ranked) if check.verdict in BAD]
    lines += [
        cut(f"{MARKS[result.verdict][1]} {result.id}: {one_line(result.observed)}", None) for result in worst[:PASTED]
    ]
    if len(worst) > PASTED:
        lines.append(f"… and {len(worst) - PASTED} more")
    if worst:
        lines.append(f"next: {next_command(ranked[0], environment)}")
    return "\n".join(lines)


def counts(results: Sequence[CheckResult]) -> str:
    """Return how many checks have which verdict, in words."""
    count = {verdict: sum(result.verdict is verdict for result in results) for verdict in Verdict}
    return ", ".join(f"{number} {verdict.value}" for verdict, number in count.items() if number)


def next_command(cause: Cause, environment: str) -> str:
    """Return what to type; where no runbook answers it, what to do."""
    where = f" --env {shlex.quote(environment)}" if environment else ""
    if cause.runbook:
        return f"./run runbook {cause.runbook}{where}"
    return one_line(cause.checks[0].fix) or f"./run check-deps{where} --verbose"


class _Page:
    """What is shown, line after line, as wide as the terminal."""

    def __init__(self, console: Console | None) -> None:
        self._console = console or console_of()
        self.stream = self._console.file
        self.width = console.width if console else columns(sys.stdout)
        self._shows_symbols = can_show(self.stream, "".join(symbol for symbol, _, _ in MARKS.values()))

    def blank(self) -> None:
        self._console.print()

    def line(self, text: str, style: str = "") -> None:
        self._console.print(Text(text if self._shows_symbols else plain(text), style=style))

    def marked(self, verdict: Verdict, text: str, most: int | None = None) -> None:
        """Show a verdict's symbol and word, and a text beside them."""
        symbol, word, style = MARKS[verdict]
        self._hanging(f"{symbol} {word}", MARK_WIDTH, style, text, most)

    def named(self, name: str, text: str, most: int | None = None) -> None:
        """Show one thing more of what was marked."""
        self._hanging(f"{'':{MARK_WIDTH}}{name}", MARK_WIDTH + NAME_WIDTH, "", text, most)

    def command(self, command: str) -> None:
        """Show what to type on one line, that can be copied, if the terminal is as wide as that."""
        if self.width is None or MARK_WIDTH + NAME_WIDTH + len(command) <= self.width:
            self.named("next", command)
        else:
            self._hanging("  next", NAME_WIDTH, "", command, MOST_LINES)

    def _hanging(self, name: str, indent: int, style: str, text: str, most: int | None) -> None:
        first = f"{name:{indent}}"
        first = first if self._shows_symbols else plain(first)
        room = self.width and self.width - indent
        lines = hanging("", text, room)
        if most and len(lines) > most:
            lines[most - 1 :] = [cut(" ".join(lines[most - 1 :]), room, self.stream)]
        for number, line in enumerate(lines):
            shown = Text(f"{' ' * indent if number else first}{line}".rstrip())
            if not number:
                shown.stylize(style, 0, len(first.rstrip()))
            self._console.print(shown)

    def root_cause(self, cause: Cause, environment: str) -> None:
        """Show what is at the root, what it blocks and what to type."""
        first = cause.checks[0]
        self.marked(first.verdict, f"{first.id}: {first.title}")
        self.named("seen", one_line(first.observed), MOST_LINES)
        if cause.blocked:
            self.named("blocks", _blocks(cause), MOST_LINES)
        command = next_command(cause, environment)
        self.command(command)
        if first.fix and one_line(first.fix) != command:
            self.named("fix", one_line(first.fix), MOST_LINES)

    def others(self, ranked: Sequence[Cause], environment: str, verbose: bool) -> None:
        """Show what else is not well: first what has the same cause, then the other causes, each with its command."""
        rows = _rows(ranked)[1:]
        shown = rows if verbose else rows[:MOST_MORE]
        for cause, check in shown:
            self.marked(check.verdict, f"{check.id}: {one_line(check.observed)}", None if verbose else 1)
            leads = check is cause.checks[0] and cause is not ranked[0]
            # what is not seen may be well, once the root cause is gone
            if leads and cause.worst is not Verdict.UNKNOWN:
                self.command(next_command(cause, environment))
        if len(rows) > len(shown):
            self._hanging("", MARK_WIDTH, "", f"… and {len(rows) - len(shown)} more that are not well: --verbose", None)

    def categories(self, results: Sequence[CheckResult]) -> None:
        """Show a line for each category; those of which every check waits share one, what is not needed here has none."""
        roots = waits_for(results)
        wait = {
            name: len(own) for name, own in _by_category(results).items() if all(roots.get(result.id) for result in own)
        }
        for name, own in _by_category(results).items():
            is_needed = any(result.verdict is not Verdict.SKIPPED or roots.get(result.id) for result in own)
            if name not in wait and is_needed:
                self._category(name, own, roots)
        if wait:
            text = ", ".join(f"{name} {count}" for name, count in wait.items())
            self._hanging(f"{MARKS[Verdict.SKIPPED][0]} wait", MARK_WIDTH + 2, "dim", text, None)

    def _category(self, name: str, own: Sequence[CheckResult], roots: dict[str, str]) -> None:
        worst = next(verdict for verdict in WORST_FIRST if any(result.verdict is verdict for result in own))
        count = {verdict: sum(result.verdict is verdict for result in own) for verdict in WORST_FIRST[:3]}
        texts = [f"{number} {MARKS[verdict][1]}" for verdict, number in count.items() if number]
        waiting = sum(bool(roots.get(result.id)) for result in own)
        idle = sum(result.verdict is Verdict.SKIPPED for result in own) - waiting
        texts += [f"{waiting} wait"] if waiting else []
        texts += [f"{good} OK"] if (good := sum(result.verdict is Verdict.OK for result in own)) else []
        texts += [f"{idle} not needed here"] if idle else []
        if worst is Verdict.SKIPPED and not waiting and good:
            worst = Verdict.OK
        self._hanging(f"{MARKS[worst][0]} {name}", MARK_WIDTH + 2, MARKS[worst][2], ", ".join(texts), None)

    def all_checks(self, results: Sequence[CheckResult]) -> None:
        """Show every check by category, with all that it saw."""
        for number, (name, own) in enumerate(_by_category(results).items()):
            if number:
                self.blank()
            self.line(name, style="bold")
            for result in own:
                self.marked(result.verdict, f"{result.title} ({result.id})")
                for key in ("observed", "detail", "fix"):
                    if text := one_line(getattr(result, key)):
                        self.named({"observed": "seen", "detail": "more"}.get(key, key), text)
                if result.runbook:
                    self.named("page", f"runbooks/{result.runbook}.md, docs/checks.md")
        self.blank()


def _rows(ranked: Sequence[Cause]) -> list[tuple[Cause, CheckResult]]:
    """Return each check that is not well with its cause: the root first, then what is seen broken before what is not seen."""
    rows = [(cause, check) for cause in ranked for check in cause.checks]
    return [*rows[:1], *sorted(rows[1:], key=lambda row: WORST_FIRST.index(row[1].verdict))]


def _by_category(results: Sequence[CheckResult]) -> dict[str, list[CheckResult]]:
    categories: dict[str, list[CheckResult]] = {}
    for result in results:
        categories.setdefault(result.id.partition("/")[0], []).append(result)
    return categories


def _blocks(cause: Cause) -> str:
    (first, count), *more = cause.blocked.items()
    text = f"{count} checks wait for {first}" if count > 1 else f"1 check waits for {first}"
    return f"{sum(cause.blocked.values())} checks wait, {count} of them for {first}" if more else text
