"""Faults of a ScaledJob's spec that API server and KEDA accept silently. None ends a running Job: see `scaled_jobs`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prompt_keda.clients.kube.objects import Object
from prompt_keda.lab.faults import scaled_jobs
from prompt_keda.lab.faults.fault import Fault, FaultAction, Stage

AS_WANTED, LINTED, PAUSED = "keda/specs-as-wanted", "keda/specs-linted", "keda/none-paused"
STREAM = "REDIS_STREAM_NAME"


def _target(**fields: Any) -> Callable[[Object], Object]:
    return lambda spec: {"jobTargetRef": fields}


def change(made: Callable[[Object], Object]) -> FaultAction:
    """Return what changes every ScaledJob, and leaves it paused."""
    return lambda stage: scaled_jobs.edit(stage, made)


def take_away(made: Callable[[Object], Object]) -> FaultAction:
    """Return what takes a field away that its source does not have, and puts the source back."""

    def act(stage: Stage) -> None:
        scaled_jobs.edit(stage, made)
        scaled_jobs.restore(stage)

    return act


def read_another_stream(stage: Stage) -> None:
    """Let workers read another stream than KEDA scales on."""

    def misled(pod: Object) -> Object:
        return {"containers": [{**container, "env": _other_stream(container)} for container in pod["containers"]]}

    scaled_jobs.edit_workers(stage, misled)


def _other_stream(container: Object) -> list[Object]:
    variables = container.get("env") or []
    return [
        {**variable, "value": "instrument:other"} if variable["name"] == STREAM else variable for variable in variables
    ]


FAULTS: tuple[Fault, ...] = (
    Fault(
        "keda/jobs-without-pods",
        "",
        "the ScaledJob's Jobs want no pod (paused, so that no Job is lost)",
        change(_target(parallelism=0)),
        scaled_jobs.restore,
        {LINTED: "fail", AS_WANTED: "fail", PAUSED: "warn"},
        "its Jobs make no pod",
        stops_scaling=True,
    ),
    Fault(
        "keda/finished-jobs-vanish",
        "F48",
        "finished Jobs go at once (paused, so that no Job is lost)",
        change(_target(ttlSecondsAfterFinished=0)),
        take_away(_target(ttlSecondsAfterFinished=None)),
        {LINTED: "warn", AS_WANTED: "warn", PAUSED: "warn"},
        "gone before anybody sees why",
        stops_scaling=True,
    ),
    Fault(
        "keda/strategy-default",
        "",
        "the scaling strategy takes each running Job off the lag (paused, so that no Job is lost)",
        change(lambda spec: {"scalingStrategy": {"strategy": "default"}}),
        scaled_jobs.restore,
        {LINTED: "warn", AS_WANTED: "fail", PAUSED: "warn"},
        "scalingStrategy is default",
        stops_scaling=True,
    ),
    Fault(
        "keda/workers-misled",
        "",
        "workers read another stream than KEDA scales on (paused, so that no Job is lost)",
        read_another_stream,
        scaled_jobs.restore,
        {LINTED: "fail", AS_WANTED: "warn", PAUSED: "warn"},
        "REDIS_STREAM_NAME is instrument:other",
        stops_scaling=True,
    ),
)
