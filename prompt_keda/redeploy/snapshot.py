"""What is saved before a redeploy writes: running Jobs, streams, and KEDA's objects; of Secrets never more than the name."""

from __future__ import annotations

import re
from typing import Any

from prompt_keda.clients.kube.managed_fields import LAST_APPLIED
from prompt_keda.clients.kube.objects import Object, label
from prompt_keda.components.scaled_jobs.objects import PAUSED
from prompt_keda.core.decisions import Decisions
from prompt_keda.core.marks import RUN_ANNOTATION
from prompt_keda.redeploy.inventory import Inventory

NOT_KEPT = (LAST_APPLIED, RUN_ANNOTATION, PAUSED)
"""Annotations of what somebody did to an object, and not of what it is."""


SECRET_NAME = re.compile(r"(?i)(passw|passphrase|secret|token|credential|api_?key)")
NO_SECRET = re.compile(r"(?i)(name|ref|fromenv|file|path|mount|key)$")
"""Names that end like this say where a secret is."""
IN_ADDRESS = re.compile(r"(://[^/@\s:]*):[^/@\s]+@")
OPTION = re.compile(r"(?i)(--?[\w-]*(?:passw|secret|token)[\w-]*)([= ])\S+")
LEFT_OUT = "(left out)"


def objects(inventory: Inventory) -> list[Object]:
    """Return all that stands of KEDA, in a form that can be applied again."""
    live = [part.live for part in (*inventory.crds, *inventory.parts) if part.live is not None]
    return [clean(obj) for obj in (*inventory.custom, *live) if obj["kind"] != "Secret"]


def clean(live: Object) -> Object:
    """Return an object without what the server has written into it: it can be applied again."""
    metadata = live["metadata"]
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key not in NOT_KEPT}
    kept: dict[str, Any] = {key: metadata[key] for key in ("name", "namespace", "labels") if metadata.get(key)}
    if annotations:
        kept["annotations"] = annotations
    content = {key: value for key, value in live.items() if key not in ("metadata", "status")}
    return {**content, "metadata": kept}


def to_keep(objects: list[Object], decisions: Decisions) -> list[Object]:
    """Return what the snapshot's file keeps: no value that looks like a password, but in what comes back from there alone."""
    return [obj if label(obj) in decisions.saved else without_open_secrets(obj) for obj in objects]


def without_open_secrets(value: Any, name: str = "") -> Any:
    """Return an object without the values that stand openly where a password should be a reference to a Secret.

    By their names, as variables (``name`` and ``value``) and as fields have them; in texts, what stands in an address or
    behind an option of a command.
    """
    if isinstance(value, dict):
        own = str(value.get("name", ""))
        return {key: without_open_secrets(inner, own if key == "value" else key) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_open_secrets(inner) for inner in value]
    if not isinstance(value, str) or not value:
        return value
    if SECRET_NAME.search(name) and not NO_SECRET.search(name):
        return LEFT_OUT
    value = IN_ADDRESS.sub(rf"\1:{LEFT_OUT}@", value)
    return OPTION.sub(
        lambda option: option[0] if NO_SECRET.search(option[1]) else f"{option[1]}{option[2]}{LEFT_OUT}", value
    )


def saved(kept: list[Object], decisions: Decisions) -> tuple[Object, ...]:
    """Return those objects of a snapshot that the plan brings back, what others refer to first."""
    wanted = [obj for obj in kept if label(obj) in decisions.saved]
    return tuple(sorted(wanted, key=lambda obj: (obj["kind"] == "ScaledJob", label(obj))))
