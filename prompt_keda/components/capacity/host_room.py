"""Where workers come, and what is left there: on the nodes; in a vCluster on its host's, or what that one's owners state.

A vCluster's host cannot be seen from inside. A login of its own sees it, where the environment names one that may list the
host's nodes and pods; else what its owners state stands in (decision 0010).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import NODES, PODS
from prompt_keda.clients.systems import Systems
from prompt_keda.components.capacity.pod_room import Free
from prompt_keda.components.cluster.vcluster import MANAGED, NAMESPACE, in_a_vcluster
from prompt_keda.core.errors import BadAnswer, Refused, Unfilled
from prompt_keda.environment.model import FillIn, HostCluster

KEY = "capacity.host_workers_count"
WANTED = "for how many workers the vCluster's host keeps room; its owners know. Or name the host: kubernetes.host"
STATED = "as the environment states; not seen"
NOT_ALL_SEEN = (
    "as the environment states; the host's nodes and pods may not be listed: environments/rbac/vcluster-host.yaml"
)
CORRECT = "Correct it where it comes from."


WHERE_THEY_RUN = ("nodeSelector", "tolerations", "affinity")


@dataclass(frozen=True)
class Ground:
    """The nodes that workers come onto, and what pods leave of them.

    Parameters
    ----------
    where
        What stands behind a number of nodes; empty: they are the cluster's own.
    made
        On a host: for each namespace inside the spec of a pod of it, as the syncer has made it.
    """

    nodes: list[Object]
    free: Free
    where: str = ""
    made: Mapping[str, Object] = field(default_factory=dict)

    def worker_there(self, namespace: str, worker: Object) -> Object:
        """Return a worker's spec with what decides where it may run there: a syncer may add to it, and its pods show that."""
        spec = self.made.get(namespace, {})
        return {**worker, **{key: spec[key] for key in WHERE_THEY_RUN if key in spec}}


def ground_of(systems: Systems, at_most: bool = False) -> Ground | None:
    """Return where workers come; None: in a vCluster whose host is not seen, or not all that is needed.

    Parameters
    ----------
    at_most
        Whether what could be had counts: all of the cluster's own nodes; on a host what all but the workers leave.

    Raises
    ------
    BadAnswer
        When an amount cannot be read.
    PromptKedaError
        As `Kube.each` does.
    """
    if not in_a_vcluster(systems):
        nodes = systems.kube.list(NODES)
        return Ground(nodes, _left_by(systems.kube, nodes, () if at_most else systems.kube.each(PODS)))
    host, settings = systems.host, systems.environment.kubernetes.host
    if host is None or settings is None:
        return None
    workers = {instrument.namespace for instrument in systems.environment.instruments} if at_most else set()
    made: dict[str, Object] = {}

    def pods() -> Iterator[Object]:
        for pod in host.each(PODS):
            namespace = _namespace_inside(settings, pod)
            if namespace is not None:
                made[namespace] = pod["spec"]
            if namespace not in workers:
                yield pod

    try:
        nodes = host.list(NODES)
        return Ground(nodes, _left_by(host, nodes, pods()), " of the host", made)
    except Refused:
        return None


def _left_by(kube: Kube, nodes: list[Object], pods: Iterable[Object]) -> Free:
    try:
        return Free(nodes, pods)
    except ValueError as error:
        raise BadAnswer("Kubernetes", kube.address, f"an amount cannot be read: {error}", CORRECT) from error


def _namespace_inside(settings: HostCluster, pod: Object) -> str | None:
    """Return in which namespace inside a pod of the host is; None: it is none of the vCluster's."""
    metadata = pod["metadata"]
    if metadata.get("namespace") != settings.namespace or (metadata.get("labels") or {}).get(MANAGED) != settings.name:
        return None
    namespace: str | None = (metadata.get("annotations") or {}).get(NAMESPACE)
    return namespace


def stated_workers(systems: Systems) -> int:
    """Return for how many workers of all instruments the host keeps room.

    Raises
    ------
    Unfilled
        When the environment does not say so.
    """
    stated = systems.environment.capacity.host_workers_count
    if stated is None or isinstance(stated, FillIn):
        raise Unfilled(f"{KEY}, and a vCluster shows neither all nodes nor what others use of them", WANTED)
    return stated


def as_stated(systems: Systems) -> str:
    """Return how it is known what `stated_workers` gives: by whose word, and what would be seen instead."""
    return STATED if systems.environment.kubernetes.host is None else NOT_ALL_SEEN


def room_left(systems: Systems) -> int:
    """Return for how many more workers the host has room: what is stated, less the pods that have not ended.

    Raises as `stated_workers` and `Kube.each` do.
    """
    namespaces = sorted({instrument.namespace for instrument in systems.environment.instruments})
    pods = (pod for namespace in namespaces for pod in systems.kube.each(PODS, namespace))
    there = sum(1 for pod in pods if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"))
    return max(0, stated_workers(systems) - there)
