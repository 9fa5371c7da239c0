"""Faults of the control plane's processes: each hangs (SIGSTOP), or is killed (SIGKILL) and stays away."""

from __future__ import annotations

import signal

from prompt_keda.core.errors import PromptKedaError
from prompt_keda.core.waiting import until
from prompt_keda.lab import processes
from prompt_keda.lab.faults import keda_restarts, podless, signals
from prompt_keda.lab.faults.cluster_nodes import UNHEARD, until_heard, until_unheard
from prompt_keda.lab.faults.fault import Fault, FaultAction, Stage
from prompt_keda.lab.faults.frozen import freeze

API_SERVER, ETCD, CONTROLLERS = "kube-apiserver", "etcd", "kube-controller-manager"
KUBELET = "kubelet"


def kill(name: str) -> FaultAction:
    """Return an act that kills a process of the stack; it stays away. Nothing where it does not run."""

    def act(stage: Stage) -> None:
        processes.kill(stage.lab, name)

    return act


def start(name: str) -> FaultAction:
    """Return an act that starts it again, as it was started, and waits until all works that lives on it."""

    def act(stage: Stage) -> None:
        processes.start_again(stage.lab, name)
        _settle(stage)

    return act


def thaw(name: str) -> FaultAction:
    """Return an act that lets a process go on, and waits until all works that lives on it."""

    def act(stage: Stage) -> None:
        signals.send(stage, name, signal.SIGCONT)
        _settle(stage)

    return act


def kill_controllers(stage: Stage) -> None:
    """Kill the controller manager, and let a Job wait for its pod longer than one has patience."""
    kill(CONTROLLERS)(stage)
    podless.wait_for_one(stage)


def start_controllers(stage: Stage) -> None:
    """Start it again, and take the Job away."""
    processes.start_again(stage.lab, CONTROLLERS)
    podless.take_away(stage)


def kill_kubelet(stage: Stage) -> None:
    """Kill the kubelet, and wait until its Lease is over; some seconds later the cluster would call the node lost."""
    kill(KUBELET)(stage)
    until_unheard(stage)


def start_kubelet(stage: Stage) -> None:
    """Start it again, and wait until the node is ready."""
    processes.start_again(stage.lab, KUBELET)
    until_heard(stage)


def _settle(stage: Stage) -> None:
    """Wait for the API server and its etcd, and put a new operator in place of one that may have lost its Lease, and ended."""
    until(lambda: _is_served(stage), "the API server and its etcd")
    keda_restarts.renew_operator(stage)


def _is_served(stage: Stage) -> bool:
    try:
        return not stage.kube.not_ready()
    except PromptKedaError:
        return False


NO_ANSWER = {
    "cluster/api-answers": "unknown",
    "images/instrument-images-present": "unknown",  # which of them run cannot be seen
}
NO_STORAGE = {"cluster/api-answers": "fail", "images/instrument-images-present": "unknown"}
FAULTS: tuple[Fault, ...] = (
    Fault(
        "cluster/api-server-frozen",
        "F30",
        "the API server hangs: its port is open",
        freeze(API_SERVER),
        thaw(API_SERVER),
        NO_ANSWER,
        "gave no answer",
        stops_scaling=True,
    ),
    Fault(
        "cluster/api-server-killed",
        "F30",
        "the API server is killed, and stays away",
        kill(API_SERVER),
        start(API_SERVER),
        NO_ANSWER,
        "no connection: refused",
        stops_scaling=True,
        cause_behind_proxy="was cut off",
    ),
    Fault(
        "cluster/etcd-frozen",
        "F30",
        "the API server's etcd hangs",
        freeze(ETCD),
        thaw(ETCD),
        NO_STORAGE,
        "not ready: etcd",
        stops_scaling=True,
    ),
    Fault(
        "cluster/etcd-killed",
        "F30",
        "the API server's etcd is killed, and stays away",
        kill(ETCD),
        start(ETCD),
        NO_STORAGE,
        "not ready: etcd",
        stops_scaling=True,
    ),
    Fault(
        "cluster/controllers-killed",
        "F30",
        "the controller manager is killed, and stays away",
        kill_controllers,
        start_controllers,
        {"cluster/jobs-reconciled": "fail"},
        "controller manager suspect",
        stops_scaling=True,
    ),
    Fault(
        "cluster/kubelet-killed",
        "F30",
        "a kubelet is killed, and stays away",
        kill_kubelet,
        start_kubelet,
        UNHEARD,
        "was last heard of",
        stops_scaling=True,
    ),
)
