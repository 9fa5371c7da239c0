"""Room in a vCluster: its host cannot be seen from inside, so what its owners state stands in (decision 0010)."""

from __future__ import annotations

from prompt_keda.clients.kube.resources import PODS
from prompt_keda.clients.systems import Systems
from prompt_keda.core.errors import Unfilled
from prompt_keda.environment.model import FillIn

KEY = "capacity.host_workers_count"
WANTED = "for how many workers the vCluster's host keeps room; its owners know"
STATED = "as the environment states; not seen"


def stated_workers(systems: Systems) -> int:
    """Give for how many workers of all instruments the host keeps room.

    Raises
    ------
    Unfilled
        When the environment does not say so.
    """
    stated = systems.environment.capacity.host_workers_count
    if stated is None or isinstance(stated, FillIn):
        raise Unfilled(f"{KEY}, and a vCluster shows neither all nodes nor what others use of them", WANTED)
    return stated


def room_left(systems: Systems) -> int:
    """Give for how many more workers the host has room: what is stated, less the pods that have not ended.

    Raises as `stated_workers` and `Kube.each` do.
    """
    namespaces = sorted({instrument.namespace for instrument in systems.environment.instruments})
    pods = (pod for namespace in namespaces for pod in systems.kube.each(PODS, namespace))
    there = sum(1 for pod in pods if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"))
    return max(0, stated_workers(systems) - there)
