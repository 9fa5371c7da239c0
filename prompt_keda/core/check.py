"""Checks and their results."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Generic, TypeVar

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

    It is made by the decorator `check`, stands where its function stands, and is called like it.

    Parameters
    ----------
    id
        ``category/fact-that-should-hold``, for example ``redis/groups-exist``.
    title
        The same fact as a whole sentence, for people: it stands alone in a chat or a JUnit report.
    run
        Looks, and returns what it saw. Its docstring is the check's part of docs/checks.md: what is looked at; then, from
        ``Cause:`` on, why the fact may not hold, and from ``Fix:`` on, what to do where the outcome does not say it.
        A `prompt_keda.core.errors.ClientError` from it becomes UNKNOWN (`Unreachable`, `BadAnswer`) or FAIL (`Refused`,
        `Missing`, `ErrorReply`): see `prompt_keda.core.run_checks`.
    needs
        Ids of checks without whose OK or WARN this one cannot look; it is then SKIPPED. One that is SKIPPED by its own word,
        because there is no such thing here, holds nobody up.
    deadline
        How long it may take before it counts as UNKNOWN.
    fix
        What to do when it fails and the outcome names nothing better.
    runbook
        Name of the runbook that answers it, without its ending; empty if there is none.
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

    @property
    def page(self) -> str:
        """What docs/checks.md says of it: the docstring of its function, up to its notes for who reads the code."""
        return (inspect.getdoc(self.run) or "").partition("\n\nNotes\n---")[0]

    def __call__(self, context: C) -> Outcome:
        """Look, as its function does."""
        return self.run(context)


def check(
    id: str,
    title: str,
    *,
    needs: tuple[str, ...] = (),
    deadline: timedelta = timedelta(seconds=10),
    fix: str = "",
    runbook: str = "",
    deep: bool = False,
) -> Callable[[Callable[[C], Outcome]], Check[C]]:
    """Return a decorator that makes a check of the function that looks. The parameters are those of `Check`."""

    def decorate(run: Callable[[C], Outcome]) -> Check[C]:
        return Check(id, title, run, needs, deadline, fix, runbook, deep)

    return decorate


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

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {**asdict(self), "verdict": self.verdict.value, "duration_s": round(self.duration_s, 3)}
