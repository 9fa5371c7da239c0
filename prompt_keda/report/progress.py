"""Shows events while they happen, on standard error.

On a terminal what is at work stands in a few live lines below what is done; elsewhere each event is a line.
"""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from prompt_keda.core.event import Event, EventKind
from prompt_keda.core.untrusted import one_line

STYLES = {"ok": "green", "done": "green", "fail": "red", "broken": "red", "unknown": "yellow", "warn": "yellow"}


class Progress:
    """An observer that prints. Colour and live lines only on a terminal, and not with NO_COLOR or TERM=dumb.

    Parameters
    ----------
    stream
        Where to; None: standard error.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._console = Console(file=stream or sys.stderr, highlight=False, soft_wrap=True)
        self._is_live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._live: Live | None = None
        self._at_work: dict[str, Spinner] = {}
        self._started = time.monotonic()
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Show one event: seconds since the start, subject, news. A reader that has gone away ends nothing else."""
        with self._lock, self._whoever_reads():
            if self._is_live and event.kind in (EventKind.STARTED, EventKind.PROGRESS):
                self._show_at_work(event)
                return
            if event.kind is EventKind.STARTED and event.subject.count("/") and not event.detail:
                return  # a check or part that only just began: its end says it all
            self._console.print(self._line(event))
            if event.kind is EventKind.FINISHED and event.subject in self._at_work:
                del self._at_work[event.subject]
                self._refresh()

    def close(self) -> None:
        """Take the live lines away. Idempotent: yes."""
        with self._lock, self._whoever_reads():
            self._at_work.clear()
            self._refresh()

    @contextmanager
    def _whoever_reads(self) -> Iterator[None]:
        """Go quiet when nobody reads any more: rich would end the program, in the middle of a redeploy."""
        try:
            yield
        except (OSError, SystemExit):
            self._console = Console(file=io.StringIO())
            self._is_live, self._live = False, None
            self._at_work.clear()

    def _show_at_work(self, event: Event) -> None:
        news = Text(f"{event.subject:28} {one_line(event.detail)}", overflow="ellipsis", no_wrap=True)
        if event.subject in self._at_work:
            self._at_work[event.subject].update(text=news)
        else:
            self._at_work[event.subject] = Spinner("line", text=news)
        self._refresh()

    def _refresh(self) -> None:
        if self._at_work:
            shown = Group(*self._at_work.values())
            if self._live is None:
                self._live = Live(console=self._console, refresh_per_second=5, transient=True, redirect_stdout=False)
                self._live.start()
            self._live.update(shown)
        elif self._live is not None:
            self._live.stop()
            self._live = None

    def _line(self, event: Event) -> Text:
        seconds = time.monotonic() - self._started
        ended = event.kind is EventKind.FINISHED
        mark = event.state if ended else "·"
        took = f" ({event.duration_s:.1f} s)" if ended and event.duration_s >= 0.05 else ""
        line = Text(f"{seconds:7.1f} s  ")
        line.append(f"{mark:12}", style=STYLES.get(event.state, "") if ended else "dim")
        line.append(f" {event.subject:28} {one_line(event.detail)}{took}".rstrip())
        return line
