"""plan, redeploy and resume: what changes Prompt KEDA."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace

from prompt_keda.clients.systems import Systems
from prompt_keda.commands.session import ChatNews, Session
from prompt_keda.components.event_source.choice import event_source
from prompt_keda.components.run import Context
from prompt_keda.components.scaled_jobs import running_jobs
from prompt_keda.core.decisions import Decisions, JobRecord, Plan
from prompt_keda.core.errors import JournalMismatch, PromptKedaError, Refusal, Unexpected
from prompt_keda.core.event import HAD_NOTHING_TO_DO, Event, EventKind, Observer, nobody
from prompt_keda.core.places import runs_folder
from prompt_keda.core.plan import Step, StepResult, StepsDone
from prompt_keda.core.run_plan import GO_ON, run_plan
from prompt_keda.records.record import RunFolder
from prompt_keda.records.run_history import recent_recoveries
from prompt_keda.records.run_record import environment_of
from prompt_keda.redeploy import guard, planner, snapshot, timings
from prompt_keda.redeploy.approval import Ask, approve_or_refuse
from prompt_keda.redeploy.copied_journal import CopiedJournal, copied_journal_of
from prompt_keda.redeploy.copied_runs import decision_lines, refuse_foreign
from prompt_keda.redeploy.history import runs_here
from prompt_keda.redeploy.modes import RedeployOptions
from prompt_keda.redeploy.observing import FLAG, agree_while_observing, why_observing
from prompt_keda.redeploy.unfinished import KeptRun, find_unfinished
from prompt_keda.report import as_json
from prompt_keda.report.parts import NOT_SEEN, PlanReport, SeenNow
from prompt_keda.report.result import Result
from prompt_keda.report.run_report import Ledger, LedgerBefore, RunReport, RunStopped, StreamCounts, Streams
from prompt_keda.report.status import NotSeen


def plan(session: Session, options: RedeployOptions, observer: Observer = nobody) -> Result[PlanReport]:
    """Return what a redeploy would do, each step with what its inspection sees now. It reads, and never writes."""
    context = session.for_writing()
    made = _planned(context, options, observer)
    context.before = _running(context)
    now, notes = [_seen_now(step, context) for step in made.steps], list(made.notes)
    if why := why_observing(session.environment):
        notes.append(f"observing: {why}; redeploy asks once more, without a terminal it wants {FLAG}")
    parts = PlanReport(made, now, notes, len(context.before), _recent(session.systems, made.mode))
    return Result("plan", session.environment.name, session.header(context.kube_system_uid), parts)


def _planned(context: Context, options: RedeployOptions, observer: Observer) -> Plan[Context]:
    """Make the plan; report meanwhile that it takes its time."""
    observer(Event(EventKind.STARTED, "plan/look", "working", "looks at what stands"))
    try:
        return planner.make_plan(context, options)
    finally:
        observer(Event(EventKind.FINISHED, "plan/look", HAD_NOTHING_TO_DO))


def _recent(systems: Systems, mode: str, besides: str = "") -> list[float]:
    """Return what the last recoveries of a mode took here, in seconds."""
    runs, _ = runs_here(systems, runs_folder())
    return recent_recoveries(runs, mode, besides)


def _seen_now(step: Step[Context], context: Context) -> SeenNow:
    try:
        progress = step.inspect(context)
    except PromptKedaError as error:  # for example a kind that is not served before its CRD is there
        return SeenNow(NOT_SEEN, error.what)
    return SeenNow(progress.state.value, progress.detail)


def redeploy(
    session: Session,
    options: RedeployOptions,
    approve: str,
    observer: Observer,
    ask: Ask | None,
    while_observing: bool = False,
) -> Result[RunReport]:
    """Plan, get approval, act, verify.

    Parameters
    ----------
    approve
        The digest that `plan` printed; empty: ask the person, where the environment wants an approval.
    ask
        None: there is no terminal.
    while_observing
        A person has agreed to redeploy while people observe.

    Raises
    ------
    Refusal
        Before any write: no approval, none while people observe, wrong cluster, unfilled value.
    PromptKedaError
        When a step fails; everything done until then stands in the journal, and in the error's ``parts``.
    """
    context = session.for_writing()
    made = _planned(context, options, observer)
    approve_or_refuse(context, made.digest, f"redeploy, mode {made.mode}", approve, ask)
    agree_while_observing(session.environment, "redeploy", while_observing, ask)
    folder = RunFolder.create(runs_folder(), session.environment.name)
    context.before = _running(context)
    ledger = [job.__dict__ for job in context.before]
    kept = snapshot.to_keep(context.objects, made.decisions)
    folder.write_json(
        "snapshot.json", {"jobs": ledger, "objects": kept, "streams": as_json.as_plain(_streams(session.systems))}
    )
    folder.write_json("plan.json", {"environment_file": str(session.file.resolve()), **made.to_json()})
    return _run(session, context, made, folder, observer, "redeploy")


def resume(session: Session, run_id: str, approve: str, observer: Observer, ask: Ask | None) -> Result[RunReport]:
    """Go on where an interrupted redeploy stopped, here or on another machine; each step looks for itself whether it is done.

    Parameters
    ----------
    run_id
        The run; empty: the newest, if it is unfinished.
    approve, ask
        As for `redeploy`; asked for only where the run was begun on another machine: nobody here has approved it.

    Raises
    ------
    Refusal
        When there is nothing to resume, or it is damaged or not approved.
    JournalMismatch
        When the environment, the manifests or the toolkit have changed since.
    """
    context = session.for_writing()
    kept = find_unfinished(runs_folder(), session.environment, session.systems.kube, run_id, observer)
    if kept is None:
        raise _nothing_to_resume(session.environment.name, run_id)
    made = _plan_again(context, kept)
    if kept.folder is None:
        for line in decision_lines(made.decisions):
            observer(Event(EventKind.NOTE, "resume", "", line))
        what = f"resume of run {kept.run_id}, begun on another machine, mode {made.mode}"
        approve_or_refuse(context, made.digest, what, approve, ask)
    context.before = tuple(JobRecord(**job) for job in kept.snapshot["jobs"])
    return _run(session, context, made, kept.open(runs_folder()), observer, "resume")


def _nothing_to_resume(environment: str, run_id: str) -> Refusal:
    if not run_id:
        message = f"no interrupted run of environment {environment} is recorded here or in its cluster"
        return Refusal(message, "Start one with ./run redeploy.")
    other = environment_of(run_id)
    if other in (None, environment):
        return Refusal(f"there is no run {run_id} here or in its cluster", "./run history names them.")
    message = f"run {run_id} is one of environment {other}, not of {environment}"
    return Refusal(message, f"./run resume --env {other} --run {run_id}")


def _plan_again(context: Context, kept: KeptRun) -> Plan[Context]:
    """Make an interrupted run's plan again. Raises `JournalMismatch` when something else comes out, and says what."""
    plan, decisions = kept.plan, Decisions.from_json(kept.plan["decisions"])
    if kept.folder is None:
        refuse_foreign(context, decisions, kept.snapshot["objects"], kept.run_id)
    made = planner.plan_again(context, plan["mode"], decisions, kept.snapshot["objects"], tuple(plan["notes"]))
    if made.digest != plan["digest"]:
        before = plan.get("input_digests", {})
        changed = [key for key, value in made.input_digests.items() if before.get(key) != value]
        gone = [key for key in before if key not in made.input_digests]
        raise JournalMismatch(
            f"run {kept.run_id} cannot go on: changed since it was planned: {', '.join([*changed, *gone]) or 'its plan'}",
            f"Undo the change, or begin a new redeploy.{_planned_from(kept)}",
        )
    return made


def _planned_from(kept: KeptRun) -> str:
    file = kept.plan.get("environment_file") if kept.folder else None
    return f" It was planned from {file}." if file else ""


def _run(
    session: Session, context: Context, made: Plan[Context], folder: RunFolder, observer: Observer, task: str
) -> Result[RunReport]:
    header, began_s = session.header(context.kube_system_uid), time.monotonic()
    context.run_id, context.observer = folder.id, observer
    journal, news = copied_journal_of(context, folder), ChatNews(session, observer)
    begun = f"{task} mode {made.mode} by {context.systems.viewpoint}, process {os.getpid()}"
    journal.append("run", "begin", begun)
    subject = f"{task} of {context.environment.name}, mode {made.mode}, run {folder.id}"
    news.post(f"{subject}: begins, by {context.systems.viewpoint}")
    outcome = "has ended; how is not known"
    try:
        steps = run_plan(made.steps, context, journal, observer)
        seconds = time.monotonic() - began_s
        report = _report(context, made, folder, steps, seconds)
        journal.append("run", "done", f"{seconds:.1f} s")
        folder.write_json("report.json", report.to_json())
        report = replace(report, recent_s=_recent(context.systems, made.mode, folder.id))
        journal.finish({"mode": made.mode, "timings": report.timings})
        outcome = f"verified, recovery time {seconds:.1f} s"
    except Exception as error:
        failed = error if isinstance(error, PromptKedaError) else Unexpected(error)
        if failed is not error:  # outside of a step, which journals its own
            journal.append("run", "failed", failed.what)
        wrote = task == "resume" or context.lock_was_held
        outcome = (
            f"has stopped; ./run resume --env {context.environment.name} goes on"
            if wrote
            else "refused, nothing is changed"
        )
        _add_progress(failed, context, made, folder, header)
        if task == "redeploy" and not context.lock_was_held:
            folder.mark_refused(failed.what)  # it wrote nothing: it must not hide an earlier run from resume
        if failed is error:
            raise
        raise failed from error
    finally:
        try:
            journal.close()  # before the lock is given back: who takes it next finds the copy as it is
        finally:
            _give_lock_back(context, journal)
            news.post(f"{subject}: {outcome}")
            news.close()
    return Result(task, context.environment.name, header, report)


def _give_lock_back(context: Context, journal: CopiedJournal) -> None:
    try:
        guard.release_lease(context)
    except PromptKedaError as error:  # it must not hide why the run ended; the lock expires by itself
        journal.append("run", "lock-kept", error.what)


def _running(context: Context) -> tuple[JobRecord, ...]:
    return running_jobs.ledger(context.systems.kube, context.environment.smoke.namespace)


def _report(
    context: Context, made: Plan[Context], folder: RunFolder, steps: Sequence[StepResult], seconds: float
) -> RunReport:
    assert context.smoke is not None, "every plan has the smoke test"
    return RunReport(
        run=folder.id,
        mode=made.mode,
        notes=made.notes,
        steps=steps,
        ledger=Ledger(context.before, _running(context), _streams(context.systems)),
        smoke=context.smoke,
        timings={"recovery": round(seconds, 2), **timings.parts(steps, context.smoke)},
    )


def _add_progress(
    error: PromptKedaError, context: Context, made: Plan[Context], folder: RunFolder, header: str
) -> None:
    """Add to an error what the run had done."""
    steps = error.parts.steps if isinstance(error.parts, StepsDone) else []
    ledger, spans_s = LedgerBefore(context.before), timings.parts(steps, None)
    error.parts = RunStopped(header, folder.id, made.mode, steps, ledger, spans_s)
    if context.lock_was_held and GO_ON not in error.fix:
        error.fix = f"{error.fix} Then {GO_ON}".strip()


def _streams(systems: Systems) -> Streams:
    """Return what stands of each instrument's stream; a Redis that does not answer is said, not fatal."""
    streams: dict[str, StreamCounts | NotSeen] = {}
    for instrument in systems.environment.instruments:
        try:
            source = event_source(systems)
            group = source.find_group(instrument.stream, instrument.consumer_group)
            length = source.find_length(instrument.stream)
            streams[instrument.stream] = StreamCounts(
                length, group.lag if group else None, group.pending if group else None
            )
        except PromptKedaError as error:
            systems.forget_redis()
            streams[instrument.stream] = NotSeen(error.what)
    return streams
