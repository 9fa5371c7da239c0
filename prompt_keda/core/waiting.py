"""The one wait loop: look, wait until a new look is worth while, look again, until it is so or the time is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from prompt_keda.core.errors import DeadlinePassed

T = TypeVar("T")
LOOK_S = 0.25
"""The time between two looks at what cannot be watched."""
LOOK_AGAIN_S = 1.0
"""The longest time between two looks at what is watched: a watch may break, and some of it cannot be watched."""


class Signal(Protocol):
    """Something that says when a new look is worth while, for example a watch on the API server."""

    def wait(self, timeout_s: float) -> bool:
        """Block until something changed (True) or the time is over (False)."""

    def close(self) -> None:
        """Stop watching."""


class Tick:
    """A signal for what cannot be watched: it only lets time pass."""

    def wait(self, timeout_s: float) -> bool:
        """Let ``timeout_s`` seconds pass."""
        time.sleep(timeout_s)
        return False

    def close(self) -> None:
        """Nothing is open."""


def looks(
    timeout_s: float,
    signal: Signal | None = None,
    every_s: float | None = None,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[None]:
    """Yield each time that a look is due: at once, then after every signal, and a last time when the time is over.

    The loop over it is what looks, and returns once it has seen enough; what stands behind the loop runs when the time
    is over.

    Parameters
    ----------
    timeout_s
        How long, in seconds.
    signal
        What says that something may have changed. None: nothing does.
    every_s
        The longest time between two looks, in seconds. None: `LOOK_S` without a signal, `LOOK_AGAIN_S` with one.
    """
    if every_s is None:
        every_s = LOOK_S if signal is None else LOOK_AGAIN_S
    signal = signal or Tick()
    end = now() + timeout_s
    yield
    while (left_s := end - now()) > 0:
        signal.wait(min(every_s, left_s))
        yield


def until(
    look: Callable[[], T | None],
    what: str,
    timeout_s: float = 90,
    signal: Signal | None = None,
) -> T:
    """Look as `looks` does, and return what a look returned, as soon as that is true.

    Raises
    ------
    DeadlinePassed
        When it is not in time.
    """
    for _ in looks(timeout_s, signal):
        if found := look():
            return found
    raise DeadlinePassed(what, timeout_s, "not seen")
