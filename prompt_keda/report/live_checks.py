"""A round of checks while it runs: a line a category, live on a terminal, on standard error; elsewhere nothing."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from prompt_keda.core.event import Event, EventKind

MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "bold red"), "unknown": ("?", "bold yellow")}
OTHER = ("·", "dim")


class LiveChecks:
    """An observer that shows each check as a mark in the line of its category, and which ones are still at work.

    Parameters
    ----------
    ids
        The ids of all checks of the round, in their order.
    stream
        Where to; None: standard error. Nothing is shown where that is no terminal, or a dumb one.
    """

    def __init__(self, ids: Sequence[str], stream: TextIO | None = None) -> None:
        console = Console(file=stream or sys.stderr, highlight=False)
        self._verdicts: dict[str, str] = dict.fromkeys(ids, "")
        self._at_work: set[str] = set()
        self._lock = threading.Lock()
        self._live: Live | None = None
        if console.is_terminal and not console.is_dumb_terminal:
            self._live = Live(self._table(), console=console, transient=True, refresh_per_second=8)
            self._live.start()

    def __call__(self, event: Event) -> None:
        """Take one event into the table."""
        with self._lock:
            if event.kind is EventKind.STARTED:
                self._at_work.add(event.subject)
            elif event.kind is EventKind.FINISHED:
                self._at_work.discard(event.subject)
                self._verdicts[event.subject] = event.state
            if self._live is not None:
                self._live.update(self._table())

    def close(self) -> None:
        """Take the table away: the results come in its place. Idempotent: yes."""
        with self._lock:
            if self._live is not None:
                self._live.stop()
                self._live = None

    def _table(self) -> Table:
        categories: dict[str, list[str]] = {}
        for id_ in self._verdicts:
            categories.setdefault(id_.split("/")[0], []).append(id_)
        table = Table.grid(padding=(0, 2))
        for texts in (categories.keys(), categories.values()):  # only what is at work gives way in a narrow terminal
            table.add_column(no_wrap=True, min_width=max(map(len, texts), default=0))
        table.add_column(no_wrap=True, overflow="ellipsis", style="dim")
        for category, ids in categories.items():
            marks = Text()
            for id_ in ids:
                verdict = self._verdicts[id_]
                mark, style = MARKS.get(verdict, OTHER) if verdict else (" ", "")
                marks.append(mark, style=style)
            waits = [id_.split("/")[1] for id_ in ids if id_ in self._at_work]
            table.add_row(category, marks, ", ".join(waits))
        return table
