"""Runbooks, and what became of them, as they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from prompt_keda.core.check import CheckResult
from prompt_keda.report.as_json import as_plain
from prompt_keda.report.causes import Cause


@dataclass(frozen=True)
class StepRow:
    """One step of a runbook: its command, and the text that stands above it."""

    id: str
    command: str
    text: str


@dataclass(frozen=True)
class RunbookRow:
    """A runbook, its symptom, and the checks that name it."""

    name: str
    title: str
    checks: Sequence[str]
    steps: Sequence[StepRow]


@dataclass(frozen=True)
class RunbookPlan:
    """What a runbook would run, and the digest that approves it. ``notes``: what cannot be approved now, in words."""

    runbook: str
    title: str
    steps: Sequence[StepRow]
    digest: str
    notes: Sequence[str]


@dataclass(frozen=True)
class StepDone:
    """What became of one step: its command as it was run, and what it gave. ``file`` holds its document."""

    id: str
    command: str
    exit_code: int
    message: str
    duration_s: float
    file: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {**asdict(self), "duration_s": round(self.duration_s, 2)}


@dataclass(frozen=True)
class RunbookRun:
    """A runbook that was run."""

    runbook: str
    exit_code: int
    incident: str
    steps: Sequence[StepDone]


@dataclass(frozen=True)
class ProposedRunbook:
    """A runbook that nobody has agreed to, and the command that runs it."""

    runbook: str
    how: str


@dataclass(frozen=True)
class Response:
    """What is left, and what was run.

    Parameters
    ----------
    proposed
        None: nothing is.
    results
        Of the last look.
    """

    causes: Sequence[Cause]
    ran: Sequence[RunbookRun]
    message: str
    proposed: ProposedRunbook | None
    results: Sequence[CheckResult]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        document = {
            "causes": [_cause_as_json(cause) for cause in self.causes],
            "ran": as_plain(self.ran),
            "message": self.message,
        }
        proposed = {"proposed": asdict(self.proposed)} if self.proposed else {}
        return {**document, **proposed, "results": as_plain(self.results)}


def _cause_as_json(cause: Cause) -> dict[str, Any]:
    checks = [{"id": check.id, "verdict": check.verdict.value, "observed": check.observed} for check in cause.checks]
    return {"runbook": cause.runbook, "worst": cause.worst.value, "checks": checks}
