"""One run in a line: when it was, how it ended, and what its recovery took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from prompt_keda.records.run_record import RUN_ID, STAMP, environment_of

GREEN, INTERRUPTED, FAILED, REFUSED, AT_WORK = "green", "interrupted", "failed", "refused", "at work"
WHOLE = "recovery"
"""The name of the whole among a report's timings. Those of steps are named ``stage/verb-object``, spans without a slash."""


@dataclass(frozen=True)
class RunSummary:
    """One run.

    Parameters
    ----------
    began_at
        UTC, as its id says it.
    mode
        Empty where it is not known.
    state
        ``green``, ``interrupted``, ``failed``, ``refused`` or ``at work``.
    recovery_s
        Seconds that the process took which ended it green; None if none did.
    parts_s
        The same by stage: preflight, guard, remove, finalize, install, restore, verify.
    spans_s
        What goals are set for: ``removal``, ``first_scaled_job``.
    starts_count
        How often it was begun and resumed.
    places
        ``here``: this machine has its files. ``cluster``: the cluster has its copy.
    is_left
        Whether the process that began or resumed it last was of this machine, and is gone. Its lock may live on for some
        seconds, and still names the run.
    """

    run_id: str
    environment: str
    began_at: str
    mode: str
    state: str
    recovery_s: float | None = None
    parts_s: Mapping[str, float] = field(default_factory=dict)
    spans_s: Mapping[str, float] = field(default_factory=dict)
    starts_count: int = 0
    places: tuple[str, ...] = ()
    is_left: bool = False


def summarise(
    run_id: str,
    mode: str,
    entries: Sequence[Mapping[str, str]],
    timings: Mapping[str, float] | None,
    place: str,
    was_refused: bool = False,
    is_at_work: bool = False,
    is_left: bool = False,
) -> RunSummary:
    """Return a run in a line.

    Parameters
    ----------
    entries
        Its journal.
    timings
        Of its report, in seconds; None: it has not ended green.
    """
    began = datetime.strptime(RUN_ID.fullmatch(run_id)[1], STAMP).replace(tzinfo=UTC)  # type: ignore[index]
    spans = {name: seconds for name, seconds in (timings or {}).items() if "/" not in name and name != WHOLE}
    return RunSummary(
        run_id=run_id,
        environment=environment_of(run_id) or "",
        began_at=began.isoformat(),
        mode=mode,
        state=_state(entries, timings is not None, was_refused, is_at_work),
        recovery_s=(timings or {}).get(WHOLE),
        parts_s=by_stage(timings or {}),
        spans_s=spans,
        starts_count=sum((entry["step"], entry["event"]) == ("run", "begin") for entry in entries),
        places=(place,),
        is_left=is_left,
    )


def by_stage(timings: Mapping[str, float]) -> dict[str, float]:
    """Add up the seconds of a report's steps by their stage."""
    stages_s: dict[str, float] = {}
    for step, seconds in timings.items():
        stage, slash, _ = step.partition("/")
        if slash:
            stages_s[stage] = round(stages_s.get(stage, 0.0) + seconds, 2)
    return stages_s


def _state(entries: Sequence[Mapping[str, str]], is_green: bool, was_refused: bool, is_at_work: bool) -> str:
    if is_green:
        return GREEN
    if was_refused:
        return REFUSED
    if is_at_work:
        return AT_WORK
    of_steps = [entry["event"] for entry in entries if "/" in entry["step"]]
    return FAILED if of_steps[-1:] == ["failed"] else INTERRUPTED
