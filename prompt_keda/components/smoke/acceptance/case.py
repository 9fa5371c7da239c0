"""A case of the acceptance suite, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from prompt_keda.components.smoke.acceptance.shape import Shape
from prompt_keda.components.smoke.acceptance.trial import Point, Trial
from prompt_keda.core.check import Verdict

PATIENCE = timedelta(seconds=180)
"""As long as KEDA's own tests wait: on a busy cluster a pod may have to pull its image first."""


@dataclass(frozen=True)
class Case:
    """One thing that KEDA promises, tried on a ScaledJob and a stream of its own.

    Parameters
    ----------
    id
        ``part/promise``, for example ``strategy/eager``.
    title
        The promise in the present tense, for people.
    source
        The test of KEDA 2.16.1 that it is ported from, below its tests/; or ``ours``.
    shape
        The ScaledJob that it begins with.
    run
        Does it. Raises `StepBroken` and `DeadlinePassed` where the promise is not kept.
    deadline
        For the whole case.
    settles
        Whether the ScaledJob becomes Ready and is polled; what has a failing trigger is not waited for.
    disrupts
        It disturbs KEDA itself: it runs alone, and only on a local stack.
    """

    id: str
    title: str
    source: str
    shape: Shape
    run: Callable[[Trial], None]
    deadline: timedelta = PATIENCE
    settles: bool = True
    disrupts: bool = False


@dataclass
class CaseResult:
    """What came of a case.

    Parameters
    ----------
    verdict
        OK: every point was seen. FAIL: KEDA did otherwise, or not in time. UNKNOWN: it could not be seen.
        SKIPPED: it does not belong here.
    detail
        Why it is not OK.
    points
        What was seen until the end, in order.
    """

    id: str
    title: str
    source: str
    verdict: Verdict
    detail: str = ""
    fix: str = ""
    points: list[Point] = field(default_factory=list)
    duration_s: float = 0.0
