"""The trigger that production has: the lag of a consumer group, with its activation."""

from __future__ import annotations

from prompt_keda.components.smoke.acceptance.case import Case
from prompt_keda.components.smoke.acceptance.shape import DRAINING, Shape
from prompt_keda.components.smoke.acceptance.trial import Trial
from prompt_keda.core.errors import StepBroken

ACTIVATION, LAG_COUNT, MOST_JOBS, MANY = 10, 12, 2, 100
"""The numbers of KEDA's own test."""


def _activation(trial: Trial) -> None:
    trial.send(ACTIVATION)
    trial.stays("Jobs for events up to the activation", "none", lambda: _made(trial, 0))
    trial.send(1)
    trial.until("Jobs for one event more", "1", lambda: _made(trial, 1))
    _goes_back(trial, 1)
    if trial.made_count != 1:
        raise StepBroken(f"Jobs for one event more: expected 1, seen {trial.made_count}")
    trial.send(MANY)
    trial.makes(MOST_JOBS)
    _goes_back(trial, MOST_JOBS)


def _made(trial: Trial, count: int) -> tuple[bool, str]:
    trial.jobs()
    return trial.made_count == count, f"{trial.made_count} Jobs made"


def _goes_back(trial: Trial, most: int) -> None:
    def worked_off() -> tuple[bool, str]:
        trial.at_once(0, most)  # more are broken, also while they work
        return trial.is_worked_off()

    trial.until("lag", "0, all acknowledged", worked_off)
    trial.until("ScaledJob", "no more active", lambda: trial.condition("Active", "False"))
    trial.until("Jobs at once", "0", lambda: trial.at_once(0, most))


CASES = (
    Case(
        "lag/activation",
        "a lag above the activation makes Jobs, up to the maximum, until it is 0",
        "scalers/redis/redis_standalone_streams_lag",
        Shape({"strategy": "default"}, MOST_JOBS, 0, LAG_COUNT, ACTIVATION, workers=DRAINING),
        _activation,
    ),
)
