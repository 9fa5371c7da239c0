"""Faults of Prompt Redis."""

from __future__ import annotations

from prompt_keda.clients.kube_resources import PODS, STATEFUL_SETS
from prompt_keda.faults.fault import Fault, Stage
from prompt_keda.faults.waiting import until


def _scale(stage: Stage, replicas: int) -> None:
    place = stage.environment.redis.namespace
    stage.kube.patch(STATEFUL_SETS, stage.environment.redis.service, place, {"spec": {"replicas": replicas}})

    def reached() -> bool:
        pods = stage.kube.list(PODS, place)
        ready = [one for one in pods if any(c.get("ready") for c in one["status"].get("containerStatuses", []))]
        return len(ready) == len(pods) == replicas

    until(reached, f"{replicas} Redis pods")


def _count_again(stage: Stage) -> None:
    for one in stage.environment.instruments:
        stage.redis.ensure_group(one.stream, one.consumer_group, "$")
        stage.redis.count_read(one.stream, one.consumer_group)


def stop(stage: Stage) -> None:
    """Stop Redis: no pod stands behind its Service."""
    _scale(stage, 0)


def start(stage: Stage) -> None:
    """Start it again, and count what the restart has lost."""
    _scale(stage, 1)
    _count_again(stage)


def delete_streams(stage: Stage) -> None:
    """Delete the streams with their groups, as a Redis that comes back empty has none."""
    for one in stage.environment.instruments:
        stage.redis.delete_stream(one.stream)


FAULTS: tuple[Fault, ...] = (
    Fault("redis/stopped", "", "Redis has no pod", stop, start, {"redis/answers": "fail"}, "no ready pod"),
    Fault(
        "redis/streams-gone",
        "F28",
        "streams and groups are gone",
        delete_streams,
        _count_again,
        {"redis/groups-exist": "fail"},
        "has no group",
    ),
)
