"""The ScaledJob of a case: the smoke test's, with what the case is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.systems import Systems
from prompt_keda.components.smoke import smoke_objects

NOBODYS = "prompt-keda.lsst.io/no-node-has-this"


@dataclass(frozen=True)
class WorkerBehaviour:
    """How a case's workers behave; all are the smoke test's worker.

    Parameters
    ----------
    held
        They read the stream for held workers: they run, leave the events of the case alone, and end one by one when
        they are told to. So it is the case that says how much waits, and nothing depends on how fast pods start.
    listen_s
        Seconds without an event after which one ends.
    work_s
        Seconds for each event.
    rounds
        Events after which one ends.
    are_scheduled
        False: no node takes their pods, so that they wait to start for good.
    """

    held: bool = True
    listen_s: int = 300
    work_s: float = 0
    rounds: int = 1
    are_scheduled: bool = True


HELD = WorkerBehaviour()
NEVER_STARTED = WorkerBehaviour(are_scheduled=False)
DRAINING = WorkerBehaviour(held=False, listen_s=3, work_s=0.1, rounds=1000)


@dataclass(frozen=True)
class Shape:
    """What a case's ScaledJob is like.

    Parameters
    ----------
    lag_count
        Events that make work for one Job. Not 1: KEDA takes no activation of 0, and one event is no activation (F19).
    polling_s
        Seconds between two polls.
    mark
        Stands in the workers' environment: another mark is another spec.
    trigger
        Another trigger than the case's stream; None: the stream.
    """

    strategy: Mapping[str, Any] = field(default_factory=lambda: {"strategy": "eager"})
    max_jobs: int = 10
    min_jobs: int = 0
    lag_count: int = 2
    activation: int = 1
    polling_s: int = 2
    workers: WorkerBehaviour = HELD
    rollout: str = "gradual"
    mark: str = "first"
    trigger: Mapping[str, Any] | None = None


def scaled_job(systems: Systems, name: str, shape: Shape, run_id: str) -> Object:
    """Return a case's ScaledJob. Raises as `smoke_objects.scaled_job` does."""
    made = smoke_objects.scaled_job(systems, name, shape.max_jobs, run_id)
    spec = made["spec"]
    spec |= {
        "pollingInterval": shape.polling_s,
        "minReplicaCount": shape.min_jobs,
        "rollout": {"strategy": shape.rollout},
        "scalingStrategy": dict(shape.strategy),
    }
    trigger = spec["triggers"][0]
    trigger["metadata"] |= {"lagCount": str(shape.lag_count), "activationLagCount": str(shape.activation)}
    if shape.trigger is not None:
        spec["triggers"] = [dict(shape.trigger)]
    _set_up_workers(spec["jobTargetRef"]["template"]["spec"], name, shape)
    return made


def _set_up_workers(pod: Object, name: str, shape: Shape) -> None:
    workers = shape.workers
    stream = smoke_objects.hold_stream(name) if workers.held else name
    values = {
        "REDIS_STREAM_NAME": stream,
        "FANNED_OUT_MSG_LISTEN_TIMEOUT": str(workers.listen_s),
        "WORKER_RESTART_FREQ": str(workers.rounds),
        "WORK_TIME": str(workers.work_s),
    }
    variables = pod["containers"][0]["env"]
    for variable in variables:
        if variable["name"] in values:
            variable["value"] = values[variable["name"]]
    variables.append({"name": "CASE_MARK", "value": shape.mark})
    if not workers.are_scheduled:
        pod["nodeSelector"] = {NOBODYS: "true"}
