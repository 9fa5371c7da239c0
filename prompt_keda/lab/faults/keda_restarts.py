"""Faults of KEDA's parts that do not stay up, or hang. A pod that was restarted is replaced when a fault is reverted."""

from __future__ import annotations

import signal

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import DEPLOYMENTS
from prompt_keda.components.keda.names import OPERATOR, WEBHOOKS
from prompt_keda.core.errors import LabError
from prompt_keda.core.waiting import until
from prompt_keda.lab.faults import signals
from prompt_keda.lab.faults.fault import Fault, Stage
from prompt_keda.lab.faults.keda_parts import STALE_S, lease_age_s, scale, until_fresh, until_stale


def freeze_operator(stage: Stage) -> None:
    """Freeze the operator until its Lease is old. Some seconds later its kubelet would start it again."""
    if not _signal_operator(stage, signal.SIGSTOP):
        raise LabError("no operator of KEDA runs in the stack's pods", "./run redeploy --env local")
    until_stale(stage)


def renew_operator(stage: Stage) -> None:
    """Let what is frozen go on, and put a new pod in its place, which has never been restarted."""
    _signal_operator(stage, signal.SIGCONT)
    scale(stage, OPERATOR, 0)
    scale(stage, OPERATOR, 1)
    until_fresh(stage)


def restart_operator(stage: Stage) -> None:
    """Let the operator be killed twice, and wait until it works again."""
    scale(stage, OPERATOR, 0)  # a new pod: what is counted is the restarts of this fault
    scale(stage, OPERATOR, 1)
    for count in (1, 2):
        _signal_operator(stage, signal.SIGKILL)
        _until_restarted(stage, count)
    scale(stage, OPERATOR, 1)
    until_fresh(stage)


def crash_operator(stage: Stage) -> None:
    """Kill the operator whenever it runs, until it was started three times more.

    Kubernetes then waits for 40 s before it starts it again (kubelet: 10 s, doubled each time), and its Lease is old.
    """

    def down() -> bool:
        _signal_operator(stage, signal.SIGKILL)
        return _waiting(stage, OPERATOR) == [3] and lease_age_s(stage) > STALE_S

    until(down, "an operator that does not stay up")


def mistake_argument(stage: Stage) -> None:
    """Let a new pod of the webhooks start with an argument that they do not know; the old one stays."""
    _set_arguments(stage, [*_own_arguments(stage), "--no-such-argument"])
    until(lambda: _waiting(stage, WEBHOOKS), "a part of KEDA that does not stay up")


def correct_argument(stage: Stage) -> None:
    """Give them those of the manifests, and wait until one pod is left."""
    _set_arguments(stage, _own_arguments(stage))
    until(lambda: len(stage.keda_pods(WEBHOOKS)) == 1, f"one pod of {WEBHOOKS}")


def _signal_operator(stage: Stage, number: signal.Signals) -> int:
    return signals.send_in_pods(stage, stage.environment.keda.namespace, f"app={OPERATOR}", number)


def _own_arguments(stage: Stage) -> list[str]:
    (own,) = stage.keda_object("Deployment", WEBHOOKS)["spec"]["template"]["spec"]["containers"]
    return list(own["args"])


def _set_arguments(stage: Stage, arguments: list[str]) -> None:
    place = stage.environment.keda.namespace
    (live,) = stage.kube.get(DEPLOYMENTS, WEBHOOKS, place)["spec"]["template"]["spec"]["containers"]
    pod = {"containers": [{**live, "args": arguments}]}
    stage.kube.patch(DEPLOYMENTS, WEBHOOKS, place, {"spec": {"template": {"spec": pod}}})


def _containers(stage: Stage, name: str) -> list[Object]:
    return [status for pod in stage.keda_pods(name) for status in pod["status"].get("containerStatuses") or []]


def _until_restarted(stage: Stage, count: int) -> None:
    def runs() -> bool:
        containers = _containers(stage, OPERATOR)
        return bool(containers) and all(
            "running" in status["state"] and status["restartCount"] == count for status in containers
        )

    until(runs, f"{count} restarts of the operator")


def _waiting(stage: Stage, name: str) -> list[int]:
    """Return how often each container was restarted that Kubernetes waits to start again."""
    why = [(status, (status["state"].get("waiting") or {}).get("reason")) for status in _containers(stage, name)]
    return [status["restartCount"] for status, reason in why if reason == "CrashLoopBackOff"]


FAULTS: tuple[Fault, ...] = (
    Fault(
        "keda/operator-restarts",
        "F15",
        "the operator was killed twice within the hour",
        restart_operator,
        renew_operator,
        {"keda/parts-not-restarting": "warn"},
        "restarted 2 times",
    ),
    Fault(
        "keda/operator-crash-loops",
        "F15",
        "the operator is killed whenever it starts",
        crash_operator,
        renew_operator,
        {"keda/parts-not-restarting": "fail", "keda/lease-fresh": "fail", "keda/parts-ready": "fail"},
        "does not stay up",
        stops_scaling=True,
    ),
    Fault(
        "keda/webhooks-crash-loop",
        "F15",
        "a part of KEDA is started with an argument that it does not know",
        mistake_argument,
        correct_argument,
        {"keda/parts-not-restarting": "fail", "keda/parts-ready": "warn"},
        "does not stay up",
    ),
)
