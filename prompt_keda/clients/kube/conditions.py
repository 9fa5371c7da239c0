"""The conditions in which a Kubernetes object says that it is."""

from __future__ import annotations

from prompt_keda.clients.kube.objects import Object


def conditions(obj: Object) -> dict[str, Object]:
    """Return an object's conditions by type: each has a ``status``, mostly also a ``message``. Empty before the first look."""
    return {condition["type"]: condition for condition in (obj.get("status") or {}).get("conditions") or []}


def has_condition(obj: Object, *kinds: str) -> bool:
    """Return whether one of these conditions is True."""
    states = conditions(obj)
    return any(states[kind]["status"] == "True" for kind in kinds if kind in states)
