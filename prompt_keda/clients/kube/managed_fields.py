"""Who owns which field of an object, by its managedFields and by what kubectl's apply has left on it.

Source: Kubernetes, "Server-Side Apply" and "Declarative Management of Kubernetes Objects"; client-go/util/csaupgrade; and
sigs.k8s.io/structured-merge-diff, fieldpath/serialize.go: ``f:`` is a field, ``k:`` the entry of a list by its keys, ``v:`` a
value of a set, ``.`` the thing itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from prompt_keda.clients.kube.objects import Object

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
EMPTY: tuple[Any, ...] = (None, "", [], {})
Entries = Iterator[tuple[str, Any, Any, Any]]
"""Of what a manager owns: the path, what it owns below, and what is wanted and what stands there."""


def appliers(live: Object) -> list[str]:
    """Return who has applied an object server-side, sorted; its status and other subresources aside."""
    return sorted({str(entry.get("manager")) for entry in _applied(live)})


def no_longer_wanted(wanted: Object, live: Object, field_manager: str) -> str | None:
    """Return the path of a field that a manager has once applied, and does not want any more; None: there is none.

    It stays until that manager applies the object without it.
    """
    for entry in _applied(live):
        if entry.get("manager") == field_manager:
            return _unwanted(_managed, entry.get("fieldsV1") or {}, wanted, live)
    return None


def last_applied_and_unwanted(wanted: Object, live: Object) -> str | None:
    """Return the path of a field that was applied client-side, and is not wanted any more; None: there is none.

    Argo CD, without server-side apply, compares with that. Its managedFields would not show it: an update owns the server's
    defaults as well.
    """
    try:
        applied = json.loads((live["metadata"].get("annotations") or {})[LAST_APPLIED])
    except (KeyError, TypeError, ValueError):
        return None
    if not isinstance(applied, dict):
        return None
    metadata = applied.get("metadata")
    marks = {key: _entry(metadata, key) for key in ("labels", "annotations")}
    content = {key: value for key, value in applied.items() if key not in ("metadata", "status")}
    return _unwanted(_last_applied, {**content, "metadata": marks}, wanted, live)


def updates_as_applied(live: Object, field_manager: str) -> Object | None:
    """Return the patch by which a manager has applied server-side what it had updated; None: it has updated nothing.

    Without it, what it drops when it applies would stay: the same name with ``Update`` is another owner.
    """
    entries = live["metadata"].get("managedFields") or []
    own = [entry for entry in entries if entry.get("manager") == field_manager and not entry.get("subresource")]
    updated = [entry for entry in own if entry.get("operation") == "Update"]
    if not updated or len({entry.get("apiVersion") for entry in own}) > 1:
        return None
    fields: Object = {}
    for entry in own:
        fields = _union(fields, entry.get("fieldsV1") or {})
    applied = {**updated[0], "operation": "Apply", "fieldsV1": fields}
    return {"metadata": {"managedFields": [*(entry for entry in entries if entry not in own), applied]}}


def _union(fields: Object, more: Object) -> Object:
    return {**fields, **{key: _union(fields.get(key, {}), below) for key, below in more.items()}}


def _last_applied(applied: Any, wanted: Any, live: Any, where: str) -> Entries:
    if isinstance(applied, dict) and isinstance(live, dict):
        for key, value in applied.items():
            if value not in EMPTY:
                yield f"{where}.{key}".lstrip("."), value, _entry(wanted, key), _entry(live, key)
    elif isinstance(applied, list) and isinstance(live, list) and isinstance(wanted, list):
        for index, (value, mine, theirs) in enumerate(zip(applied, wanted, live, strict=False)):
            if value not in EMPTY:
                yield f"{where}[{index}]", value, mine, theirs


def _applied(live: Object) -> Iterator[Object]:
    for entry in live["metadata"].get("managedFields") or []:
        if entry.get("operation") == "Apply" and not entry.get("subresource"):
            yield entry


def _managed(fields: Object, wanted: Any, live: Any, where: str) -> Entries:
    for key, below in fields.items():
        kind, _, name = key.partition(":")
        if kind == "f":
            yield f"{where}.{name}".lstrip("."), below, _entry(wanted, name), _entry(live, name)
        elif kind == "k":
            keys = json.loads(name)
            yield f"{where}[{name}]", below, _item(wanted, keys, True), _item(live, keys)


def _unwanted(entries: Callable[..., Entries], owned: Any, wanted: Any, live: Any, where: str = "") -> str | None:
    """Return the path of the first entry of what is owned that stands, and is not wanted; None: there is none."""
    for path, below, mine, theirs in entries(owned, wanted, live, where):
        if theirs in EMPTY:
            continue
        if mine is None:
            return path
        if (deeper := _unwanted(entries, below, mine, theirs, path)) is not None:
            return deeper
    return None


def _entry(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _item(entries: Any, keys: dict[str, Any], has_defaults: bool = False) -> Any:
    """Return the entry of a list with these keys; where the server has filled in one of them, its source lacks it."""
    allowed = (None,) if has_defaults else ()
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and all(entry.get(key) in (value, *allowed) for key, value in keys.items()):
            return entry
    return None
