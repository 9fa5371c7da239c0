"""Shows events while they happen, one line each, on standard error."""

from __future__ import annotations

import sys
import threading
import time
from typing import TextIO

from rich.console import Console
from rich.text import Text

from prompt_keda.model.event import Event, EventKind
from prompt_keda.report.untrusted import neutral

STYLES = {"ok": "green", "done": "green", "fail": "red", "broken": "red", "unknown": "yellow", "warn": "yellow"}


class Progress:
    """An observer that prints. Colour only on a terminal, and not with NO_COLOR (rich looks at both).

    Parameters
    ----------
    stream
        Where to; None: standard error.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._console = Console(file=stream or sys.stderr, highlight=False, soft_wrap=True)
        self._started = time.monotonic()
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Print one event: seconds since the start, subject, news."""
        if event.kind is EventKind.STARTED and event.subject.count("/") and not event.detail:
            return  # a check or part that only just began: its end says it all
        seconds = time.monotonic() - self._started
        mark = event.state if event.kind is EventKind.FINISHED else "·"
        took = f" ({event.duration_s:.1f} s)" if event.kind is EventKind.FINISHED and event.duration_s >= 0.05 else ""
        line = Text(f"{seconds:7.1f} s  ")
        line.append(f"{mark:12}", style=STYLES.get(event.state, "") if event.kind is EventKind.FINISHED else "dim")
        line.append(f" {event.subject:28} {neutral(event.detail)}{took}".rstrip())
        with self._lock:
            self._console.print(line)
