"""Checks and their results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Generic, TypeVar

C = TypeVar("C")


class Verdict(Enum):
    """What a check found out.

    UNKNOWN means that it could not look. It is never merged with OK.
    """

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Outcome:
    """What one check function returns.

    Parameters
    ----------
    verdict
        What was found out.
    observed
        What was seen, in one line that can be pasted into a chat. Never holds a secret.
    expected
        What should have been seen; empty where the check's title says it already.
    detail
        More lines for the person who digs: names, addresses, reasons.
    fix
        What to do about it; empty for OK.
    """

    verdict: Verdict
    observed: str
    expected: str = ""
    detail: str = ""
    fix: str = ""


@dataclass(frozen=True)
class Check(Generic[C]):
    """One fact that should hold. It reads, and never writes; a deep one may make a canary, and takes it away.

    Parameters
    ----------
    id
        ``category/fact-that-should-hold``, for example ``redis/groups-exist``.
    title
        The same fact in the present tense, for people.
    run
        Looks, and returns what it saw. A `prompt_keda.core.errors.ClientError` from it becomes UNKNOWN
        (`Unreachable`, `BadAnswer`) or FAIL (`Refused`, `Missing`): see `prompt_keda.core.run_checks`.
    needs
        Ids of checks without whose OK or WARN this one cannot look; it is then SKIPPED.
    deadline
        How long it may take before it counts as UNKNOWN.
    fix
        What to do when it fails and the outcome names nothing better.
    runbook
        Name of the runbook that mends it, without its ending; empty if there is none.
    deep
        It runs only when it is asked for (``--deep``): it needs rights of its own, and costs the cluster something.
    """

    id: str
    title: str
    run: Callable[[C], Outcome]
    needs: tuple[str, ...] = ()
    deadline: timedelta = timedelta(seconds=10)
    fix: str = ""
    runbook: str = ""
    deep: bool = False

    @property
    def category(self) -> str:
        """The part of the id before the slash."""
        return self.id.split("/", 1)[0]


@dataclass(frozen=True)
class CheckResult:
    """What one check said, when, and how long it took. ``duration_s`` is in seconds."""

    id: str
    title: str
    verdict: Verdict
    expected: str
    observed: str
    detail: str
    fix: str
    runbook: str
    started_at: datetime
    duration_s: float = field(compare=False)
