"""Runs the steps of a plan: inspect, act, wait, one after the other, each written into the journal before and after."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from prompt_keda.errors import ClientError, DeadlinePassed, Interrupted, StepBroken
from prompt_keda.model.event import Event, EventKind, Observer
from prompt_keda.model.plan import Progress, Signal, State, Step, StepResult

C = TypeVar("C")
LOOK_AGAIN_S = 1.0
"""The longest time between two inspections while waiting: some things cannot be watched."""


class Journal(Protocol):
    """Where each act is written down, before and after."""

    def append(self, step_id: str, event: str, detail: str = "") -> None:
        """Write one entry, and return when it is on the disk."""


class Tick:
    """A signal for what cannot be watched: it only lets time pass."""

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep

    def wait(self, timeout_s: float) -> bool:
        """Let ``timeout_s`` seconds pass."""
        self._sleep(timeout_s)
        return False

    def close(self) -> None:
        """Nothing is open."""


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
        When an inspection says BROKEN: waiting cannot mend it.
    DeadlinePassed
        When a step is not DONE by its deadline; with the last progress.
    Interrupted
        On Ctrl-C or SIGTERM (raised as KeyboardInterrupt).
    ClientError
        When an act, or the first inspection of a step, cannot reach its system.
    """
    results: list[StepResult] = []
    for step in steps:
        started = now()
        observer(Event(EventKind.STARTED, step.id, State.WORKING.value, step.title))
        try:
            progress, acted = _run_step(step, context, journal, observer, now)
        except KeyboardInterrupt as error:
            journal.append(step.id, "interrupted")
            raise Interrupted(f"stopped in {step.id}", "./run resume goes on from here.") from error
        except (ClientError, StepBroken, DeadlinePassed) as error:
            journal.append(step.id, "failed", error.what)
            observer(Event(EventKind.FINISHED, step.id, State.BROKEN.value, error.what, now() - started))
            raise
        took = now() - started
        results.append(StepResult(step.id, step.title, step.destructive, progress, acted, took))
        state = "done" if acted else "already done"
        observer(Event(EventKind.FINISHED, step.id, state, progress.detail, took))
    return results


def _run_step(
    step: Step[C], context: C, journal: Journal, observer: Observer, now: Callable[[], float]
) -> tuple[Progress, bool]:
    progress = step.inspect(context)
    if progress.state is State.DONE:
        journal.append(step.id, "skipped", progress.detail)
        return progress, False
    end = now() + step.deadline.total_seconds()
    journal.append(step.id, "begin", progress.detail)
    signal: Signal = step.watch(context) if step.watch else Tick()
    try:
        step.act(context)
        progress = _wait(step, context, signal, observer, end, now)
    finally:
        signal.close()
    journal.append(step.id, "done", progress.detail)
    return progress, True


def _wait(
    step: Step[C], context: C, signal: Signal, observer: Observer, end: float, now: Callable[[], float]
) -> Progress:
    shown = ""
    while True:
        try:
            progress = step.inspect(context)
        except ClientError as error:
            if not error.retriable:
                raise
            progress = Progress(State.WORKING, error.what)
        if progress.state is State.DONE:
            return progress
        if progress.state is State.BROKEN:
            raise StepBroken(f"{step.id}: {progress.detail}")
        if progress.detail != shown:
            shown = progress.detail
            observer(Event(EventKind.PROGRESS, step.id, progress.state.value, shown))
        left = end - now()
        if left <= 0:
            raise DeadlinePassed(step.title, step.deadline.total_seconds(), progress.detail)
        signal.wait(min(LOOK_AGAIN_S, left))
