"""The scaling strategies: how many Jobs each makes, by what waits and what runs (KEDA 2.16.1, pkg/scaling/executor).

All begin with work for four Jobs and a maximum of ten; where they differ, the numbers do.
"""

from __future__ import annotations

from prompt_keda.components.smoke.acceptance.case import Case
from prompt_keda.components.smoke.acceptance.shape import NEVER_STARTED, Shape
from prompt_keda.components.smoke.acceptance.trial import Trial

SOURCE = "internals/scaling_strategies/eager_scaling_strategy_test.go"
SLOW_S = 5
"""As in KEDA's own test. Eager makes more Jobs at each poll for events that are not taken yet: they are taken before it."""
HALF = {"strategy": "custom", "customScalingQueueLengthDeduction": 1, "customScalingRunningJobPercentage": "0.5"}


def _eager(trial: Trial) -> None:
    """What waits is added to what runs, up to the maximum."""
    for work, count in ((4, 4), (4, 8)):
        trial.send_work_for(work)
        trial.makes(count)
        trial.take_all()
        trial.runs(count)
    trial.send_work_for(8)
    trial.makes(10)
    trial.keeps(10)


def _default(trial: Trial) -> None:
    """What runs counts as working on what waits: as many as that wait for nothing more."""
    trial.send_work_for(4)
    trial.makes(4)
    trial.runs(4)
    trial.keeps(4)
    trial.send_work_for(4)
    trial.makes(8)
    trial.keeps(8)


def _accurate(trial: Trial) -> None:
    """What waits is added to what runs; Jobs that have not started count as working on it. Eager would make 6."""
    trial.send_work_for(4)
    trial.makes(4)
    trial.keeps(4)


def _custom(trial: Trial) -> None:
    """4 that wait - 1 - half of what runs: 3, then 2, then 1, then none. Default would make 4."""
    trial.send_work_for(4)
    trial.until("Jobs at once", "6", lambda: trial.at_once(6))
    trial.keeps(6)


CASES = (
    Case(
        "strategy/eager",
        "eager adds Jobs for what waits to those that run, up to the maximum",
        SOURCE,
        Shape(polling_s=SLOW_S),
        _eager,
    ),
    Case(
        "strategy/default",
        "default makes Jobs for what waits, less those that run",
        "ours",
        Shape({"strategy": "default"}),
        _default,
    ),
    Case(
        "strategy/accurate",
        "accurate makes none for what Jobs wait to start for",
        "ours",
        Shape({"strategy": "accurate"}, workers=NEVER_STARTED),
        _accurate,
    ),
    Case(
        "strategy/custom",
        "custom makes Jobs for what waits, less its deduction and its share of those that run",
        "ours",
        Shape(HALF),
        _custom,
    ),
)
