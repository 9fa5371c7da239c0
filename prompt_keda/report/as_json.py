"""The one JSON document that every task gives with ``--json``."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

SCHEMA = "prompt-keda/2"


@dataclass(frozen=True)
class Began:
    """When a task began, by both clocks."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    at_s: float = field(default_factory=time.monotonic)


def document(task: str, environment: str, exit_code: int, began: Began, parts: Mapping[str, Any]) -> str:
    """Return a task's document; control characters are escaped by JSON itself, and what is no number becomes null."""
    head = {
        "schema": SCHEMA,
        "task": task,
        "environment": environment,
        "exit_code": exit_code,
        "started_at": began.at.isoformat(),
        "duration_s": round(time.monotonic() - began.at_s, 3),
    }
    return json.dumps(as_plain({**head, **parts}), indent=1, default=str, allow_nan=False)


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


class WithoutNone:
    """A record whose JSON leaves out what is None."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {key: as_plain(value) for key, value in values.items() if value is not None}
