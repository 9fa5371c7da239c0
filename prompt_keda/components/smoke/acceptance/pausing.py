"""A paused ScaledJob: no new Jobs until the pause is lifted."""

from __future__ import annotations

from prompt_keda.components.smoke.acceptance.case import Case
from prompt_keda.components.smoke.acceptance.shape import Shape
from prompt_keda.components.smoke.acceptance.trial import Trial
from prompt_keda.core.errors import StepBroken

INTERVALS = 3
"""KEDA polls a paused ScaledJob no more: that nothing comes is seen over as many polling intervals."""
SLOW_S = 4


def _paused(trial: Trial) -> None:
    trial.makes_one_more(1)
    for count, lifted_by in ((1, None), (2, "false")):
        _holds(trial, count)
        trial.pause(lifted_by)
        trial.makes(count + 1)
        trial.take_all()
        trial.until("ScaledJob", "no more paused", lambda: trial.condition("Paused", "False"))
        trial.runs(count + 1)


def _holds(trial: Trial, count: int) -> None:
    trial.pause("true")
    trial.until("ScaledJob", "paused", lambda: trial.condition("Paused", "True"))
    last_poll = trial.loop_late_s()
    trial.send_work_for(1)
    seconds = INTERVALS * trial.shape.polling_s
    trial.stays_for(seconds, "Jobs at once, paused", f"still {count}", lambda: trial.at_once(count))
    if trial.loop_late_s() != last_poll:
        raise StepBroken("KEDA has polled a ScaledJob that it says is paused")


CASES = (
    Case(
        "pause/no-new-jobs",
        "a pause stops new Jobs, until its annotation is taken away or says false",
        "internals/pause_scaledjob",
        Shape(polling_s=SLOW_S),
        _paused,
    ),
)
