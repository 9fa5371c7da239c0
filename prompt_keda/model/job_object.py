"""What a Job object of Kubernetes says of itself."""

from __future__ import annotations

from typing import Any


def has_condition(job: dict[str, Any], *kinds: str) -> bool:
    """Tell whether one of these conditions is True."""
    conditions = job.get("status", {}).get("conditions") or []
    return any(one["type"] in kinds and one["status"] == "True" for one in conditions)


def is_finished(job: dict[str, Any]) -> bool:
    """Tell whether a Job is Complete or Failed."""
    return has_condition(job, "Complete", "Failed")
