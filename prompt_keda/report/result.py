"""What a task gives."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from prompt_keda.core.check import CheckResult
from prompt_keda.report import as_json


@dataclass
class Result:
    """What a task gives: an exit code, a header, and the parts of its JSON document, which are records or hold some."""

    task: str
    environment: str
    exit_code: int = 0
    header: str = ""
    parts: Any = field(default_factory=dict)
    checks: list[CheckResult] = field(default_factory=list)
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    began: float = field(default_factory=time.monotonic)

    def to_json(self) -> str:
        """Give the JSON document."""
        document = {
            "task": self.task,
            "environment": self.environment,
            "exit_code": self.exit_code,
            "started_at": self.started_at,
            "duration_s": round(time.monotonic() - self.began, 3),
            "header": self.header,
            **as_json.as_plain(self.parts),
        }
        if self.checks:
            document["results"] = [as_json.check_to_json(check) for check in self.checks]
        return as_json.to_text(document)
