"""How much room pods ask for, and how many more of them the nodes have room for, as Kubernetes' scheduler counts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from prompt_keda.clients.kube.conditions import has_condition
from prompt_keda.clients.kube.objects import Object

Amounts = dict[str, Decimal]
"""Resource name → amount: CPUs, bytes, pods."""
FACTORS = {
    **{"n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1)},
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", 1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)},
}
"""Suffixes of Kubernetes' quantities (apimachinery, resource.Quantity)."""
QUANTITY = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([eE][+-]?[0-9]+)|([a-zA-Z]*))", re.ASCII)
NO_NODE_TAKES_THEM = "nodes that take them (not cordoned, not tainted, ready, with their labels)"


def quantity(text: Any) -> Decimal:
    """Return a quantity of Kubernetes as a number: ``250m`` is 0.25, ``16Mi`` is 16777216.

    Raises
    ------
    ValueError
        When it is none.
    """
    match = QUANTITY.fullmatch(str(text))
    if not match or (match[3] or "") not in FACTORS:
        raise ValueError(f"{text!r} is no quantity")
    return Decimal(match[1] + (match[2] or "")) * FACTORS[match[3] or ""]


def amounts(texts: Mapping[str, Any] | None) -> Amounts:
    """Return each quantity as a number. Raises `ValueError` as `quantity` does."""
    return {name: quantity(text) for name, text in (texts or {}).items()}


def asked_by(spec: Object, kind: str = "requests") -> Amounts:
    """Return what a pod asks for. Raises `ValueError` as `quantity` does.

    Containers and sidecars (init containers that stay) together, or the largest other init container beside the
    sidecars before it, whichever is more; what stands for the whole pod comes first; the overhead on top, for limits
    only where there is one (Kubernetes, component-helpers, resource.PodRequests and PodLimits). A request that is left
    out is as large as the limit.

    Parameters
    ----------
    spec
        A pod's spec, or that of a pod template.
    kind
        ``requests`` or ``limits``.
    """
    sidecars: Amounts = {}
    largest: Amounts = {}
    for container in spec.get("initContainers") or []:
        now = _sum([sidecars, _of(container, kind)])
        if container.get("restartPolicy") == "Always":
            sidecars = now
        largest = _most(largest, now)
    running = _sum([sidecars, *(_of(container, kind) for container in spec.get("containers") or [])])
    resources = spec.get("resources") or {}
    asked = {**_most(running, largest), **amounts(resources.get(kind))}
    if kind == "requests":
        asked = {**amounts(resources.get("limits")), **asked}
    overhead = amounts(spec.get("overhead"))
    if kind != "requests":
        overhead = {resource: overhead[resource] for resource in asked if resource in overhead}
    return _sum([asked, overhead])


def _of(container: Object, kind: str) -> Amounts:
    resources = container.get("resources") or {}
    limits = resources.get("limits") or {}
    return amounts(limits if kind == "limits" else {**limits, **(resources.get("requests") or {})})


def _sum(parts: Iterable[Amounts]) -> Amounts:
    total: Amounts = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, Decimal(0)) + value
    return total


def _most(some: Amounts, other: Amounts) -> Amounts:
    return {name: max(some.get(name, Decimal(0)), other.get(name, Decimal(0))) for name in {**some, **other}}


@dataclass(frozen=True)
class Room:
    """For how many workers there is room, on how many nodes, and what there is too little of for one more."""

    workers_count: int
    nodes_count: int
    scarce: str


class Free:
    """What pods leave of each node, taken off one pod at a time: all pods of a cluster need not be in memory at once.

    Parameters
    ----------
    nodes
        As the API server gives them; all of them are kept.
    pods
        What runs on them; those that have ended, or have no node, take nothing.

    Raises `ValueError` as `quantity` does.
    """

    def __init__(self, nodes: Iterable[Object], pods: Iterable[Object] = ()) -> None:
        self._nodes = {node["metadata"]["name"]: node for node in nodes}
        self._left = {name: amounts(node.get("status", {}).get("allocatable")) for name, node in self._nodes.items()}
        for pod in pods:
            where = pod.get("spec", {}).get("nodeName")
            if where in self._left and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
                self._take(where, _of_pod(pod["spec"]), 1)

    def of(self, node: str) -> Amounts:
        """Return what is left of one node; negative where pods take more than it has."""
        return dict(self._left[node])

    def room(self, worker: Object) -> Room:
        """Count for how many more pods of this spec there is room. Its affinities are not looked at."""
        fits = {name: self._fit(name, worker) for name, node in self._nodes.items() if takes(node, worker)}
        scarce = [min(fit, key=lambda name: fit[name]) for fit in fits.values()]
        count = sum(max(0, min(fit.values())) for fit in fits.values())
        return Room(count, len(fits), max(scarce, key=scarce.count) if scarce else NO_NODE_TAKES_THEM)

    def place(self, worker: Object, wanted: int) -> int:
        """Put up to ``wanted`` pods on the nodes, each on the first where it fits; return how many fit."""
        placed = 0
        for name, node in self._nodes.items():
            if takes(node, worker):
                here = max(0, min(wanted - placed, *self._fit(name, worker).values()))
                self._take(name, _of_pod(worker), here)
                placed += here
        return placed

    def _fit(self, node: str, worker: Object) -> dict[str, int]:
        """Return how many fit by each resource that they ask for."""
        left = self._left[node]
        asked = {name: value for name, value in _of_pod(worker).items() if value > 0}
        return {name: int(max(Decimal(0), left.get(name, Decimal(0))) // value) for name, value in asked.items()}

    def _take(self, node: str, asked: Amounts, count: int) -> None:
        self._left[node] = _sum([self._left[node], {name: -value * count for name, value in asked.items()}])


def _of_pod(spec: Object) -> Amounts:
    return {**asked_by(spec), "pods": Decimal(1)}


def takes(node: Object, pod: Object) -> bool:
    """Return whether a node takes such pods at all: ready, not cordoned, labels as selected, no taint against it.

    Affinities are not looked at.
    """
    spec, labels = node.get("spec") or {}, node["metadata"].get("labels") or {}
    against = [taint for taint in spec.get("taints") or [] if taint.get("effect") in ("NoSchedule", "NoExecute")]
    tolerated = all(
        any(_tolerates(toleration, taint) for toleration in pod.get("tolerations") or []) for taint in against
    )
    selected = all(labels.get(key) == value for key, value in (pod.get("nodeSelector") or {}).items())
    return has_condition(node, "Ready") and not spec.get("unschedulable") and selected and tolerated


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return (toleration.get("key"), toleration.get("value") or "") == (taint["key"], taint.get("value") or "")
