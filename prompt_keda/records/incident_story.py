"""What an incident's record says: steps with their times, notes, what was recovered, and what is still open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from prompt_keda.records.kept_json import seconds
from prompt_keda.records.run_summary import WHOLE, by_stage

INCIDENT, NOTE = "incident", "note"
VERIFIED = "verified"
OPENED, CLOSED, BEGAN, DONE, FAILED = "opened", "closed", "begin", "done", "failed"
CLUSTER = "cluster"
"""Says which cluster it is of; more than one where it was rebuilt meanwhile."""
INTERRUPTED = "interrupted"
RED = ("fail", "unknown")


@dataclass(frozen=True)
class StoryStep:
    """One command of a runbook, as it was run.

    Parameters
    ----------
    id
        ``runbook/section/number``.
    began_s, duration_s
        Since the incident was opened, and how long it took, in seconds. The duration is None if it was never seen to end.
    state
        ``done``, ``failed`` or ``interrupted``.
    """

    id: str
    command: str
    began_at: datetime
    began_s: float
    duration_s: float | None
    state: str
    message: str


@dataclass(frozen=True)
class Recovery:
    """One redeploy that ended green: its run, its mode, seconds by stage, and how many Jobs and pods ran before and after."""

    run: str
    mode: str
    recovery_s: float
    stages_s: Mapping[str, float]
    before_count: int
    after_count: int


@dataclass(frozen=True)
class Story:
    """An incident, ready to be reported.

    Parameters
    ----------
    closed_at
        When it was closed; None while it is open.
    closed_why
        In words; it begins with `VERIFIED` where a runbook's verification closed it, and not a person.
    open_checks
        What the last look saw that was red or not known: ``(id, verdict, observed)``.
    """

    id: str
    environment: str
    why: str
    opened_at: datetime
    closed_at: datetime | None
    closed_why: str
    steps: Sequence[StoryStep]
    notes: Sequence[tuple[datetime, str, str]]
    recoveries: Sequence[Recovery] = ()
    open_checks: Sequence[tuple[str, str, str]] = field(default_factory=tuple)

    @property
    def state(self) -> str:
        """Return ``open``, ``verified``, or ``closed`` where a person's word alone has closed it."""
        if self.closed_at is None:
            return "open"
        return VERIFIED if self.closed_why.startswith(VERIFIED) else "closed"

    @property
    def duration_s(self) -> float | None:
        """From its opening to its end, in seconds; None while it is open."""
        return (self.closed_at - self.opened_at).total_seconds() if self.closed_at else None

    @property
    def length_s(self) -> float:
        """From its opening to the end of the last step that was seen, in seconds; at least 1."""
        return max([1.0, self.duration_s or 0.0, *(step.began_s + (step.duration_s or 0.0) for step in self.steps)])

    def share(self, seconds: float | None) -> float:
        """Return a time as a part of the whole, in percent."""
        return min(100.0, round(100 * (seconds or 0) / self.length_s, 2))


def story_of(
    id_: str, environment: str, entries: Sequence[Mapping[str, str]], documents: Sequence[Mapping[str, Any]]
) -> Story:
    """Return the story of an incident.

    Parameters
    ----------
    entries
        Its journal, in its order. The first opens it.
    documents
        What its commands gave, in their order.

    Raises
    ------
    ValueError
        When the journal has no beginning, or a time that is none.
    """
    opened = next((entry for entry in entries if (entry["step"], entry["event"]) == (INCIDENT, OPENED)), None)
    if opened is None:
        raise ValueError("its journal has no beginning")
    start = datetime.fromisoformat(opened["at"])
    closed = [entry for entry in entries if (entry["step"], entry["event"]) == (INCIDENT, CLOSED)]
    return Story(
        id=id_,
        environment=environment,
        why=opened["detail"],
        opened_at=start,
        closed_at=datetime.fromisoformat(closed[-1]["at"]) if closed else None,
        closed_why=closed[-1]["detail"] if closed else "",
        steps=_steps(entries, start),
        notes=[(datetime.fromisoformat(o["at"]), o["event"], o["detail"]) for o in entries if o["step"] == NOTE],
        recoveries=[recovery for recovery in map(_recovery, documents) if recovery],
        open_checks=_open_checks(documents),
    )


def _steps(entries: Sequence[Mapping[str, str]], start: datetime) -> list[StoryStep]:
    steps: list[StoryStep] = []
    waiting: dict[str, int] = {}
    for entry in entries:
        at = datetime.fromisoformat(entry["at"])
        if entry["step"] in (INCIDENT, NOTE):
            continue
        if entry["event"] == BEGAN:
            waiting[entry["step"]] = len(steps)
            began = (at - start).total_seconds()
            steps.append(StoryStep(entry["step"], entry["detail"], at, began, None, INTERRUPTED, ""))
        elif entry["step"] in waiting:
            place = waiting.pop(entry["step"])
            step = steps[place]
            took = (at - step.began_at).total_seconds()
            steps[place] = StoryStep(
                step.id, step.command, step.began_at, step.began_s, took, entry["event"], entry["detail"]
            )
    return steps


def _recovery(document: Mapping[str, Any]) -> Recovery | None:
    timings, ledger = document.get("timings") or {}, document.get("ledger") or {}
    if WHOLE not in timings or document.get("error"):
        return None
    return Recovery(
        run=str(document.get("run", "")),
        mode=str(document.get("mode", "")),
        recovery_s=seconds(timings[WHOLE]),
        stages_s=by_stage(timings),
        before_count=len(ledger.get("before") or []),
        after_count=len(ledger.get("after") or []),
    )


def _open_checks(documents: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Return what the newest look at each check saw, where that was red or not known."""
    newest: dict[str, tuple[str, str]] = {}
    for document in documents:
        for result in document.get("results") or []:
            newest[result["id"]] = (result["verdict"], result["observed"])
    return [(id_, verdict, observed) for id_, (verdict, observed) in newest.items() if verdict in RED]
