"""One drill: steady state, fault, detection, runbook, proof, and what was lost on the way."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from prompt_keda.checks import ALL_CHECKS
from prompt_keda.errors import DeadlinePassed, PromptKedaError
from prompt_keda.faults.fault import Fault, Stage
from prompt_keda.model.check import CheckResult, Verdict
from prompt_keda.model.event import Event, EventKind, Observer
from prompt_keda.redeploy import jobs
from prompt_keda.runbooks.causes import causes

STEADY_S, DETECTION_S = 90, 120
"""A stack that was left alone is green after some seconds; a fault is seen once its longest delay is over, in seconds."""
RUNBOOK, PEOPLE = "runbook", "people"
EVENTS = 5
"""So many are sent before: some workers are in mid-work when it breaks."""
RED = (Verdict.FAIL, Verdict.UNKNOWN, Verdict.WARN)


class Ways(Protocol):
    """What a drill does with the toolkit; every way is one that people have."""

    def look(self) -> Sequence[CheckResult]:
        """Give what check-deps sees."""

    def follow(self, runbook: str) -> tuple[int, bool]:
        """Run a runbook to its end; give its exit code, and whether it has proven that events become Jobs."""

    def prove(self) -> int:
        """Prove that events become Jobs; give the exit code."""


@dataclass(frozen=True)
class Drilled:
    """What a drill has shown.

    Parameters
    ----------
    seen_by
        The checks that the fault names, each with its verdict.
    detected_s
        From the fault to the first look that saw all of them, in seconds; None if none did.
    runbook
        What was proposed first; empty if nothing was.
    answered_by
        ``runbook``: it mended everything by itself. ``people``: it could not, and what its page asks people to do was done.
        Empty where it did not come so far.
    recovered_s
        From the fault to the proof that events become Jobs again, in seconds; None if there was none.
    lost
        Jobs and pods that ran before, and neither live on nor ended by themselves.
    problems
        What should not have been, in words. Empty: the drill was passed.
    """

    fault: str
    title: str
    seen_by: Mapping[str, str]
    detected_s: float | None = None
    runbook: str = ""
    answered_by: str = ""
    recovered_s: float | None = None
    lost: Sequence[str] = ()
    problems: Sequence[str] = field(default_factory=tuple)

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON."""
        return asdict(self)


def drill(fault: Fault, stage: Stage, ways: Ways, observer: Observer) -> Drilled:
    """Break the stack by one fault, and mend it as people would. It is whole again at the end, whatever happened.

    Raises
    ------
    DeadlinePassed
        When the stack is not green before: nothing could be told of this fault then.
    """

    def tell(news: str) -> None:
        observer(Event(EventKind.NOTE, f"drill/{fault.id}", "", news))

    until_green(ways, f"the steady state before {fault.id}")
    _give_work(stage)
    before = jobs.ledger(stage.kube)
    tell(f"{fault.title}; {len(before)} Jobs and pods run")
    seen: dict[str, Any] = {"fault": fault.id, "title": fault.title, "seen_by": dict(fault.seen)}
    problems: list[str] = []
    began = time.monotonic()
    try:
        fault.breaks(stage)
        results = _until_detected(fault, ways)
        seen["detected_s"] = round(time.monotonic() - began, 1)
        seen["runbook"] = causes(results)[0].runbook
        tell(f"seen after {seen['detected_s']} s; the runbook is {seen['runbook'] or 'none'}")
        if seen["runbook"] != (wanted := runbook_of(fault)):
            problems.append(f"the runbook should be {wanted}")
        code, is_proven = ways.follow(seen["runbook"]) if seen["runbook"] else (1, False)
        is_mended = code == 0 and not _red(ways.look())
        seen["answered_by"] = RUNBOOK if is_mended else PEOPLE
        if not is_mended:
            tell("the runbook alone does not mend it: now what its page asks people to do")
            fault.mends(stage)
            until_green(ways, f"the end of {fault.id}")
        if (is_mended and is_proven) or (code := ways.prove()) == 0:
            seen["recovered_s"] = round(time.monotonic() - began, 1)
        else:
            problems.append(f"scaling is not proven: exit code {code}")
        seen["lost"] = tuple(jobs.lost(stage.kube, before))
        problems += [f"lost: {one}" for one in seen["lost"]]
    except PromptKedaError as error:
        problems.append(error.what)
    try:
        fault.mends(stage)
    except PromptKedaError as error:
        problems.append(f"it could not be taken back: {error.what}")
    return Drilled(**seen, problems=tuple(problems))


def runbook_of(fault: Fault) -> str:
    """Give the runbook that answers a fault."""
    if fault.runbook:
        return fault.runbook
    first = next(iter(fault.seen))
    return next(one.runbook for one in ALL_CHECKS if one.id == first)


def until_green(ways: Ways, what: str) -> None:
    """Look until no check is red or amber. Raises `DeadlinePassed` when that does not come; it names what is left."""
    end = time.monotonic() + STEADY_S
    while red := _red(ways.look()):
        if time.monotonic() > end:
            raise DeadlinePassed(what, STEADY_S, ", ".join(f"{id_} {verdict}" for id_, verdict in red.items()))


def _red(results: Sequence[CheckResult]) -> dict[str, str]:
    return {one.id: one.verdict.value for one in results if one.verdict in RED}


def _until_detected(fault: Fault, ways: Ways) -> Sequence[CheckResult]:
    end = time.monotonic() + DETECTION_S
    while True:
        results = ways.look()
        red = _red(results)
        if fault.seen.items() <= red.items():
            return results
        if time.monotonic() > end:
            last = ", ".join(f"{id_} {verdict}" for id_, verdict in red.items()) or "all is green"
            raise DeadlinePassed(f"the checks that see {fault.id}", DETECTION_S, last)


def _give_work(stage: Stage) -> None:
    for one in stage.environment.instruments:
        stage.redis.add(one.stream, [{"visit": f"drill-{number}"} for number in range(EVENTS)])
