"""Why is a pod not ready?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from prompt_keda.clients.kube.objects import Object

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
        Waiting cannot fix it.
    crashed
        Pod and container whose last log lines say more; empty where there are none.
    """

    text: str
    hopeless: bool = False
    crashed: tuple[str, ...] = ()


PATIENCE = timedelta(seconds=30)
"""A pod may start before the kubelet has its pull secret; it is then denied once, and pulls at the next try (seen)."""


def worst_reason(pods: Iterable[Object], now: datetime) -> Reason | None:
    """Return why one of some pods is not ready: a hopeless reason before all others; None if all are.

    Parameters
    ----------
    now
        By the API server's clock.
    """
    reasons = [why for pod in pods if (why := why_not_ready(pod, now))]
    return next((why for why in reasons if why.hopeless), reasons[0] if reasons else None)


def why_not_ready(pod: Object, now: datetime) -> Reason | None:
    """Return the reason that a pod is not ready; None if it is, or has succeeded. ``now``: as in `worst_reason`."""
    name, status = pod["metadata"]["name"], pod.get("status", {})
    if status.get("phase") == "Succeeded":
        return None
    for container in status.get("containerStatuses") or []:
        waiting = container.get("state", {}).get("waiting") or {}
        if waiting.get("reason") in ("ErrImagePull", "ImagePullBackOff"):
            message = waiting.get("message", "")
            denied = any(word in message.lower() for word in DENIED)
            hopeless = denied and _age(pod, now) > PATIENCE
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


def _age(pod: Object, now: datetime) -> timedelta:
    started = pod.get("status", {}).get("startTime")
    return now - datetime.fromisoformat(started) if started else timedelta(0)
