"""What lives is held against what is wanted, with all fields: also those that nobody wanted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prompt_keda.clients.kube.client import FIELD_MANAGER
from prompt_keda.clients.kube.objects import Object
from prompt_keda.components.compare import Difference, differences, merge_patch
from prompt_keda.components.keda.crd_schema import KEEPS, find_schema, with_defaults

WORKERS, LIFE, READS, SIGHT = (
    "how many workers come",
    "how long they live",
    "what they run and may read",
    "who sees them fail",
)
EFFECTS: tuple[tuple[str, str], ...] = (
    *(
        (f"spec.jobTargetRef.{field}", WORKERS)
        for field in (
            "suspend",
            "parallelism",
            "completions",
            "managedBy",
            "selector",
            "manualSelector",
            "completionMode",
        )
    ),
    *(
        (f"spec.jobTargetRef.{field}", LIFE)
        for field in (
            "activeDeadlineSeconds",
            "podFailurePolicy",
            "successPolicy",
            "podReplacementPolicy",
            "backoffLimit",
        )
    ),
    ("spec.jobTargetRef.maxFailedIndexes", LIFE),
    ("spec.jobTargetRef.ttlSecondsAfterFinished", SIGHT),
    *(
        (f"spec.jobTargetRef.template.spec.{field}", WORKERS)
        for field in (
            *("schedulerName", "schedulingGates", "nodeName", "nodeSelector", "affinity", "topologySpreadConstraints"),
            *("priorityClassName", "preemptionPolicy", "runtimeClassName", "tolerations", "os", "overhead"),
        )
    ),
    *(
        (f"spec.jobTargetRef.template.spec.{field}", LIFE)
        for field in ("activeDeadlineSeconds", "terminationGracePeriodSeconds")
    ),
    ("spec.jobTargetRef.template.spec.restartPolicy", SIGHT),
    ("spec.jobTargetRef", READS),
    *((f"spec.{field}", SIGHT) for field in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit")),
    *((f"spec.{field}", LIFE) for field in ("rollout", "rolloutStrategy")),
    ("spec", WORKERS),
)
"""The beginning of a path → what a value there decides; the first that fits."""
STOPS = (WORKERS, LIFE)


def effect_of(path: str) -> str:
    """Return what a field of a ScaledJob decides."""
    return next(
        (effect for start, effect in EFFECTS if path == start or path.startswith((f"{start}.", f"{start}["))), READS
    )


def drift(crd: Object | None, wanted: Object, live: Object) -> list[Difference]:
    """Return every place in the spec of a live object that is not as wanted.

    Parameters
    ----------
    crd
        Whose schema says what the API server fills in by itself; None: nothing.
    """
    return list(differences(*_specs(crd, wanted, live)))


def exactly(crd: Object | None, wanted: Object, live: Object) -> Object:
    """Return the merge patch that makes the spec of a live object the wanted one, without anything more."""
    patch: Object = merge_patch(*_specs(crd, wanted, live))
    return patch


def _specs(crd: Object | None, wanted: Object, live: Object) -> tuple[Object, Object]:
    version = wanted["apiVersion"].partition("/")[2]
    schema = find_schema(crd, version) if crd else None
    made, there = ({"spec": with_defaults(schema or {KEEPS: True}, obj).get("spec") or {}} for obj in (wanted, live))
    return made, there


def in_words(difference: Difference, live: Object) -> str:
    """Return a difference in words, with who has set the field; of values only numbers and truth values are shown."""
    if difference.live is None:
        return f"{difference.path} is not set"
    is_plain = isinstance(difference.live, bool | int)
    value = f" is {str(difference.live).lower()}" if is_plain else ""
    text = f"{difference.path}{value}"
    text += ", which its source does not have" if difference.is_extra else ("" if is_plain else " is another one")
    managers = sorted({name for name in _managers(live, difference.path) if name != FIELD_MANAGER})
    return f"{text} (set by {', '.join(managers)})" if managers else text


def _managers(live: Object, path: str) -> Iterator[str]:
    """Yield who owns a field, by the object's managedFields; fields inside lists are named by their list."""
    steps = path.partition("[")[0].split(".")
    for entry in live["metadata"].get("managedFields") or []:
        fields: Any = entry.get("fieldsV1") or {}
        for step in steps:
            fields = fields.get(f"f:{step}") if isinstance(fields, dict) else None
        if fields is not None:
            yield str(entry.get("manager", ""))
