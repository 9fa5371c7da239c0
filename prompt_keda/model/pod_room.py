"""How much room pods ask for, and how many more of them fit on the nodes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

Object = dict[str, Any]
FACTORS = {
    **{"n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1)},
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", 1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)},
}
"""Suffixes of Kubernetes' quantities (apimachinery, resource.Quantity)."""


@dataclass(frozen=True)
class Room:
    """Cores, bytes of memory, and a number of pods."""

    cpu: Decimal = Decimal(0)
    memory_bytes: Decimal = Decimal(0)
    pods_count: int = 0

    def __add__(self, other: Room) -> Room:
        return Room(self.cpu + other.cpu, self.memory_bytes + other.memory_bytes, self.pods_count + other.pods_count)

    def __sub__(self, other: Room) -> Room:
        return Room(self.cpu - other.cpu, self.memory_bytes - other.memory_bytes, self.pods_count - other.pods_count)

    def lacks(self, asked: Room) -> list[str]:
        """Name what is short of what a pod asks for; nothing is short of what it does not ask for."""
        pairs = (
            ("cpu", self.cpu, asked.cpu),
            ("memory", self.memory_bytes, asked.memory_bytes),
            ("pods", self.pods_count, asked.pods_count),
        )
        return [name for name, free, wanted in pairs if wanted and free < wanted]


def quantity(text: Any) -> Decimal:
    """Give a quantity of Kubernetes as a number: ``250m`` is 0.25, ``16Mi`` is 16777216.

    Raises
    ------
    ValueError
        When it is none.
    """
    said = str(text).strip()
    suffix = next((one for one in sorted(FACTORS, key=len, reverse=True) if one and said.endswith(one)), "")
    try:
        return Decimal(said.removesuffix(suffix)) * FACTORS[suffix]
    except InvalidOperation as error:
        raise ValueError(f"{said!r} is no quantity") from error


def asked_by(pod: Object) -> Room:
    """Give what the scheduler counts for a pod's spec.

    Containers together, or the largest init container beside the sidecars before it, whichever is more; the overhead on
    top. What stands for the whole pod comes first (Kubernetes, component-helpers, resource.PodRequests).
    """
    sidecars, largest = Room(), Room()
    for one in pod.get("initContainers") or []:
        if one.get("restartPolicy") == "Always":
            sidecars += _of(one)
        now = sidecars if one.get("restartPolicy") == "Always" else sidecars + _of(one)
        largest = Room(max(largest.cpu, now.cpu), max(largest.memory_bytes, now.memory_bytes))
    running = sidecars
    for one in pod.get("containers") or []:
        running += _of(one)
    whole = (pod.get("resources") or {}).get("requests") or {}
    cpu = quantity(whole["cpu"]) if "cpu" in whole else max(running.cpu, largest.cpu)
    memory = quantity(whole["memory"]) if "memory" in whole else max(running.memory_bytes, largest.memory_bytes)
    return Room(cpu, memory, 1) + _room(pod.get("overhead") or {})


def _of(container: Object) -> Room:
    return _room((container.get("resources") or {}).get("requests") or {})


def _room(amounts: Object) -> Room:
    return Room(quantity(amounts.get("cpu", 0)), quantity(amounts.get("memory", 0)))


def free_rooms(nodes: Iterable[Object], pods: Iterable[Object]) -> dict[str, Room]:
    """Give for each node what is allocatable and not asked for by the pods on it that have not ended."""
    free = {
        node["metadata"]["name"]: _room(allocatable) + Room(pods_count=int(quantity(allocatable.get("pods", 0))))
        for node in nodes
        for allocatable in [node.get("status", {}).get("allocatable") or {}]
    }
    for pod in pods:
        where = pod.get("spec", {}).get("nodeName")
        if where in free and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
            free[where] -= asked_by(pod["spec"])
    return free


def takes(node: Object, pod: Object) -> bool:
    """Tell whether a node takes such pods at all: ready, not cordoned, labels as selected, no taint against it.

    Affinities are not looked at.
    """
    spec, labels = node.get("spec") or {}, node["metadata"].get("labels") or {}
    conditions = {one["type"]: one["status"] for one in node.get("status", {}).get("conditions") or []}
    against = [one for one in spec.get("taints") or [] if one.get("effect") in ("NoSchedule", "NoExecute")]
    tolerated = all(any(_tolerates(one, taint) for one in pod.get("tolerations") or []) for taint in against)
    selected = all(labels.get(key) == value for key, value in (pod.get("nodeSelector") or {}).items())
    return conditions.get("Ready") == "True" and not spec.get("unschedulable") and selected and tolerated


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return (toleration.get("key"), toleration.get("value") or "") == (taint["key"], taint.get("value") or "")


def place(free: dict[str, Room], asked: Room, wanted: int) -> int:
    """Put up to ``wanted`` pods on the nodes, each on the first where it fits; give how many fit. ``free`` shrinks."""
    placed = 0
    for name in free:
        while placed < wanted and not free[name].lacks(asked):
            free[name] -= asked
            placed += 1
    return placed
