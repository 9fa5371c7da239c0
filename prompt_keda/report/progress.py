"""Shows events while they happen, on standard error.

On a terminal what is at work stands in a live line for each stage, with the reason why it waits and a clock, below what is
done. Elsewhere, as in CI, news is a line. A step that had nothing to do is no news, nor is what is overtaken at once.
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
from rich.text import Text

from prompt_keda.core.event import HAD_NOTHING_TO_DO, Event, EventKind
from prompt_keda.core.untrusted import one_line
from prompt_keda.report.layout import can_show, columns, cut, hanging, make_safe, plain

STYLES = {"ok": "green", "done": "green", "fail": "red", "broken": "red", "unknown": "yellow", "warn": "yellow"}
MARKS = {"ok": "✓", "done": "✓", "fail": "✗", "broken": "✗", "unknown": "?", "warn": "!"}
"""A symbol beside the word: colour is never the only sign."""
WIDE = 100
"""Columns of a terminal where subjects stand in a column of their own."""
HOLD_S = 5.0
"""News is printed only if nothing newer of its step has come by then, in seconds: most steps look, and have nothing to do."""
TURN = "|/-\\"


class _Stage:
    """A live line: the newest of what is at work in a stage, why it waits, and for how long. rich draws it again and again."""

    def __init__(self, name: str, shows_symbols: bool, width: int) -> None:
        self.name = name
        self.at_work: dict[str, tuple[str, float]] = {}
        self._shows_symbols, self._width = shows_symbols, width

    def add(self, subject: str, news: str) -> None:
        """Take what is at work, or its news; the clock of a subject begins with its first event."""
        _, began = self.at_work.get(subject, ("", time.monotonic()))
        self.remove(subject)
        self.at_work = {**self.at_work, subject: (news, began)}

    def remove(self, subject: str) -> None:
        """Take away what has ended. The dictionary is replaced: rich's thread may be drawing the old one."""
        self.at_work = {name: at for name, at in self.at_work.items() if name != subject}

    def __rich__(self) -> Text:
        at_work = list(self.at_work.items())
        if not at_work:
            return Text("")
        subject, (news, began) = at_work[-1]
        seconds = time.monotonic() - began
        more = f" (+{len(at_work) - 1})" if len(at_work) > 1 else ""
        clock = f" {seconds:.0f} s{more}"
        line = f"{TURN[int(seconds * 4) % 4]} {subject:28} {news}"
        line = line if self._shows_symbols else plain(line)
        room = self._width - len(clock) - 1
        shown = cut(line, room) if self._shows_symbols else plain(cut(line, room - 2))
        return Text(f"{shown}{clock}", no_wrap=True, overflow="crop")


class ProgressPrinter:
    """An observer that prints. Live lines only on a terminal, and not with TERM=dumb; no colour with NO_COLOR.

    Parameters
    ----------
    stream
        Where to; None: standard error, or nowhere if that is closed.
    verbose
        Every event.
    """

    def __init__(self, stream: TextIO | None = None, verbose: bool = False) -> None:
        stream = stream or sys.stderr or io.StringIO()
        make_safe(stream)
        self._width = columns(stream)
        self._console = Console(file=stream, highlight=False, soft_wrap=True, width=self._width)
        self._shows_symbols = can_show(stream, "✓✗…")
        self._is_live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._verbose = verbose
        self._live: Live | None = None
        self._stages: dict[str, _Stage] = {}
        self._held: dict[str, Event] = {}
        self._timers: dict[str, threading.Timer] = {}
        self._started = time.monotonic()
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Show one event: seconds since the start, subject, news. A reader that has gone away ends nothing else."""
        with self._lock, self._whoever_reads():
            if self._is_live and event.kind in (EventKind.STARTED, EventKind.PROGRESS):
                name = event.subject.partition("/")[0]
                if name not in self._stages:
                    self._stages[name] = _Stage(name, self._shows_symbols, self._width or 80)
                self._stages[name].add(event.subject, one_line(event.detail))
                self._refresh()
            elif event.kind in (EventKind.STARTED, EventKind.PROGRESS) and not self._verbose:
                if event.detail or not event.subject.count("/"):  # else a check: its end says it all
                    self._hold(event)
            else:
                self._let_go(event.subject)
                if event.state != HAD_NOTHING_TO_DO or self._verbose:
                    self._print(event)
                self._end(event)

    def close(self) -> None:
        """Take the live lines away. Idempotent: yes."""
        with self._lock, self._whoever_reads():
            for subject in [*self._held]:
                self._let_go(subject)
            self._stages.clear()
            self._refresh()

    @contextmanager
    def _whoever_reads(self) -> Iterator[None]:
        """Go quiet when nobody reads any more: rich would end the program, in the middle of a redeploy."""
        try:
            yield
        except (OSError, SystemExit):
            self._console = Console(file=io.StringIO())
            self._is_live, self._live = False, None
            self._stages.clear()

    def _hold(self, event: Event) -> None:
        """Print news later, if nothing newer of its subject has come by then."""
        is_held = event.subject in self._held
        self._held[event.subject] = event
        if not is_held:
            timer = self._timers[event.subject] = threading.Timer(HOLD_S, self._print_held, [event.subject])
            timer.daemon = True
            timer.start()

    def _let_go(self, subject: str) -> None:
        """Drop news that is overtaken, with its timer: it would print the next news of the subject too early."""
        if self._held.pop(subject, None):
            self._timers.pop(subject).cancel()

    def _print_held(self, subject: str) -> None:
        with self._lock, self._whoever_reads():
            if event := self._held.pop(subject, None):
                self._timers.pop(subject, None)
                self._print(event)

    def _end(self, event: Event) -> None:
        name = event.subject.partition("/")[0]
        if event.kind is EventKind.FINISHED and name in self._stages:
            self._stages[name].remove(event.subject)
            if not self._stages[name].at_work:
                del self._stages[name]
            self._refresh()

    def _refresh(self) -> None:
        if self._stages:
            shown = Group(*self._stages.values())
            if self._live is None:
                self._live = Live(console=self._console, refresh_per_second=4, transient=True, redirect_stdout=False)
                self._live.start()
            self._live.update(shown)
        elif self._live is not None:
            self._live.stop()
            self._live = None

    def _print(self, event: Event) -> None:
        seconds = time.monotonic() - self._started
        ended = event.kind is EventKind.FINISHED
        mark = f"{MARKS.get(event.state, '·')} {event.state}" if ended else "·"
        took = f" ({event.duration_s:.1f} s)" if ended and event.duration_s >= 0.05 else ""
        clock = f"{seconds:7.1f} s  "
        first, news = f"{clock}{mark:10} ", f"{one_line(event.detail)}{took}"
        if self._width is None or self._width >= WIDE:
            lines = hanging(f"{first}{event.subject:28} ", news, self._width)
        else:
            lines = hanging(first, f"{event.subject} {news.strip()}", self._width)
        for number, line in enumerate(lines):
            text = Text(line if self._shows_symbols else plain(line))
            if not number:
                text.stylize(STYLES.get(event.state, "") if ended else "dim", len(clock), len(clock) + len(mark))
            self._console.print(text)
