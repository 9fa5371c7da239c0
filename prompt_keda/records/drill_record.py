"""What a drill has shown, and is kept as. A file is read strictly: it may be damaged."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from prompt_keda.records.run_record import Moment, Strict

Seconds = Annotated[float, Field(ge=0, le=1e7)]


class DrillRecord(Strict):
    """What a drill has shown. What was not known of old ones is as if it had not been counted."""

    began_at: Moment
    """When it began; UTC, ISO 8601."""
    fault: str
    """The id of the fault."""
    title: str
    """The fault in words."""
    expected_checks: dict[str, str] = Field(default_factory=dict)
    """The checks that the fault names, each with the verdict that they gave; empty if not all of them saw it."""
    detected_s: Seconds | None = None
    """From the fault to the first look that saw all of them, in seconds; None if none did."""
    runbook: str = ""
    """What was proposed first; empty if nothing was."""
    answered_by: str = ""
    """``runbook``: it was enough. ``people``: it was not, and what its page asks people to do was done.
    Empty where it did not come so far."""
    recovered_s: Seconds | None = None
    """From the fault until it is verified that events become Jobs again, in seconds; None if it never was."""
    at_work: int | None = None
    """Number of workers (pods) that ran when it was broken; None: not counted."""
    lost: tuple[str, ...] | None = None
    """Jobs and pods that ran before, or came during the recovery, and neither live on nor ended by themselves; None: it did
    not come so far that they were counted."""
    events: dict[str, int] = Field(default_factory=dict)
    """Numbers of them: ``sent``, ``lost`` and ``duplicated`` by the recovery, ``taken`` by the fault itself, and ``unseen``:
    acknowledged by the group's own account while nobody could listen."""
    problems: tuple[str, ...] = ()
    """What should not have been, in words."""
    passed: bool
    """Whether there are no problems."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return self.model_dump(mode="json")
