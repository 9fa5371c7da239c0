"""How long one visit's burst takes until its last worker runs, and how many workers the nodes have room for.

Pure arithmetic on objects and numbers; `prompt_keda.checks.capacity` looks at the cluster with it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
Amounts = dict[str, float]
"""Resource name → amount: CPUs, bytes, pods."""
LADDER = ((50.0, 100), (100.0, 200), (300.0, 600))
"""Limits to try instead of those that bind, from the gentlest."""
SYNCER = "the vCluster's syncer"
JOB_REQUESTS = 2.4
"""Requests of the Job controller for each Job: see `predict`."""
UNITS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
UNITS |= {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50}
QUANTITY = re.compile(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)([a-zA-Z]*)")


@dataclass(frozen=True)
class Limit:
    """A client's limit on its own requests: ``burst`` at once, then ``qps`` a second. A negative ``qps``: none."""

    qps: float
    burst: int

    def seconds(self, requests_count: float) -> float:
        """Give how long so many requests are held back, in seconds."""
        return 0.0 if self.qps < 0 else max(0.0, (requests_count - self.burst) / self.qps)

    def __str__(self) -> str:
        return f"{self.qps:g}/{self.burst}"


@dataclass(frozen=True)
class Stage:
    """One program on an event's way to a running worker.

    Parameters
    ----------
    name
        What people call it; also where its limit is set.
    limit
        On its requests to the API server.
    requests_each
        Requests for one worker.
    """

    name: str
    limit: Limit
    requests_each: float = 1.0

    def seconds(self, jobs_count: int) -> float:
        """Give how long it needs for so many workers, in seconds."""
        return self.limit.seconds(jobs_count * self.requests_each)


@dataclass(frozen=True)
class Prediction:
    """From a burst of events to its last worker running, at the worst.

    Parameters
    ----------
    jobs_count
        Events of the burst, each of which wants a worker.
    stages
        They work at the same time, each on what the one before gives it: the slowest sets the pace.
    before_s
        Until KEDA looks: one polling interval.
    after_s
        Of the last pod: until its container runs, a pull included.
    """

    jobs_count: int
    stages: Sequence[Stage]
    before_s: float
    after_s: float

    @property
    def binding(self) -> Stage:
        """The slowest stage."""
        return max(self.stages, key=lambda one: one.seconds(self.jobs_count))

    @property
    def seconds(self) -> float:
        """The whole of it."""
        return self.before_s + self.binding.seconds(self.jobs_count) + self.after_s

    def relieved(self, target_s: float) -> tuple[Limit, float] | None:
        """Give a higher limit for the binding stage, and the seconds that it would leave.

        It is the gentlest of `LADDER` that reaches the target or lets another stage bind; None if there is no higher one.
        """
        found = None
        for limit in (Limit(*one) for one in LADDER if one[0] > self.binding.limit.qps >= 0):
            stages = [Stage(one.name, limit, one.requests_each) if one is self.binding else one for one in self.stages]
            changed = Prediction(self.jobs_count, stages, self.before_s, self.after_s)
            found = (limit, changed.seconds)
            if changed.seconds <= target_s or changed.binding.name != self.binding.name:
                break
        return found


def predict(
    jobs_count: int,
    *,
    keda: Limit,
    controller_manager: Limit,
    scheduler: Limit,
    syncer: Limit | None,
    before_s: float,
    after_s: float,
) -> Prediction:
    """Predict how long a burst takes.

    Parameters
    ----------
    jobs_count
        Events of the burst, from 1 on.
    syncer
        The vCluster syncer's limit towards its host; None: no vCluster.
    before_s, after_s
        As in `Prediction`.

    Notes
    -----
    - KEDA creates the Jobs one after another, one request each (its ScaledJob executor). Measured with 20/30: 189 Jobs in
      8.0 s; (189 - 30) / 20 = 7.95.
    - The Job controller creates a pod and updates the Job's status: two requests of a worker for each Job. Its events go
      out by the same client, from one goroutine beside the 5 workers, so they take a sixth of what passes:
      2 x 6/5 = 2.4 requests. Measured with 20/30: 189 Jobs, last pod after 21 s, 8.9 pods a second;
      (189 x 2.4 - 30) / 20 = 21.2 s. With 300/600 it binds no more, and KEDA's 8 s remain, as measured.
      Deletions of finished Jobs at the same time come on top, and are not in here (measured: 55 s with 189 of them).
    - The scheduler sends one binding a pod; its events have a client of their own.
    - The syncer of a vCluster creates each pod on its host. Its limit there is 40/80 (loft-sh/vcluster, the limits of its
      in-cluster configuration); towards the vCluster it is 1000/2000 and does not count.
    """
    stages = [
        Stage("keda-operator", keda),
        Stage("kube-controller-manager", controller_manager, JOB_REQUESTS),
        *([Stage(SYNCER, syncer)] if syncer else []),
        Stage("kube-scheduler", scheduler),
    ]
    return Prediction(jobs_count, stages, before_s, after_s)


def amount(text: Any) -> float:
    """Give a quantity of Kubernetes as a number: ``10m`` is 0.01, ``16Mi`` is 16777216.

    Raises
    ------
    ValueError
        When it is none.
    """
    found = QUANTITY.fullmatch(str(text))
    if not found or found[2] not in UNITS:
        raise ValueError(f"{text!r} is no quantity")
    return float(found[1]) * UNITS[found[2]]


def amounts(texts: Mapping[str, Any] | None) -> Amounts:
    """Give each quantity as a number. Raises `ValueError` as `amount` does."""
    return {name: amount(text) for name, text in (texts or {}).items()}


def asked_by(spec: Object, kind: str = "requests") -> Amounts:
    """Give what a pod asks for, as the scheduler counts it.

    Containers and sidecars (init containers that stay) together, or the largest other init container, and the overhead.
    A request that is left out is as large as the limit.

    Parameters
    ----------
    spec
        A pod's spec, or that of a pod template.
    kind
        ``requests`` or ``limits``.
    """
    starting = spec.get("initContainers") or []
    staying = [one for one in starting if one.get("restartPolicy") == "Always"]
    asked = _sum(_asked(one, kind) for one in [*(spec.get("containers") or []), *staying])
    for one in starting:
        if one not in staying:
            for name, value in _asked(one, kind).items():
                asked[name] = max(asked.get(name, 0.0), value)
    return _sum([asked, amounts(spec.get("overhead"))])


def _asked(container: Object, kind: str) -> Amounts:
    resources = container.get("resources") or {}
    limits = resources.get("limits") or {}
    return amounts(limits if kind == "limits" else {**limits, **(resources.get("requests") or {})})


def _sum(parts: Iterable[Amounts]) -> Amounts:
    total: Amounts = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0.0) + value
    return total


class Used:
    """What pods take of each node, added up one pod at a time: all pods of a cluster need not be in memory at once."""

    def __init__(self, pods: Iterable[Object] = ()) -> None:
        self._by_node: dict[str, Amounts] = {}
        for pod in pods:
            self._add(pod)

    def _add(self, pod: Object) -> None:
        node = pod.get("spec", {}).get("nodeName")
        if node and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
            self._by_node[node] = _sum([self.of(node), asked_by(pod["spec"]), {"pods": 1.0}])

    def of(self, node: str) -> Amounts:
        """Give what is taken of one node."""
        return self._by_node.get(node, {})


@dataclass(frozen=True)
class Room:
    """For how many workers the nodes have room, on how many nodes, and what there is too little of for one more."""

    workers_count: int
    nodes_count: int
    scarce: str


def room(nodes: Sequence[Object], used: Used, worker: Object) -> Room:
    """Give the room for workers on nodes that are ready and let them in. Raises `ValueError` as `amount` does.

    Parameters
    ----------
    used
        `Used()`: as if the nodes were empty.
    worker
        The spec of its pod. What it may require by affinity is not looked at.
    """
    wanted = {name: value for name, value in {**asked_by(worker), "pods": 1.0}.items() if value > 0}
    count, scarce = 0, dict.fromkeys(wanted, 0)
    fitting = [one for one in nodes if lets_in(one, worker)]
    for node in fitting:
        here, taken = amounts(node.get("status", {}).get("allocatable")), used.of(node["metadata"]["name"])
        # a thousandth of a worker more: 0.3 CPUs hold 3 workers of 0.1, whatever binary fractions say
        fits = {one: math.floor((here.get(one, 0.0) - taken.get(one, 0.0)) / wanted[one] + 1e-3) for one in wanted}
        least = min(fits, key=lambda one: fits[one])
        scarce[least] += 1
        count += max(0, fits[least])
    return Room(count, len(fitting), max(scarce, key=lambda one: scarce[one]))


def lets_in(node: Object, worker: Object) -> bool:
    """Tell whether a node is ready, not cordoned, has the labels that a worker selects, and no taint against it."""
    spec, labels = node.get("spec") or {}, node["metadata"].get("labels") or {}
    conditions = {one["type"]: one["status"] for one in node.get("status", {}).get("conditions") or []}
    if spec.get("unschedulable") or conditions.get("Ready") != "True":
        return False
    if any(labels.get(name) != value for name, value in (worker.get("nodeSelector") or {}).items()):
        return False
    taints = [one for one in spec.get("taints") or [] if one["effect"] in ("NoSchedule", "NoExecute")]
    return all(any(_tolerates(one, taint) for one in worker.get("tolerations") or []) for taint in taints)


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return toleration.get("key") == taint["key"] and (toleration.get("value") or "") == (taint.get("value") or "")


def has_image(node: Object, name: str) -> bool:
    """Tell whether a node says that it has an image. It names its largest fifty at most."""
    return any(name in (one.get("names") or []) for one in node.get("status", {}).get("images") or [])
