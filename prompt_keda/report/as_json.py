"""The one JSON document that every task gives with ``--json``."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
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
    return json.dumps(_finite({"schema": SCHEMA, **document}), indent=1, default=str, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value
