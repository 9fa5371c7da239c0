"""Faults of the cluster's node: its kubelet hangs, for a while or until it counts as lost."""

from __future__ import annotations

import signal

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.conditions import has_condition
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import LEASES, NODES
from prompt_keda.components.keda.names import API_SERVICE
from prompt_keda.core.waiting import until
from prompt_keda.lab.faults import signals
from prompt_keda.lab.faults.ages import age_s
from prompt_keda.lab.faults.cluster import available
from prompt_keda.lab.faults.fault import Fault, Stage


def freeze_kubelet(stage: Stage) -> None:
    """Freeze the kubelet until its Lease is over; some seconds later the cluster would call the node lost."""
    signals.send(stage, "kubelet", signal.SIGSTOP)
    until_unheard(stage)


def lose_node(stage: Stage) -> None:
    """Freeze the kubelet until the cluster calls its node lost."""
    signals.send(stage, "kubelet", signal.SIGSTOP)
    until(lambda: not _node_ready(stage.kube), "a node that is not ready")
    until(lambda: available(stage.kube, API_SERVICE) == "False", "that nothing answers behind KEDA's API")


def thaw_kubelet(stage: Stage) -> None:
    """Let it go on, and wait until the node is ready."""
    signals.send(stage, "kubelet", signal.SIGCONT)
    until_heard(stage)


def until_unheard(stage: Stage) -> None:
    """Wait until the kubelet's Lease is over; some seconds later the cluster would call the node lost."""
    kube = stage.kube
    until(lambda: _unheard_s(kube) > 41, "a Lease that is over")


def until_heard(stage: Stage) -> None:
    """Wait until it is renewed, and the node ready."""
    until(lambda: _unheard_s(stage.kube) < 10 and _node_ready(stage.kube), "a node that is ready")


def _node_ready(kube: Kube) -> bool:
    return has_condition(_node(kube), "Ready")


def _node(kube: Kube) -> Object:
    (node,) = kube.list(NODES)
    return node


def _unheard_s(kube: Kube) -> float:
    return age_s(kube.get(LEASES, _node(kube)["metadata"]["name"], "kube-node-lease")["spec"]["renewTime"])


UNHEARD = {"cluster/nodes-report": "warn", "redis/answers": "unknown"}
"""What detects it: a port-forward goes through the kubelet."""
FAULTS: tuple[Fault, ...] = (
    Fault(
        "cluster/kubelet-frozen",
        "F30",
        "a kubelet hangs",
        freeze_kubelet,
        thaw_kubelet,
        UNHEARD,
        "was last heard of",
        stops_scaling=True,
    ),
    Fault(
        "cluster/node-lost",
        "F30",
        "the only node is lost",
        lose_node,
        thaw_kubelet,
        {
            "cluster/nodes-ready": "fail",
            "cluster/external-metrics-available": "fail",  # from here on: what ran there counts as not ready
            "redis/answers": "fail",
            "keda/parts-ready": "fail",
            "capacity/maximum-fits": "warn",
        },
        "Kubelet stopped posting node status",
        ("cluster/pods-start",),  # no pod is on another node
        stops_scaling=True,
    ),
)
