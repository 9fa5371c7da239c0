"""What is saved before a redeploy writes: running Jobs, streams, and KEDA's objects; of Secrets never more than the name."""

from __future__ import annotations

from typing import Any

from prompt_keda.clients.kube.objects import Object, label
from prompt_keda.components.scaled_jobs.objects import PAUSED
from prompt_keda.core.decisions import Decisions
from prompt_keda.core.marks import RUN_ANNOTATION
from prompt_keda.redeploy.inventory import Survey

NOT_KEPT = ("kubectl.kubernetes.io/last-applied-configuration", RUN_ANNOTATION, PAUSED)
"""Annotations of what somebody did to an object, and not of what it is."""


def objects(seen: Survey) -> list[Object]:
    """Give all that stands of KEDA, in a form that can be applied again."""
    live = [one.live for one in (*seen.crds, *seen.parts) if one.live is not None]
    return [clean(one) for one in (*seen.custom, *live) if one["kind"] != "Secret"]


def clean(live: Object) -> Object:
    """Give an object without what the server has written into it: it can be applied again."""
    metadata = live["metadata"]
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key not in NOT_KEPT}
    kept: dict[str, Any] = {key: metadata[key] for key in ("name", "namespace", "labels") if metadata.get(key)}
    if annotations:
        kept["annotations"] = annotations
    content = {key: value for key, value in live.items() if key not in ("metadata", "status")}
    return {**content, "metadata": kept}


def saved(kept: list[Object], decisions: Decisions) -> tuple[Object, ...]:
    """Give those objects of a snapshot that the plan brings back, what others refer to first."""
    wanted = [one for one in kept if label(one) in decisions.saved]
    return tuple(sorted(wanted, key=lambda one: (one["kind"] == "ScaledJob", label(one))))
