"""Runs checks side by side."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from prompt_keda.core.check import Check, CheckResult, Outcome, Verdict
from prompt_keda.core.errors import ErrorReply, Missing, PromptKedaError, Refused, Unreachable
from prompt_keda.core.event import Event, EventKind, Observer

C = TypeVar("C")
INTERRUPTED = "interrupted"
"""What is observed of a check that Ctrl-C or SIGTERM has cut off."""
WAITS_FOR = "needs "
"""What is observed of a check that was skipped because of another begins so; the other's id follows."""
QUICK = timedelta(seconds=1)
PAUSE = timedelta(milliseconds=100)
"""Before a second try."""
GOOD = (Verdict.OK, Verdict.WARN)


def run_checks(checks: Sequence[Check[C]], context: C, observer: Observer, overall: timedelta) -> list[CheckResult]:
    """Run all checks, each as soon as what it needs is known, and return a result for every one in their order.

    Parameters
    ----------
    checks
        Ids are unique; a need that is not among them counts as met (it was left out on purpose).
    overall
        What has no result by then is UNKNOWN.

    Notes
    -----
    Each check has a daemon thread of its own, so that one that hangs holds up neither the others nor the exit. Ctrl-C
    ends the waiting: what is not known by then is UNKNOWN, with the observation `INTERRUPTED`.
    """
    return _Round(checks, context, observer, overall).run()


class _Round(Generic[C]):
    def __init__(self, checks: Sequence[Check[C]], context: C, observer: Observer, overall: timedelta) -> None:
        self._checks = {check.id: check for check in checks}
        self._context = context
        self._observer = observer
        self._end = time.monotonic() + overall.total_seconds()
        self._overall_s = overall.total_seconds()
        self._results: dict[str, CheckResult] = {}
        self._started: dict[str, tuple[float, datetime]] = {}
        self._changed = threading.Condition()

    def run(self) -> list[CheckResult]:
        reason = f"no result within {self._overall_s:.0f} s for all checks"
        try:
            with self._changed:
                while len(self._results) < len(self._checks):
                    self._start_what_can()
                    self._expire_what_is_late()
                    if time.monotonic() >= self._end:
                        break
                    self._changed.wait(min(0.2, max(0.0, self._end - time.monotonic())))
        except KeyboardInterrupt:
            reason = INTERRUPTED
        with self._changed:
            for check in self._checks.values():
                if check.id not in self._results:
                    self._finish(check, Outcome(Verdict.UNKNOWN, reason))
            return [self._results[id_] for id_ in self._checks]

    def _start_what_can(self) -> None:
        progress = True
        while progress:  # a check that is skipped may let others be skipped
            progress = False
            for check in self._checks.values():
                if check.id in self._started or check.id in self._results:
                    continue
                needs = [need for need in check.needs if need in self._checks]
                failed = [n for n in needs if n in self._results and not _is_met(self._results[n])]
                if failed:
                    self._finish(check, Outcome(Verdict.SKIPPED, f"{WAITS_FOR}{failed[0]}"))
                    progress = True
                elif all(need in self._results for need in needs):
                    self._started[check.id] = (time.monotonic(), datetime.now(UTC))
                    self._observer(Event(EventKind.STARTED, check.id))
                    threading.Thread(target=self._look, args=(check,), name=check.id, daemon=True).start()

    def _expire_what_is_late(self) -> None:
        for id_, (started, _) in self._started.items():
            limit = self._checks[id_].deadline.total_seconds()
            if id_ not in self._results and time.monotonic() - started > limit:
                self._finish(self._checks[id_], Outcome(Verdict.UNKNOWN, f"no answer within {limit:.0f} s"))

    def _look(self, check: Check[C]) -> None:
        outcome = look(check, self._context)
        with self._changed:
            if check.id not in self._results:
                self._finish(check, outcome)
            self._changed.notify()

    def _finish(self, check: Check[C], outcome: Outcome) -> None:
        started, at = self._started.get(check.id, (time.monotonic(), datetime.now(UTC)))
        bad = outcome.verdict not in (Verdict.OK, Verdict.SKIPPED)
        result = CheckResult(
            id=check.id,
            title=check.title,
            verdict=outcome.verdict,
            expected=outcome.expected or check.title,
            observed=outcome.observed,
            detail=outcome.detail,
            fix=(outcome.fix or check.fix) if bad else "",
            runbook=check.runbook if bad else "",
            started_at=at,
            duration_s=time.monotonic() - started,
        )
        self._results[check.id] = result
        self._observer(Event(EventKind.FINISHED, check.id, outcome.verdict.value, outcome.observed, result.duration_s))


def _is_met(need: CheckResult) -> bool:
    """Whether what needs this can look: also where there is no such thing here, unless that itself could not be looked at."""
    is_meant = need.verdict is Verdict.SKIPPED and not need.observed.startswith(WAITS_FOR)
    return need.verdict in GOOD or is_meant


def look(check: Check[C], context: C) -> Outcome:
    """Run one check. What answered "no" is FAIL; what did not answer, or could not be understood, is UNKNOWN.

    A connection that broke at once may have done so by chance: the check is tried a second time, and the outcome says so.
    What took long to fail is not: that would take as long again, and another answer is not likely.
    """
    began = time.monotonic()
    try:
        return _seen(check, context)
    except Unreachable as first:
        took = timedelta(seconds=time.monotonic() - began)
        if took > QUICK or took + PAUSE >= check.deadline:
            return Outcome(Verdict.UNKNOWN, first.what, fix=first.fix)
        time.sleep(PAUSE.total_seconds())  # nothing says when a connection may work again
        return _second(check, context, first)


def _second(check: Check[C], context: C, first: Unreachable) -> Outcome:
    try:
        second = _seen(check, context)
    except Unreachable as error:
        return Outcome(Verdict.UNKNOWN, f"second try: {error.what}", fix=error.fix)
    before = f"first try: {first.what}"
    detail = f"{second.detail}\n{before}" if second.detail else before
    return replace(second, observed=f"second try: {second.observed}", detail=detail)


def _seen(check: Check[C], context: C) -> Outcome:
    """Run one check. Raises `Unreachable` when a system does not answer."""
    try:
        return check.run(context)
    except Unreachable:
        raise
    except (Refused, Missing, ErrorReply) as error:
        return Outcome(Verdict.FAIL, error.what, fix=error.fix)
    except PromptKedaError as error:
        return Outcome(Verdict.UNKNOWN, error.what, fix=error.fix)
    except Exception as error:  # noqa: BLE001  one defective check must not hide what the others saw
        return Outcome(Verdict.UNKNOWN, f"the check itself failed: {type(error).__name__}", fix="Please report this.")
