"""What the engines report while they work. Text, JSON, JUnit and HTML are readers of this one stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

HAD_NOTHING_TO_DO = "already done"
"""The state of what has ended and is nobody's news."""


class EventKind(Enum):
    """What happened."""

    STARTED = "started"
    PROGRESS = "progress"
    FINISHED = "finished"
    NOTE = "note"


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    Parameters
    ----------
    kind
        What happened.
    subject
        The id of the check, step or part of the stack it is about.
    state
        A `Verdict` or `State` value, or empty.
    detail
        The reason or the news, in one line.
    duration_s
        Seconds since the subject started; 0 where it does not apply.
    """

    kind: EventKind
    subject: str
    state: str = ""
    detail: str = ""
    duration_s: float = 0.0


Observer = Callable[[Event], None]


def nobody(event: Event) -> None:
    """Observe nothing: for calls whose progress no one wants to see."""
