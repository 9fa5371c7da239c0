"""Who owns which field of an object, by its managedFields.

Source: Kubernetes, "Server-Side Apply", and sigs.k8s.io/structured-merge-diff, fieldpath/serialize.go: ``f:`` is a field,
``k:`` the entry of a list by its keys, ``v:`` a value of a set, ``.`` the thing itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from prompt_keda.clients.kube.objects import Object


def appliers(live: Object) -> list[str]:
    """Return who has applied an object server-side, sorted; its status and other subresources aside."""
    return sorted({str(entry.get("manager")) for entry in _applied(live)})


def no_longer_wanted(wanted: Object, live: Object, field_manager: str) -> str | None:
    """Return the path of a field that a manager has once applied, and does not want any more; None: there is none.

    It stays until that manager applies the object without it.
    """
    for entry in _applied(live):
        if entry.get("manager") == field_manager:
            return _surplus(entry.get("fieldsV1") or {}, wanted, live, "")
    return None


def _applied(live: Object) -> Iterator[Object]:
    for entry in live["metadata"].get("managedFields") or []:
        if entry.get("operation") == "Apply" and not entry.get("subresource"):
            yield entry


def _surplus(fields: Object, wanted: Any, live: Any, where: str) -> str | None:
    for key, below in fields.items():
        kind, _, name = key.partition(":")
        if kind == "f":
            path, mine, theirs = f"{where}.{name}".lstrip("."), _entry(wanted, name), _entry(live, name)
        elif kind == "k":
            keys = json.loads(name)
            path, mine, theirs = f"{where}[{name}]", _item(wanted, keys, True), _item(live, keys)
        else:
            continue
        if theirs in (None, "", [], {}):
            continue
        if mine is None:
            return path
        if (found := _surplus(below, mine, theirs, path)) is not None:
            return found
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
