"""Pods that do not start: nobody takes care of them (failure mode F30), or something that they need is missing."""

from __future__ import annotations

from datetime import timedelta

from prompt_keda.clients.kube.conditions import conditions
from prompt_keda.clients.kube.in_vcluster import OWNERS
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import PODS
from prompt_keda.clients.systems import Systems
from prompt_keda.components.cluster.clock import age
from prompt_keda.components.cluster.events import newest_warnings, words_of
from prompt_keda.components.cluster.nodes import nodes_lost
from prompt_keda.components.cluster.vcluster import SYNC_ERROR, in_a_vcluster, sync_fix
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.errors import ClientError
from prompt_keda.core.outcomes import fail, look_at, ok, skipped, unknown, warn, worst_of

PATIENCE = timedelta(seconds=30)
"""Scheduler and kubelet take a second for a pod, a burst of a thousand some seconds more."""
CANNOT_START = {
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImageInspectError",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
}
"""Reasons of a kubelet for a container that it tries to start, and cannot (Kubernetes, pkg/kubelet: images, container)."""
IS_MADE = ("ContainerCreating", "PodInitializing")
"""Reasons of a kubelet for a container whose pod it prepares: volumes, sandbox, image."""
LONG = timedelta(minutes=2)
"""A pull of some gigabytes takes minutes, and nobody warns of it."""
FIXES = (
    ("forbidden", "An admission policy or webhook denies it: ask who made it to revert it."),
    ("sandbox", "Look at the container runtime and the network plugin of node {node}."),
    ("persistentvolumeclaim", "Look at the claim: kubectl -n {space} get pvc. A volume or a storage class is missing."),
    ("volume", "Create what the volume names, or correct it: kubectl -n {space} get configmap,secret,pvc"),
    ("mount", "Create what the volume names, or correct it: kubectl -n {space} get configmap,secret,pvc"),
    ("image", "Look at the image, its pull secret, and the registry."),
    ("insufficient", "Make room, or wait until other pods end."),
    ("taint", "No node takes such pods: look at the nodes' taints, and at the workers' tolerations."),
    ("affinity/selector", "No node takes such pods: look at the nodes' labels, and at the workers' nodeSelector."),
)
"""A part of what a warning says, in small letters → what to do about it; the first that fits."""
NOT_ROOM = ("persistentvolumeclaim", "forbidden")
"""What the scheduler says of a pod that waits for no room: it will not pass by itself."""


@check(
    "cluster/pods-start",
    "Every pod is scheduled and its containers start",
    needs=("cluster/api-answers",),
    runbook="cluster-degraded",
)
def pods_start(systems: Systems) -> Outcome:
    """Look for pods of KEDA, Redis and the workers that for 30 s have neither a node nor a word of the scheduler, that
    have a node and no begun container, a container that the kubelet cannot start (image, pull secret, Secret or
    ConfigMap, a volume), or that should have stopped; the newest warning of such a pod is shown. What is on a node that
    is not ready is left to cluster/nodes-ready.

    Cause: FAIL: the scheduler, a kubelet or the vCluster's syncer stands still, though the API server answers
    (F30), a vCluster's syncer says why its host does not make the pod (quota,
    admission), or the kubelet or the scheduler says what a pod lacks: a volume, a claim, a sandbox, an image, or that
    binding it is denied. WARN: the scheduler says that there is no room.

    Fix: The result names which of them.

    Notes
    -----
    What is on a node that is not ready is left out: cluster/nodes-ready reports that one.
    """
    lost = nodes_lost(systems)
    count, outcomes = 0, []
    for namespace in _namespaces(systems):
        for pod in systems.kube.each(PODS, namespace):
            count += 1
            if pod["spec"].get("nodeName") not in lost:
                name = f"{namespace}/{pod['metadata']['name']}"
                outcomes.append(look_at(name, pod, lambda pod: _look(systems, pod)))
    if not count:
        return unknown("there is no pod at all to judge by", "KEDA and Redis have some: look at their checks.")
    if not outcomes:
        return skipped("all pods are on nodes that are not ready")
    return worst_of(outcomes, f"{count} pods, none is left alone")


def _namespaces(systems: Systems) -> list[str]:
    environment = systems.environment
    workers = {instrument.namespace for instrument in environment.instruments}
    return sorted({environment.keda.namespace, environment.redis.namespace, *workers})


def _look(systems: Systems, pod: Object) -> Outcome:
    metadata, status, node = pod["metadata"], pod.get("status", {}), pod["spec"].get("nodeName")
    name = f"{metadata['namespace']}/{metadata['name']}"
    scheduled = conditions(pod).get("PodScheduled", {})
    if status.get("phase") in ("Succeeded", "Failed"):
        return ok(name)
    if "deletionTimestamp" in metadata:
        late = age(systems, metadata["deletionTimestamp"])
        fix = f"Look at the kubelet of {node}; in a vCluster, at its syncer."
        message = f"{name} should have stopped {late.total_seconds():.0f} s ago"
        return fail(message, fix) if late > PATIENCE else ok(name)
    if not node:
        return _not_scheduled(systems, pod, name, scheduled)
    here = age(systems, scheduled.get("lastTransitionTime") or metadata["creationTimestamp"])
    if here <= PATIENCE:
        return ok(name)
    message = f"{name} is on {node} for {here.total_seconds():.0f} s"
    statuses = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    if not statuses:
        fix = f"Look at the kubelet of {node}; in a vCluster, at its syncer."
        return fail(f"{message}, and no container is begun: kubelet or syncer suspect", fix)
    return _cannot_start(message, statuses) or _is_not_made(systems, pod, message, here, statuses) or ok(name)


def _cannot_start(message: str, statuses: list[Object]) -> Outcome | None:
    for status in statuses:
        waiting = (status.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in CANNOT_START:
            why = f"{waiting['reason']}: {waiting.get('message', 'no reason given')}"
            fix = (
                "Correct what it names: the image, the pull secret, or the Secret or ConfigMap that the container uses."
            )
            return fail(f"{message}, and container {status.get('name')} cannot start: {why}", fix)
    return None


def _is_not_made(
    systems: Systems, pod: Object, message: str, here: timedelta, statuses: list[Object]
) -> Outcome | None:
    """Return what keeps a pod from its first container, by the newest warning of it; None if one has begun."""
    waiting = [((status.get("state") or {}).get("waiting") or {}).get("reason") for status in statuses]
    if any(reason not in IS_MADE for reason in waiting):
        return None
    metadata, node = pod["metadata"], pod["spec"]["nodeName"]
    try:
        event = newest_warnings(systems, metadata["namespace"]).get(metadata["uid"])
    except ClientError as error:
        return fail(f"{message}, and no container has begun; why cannot be read: {error.what}", error.fix)
    if event is not None:
        why = words_of(event)
        return fail(f"{message}, and no container has begun: {why}", _fix(why, metadata["namespace"], node))
    if here <= LONG:
        return None
    fix = f"It may pull its image: kubectl -n {metadata['namespace']} describe pod {metadata['name']}"
    return warn(f"{message}, no container has begun, and nobody warns of anything", fix)


def _fix(why: str, space: str, node: str | None) -> str:
    for part, fix in FIXES:
        if part in why.lower():
            return fix.format(space=space, node=node)
    return f"Correct what it names; all of it: kubectl -n {space} describe pod"


def _not_scheduled(systems: Systems, pod: Object, name: str, scheduled: Object) -> Outcome:
    waiting = age(systems, pod["metadata"]["creationTimestamp"])
    if waiting <= PATIENCE:
        return ok(name)
    waits = f"{name} waits for {waiting.total_seconds():.0f} s"
    if scheduled.get("status") == "False":
        message = f"{scheduled.get('reason', 'no reason')}: {scheduled.get('message', '')}"
        outcome = fail if any(word in message.lower() for word in NOT_ROOM) else warn
        return outcome(f"{waits}, says the scheduler: {message}", _fix(message, name.partition("/")[0], None))
    if words := _sync_error(systems, pod):
        return fail(f"{waits}, and its host does not make it: {words}", sync_fix(words))
    message = f"{waits} and has neither a node nor a word of the scheduler"
    if in_a_vcluster(systems):
        fix = f"{OWNERS}: the syncer answers, but cannot work its host (its API server, rights there), or is behind."
        return fail(f"{message}: the vCluster's host suspect", fix)
    return fail(f"{message}: scheduler suspect", "Look at the scheduler.")


def _sync_error(systems: Systems, pod: Object) -> str:
    """Return why a vCluster's syncer could not make a pod on its host, in its own words; empty: it has said nothing of it."""
    metadata = pod["metadata"]
    try:
        event = newest_warnings(systems, metadata["namespace"]).get(metadata["uid"], {})
    except ClientError:
        return ""
    return words_of(event) if event.get("reason") == SYNC_ERROR else ""
