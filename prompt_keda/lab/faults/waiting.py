"""Waiting until the stack is as a fault needs it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from prompt_keda.core.errors import DeadlinePassed

LOOK_S = 0.25


def until(look: Callable[[], object], what: str, timeout_s: float = 90) -> None:
    """Look four times a second until something is true: for what the stack's own controllers do.

    Raises
    ------
    DeadlinePassed
        When it is not true in time.
    """
    end = time.monotonic() + timeout_s
    while not look():
        if time.monotonic() > end:
            raise DeadlinePassed(what, timeout_s, "not seen")
        time.sleep(LOOK_S)


def age_s(stamp: str) -> float:
    """Return how long ago a time of the API server was."""
    return (datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds()
