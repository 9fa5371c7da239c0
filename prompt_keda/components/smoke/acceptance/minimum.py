"""minReplicaCount: Jobs that are there without any event, and how they count."""

from __future__ import annotations

from collections.abc import Callable

from prompt_keda.components.smoke.acceptance.case import Case
from prompt_keda.components.smoke.acceptance.shape import Shape
from prompt_keda.components.smoke.acceptance.trial import Trial

SOURCE = "internals/min_replica_sj"
DEFAULT = {"strategy": "default"}
"""As in KEDA's own test, which names no strategy."""


def _reaches(least: int, work: int, count: int) -> Callable[[Trial], None]:
    def run(trial: Trial) -> None:
        trial.makes(least)
        if work:
            trial.send_work_for(work)
            trial.makes(count)
        trial.keeps(count)

    return run


CASES = (
    Case(
        "minimum/without-events",
        "a minimum of 2 is there without any event",
        SOURCE,
        Shape(DEFAULT, min_jobs=2),
        _reaches(2, 0, 2),
    ),
    Case(
        "minimum/with-work",
        "a minimum of 1 and work for 1 are 2 Jobs",
        SOURCE,
        Shape(DEFAULT, min_jobs=1),
        _reaches(1, 1, 2),
    ),
    Case(
        "minimum/up-to-the-maximum",
        "a minimum of 2 and work for 3 are no more Jobs than the maximum of 4",
        SOURCE,
        Shape(DEFAULT, 4, 2),
        _reaches(2, 3, 4),
    ),
)
