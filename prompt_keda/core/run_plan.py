"""Runs the steps of a plan: inspect, act, wait, one after the other, each written into the journal before and after."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from prompt_keda.core.errors import (
    ClientError,
    DeadlinePassed,
    Interrupted,
    LoggedOut,
    PromptKedaError,
    Refusal,
    StepBroken,
    Unexpected,
)
from prompt_keda.core.event import HAD_NOTHING_TO_DO, Event, EventKind, Observer
from prompt_keda.core.plan import Progress, State, Step, StepResult, StepsDone
from prompt_keda.core.waiting import LOOK_AGAIN_S, Signal, Tick, looks

C = TypeVar("C")
T = TypeVar("T")
GO_ON = "./run resume goes on from here."


class Journal(Protocol):
    """Where each act is written down, before and after."""

    def append(self, step_id: str, event: str, detail: str = "") -> None:
        """Write one entry, and return when it is on the disk."""


def run_plan(
    steps: Sequence[Step[C]],
    context: C,
    journal: Journal,
    observer: Observer,
    now: Callable[[], float] = time.monotonic,
) -> list[StepResult]:
    """Run steps in order. A step whose inspection says DONE is skipped; so a second run does nothing.

    Raises
    ------
    StepBroken
        When an inspection says BROKEN: waiting cannot fix it; or when a step refuses after another one has written.
    DeadlinePassed
        When a step is not DONE by its deadline; with the last progress.
    Interrupted
        On Ctrl-C or SIGTERM (raised as KeyboardInterrupt), or when the login has expired after a step has written.
    Refusal
        When a step refuses, and none before it has written.
    Unexpected
        When a step raises an unexpected error: it is journaled as any other failure, by its type alone.
    ClientError
        When neither the act nor the last inspection before a step's deadline can reach its system, or the first of them
        before anything was written: what could not be seen is not seen broken.

    Notes
    -----
    The ``parts`` of each error are `StepsDone`.
    """
    results: list[StepResult] = []
    begun = now()
    for step in steps:
        started = now()
        observer(Event(EventKind.STARTED, step.id, State.WORKING.value, step.title))
        has_written = any(result.acted for result in results)
        try:
            progress, acted = _run_step(step, context, journal, observer, now, has_written)
        except (KeyboardInterrupt, Exception) as error:
            failure = _failure(error, step, has_written)
            journal.append(step.id, "interrupted" if isinstance(failure, Interrupted) else "failed", failure.what)
            took = now() - started
            broken = Progress(State.BROKEN, failure.what)
            failure.parts = StepsDone([*results, _result(step, broken, True, took, started - begun)])
            if not isinstance(failure, Interrupted):
                observer(Event(EventKind.FINISHED, step.id, State.BROKEN.value, failure.what, took))
            raise failure from error
        took = now() - started
        results.append(_result(step, progress, acted, took, started - begun))
        state = "done" if acted else HAD_NOTHING_TO_DO
        observer(Event(EventKind.FINISHED, step.id, state, progress.detail, took))
    return results


def _result(step: Step[C], progress: Progress, acted: bool, took: float, began: float) -> StepResult:
    return StepResult(step.id, step.title, step.destructive, progress, acted, took, began)


def _failure(error: BaseException, step: Step[C], has_written: bool) -> PromptKedaError:
    """Return the error that is true for a run in its middle: 2 means that nothing was written."""
    if isinstance(error, KeyboardInterrupt):
        return Interrupted(f"stopped in {step.id}", GO_ON)
    if not isinstance(error, PromptKedaError):
        return Unexpected(error)
    if has_written and isinstance(error, LoggedOut):
        return Interrupted(f"stopped in {step.id}: {error.what}", f"Log in again. Then {GO_ON}")
    if has_written and error.exit_code == Refusal.exit_code:
        return StepBroken(error.what, error.fix)
    return error


def _run_step(
    step: Step[C], context: C, journal: Journal, observer: Observer, now: Callable[[], float], has_written: bool
) -> tuple[Progress, bool]:
    end = now() + step.deadline.total_seconds()
    insisting = (step.id, observer, end if has_written else now(), now)
    progress = _insist(lambda: step.inspect(context), *insisting)
    if progress.state is State.DONE:
        journal.append(step.id, "skipped", progress.detail)
        return progress, False
    if progress.state is State.BROKEN:  # no act fixes that; if nothing was written before, it is a refusal
        raise Refusal(f"{step.id}: {progress.detail}")
    journal.append(step.id, "begin", progress.detail)
    signal: Signal = step.watch(context) if step.watch else Tick()
    try:
        _insist(lambda: step.act(context), *insisting)  # it may be done without an answer: each act can be done twice
        progress = _wait(step, context, signal, observer, end, now)
    finally:
        signal.close()
    journal.append(step.id, "done", progress.detail)
    return progress, True


def _insist(ask: Callable[[], T], step_id: str, observer: Observer, end: float, now: Callable[[], float]) -> T:
    """Inspect or act. What a system does not answer is asked again until ``end``: half-way, giving up leaves KEDA away."""
    while True:  # a loop of its own: its last error ends it, and no deadline
        try:
            return ask()
        except ClientError as error:
            left = end - now()
            if not error.retriable or left <= 0:
                raise
            observer(Event(EventKind.PROGRESS, step_id, State.WORKING.value, error.what))
            Tick().wait(min(LOOK_AGAIN_S, left))


def _wait(
    step: Step[C], context: C, signal: Signal, observer: Observer, end: float, now: Callable[[], float]
) -> Progress:
    shown = ""
    unseen: ClientError | None = None
    progress = Progress(State.WORKING)
    for _ in looks(end - now(), signal, LOOK_AGAIN_S, now):
        unseen = None
        try:
            progress = step.inspect(context)
        except ClientError as error:
            if not error.retriable:
                raise
            unseen, progress = error, Progress(State.WORKING, error.what)
        if progress.state is State.DONE:
            return progress
        if progress.state is State.BROKEN:
            raise StepBroken(f"{step.id}: {progress.detail}")
        if progress.detail != shown:
            shown = progress.detail
            observer(Event(EventKind.PROGRESS, step.id, progress.state.value, shown))
    raise unseen or DeadlinePassed(step.title, step.deadline.total_seconds(), progress.detail)
