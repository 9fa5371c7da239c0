"""Faults of KEDA."""

from __future__ import annotations

from prompt_keda.clients.kube_resources import SCALED_JOBS
from prompt_keda.faults.fault import Fault, Stage

PAUSED = "autoscaling.keda.sh/paused"


def _annotate(stage: Stage, value: str | None) -> None:
    for one in stage.environment.instruments:
        body = {"metadata": {"annotations": {PAUSED: value}}}
        stage.kube.patch(SCALED_JOBS, one.scaled_job, one.namespace, body)


def pause(stage: Stage) -> None:
    """Pause every ScaledJob."""
    _annotate(stage, "true")


def unpause(stage: Stage) -> None:
    """Unpause them."""
    _annotate(stage, None)


FAULTS: tuple[Fault, ...] = (
    Fault(
        "keda/paused", "", "somebody has paused the ScaledJob", pause, unpause, {"keda/none-paused": "warn"}, "paused"
    ),
)
