"""Runs the cases of the acceptance suite: some side by side, what disturbs KEDA alone and last."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from prompt_keda.clients.systems import Systems, filled
from prompt_keda.components.scaled_jobs import running_jobs
from prompt_keda.components.smoke.acceptance.case import Case, CaseResult
from prompt_keda.components.smoke.acceptance.trial import Trial
from prompt_keda.components.smoke.place import SmokePlace
from prompt_keda.core.check import Verdict
from prompt_keda.core.errors import DeadlinePassed, PromptKedaError, StepBroken
from prompt_keda.core.event import Event, EventKind, Observer

SIDE_BY_SIDE = 4
"""Their workers are small, but a small node starts only some pods a second."""


def run_acceptance(systems: Systems, cases: Sequence[Case], observer: Observer, run_id: str) -> list[CaseResult]:
    """Run cases, and return what came of each, in their order. What they make is removed, however they end.

    Raises
    ------
    Unfilled
        When the environment does not say the workers' image.
    ClientError
        When the smoke tests' namespace cannot be prepared: then no case is tried.
    """
    filled(systems.environment.smoke.image, "smoke.image")
    SmokePlace(systems, run_id, lambda message: _report(observer, "prepare", message)).prepare()
    stop = threading.Event()

    def run(case: Case) -> CaseResult:
        return _Run(systems, case, observer, run_id, stop).result()

    pool = ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="case")
    try:
        futures = {case.id: pool.submit(run, case) for case in cases if not case.disrupts}
        results = {id_: future.result() for id_, future in futures.items()}
    finally:
        stop.set()  # on Ctrl-C each case ends at its next look, and cleans up
        pool.shutdown(wait=True, cancel_futures=True)
    stop.clear()
    for case in cases:
        if case.disrupts:
            results[case.id] = run(case)
    return [results[case.id] for case in cases]


class _Run:
    """One case from its begin to its verdict."""

    def __init__(self, systems: Systems, case: Case, observer: Observer, run_id: str, stop: threading.Event) -> None:
        self._case, self._systems, self._observer = case, systems, observer
        self._run_id, self._stop = run_id, stop
        self._began = time.monotonic()

    def result(self) -> CaseResult:
        case = self._case
        result = CaseResult(case.id, case.title, case.source, Verdict.OK)
        self._observer(Event(EventKind.STARTED, f"acceptance/{case.id}"))
        self._try(result)
        result.duration_s = round(time.monotonic() - self._began, 2)
        message = result.detail or result.title
        finished = Event(EventKind.FINISHED, f"acceptance/{case.id}", result.verdict.value, message, result.duration_s)
        self._observer(finished)
        return result

    def _try(self, result: CaseResult) -> None:
        try:
            if self._case.disrupts and (why := self._why_not_here()):
                result.verdict, result.detail = Verdict.SKIPPED, why
                return
            case, context = self._case, (self._run_id, self._observer, self._stop)
            with Trial(self._systems, case.id, case.shape, case.deadline, *context) as trial:
                result.points = trial.points
                if case.settles:
                    trial.settle()
                case.run(trial)
        except (StepBroken, DeadlinePassed) as error:
            result.verdict, result.detail, result.fix = Verdict.FAIL, error.what, error.fix
        except PromptKedaError as error:
            result.verdict, result.detail, result.fix = Verdict.UNKNOWN, error.what, error.fix

    def _why_not_here(self) -> str:
        """Return why KEDA may not be disturbed here; empty: it may."""
        if self._systems.environment.approval != "none":
            return "only on a local stack: it deletes the operator's pod"
        risky = running_jobs.at_risk(self._systems.kube)
        return f"a new operator would delete {len(risky)} Jobs of another generation" if risky else ""


def _report(observer: Observer, part: str, message: str) -> None:
    observer(Event(EventKind.NOTE, f"acceptance/{part}", "working", message))
