"""What can be read off any object of Kubernetes'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Object = dict[str, Any]
"""An object of Kubernetes, or a part of one, as its API has it."""
MOST_NAMED = 3


def is_going(obj: Mapping[str, Any]) -> bool:
    """Return whether an object is being deleted."""
    return "deletionTimestamp" in obj["metadata"]


def label(obj: Object) -> str:
    """Return the name of an object of any kind as people read it: ``Kind namespace/name``."""
    metadata: Object = obj["metadata"]
    where = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    return f"{obj['kind']} {where}{metadata['name']}"


def selector_of(workload: Object) -> str:
    """Return the label selector of a Deployment's pods, as a list of pods takes it; empty if it has none."""
    labels = (workload["spec"].get("selector") or {}).get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in labels.items())


def some(names: Iterable[str], between: str = ", ") -> str:
    """Return the first three of some names, and how many more there are."""
    named = list(names)
    more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    return between.join(named[:MOST_NAMED]) + more
