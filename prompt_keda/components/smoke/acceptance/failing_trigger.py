"""A trigger that fails: KEDA counts its errors, says so, and makes no Job."""

from __future__ import annotations

from prompt_keda.components.smoke.acceptance.case import Case
from prompt_keda.components.smoke.acceptance.shape import Shape
from prompt_keda.components.smoke.acceptance.trial import Trial

NOWHERE = {
    "type": "prometheus",
    "metadata": {"serverAddress": "http://no-such-host.invalid:9090", "query": "up", "threshold": "1"},
}
"""As in KEDA's own test: a Redis that is missing is found when KEDA takes the ScaledJob, and is never polled (F21)."""


def _errors(trial: Trial) -> None:
    """One error is not enough: KEDA may count one of a new ScaledJob whose trigger is right (seen)."""
    trial.until("errors that KEDA counts", "1 or more", lambda: _more_than(trial, 0))
    counted = trial.errors_count()
    trial.until("errors that KEDA counts", "still more", lambda: _more_than(trial, counted))
    trial.until("ScaledJob", "Ready=Unknown", lambda: trial.condition("Ready", "Unknown"))
    trial.keeps(0)


def _more_than(trial: Trial, count: float) -> tuple[bool, str]:
    errors_count = trial.errors_count()
    return errors_count > count, f"{errors_count:.0f} errors"


CASES = (
    Case(
        "errors/counted",
        "the errors of a trigger that fails are counted for its ScaledJob, which makes no Job",
        "sequential/prometheus_metrics, testScaledJobErrors",
        Shape(trigger=NOWHERE),
        _errors,
        settles=False,
    ),
)
