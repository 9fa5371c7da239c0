"""``status --watch``: on a terminal one screen that is drawn again in place; elsewhere, as in a log, a line a change."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from prompt_keda.core.untrusted import one_line
from prompt_keda.report.layout import can_show, columns, console_of, plain
from prompt_keda.report.status import Status
from prompt_keda.report.status_as_text import Row, row_lines, status_rows

Named = tuple[str, Row]
"""A row, and the name of the one that it belongs to."""
MARKED = timedelta(seconds=15)
"""So long a changed row is marked: long enough for somebody who looked away for a moment."""
SIGN = "~"
"""Of a changed row, as a diff has it: its bold print is never the only sign."""


class StatusWatch:
    """What was shown last, and which of its rows have changed when.

    Parameters
    ----------
    name
        Of the environment.
    stream
        Where to; None: standard output.
    """

    def __init__(self, name: str, stream: TextIO | None = None) -> None:
        stream = stream or sys.stdout
        self._name, self._console = name, console_of(stream)
        self._shows_symbols = can_show(stream, "…·")
        self._last: Status | None = None
        self._changed: dict[tuple[str, str], datetime] = {}
        self._live: Live | None = None
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            # a console of its own: this one asks the terminal each time how wide it is
            self._live = Live(console=Console(file=stream, highlight=False), auto_refresh=False)
            self._live.start()

    def show(self, stands: Status, now: datetime | None = None) -> None:
        """Show what stands; what is as it was is shown again on a terminal alone.

        Parameters
        ----------
        now
            The moment of the look; None: this one.
        """
        now = now or datetime.now(UTC)
        rows = _named(status_rows(stands, now))
        # an age that grows is no change: what was seen last is shown as of now
        changed = changed_rows(_named(status_rows(self._last, now)), rows) if self._last is not None else []
        is_first, self._last = self._last is None, stands
        if self._live is not None:
            self._changed = {about: at for about, at in self._changed.items() if now - at < MARKED}
            self._changed |= {_about(row): now for row in changed}
            self._live.update(self._screen(rows, now), refresh=True)
        else:
            for row in rows if is_first else changed:
                self._console.print(self._line(row, now))

    def close(self) -> None:
        """Leave the last screen where it is. Idempotent: yes."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _screen(self, rows: Sequence[Named], now: datetime) -> Group:
        width = columns(self._console.file) or 80
        head = f"{self._name} at {now:%H:%M:%S} UTC; {SIGN} changed within {MARKED.seconds} s; Ctrl-C ends"
        lines = [Text(one_line(head), style="bold")]
        for row in rows:
            is_marked = _about(row) in self._changed
            for number, line in enumerate(row_lines(row[1], width - 1, self._shows_symbols)):
                lines.append(Text(SIGN if is_marked and not number else " ").append(line))
                lines[-1].stylize("bold" if is_marked else "")
        for line in lines:
            line.no_wrap = True
        return Group(*lines)

    def _line(self, row: Named, now: datetime) -> Text:
        above, (mark, text) = row
        line = one_line(f"{now:%Y-%m-%dT%H:%M:%SZ} {mark} {above} {text.strip()}".replace("  ", " "))
        return Text(line if self._shows_symbols else plain(line))


def changed_rows(old: Sequence[Named], new: Sequence[Named]) -> list[Named]:
    """Return the rows that were not there before."""
    return [row for row in new if row not in old]


def _about(row: Named) -> tuple[str, str]:
    """Return what a row is about: what it belongs to, and its own words before the first colon that ends a word."""
    above, (_, text) = row
    return above, text.partition(": ")[0]


def _named(rows: Sequence[Row]) -> list[Named]:
    """Return each row with the name of the row that it belongs to: alone in a log nobody would know."""
    named, above = [], ""
    for row in rows:
        is_part = row[1].startswith(" ")
        above = above if is_part else row[1].partition(":")[0]
        named.append((above if is_part else "", row))
    return named
