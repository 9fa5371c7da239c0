"""Pods that nobody takes care of: no scheduler, no kubelet, or a vCluster's syncer that stands still (failure mode F30)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from prompt_keda.checks.cluster_nodes import nodes_lost
from prompt_keda.checks.outcomes import fail, look_at, ok, skipped, unknown, warn, worst_of
from prompt_keda.clients.kube_resources import PODS
from prompt_keda.clients.systems import Systems
from prompt_keda.model.check import Outcome

Object = dict[str, Any]
PATIENCE = timedelta(seconds=30)
"""Scheduler and kubelet take a second for a pod, a burst of a thousand some seconds more."""


def pods_get_going(systems: Systems) -> Outcome:
    """Is there a pod of Prompt KEDA that nobody has scheduled, begun or stopped for half a minute?

    What is on a node that is not ready is left out: cluster/nodes-ready tells of that one.
    """
    lost = nodes_lost(systems)
    count, seen = 0, []
    for namespace in _namespaces(systems):
        for pod in systems.kube.list(PODS, namespace):
            count += 1
            if pod["spec"].get("nodeName") not in lost:
                seen.append(look_at(f"{namespace}/{pod['metadata']['name']}", pod, _look))
    if not count:
        return unknown("there is no pod at all by which to tell", "KEDA and Redis have some: look at their checks.")
    if not seen:
        return skipped("all pods are on nodes that are not ready")
    return worst_of(seen, f"{count} pods, none is left alone")


def _namespaces(systems: Systems) -> list[str]:
    environment = systems.environment
    workers = {one.namespace for one in environment.instruments}
    return sorted({environment.keda.namespace, environment.redis.namespace, *workers})


def _look(pod: Object) -> Outcome:
    metadata, status, node = pod["metadata"], pod.get("status", {}), pod["spec"].get("nodeName")
    name = f"{metadata['namespace']}/{metadata['name']}"
    scheduled = {one["type"]: one for one in status.get("conditions") or []}.get("PodScheduled", {})
    if status.get("phase") in ("Succeeded", "Failed"):
        return ok(name)
    if "deletionTimestamp" in metadata:
        late = _since(metadata["deletionTimestamp"])
        fix = f"Look at the kubelet of {node}; in a vCluster, at its syncer."
        return fail(f"{name} should have stopped {late.seconds} s ago", fix) if late > PATIENCE else ok(name)
    if not node:
        return _not_scheduled(name, _since(metadata["creationTimestamp"]), scheduled)
    begun = status.get("containerStatuses") or status.get("initContainerStatuses")
    age = _since(scheduled.get("lastTransitionTime") or metadata["creationTimestamp"])
    if begun or age <= PATIENCE:
        return ok(name)
    said = f"{name} is on {node} for {age.total_seconds():.0f} s, and no container is begun"
    return fail(f"{said}: kubelet or syncer suspect", f"Look at the kubelet of {node}; in a vCluster, at its syncer.")


def _not_scheduled(name: str, age: timedelta, scheduled: Object) -> Outcome:
    if age <= PATIENCE:
        return ok(name)
    waits = f"{name} waits for {age.total_seconds():.0f} s"
    if scheduled.get("status") == "False":
        said = f"{scheduled.get('reason', 'no reason')}: {scheduled.get('message', '')}"
        return warn(f"{waits}, says the scheduler: {said}", "Make room, or wait until other pods end.")
    fix = "Look at the scheduler; in a vCluster, at its syncer: the API server alone answers."
    return fail(f"{waits} and has neither a node nor a word of the scheduler: scheduler or syncer suspect", fix)


def _since(stamp: str) -> timedelta:
    return datetime.now(UTC) - datetime.fromisoformat(stamp.replace("Z", "+00:00"))
