"""Steps, their progress, and the plan that they make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any, Generic, TypeVar

from prompt_keda.core.waiting import Signal

C = TypeVar("C")


class State(Enum):
    """How far a step is."""

    TODO = "todo"
    WORKING = "working"
    DONE = "done"
    BROKEN = "broken"


@dataclass(frozen=True)
class Progress:
    """What an inspection of a step saw.

    Parameters
    ----------
    state
        TODO: its act has to run. WORKING: it has run, and waiting may finish it. DONE. BROKEN: waiting cannot fix it.
    detail
        The reason in one line: ``2/3 ready: keda-operator waits for its certificate``.
    """

    state: State
    detail: str = ""


@dataclass(frozen=True)
class Step(Generic[C]):
    """One thing to do, and how to see whether it is done.

    One ``inspect`` serves the plan, the skip if it is done already, the wait and the resume.

    Parameters
    ----------
    id
        ``stage/verb-object``, for example ``install/apply-crds``.
    title
        What it does, for people.
    inspect
        Looks, without writing.
    act
        Writes. Idempotent: it may have run before, in part or in whole.
    destructive
        True if it removes something that a person would miss.
    deadline
        How long act and wait may take together.
    watch
        Opens the signals that say when to inspect again; it is opened before the act. None: look again each second.
    """

    id: str
    title: str
    inspect: Callable[[C], Progress]
    act: Callable[[C], None]
    destructive: bool = False
    deadline: timedelta = timedelta(seconds=60)
    watch: Callable[[C], Signal] | None = None


@dataclass(frozen=True)
class StepsDone:
    """How far a run came that did not end: every step until then, the failed one as BROKEN."""

    steps: Sequence[StepResult]


@dataclass(frozen=True)
class StepResult:
    """How one step ended.

    Parameters
    ----------
    acted
        False if it was done already.
    duration_s, began_s
        Seconds; ``began_s`` since the run's begin.
    """

    id: str
    title: str
    destructive: bool
    progress: Progress
    acted: bool
    duration_s: float
    began_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "id": self.id,
            "title": self.title,
            "destructive": self.destructive,
            "progress": self.progress.state.value,
            "detail": self.progress.detail,
            "acted": self.acted,
            "duration_s": round(self.duration_s, 3),
        }
