"""What is kept of one drill, read strictly: a file may be damaged."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from prompt_keda.records.run_record import Moment

Seconds = Annotated[float, Field(ge=0, le=1e7)]


class DrillRecord(BaseModel):
    """One drill: what was broken, how long it took to see and to mend it, what was lost, and whether it was passed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    began_at: Moment
    """When it began; UTC, ISO 8601."""
    fault: str
    """The id of the fault."""
    title: str
    """The fault in words."""
    seen_by: dict[str, str] = Field(default_factory=dict)
    """The checks that the fault names, each with its verdict. Empty as well in what was kept before this was."""
    runbook: str
    """The runbook that was proposed first; empty if none was."""
    answered_by: str
    """``runbook``, ``people``, or empty where it did not come so far."""
    detected_s: Seconds | None
    """From the fault to the first look that saw it, in seconds; None if none did."""
    recovered_s: Seconds | None
    """From the fault to the proof that events become Jobs again, in seconds; None if there was none."""
    at_work: int | None = None
    """Number of workers that ran when it was broken; None: not counted, as before this was."""
    lost: tuple[str, ...] | None
    """Jobs and pods that ran before, and neither live on nor ended by themselves; None: not counted."""
    events: dict[str, int] = Field(default_factory=dict)
    """Numbers of events as `prompt_keda.lab.drills.drill.Drilled` has them. Empty as well in what was kept before this was."""
    passed: bool
    """Whether all was as it should be."""
    problems: tuple[str, ...]
    """What should not have been, in words."""

    @classmethod
    def of(cls, began_at: str, drilled: dict[str, Any]) -> DrillRecord:
        """Make the record of a drill from its JSON. Raises `ValueError` when something is missing or of another type."""
        known = {key: drilled[key] for key in cls.model_fields if key in drilled}
        lost = None if drilled["lost"] is None else tuple(drilled["lost"])
        told = {"lost": lost, "problems": tuple(drilled["problems"])}
        return cls(**{**known, **told, "began_at": began_at, "passed": not drilled["problems"]})

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON."""
        return self.model_dump(mode="json")
