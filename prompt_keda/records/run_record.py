"""What the cluster copy keeps of a run, read strictly: text from a cluster is untrusted.

No path is among it, and no Secret. Of the plan's inputs only digests are kept: enough to name what has changed.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

RUN_ID = re.compile("([0-9]{8}t[0-9]{6}z)-([a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?)-([0-9]{1,10})")
STAMP = "%Y%m%dt%H%M%Sz"
MOST_RECORDS = 20_000
DETAIL_LENGTH = 1000
"""What an entry of the journal says is cut off there: all of a run has to fit into one ConfigMap."""


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("control characters")
    return text


def _moment(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a time without its zone")
    return text


ObjectName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:_-]{0,252}$")]
Namespace = Annotated[str, Field(pattern="^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$")]
Uid = Annotated[str, Field(pattern="^[A-Za-z0-9-]{1,64}$")]
Kind = Annotated[str, Field(pattern="^[A-Z][A-Za-z]{0,62}$")]
Word = Annotated[str, Field(pattern="^[a-z]{1,20}$")]
Moment = Annotated[str, Field(max_length=40), AfterValidator(_moment)]
"""A time with its zone, ISO 8601."""
Line = Annotated[str, Field(max_length=DETAIL_LENGTH), AfterValidator(_one_line)]
Label = Annotated[str, Field(pattern=r"^([A-Z][A-Za-z]{0,62} )?([a-z0-9-]{1,63}/)?[A-Za-z0-9.:_-]{0,253}$")]
"""``Kind namespace/name``, or a part of it."""
Names = Annotated[list[Label], Field(max_length=MOST_RECORDS)]
Hex16 = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
Hex64 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Strict(BaseModel):
    """The base of all that is read back: frozen, strict about types and unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class DeletionRecord(Strict):
    """One object that the plan removes, and why."""

    kind: Kind
    namespace: Namespace
    name: ObjectName
    uid: Uid
    why: Line


class DecisionsRecord(Strict):
    """What was decided when the cluster was looked at, as `redeploy_plan.Decisions` has it."""

    deletions: Annotated[list[DeletionRecord], Field(max_length=MOST_RECORDS)]
    takes_over: Names
    unpauses: Names
    saved: Names
    group_start: Annotated[str, Field(pattern=r"^(\$|0|)$")]
    helm_release: Label
    given_up: Names


class PlanRecord(Strict):
    """A plan: what was decided, and digests of what it was planned from."""

    mode: Word
    digest: Hex16
    decisions: DecisionsRecord
    notes: Annotated[list[Line], Field(max_length=100)]
    input_digests: Annotated[dict[Line, Hex64], Field(max_length=200)]


class RunningRecord(Strict):
    """One Job or pod that was active when the redeploy began."""

    kind: Kind
    namespace: Namespace
    name: ObjectName
    uid: Uid
    scaled_job: Annotated[str, Field(pattern="^[a-z0-9.-]{0,253}$")]
    generation: Line | None
    job_uid: Annotated[str, Field(pattern="^[A-Za-z0-9-]{0,64}$")]
    was_going: bool = False


class MetadataRecord(Strict):
    """The metadata of an object, as it is applied."""

    name: ObjectName
    namespace: Namespace = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class ObjectRecord(Strict):
    """An object of KEDA's kinds that the plan brings back."""

    apiVersion: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,99}/v[a-z0-9]{1,20}$")]
    kind: Kind
    metadata: MetadataRecord
    spec: dict[str, Any]


class StreamRecord(Strict):
    """One stream at the start; ``unknown`` says why nothing else is known."""

    length: int | None = None
    lag: int | None = None
    pending: int | None = None
    unknown: Line | None = None


class SnapshotRecord(Strict):
    """What stood at the start."""

    jobs: Annotated[list[RunningRecord], Field(max_length=MOST_RECORDS)]
    streams: Annotated[dict[Line, StreamRecord], Field(max_length=1000)]
    objects: Annotated[list[ObjectRecord], Field(max_length=MOST_RECORDS)]


class EntryRecord(Strict):
    """One entry of the journal."""

    at: Moment
    step: Annotated[str, Field(pattern="^[a-z0-9/-]{1,64}$")]
    event: Annotated[str, Field(pattern="^[a-z -]{1,40}$")]
    detail: Line


class ResultRecord(Strict):
    """How a run that has ended green went: seconds for all of it, and for each of its steps."""

    mode: Word
    timings: Annotated[dict[Line, Annotated[float, Field(ge=0, le=1e7)]], Field(max_length=200)]


def portable_plan(plan: dict[str, Any]) -> dict[str, Any]:
    """Return what the cluster copy keeps of plan.json."""
    decisions = plan["decisions"]
    deletions = [{**deletion, "why": cut(deletion["why"])} for deletion in decisions["deletions"]]
    kept = {key: plan[key] for key in PlanRecord.model_fields}
    return {**kept, "decisions": {**decisions, "deletions": deletions}, "notes": [cut(note) for note in plan["notes"]]}


def portable_snapshot(snapshot: dict[str, Any], objects: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the cluster copy keeps of snapshot.json: of all objects only those that come back."""
    streams = {
        name: {key: cut(value) if isinstance(value, str) else value for key, value in counts.items()}
        for name, counts in snapshot["streams"].items()
    }
    jobs = [{**job, "generation": job["generation"] and cut(job["generation"])} for job in snapshot["jobs"]]
    return {"jobs": jobs, "streams": streams, "objects": objects}


def portable_entry(entry: dict[str, str]) -> dict[str, str]:
    """Return what the cluster copy keeps of an entry of the journal: its detail in one line, cut off where it is too long."""
    return {**entry, "detail": cut(entry["detail"])}


def cut(text: str) -> str:
    """Return a text in one line, cut off where it is too long, without what cannot be printed."""
    return "".join(character if character.isprintable() else " " for character in text)[:DETAIL_LENGTH]


def environment_of(run_id: str) -> str | None:
    """Return the environment that a run's id names; None if it is not a run's id."""
    match = RUN_ID.fullmatch(run_id)
    if match is None:
        return None
    try:
        datetime.strptime(match[1], STAMP)
    except ValueError:
        return None
    return match[2]
