"""Secrets that a fault takes away, and puts back as they were."""

from __future__ import annotations

from typing import Any

from prompt_keda.clients.kube_resources import SECRETS
from prompt_keda.faults.fault import Stage

_kept: dict[tuple[str, str], dict[str, Any]] = {}


def take(stage: Stage, name: str, namespace: str) -> None:
    """Delete a Secret, and keep it in memory. Idempotent: yes."""
    found = stage.kube.find(SECRETS, name, namespace)
    if found:
        _kept[namespace, name] = found
        stage.kube.delete(SECRETS, name, namespace)


def put_back(stage: Stage, name: str, namespace: str) -> None:
    """Make what was taken anew, unless somebody else has. Idempotent: yes."""
    kept = _kept.pop((namespace, name), None)
    if kept and stage.kube.find(SECRETS, name, namespace) is None:
        metadata = {key: kept["metadata"][key] for key in ("name", "namespace", "labels") if key in kept["metadata"]}
        body = {**{key: kept[key] for key in ("apiVersion", "kind", "type", "data")}, "metadata": metadata}
        stage.kube.create(SECRETS, body, namespace)
