"""The one JSON document that every task gives with ``--json``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from typing import Any

from prompt_keda.core.check import CheckResult
from prompt_keda.core.plan import StepResult

SCHEMA = "prompt-keda/2"


def check_to_json(result: CheckResult) -> dict[str, Any]:
    """Give one check's result."""
    return {**asdict(result), "verdict": result.verdict.value, "duration_s": round(result.duration_s, 3)}


def step_to_json(step: StepResult) -> dict[str, Any]:
    """Give one step's result."""
    return {
        "id": step.id,
        "title": step.title,
        "destructive": step.destructive,
        "progress": step.progress.state.value,
        "detail": step.progress.detail,
        "acted": step.acted,
        "duration_s": round(step.duration_s, 3),
    }


def to_text(document: dict[str, Any]) -> str:
    """Return the document as text; control characters are escaped by JSON itself, and what is no number becomes null."""
    return json.dumps(as_plain({"schema": SCHEMA, **document}), indent=1, default=str, allow_nan=False)


def as_plain(value: Any) -> Any:
    """Return a record, and all records in it, as mappings and lists: by its ``to_json``, or else field by field."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if hasattr(value, "to_json"):
        return as_plain(value.to_json())
    if is_dataclass(value):
        return {field.name: as_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: as_plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(inner) for inner in value]
    return value.value if isinstance(value, Enum) else value
