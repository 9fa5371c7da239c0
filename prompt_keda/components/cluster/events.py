"""Kubernetes' Events: what its parts report of Jobs and pods that are stuck."""

from __future__ import annotations

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import EVENTS
from prompt_keda.clients.systems import Systems

LONGEST = 200
"""More of a message is not shown, in characters."""


def events_of(systems: Systems, namespace: str, kind: str, only_warnings: bool = True) -> list[Object]:
    """Return the Events about a kind of objects in a namespace, the newest last, read once. Raises as `Kube.each` does."""
    selector = f"involvedObject.kind={kind}" + (",type=Warning" if only_warnings else "")

    def read() -> list[Object]:
        return sorted(systems.kube.each(EVENTS, namespace, field_selector=selector), key=last_seen)

    return systems.keep(f"events {namespace} {selector}", read)


def newest_warnings(systems: Systems, namespace: str) -> dict[str, Object]:
    """Return the newest warning about each pod, by the pod's UID. Raises as `events_of` does."""
    return {event["involvedObject"].get("uid", ""): event for event in events_of(systems, namespace, "Pod")}


def last_seen(event: Object) -> str:
    """Return when an Event happened last; the API server's times sort as texts."""
    series = event.get("series") or {}
    stamps = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return str(next((stamp for stamp in stamps if stamp), event["metadata"]["creationTimestamp"]))


def words_of(event: Object) -> str:
    """Return an Event's reason and message, in one line that is not too long."""
    message = " ".join(str(event.get("message", "no reason given")).split())
    return f"{event.get('reason', 'no reason')}: {message[:LONGEST]}"
