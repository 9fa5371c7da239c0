"""Faults of parts that hang: the process is there, its port takes connections, and no answer comes."""

from __future__ import annotations

import signal

from prompt_keda.core.errors import LabError
from prompt_keda.lab.faults import keda_restarts, redis, signals, vault
from prompt_keda.lab.faults.fault import Fault, FaultAction, Stage


def freeze(name: str) -> FaultAction:
    """Return an act that freezes a process that the stack started itself."""
    return lambda stage: signals.send(stage, name, signal.SIGSTOP)


def thaw(name: str) -> FaultAction:
    """Return an act that lets it go on."""
    return lambda stage: signals.send(stage, name, signal.SIGCONT)


def freeze_redis(stage: Stage) -> None:
    """Freeze Redis in its pod. The pod stays ready: the kernel takes its connections."""
    if not signals.send_in_pods(stage, *stage.redis_pods, signal.SIGSTOP):
        raise LabError("no Redis runs in the stack's pods", "./run lab.up")


def replace_redis(stage: Stage) -> None:
    """Put a new pod in the place of one that hangs, as the page asks people to do.

    One that went on instead would answer workers that have given up: it hands an event to each, which nobody works on.
    """
    if any(signals.is_stopped(pid) for pid in signals.processes_in_pods(stage, *stage.redis_pods)):
        redis.stop(stage)
    redis.start(stage)  # also where an earlier revert came as far as its stop


FAULTS: tuple[Fault, ...] = (
    Fault(
        "redis/frozen",
        "",
        "Redis hangs: its port is open",
        freeze_redis,
        replace_redis,
        {"redis/answers": "unknown"},
        "gave no answer in time",
        stops_scaling=True,
    ),
    Fault(
        "vault/frozen",
        "",
        "Vault hangs: its port is open",
        freeze("vault"),
        thaw("vault"),
        {"vault/unsealed": "unknown", **vault.WITHOUT},
        "no answer in time",
    ),
    Fault(
        "images/registry-frozen",
        "F40",
        "the registry hangs: its port is open",
        freeze("registry"),
        thaw("registry"),
        {
            "images/keda-images-present": "unknown",
            "images/instrument-images-present": "unknown",
            "images/smoke-image-present": "unknown",
        },
        "no answer in time",
    ),
    Fault(
        "keda/operator-frozen",
        "F15",
        "the operator hangs",
        keda_restarts.freeze_operator,
        keda_restarts.renew_operator,
        {"keda/lease-fresh": "fail", "keda/parts-ready": "fail"},
        "every status of KEDA is stale",
        stops_scaling=True,
    ),
)
