"""One drill: steady state, fault, detection, runbook, verification, and what was lost on the way."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import Any

from prompt_keda.components.catalogue import ALL_CHECKS
from prompt_keda.core.check import CheckResult, Verdict
from prompt_keda.core.errors import DeadlinePassed, PromptKedaError
from prompt_keda.core.event import Event, EventKind, Observer, nobody
from prompt_keda.core.waiting import looks, until
from prompt_keda.lab import state
from prompt_keda.lab.drills.delivery_audit import DeliveryAudit
from prompt_keda.lab.drills.job_watcher import JobWatcher
from prompt_keda.lab.drills.leftovers import leftovers
from prompt_keda.lab.drills.toolkit import Toolkit
from prompt_keda.lab.faults.fault import Fault, Stage
from prompt_keda.lab.faults.presence import inject, revert
from prompt_keda.records.drill_record import DrillRecord
from prompt_keda.report.causes import SYMPTOM, causes

STEADY_S, DETECTION_S, WHOLE_S = 90, 120, 180
"""A stack that was left alone is green after some seconds; a fault is seen once its longest delay is over, in seconds. What
reverting a fault restarts, and workers that failed meanwhile, stay amber a while longer."""
RUNBOOK, PEOPLE = "runbook", "people"
EVENTS, MORE, A_SECOND = 100, 60, 1.0
"""So many are sent before: twenty workers work half a minute, and wait as long. When it is seen more are sent at once, so that
they work during the recovery; and from then on so many a second."""
MOST_NAMED = 3
"""Of the checks that are waited for."""
AT_WORK_S = 30
"""KEDA has made all workers by then: only then a fault is injected."""
FAULT, RECOVERY, REVERT = "the fault", "the recovery", "the revert"
PLACE_LOST = ("redis/group-gone", "redis/streams-gone")
"""Faults after which nobody can know how far the group had read: people choose between events lost and events duplicated. A stream
that was deleted looks like a young one whose group is gone; only a restart of Redis says more (docs/decisions/0008-modes.md).
"""
HOOKS = "keda/rollout-keeps-jobs"
"""Amber for as long as Jobs run where Argo CD delivers the ScaledJob as a hook, which Phalanx means so: no fault's doing."""
RED = (Verdict.FAIL, Verdict.UNKNOWN, Verdict.WARN)


def drill(fault: Fault, stage: Stage, toolkit: Toolkit, observer: Observer) -> DrillRecord:
    """Inject one fault into the stack, and recover as people would. It is whole again at the end, whatever happened.

    Raises
    ------
    DeadlinePassed
        When the stack is not green before: nothing could be concluded about this fault then.
    """
    try:
        until_green(toolkit, f"the steady state before {fault.id}", standing=_standing(stage), observer=observer)
    except DeadlinePassed as error:
        there = state.faults(stage.lab)
        whole = "./run faults --revert" if there else f"./run redeploy --env {stage.environment.name}"
        error.fix = f"Make it whole: {whole}. Then go on: ./run drill --rest"
        raise
    instruments = stage.environment.instruments
    with ExitStack() as stack:
        job_watcher = stack.enter_context(
            JobWatcher.at_work(lambda: stage.kube, [instrument.namespace for instrument in instruments])
        )
        audits = [stack.enter_context(DeliveryAudit.kept(stage, instrument, A_SECOND)) for instrument in instruments]
        return _Drill(fault, stage, toolkit, job_watcher, audits, observer).run()


class _Drill:
    def __init__(
        self,
        fault: Fault,
        stage: Stage,
        toolkit: Toolkit,
        job_watcher: JobWatcher,
        audits: Sequence[DeliveryAudit],
        observer: Observer,
    ) -> None:
        self.fault, self.stage, self.toolkit = fault, stage, toolkit
        self.job_watcher, self.audits, self.observer = job_watcher, audits, observer
        self.results: dict[str, Any] = {
            "fault": fault.id,
            "title": fault.title,
            "began_at": datetime.now(UTC).isoformat(),
        }
        self.problems: list[str] = []
        self.is_reverted = False

    def run(self) -> DrillRecord:
        try:
            left_before = set(leftovers(self.stage))
            self._await_workers()
            self._look_before()
            before = self._inject()
            self._repair()
            self._whole_again(left_before)
            self._count(before)
        except PromptKedaError as error:
            self.problems.append(error.what)
        finally:  # also after Ctrl-C, or an unexpected error
            if not self.is_reverted:
                try:
                    self._revert()
                except PromptKedaError as error:
                    self.problems.append(f"it could not be reverted: {error.what}")
                    self._report(self.problems[-1])
        return DrillRecord(**self.results, problems=tuple(self.problems), passed=not self.problems)

    def _await_workers(self) -> None:
        """Send events until as many workers run as there may be."""
        for audit in self.audits:
            audit.give(EVENTS)
        wanted = sum(instrument.max_jobs for instrument in self.stage.environment.instruments)
        with suppress(DeadlinePassed):  # a node without room: the drill goes on with those that there are
            until(lambda: self.job_watcher.workers_count() >= wanted, "workers at work", AT_WORK_S)

    def _look_before(self) -> None:
        """What these checks say of the fault has to be of the fault, and not of twenty workers."""
        red = _red(self.toolkit.look())
        amber = {SYMPTOM: Verdict.WARN.value}  # a hundred events may wait for twenty workers longer than is promised
        already = [id_ for id_ in self.fault.expected_checks if id_ in red and red[id_] != amber.get(id_)]
        self.problems += [f"{id_} is {red[id_]} before the fault is injected" for id_ in already]

    def _revert(self) -> None:
        self.job_watcher.phase(REVERT)
        revert(self.fault, self.stage)
        self.job_watcher.phase(RECOVERY)
        self.is_reverted = True

    def _report(self, news: str) -> None:
        self.observer(Event(EventKind.NOTE, f"drill/{self.fault.id}", "", news))

    def _inject(self) -> set[str]:
        """Inject the fault, and return the UIDs of what works before and after: that may take a minute."""
        before, self.results["at_work"] = self.job_watcher.at_work_now(), self.job_watcher.workers_count()
        self._report(f"{self.fault.title}; {self.results['at_work']} workers run")
        if not self.results["at_work"]:
            self.problems.append("no worker runs: nothing could be lost")
        self.began = time.monotonic()
        self.job_watcher.phase(FAULT)
        inject(self.fault, self.stage)
        return before | self.job_watcher.at_work_now()

    def _repair(self) -> None:
        results = until_detected(self.fault, self.toolkit)
        runbook = causes([result for result in results if not self._is_own_load(result)])[0].runbook
        verdicts = {result.id: result.verdict.value for result in results if result.id in self.fault.expected_checks}
        self.results |= {"expected_checks": verdicts, "detected_s": self._since_fault_s(), "runbook": runbook}
        self._report(f"detected after {self.results['detected_s']} s; the runbook is {runbook or 'none'}")
        if runbook != (wanted := runbook_of(self.fault)):
            self.problems.append(f"the runbook should be {wanted}")
        self.job_watcher.phase(RECOVERY)
        for audit in self.audits:
            audit.recovery_begins()
            with suppress(PromptKedaError):  # the fault may have taken Redis away
                audit.give(MORE)
        code, is_verified = self.toolkit.follow(runbook) if runbook else (1, False)
        is_repaired = code == 0 and self._is_repaired(self.toolkit.look())
        self.results["answered_by"] = RUNBOOK if is_repaired else PEOPLE
        if not is_repaired:
            self._report("the runbook alone is not enough: now what its page asks people to do")
            self._revert()
            until_green(
                self.toolkit, f"the end of {self.fault.id}", standing=_standing(self.stage), observer=self.observer
            )
        if (is_repaired and is_verified) or (code := self.toolkit.verify()) == 0:
            self.results["recovered_s"] = self._since_fault_s()
        else:
            self.problems.append(f"scaling is not verified: exit code {code}")

    def _is_own_load(self, result: CheckResult) -> bool:
        """Return whether that events wait for longer than is promised comes of those that were sent before, not of the fault."""
        return result.id == SYMPTOM and result.verdict is Verdict.WARN and SYMPTOM not in self.fault.expected_checks

    def _since_fault_s(self) -> float:
        return round(time.monotonic() - self.began, 1)

    def _whole_again(self, left_before: set[str]) -> None:
        """Revert the fault also where the runbook was enough: that may touch more. Nothing may be left behind."""
        if not self.is_reverted:
            self._revert()
        what = f"a stack that is whole after {self.fault.id}"
        until_green(self.toolkit, what, WHOLE_S, standing=_standing(self.stage), observer=self.observer)
        self.problems += [
            f"left behind: {leftover}" for leftover in leftovers(self.stage) if leftover not in left_before
        ]

    def _is_repaired(self, results: Sequence[CheckResult]) -> bool:
        """Return whether no check of this fault is red or amber, and no other one red.

        Amber of others may stay a while: workers that failed are reported until new ones have ended well.
        """
        red = _red(results)
        return not self.fault.expected_checks.keys() & red.keys() and set(red.values()) <= {Verdict.WARN.value}

    def _count(self, before: set[str]) -> None:
        """Count what was lost: by the fault of those that were there, by its revert of those that ran, else all.

        What a fault has kept from running KEDA counts for good: its revert deletes that, as people would.
        """
        # this waits: what is lost meanwhile counts as well
        reports = [audit.close(self.fault.id in PLACE_LOST) for audit in self.audits]
        losses, counted = self.job_watcher.lost().items(), {FAULT: before, REVERT: self.job_watcher.have_run()}
        lost = tuple(f"{what} in {phase}" for uid, (phase, what) in losses if uid in counted.get(phase, {uid}))
        self.results["lost"] = lost
        self.results["events"] = {
            "sent": sum(report.sent_count for report in reports),
            "lost": sum(len(report.lost) for report in reports),
            "duplicated": sum(len(report.duplicated) for report in reports),
            "taken": sum(len(report.taken_by_fault) for report in reports),
            "unseen": sum(report.unseen_count for report in reports),
        }
        self.problems += [f"lost: {event_id}" for event_id in lost]
        for report in reports:
            self.problems += report.problems()


def runbook_of(fault: Fault) -> str:
    """Return the runbook that answers a fault."""
    if fault.runbook:
        return fault.runbook
    first = next(iter(fault.expected_checks))
    return next(check.runbook for check in ALL_CHECKS if check.id == first)


def _standing(stage: Stage) -> tuple[str, ...]:
    return () if stage.environment.argocd is None else (HOOKS,)


def until_green(
    toolkit: Toolkit,
    what: str,
    timeout_s: float | None = None,
    may_be_slow: bool = False,
    standing: Sequence[str] = (),
    observer: Observer = nobody,
) -> None:
    """Look until no check is red or amber, and report which are when that changes.

    Raises `DeadlinePassed` when that does not come; it names what is left.

    Parameters
    ----------
    may_be_slow
        Events are still sent: those that waited meanwhile take minutes, and the symptom is amber until then.
    standing
        Checks that are amber on this stack whatever is broken.
    """
    limit_s = STEADY_S if timeout_s is None else timeout_s
    amber, red, before = Verdict.WARN.value, {}, None
    for _ in looks(limit_s, every_s=0):  # a look takes seconds
        red_now = _red(toolkit.look())
        red = {id_: verdict for id_, verdict in red_now.items() if id_ not in standing or verdict != amber}
        if not red or (may_be_slow and red == {SYMPTOM: amber}):
            return
        if red != before:
            more = f" (and {len(red) - MOST_NAMED} more)" if len(red) > MOST_NAMED else ""
            news = f"waits for {what}: not green are {', '.join(list(red)[:MOST_NAMED])}{more}"
            observer(Event(EventKind.NOTE, "drill", "", news))
            before = red
    raise DeadlinePassed(what, limit_s, ", ".join(f"{id_} {verdict}" for id_, verdict in red.items()))


def _red(results: Sequence[CheckResult]) -> dict[str, str]:
    return {result.id: result.verdict.value for result in results if result.verdict in RED}


def until_detected(fault: Fault, toolkit: Toolkit) -> Sequence[CheckResult]:
    """Look until the fault's checks are red or amber, and one of them says what is wrong: they may be red for another reason."""
    last = ""
    for _ in looks(DETECTION_S, every_s=0):  # a look takes seconds
        results = toolkit.look()
        red = _red(results)
        texts = [_without_numbers(result.observed) for result in results if result.id in fault.expected_checks]
        is_explained = any(_without_numbers(cause) in observed for observed in texts for cause in fault.causes)
        if is_explained and fault.expected_checks.keys() <= red.keys():  # with events at work an amber one may be red
            return results
        last = ", ".join(f"{id_} {verdict}" for id_, verdict in red.items()) or "all is green"
        last += "" if is_explained else f"; none says: {fault.cause}"
    raise DeadlinePassed(f"the checks that see {fault.id}", DETECTION_S, last)


def _without_numbers(text: str) -> str:
    """With events at work other numbers come than on a quiet stack."""
    return re.sub(r"\d+", "N", text)
