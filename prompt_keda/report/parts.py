"""What tasks return, where it is no more than some fields. Each field is a key of the task's JSON document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prompt_keda.components.smoke.result import SmokeResult
from prompt_keda.core.check import CheckResult
from prompt_keda.core.decisions import Plan
from prompt_keda.core.plan import Step
from prompt_keda.report.as_json import WithoutNone
from prompt_keda.report.response import RunbookRow

if TYPE_CHECKING:
    from prompt_keda.components.smoke.acceptance.case import CaseResult


@dataclass(frozen=True)
class Nothing:
    """What the task did is a file, or stands in the header."""


@dataclass(frozen=True)
class Checked:
    """A round of checks."""

    results: Sequence[CheckResult]


NOT_SEEN = "not seen"


@dataclass(frozen=True)
class SeenNow:
    """What a step's inspection sees before anything is done. ``state``: of its progress, or `NOT_SEEN`."""

    state: str
    detail: str

    def __str__(self) -> str:
        return f"[{': '.join(filter(None, (self.state, self.detail)))}]"


@dataclass(frozen=True)
class PlanReport:
    """What a redeploy would do.

    Parameters
    ----------
    now
        For each step of the plan.
    notes
        The plan's, and what else a person has to know before it is run.
    running_count
        Jobs and pods at work.
    recent_s
        What the last recoveries of this mode took here, in seconds.
    """

    plan: Plan[Any]
    now: Sequence[SeenNow]
    notes: Sequence[str] = ()
    running_count: int = 0
    recent_s: Sequence[float] = ()

    @property
    def steps(self) -> Iterator[tuple[Step[Any], SeenNow]]:
        """Yield each step with what its inspection sees."""
        yield from zip(self.plan.steps, self.now, strict=True)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        plan = self.plan.to_json()
        steps = [{**step, "now": str(now)} for step, now in zip(plan["steps"], self.now, strict=True)]
        more = {"notes": self.notes, "running_count": self.running_count, "recent_s": self.recent_s}
        return {"plan": {**plan, "steps": steps, **more}, "steps": steps}


@dataclass(frozen=True)
class SmokeReport(WithoutNone):
    """A smoke test; ``cases``: of the acceptance suite, None: it was not asked for. ``timings``: span or case → seconds."""

    smoke: SmokeResult
    timings: Mapping[str, float]
    cases: Sequence[CaseResult] | None = None


@dataclass(frozen=True)
class Runbooks:
    """All runbooks."""

    runbooks: Sequence[RunbookRow]


@dataclass(frozen=True)
class Note:
    """What was added to an incident's record, and when."""

    incident: str
    at: str
    note: str


@dataclass(frozen=True)
class IncidentReport:
    """An incident's story: some lines for a chat, and the same as pages."""

    incident: str
    chat: str
    markdown: str
    html: str


@dataclass(frozen=True)
class BundledFile:
    """One file of a support bundle."""

    name: str
    size_bytes: int


@dataclass(frozen=True)
class Bundle:
    """A support bundle. ``file``: the archive; empty: none was written."""

    file: str
    size_bytes: int
    files: Sequence[BundledFile]
    redacted_count: int


@dataclass(frozen=True)
class Timings:
    """What a benchmark measured: its own records."""

    timings: Sequence[object]
