"""What one pod takes of a ResourceQuota, as the API server counts."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from prompt_keda.clients.kube.objects import Object
from prompt_keda.components.capacity.pod_room import asked_by

PODS = ("pods", "count/pods")
COMPUTE = {name: ("requests", name) for name in ("cpu", "memory", "ephemeral-storage")}
COMPUTE |= {f"{kind}.{name}": (kind, name) for kind in ("requests", "limits") for name in tuple(COMPUTE)}
"""What a quota counts → whether it is the pods' requests or limits, and of what."""
TO_BE_NAMED = ("cpu", "memory")
"""What every container has to name where a quota counts it (Kubernetes, quota evaluator of pods, validationSet)."""
FOR_PODS, FOR_OTHERS = {"NotTerminating", "NotBestEffort"}, {"Terminating", "BestEffort"}
"""Scopes; workers and KEDA's pods have no maximum run time, and ask for something."""


def takes(what: str, ranges: list[Object], pod: Object) -> tuple[Decimal, str]:
    """Return what one pod takes of a quota, and which container of it names none though it has to; empty: each does.

    Parameters
    ----------
    what
        What the quota counts: one of `PODS` or of `COMPUTE`.
    ranges
        All LimitRanges of the namespace.
    pod
        Its spec.

    Raises
    ------
    ValueError
        When an amount cannot be read.
    """
    if what in PODS:
        return Decimal(1), ""
    kind, resource = COMPUTE[what]
    filled = with_defaults(pod, ranges)
    if resource in TO_BE_NAMED and not filled.get("resources"):  # those of the whole pod stand for all its containers
        for container in containers(filled):
            if resource not in asked_by({"containers": [container]}, kind):
                return Decimal(0), f"container {container.get('name', '?')}"
    return asked_by(filled, kind).get(resource, Decimal(0)), ""


def containers(pod: Object) -> Iterator[Object]:
    """Yield the containers of a pod's spec, those that come first among them."""
    for part in ("initContainers", "containers"):
        yield from pod.get(part) or []


def with_defaults(pod: Object, ranges: list[Object]) -> Object:
    """Return a pod's spec with what LimitRanges fill in where a container names nothing (admission plugin LimitRanger)."""
    defaults: dict[str, Object] = {"default": {}, "defaultRequest": {}}
    for limits in ranges:
        for limit in limits.get("spec", {}).get("limits") or []:
            for key in defaults:
                if limit["type"] == "Container":
                    defaults[key] = {**(limit.get(key) or {}), **defaults[key]}

    def filled(container: Object) -> Object:
        own = container.get("resources") or {}
        limits, requests = own.get("limits") or {}, own.get("requests") or {}
        requests = {**defaults["defaultRequest"], **limits, **requests}  # a limit is its request, before any default
        return {**container, "resources": {"limits": {**defaults["default"], **limits}, "requests": requests}}

    parts = ("initContainers", "containers")
    return {**pod, **{part: [filled(container) for container in pod.get(part) or []] for part in parts}}
