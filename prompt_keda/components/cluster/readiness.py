"""Is a Deployment available, and why is a pod not ready?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

DENIED = ("401", "403", "unauthorized", "denied", "not found", "no basic auth")
"""Parts of containerd's messages for an image that no waiting brings."""
KNOWN_RESTARTS = 1
"""A fresh KEDA operator exits once for its certificates (failure mode F11)."""


@dataclass(frozen=True)
class Reason:
    """Why, in one line.

    Parameters
    ----------
    hopeless
        Waiting cannot mend it.
    crashed
        Pod and container whose last log lines tell more; empty where there are none.
    """

    text: str
    hopeless: bool = False
    crashed: tuple[str, ...] = ()


PATIENCE = timedelta(seconds=30)
"""A pod may start before the kubelet has its pull secret; it is then denied once, and pulls at the next try (seen)."""


def is_available(deployment: dict[str, Any]) -> bool:
    """Tell whether a Deployment's controller has seen its spec, and has as many available pods as that wants, and one."""
    status, metadata, spec = (deployment.get(key) or {} for key in ("status", "metadata", "spec"))
    seen = status.get("observedGeneration") == metadata.get("generation")
    return bool(deployment) and seen and status.get("availableReplicas", 0) >= max(1, spec.get("replicas", 1))


def why_not_ready(pod: dict[str, Any], now: datetime | None = None) -> Reason | None:
    """Give the reason that a pod is not ready; None if it is, or has succeeded."""
    name, status = pod["metadata"]["name"], pod.get("status", {})
    if status.get("phase") == "Succeeded":
        return None
    for container in status.get("containerStatuses") or []:
        waiting = container.get("state", {}).get("waiting") or {}
        if waiting.get("reason") in ("ErrImagePull", "ImagePullBackOff"):
            message = waiting.get("message", "")
            denied = any(word in message.lower() for word in DENIED)
            hopeless = denied and _age(pod, now or datetime.now(UTC)) > PATIENCE
            return Reason(f"{name}: image {container['image']}: {message[:200]}", hopeless)
        if waiting.get("reason") == "CrashLoopBackOff":
            hopeless = container.get("restartCount", 0) > KNOWN_RESTARTS + 1
            crashed = (name, container.get("name", ""))
            return Reason(f"{name}: has crashed {container['restartCount']} times", hopeless, crashed)
        if waiting.get("reason") in ("CreateContainerConfigError", "InvalidImageName"):
            return Reason(f"{name}: {waiting['reason']}: {waiting.get('message', '')[:200]}")
        if waiting:
            return Reason(f"{name}: {waiting.get('reason', 'waiting')}")
        if not container.get("ready") and container.get("state", {}).get("running"):
            return Reason(f"{name}: runs, its readiness probe has not answered yet")
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            return Reason(f"{name}: not scheduled: {condition.get('message', '')[:200]}")
    if status.get("phase") == "Failed":
        return Reason(f"{name}: failed")
    return None if status.get("phase") == "Running" else Reason(f"{name}: {status.get('phase', 'not started')}")


def _age(pod: dict[str, Any], now: datetime) -> timedelta:
    started = pod.get("status", {}).get("startTime")
    return now - datetime.fromisoformat(started) if started else timedelta(0)
