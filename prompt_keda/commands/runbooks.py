"""runbooks, runbook and respond: which runbook fits, and running it. What is done is kept in the incident's record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from prompt_keda.commands.incidents import keep_look, open_incident, post_to_chat
from prompt_keda.commands.session import Session
from prompt_keda.components.round import Observe, choose, run_round
from prompt_keda.core import exit_code
from prompt_keda.core.check import Verdict
from prompt_keda.core.decisions import digest_of
from prompt_keda.core.errors import PromptKedaError, Refusal
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.core.places import RUNBOOKS, runs_folder
from prompt_keda.records.incident import Incident
from prompt_keda.records.incident_story import CLOSED, INCIDENT, VERIFIED
from prompt_keda.records.run_summary import FAILED, INTERRUPTED
from prompt_keda.redeploy import planner
from prompt_keda.redeploy.approval import Ask, smoke_digest
from prompt_keda.redeploy.history import runs_here_and_in_cluster
from prompt_keda.redeploy.modes import RedeployOptions
from prompt_keda.report.causes import Cause, causes
from prompt_keda.report.parts import Runbooks
from prompt_keda.report.response import ProposedRunbook, Response, RunbookPlan, RunbookRow, RunbookRun, StepRow
from prompt_keda.report.result import Result
from prompt_keda.runbooks.commands import go_on, run_command
from prompt_keda.runbooks.loading import find_runbook, load_runbooks
from prompt_keda.runbooks.page import DIAGNOSIS, Runbook, as_typed
from prompt_keda.runbooks.run_runbook import RunbookOptions, code_of_runbook, run_runbook, words_of

NO_APPROVAL = "none"
MOST_RUNBOOKS = 5
"""So many a response runs one after the other: what is broken after that needs people."""


def list_runbooks() -> Result[Runbooks]:
    """Return every runbook with its symptom and the checks that name it. Raises as `load_runbooks` does."""
    from prompt_keda.components.catalogue import ALL_CHECKS

    rows = []
    for runbook in load_runbooks(RUNBOOKS):
        named_by = [check.id for check in ALL_CHECKS if check.runbook == runbook.name]
        steps = [StepRow(step.id, as_typed(step.words), step.text) for step in runbook.steps]
        rows.append(RunbookRow(runbook.name, runbook.title, named_by, steps))
    return Result("runbooks", "", f"{len(rows)} runbooks", Runbooks(rows))


def plan_runbook(session: Session, name: str) -> Result[RunbookPlan]:
    """Return what a runbook would run, and the digest that approves all of it. It reads, and never writes.

    Raises
    ------
    Refusal
        When there is no such runbook.
    EnvironmentFileError
        When its page has a wrong form.
    """
    runbook = find_runbook(RUNBOOKS, name)
    digests, notes = _digests(session, runbook)
    options = RunbookOptions(session.name, {})
    steps = [StepRow(step.id, as_typed(words_of(step, options)), "\n".join(step.plain_lines)) for step in runbook.steps]
    parts = RunbookPlan(name, runbook.title, steps, _digest(runbook, digests), notes)
    header = f"environment {session.environment.name} · runbook {name}"
    return Result("runbook", session.environment.name, header, parts)


def _digests(session: Session, runbook: Runbook) -> tuple[dict[str, str], list[str]]:
    """Return task → the digest that approves it now; and in words each task that would be refused."""
    digests, notes = {}, []
    makers: dict[str, Callable[[], str]] = {
        "redeploy": lambda: planner.make_plan(session.for_writing(), RedeployOptions()).digest,
        "smoke": lambda: smoke_digest(session.environment),
    }
    for task, make in makers.items():
        if any(step.task == task for step in runbook.steps):
            try:
                digests[task] = make()
            except PromptKedaError as error:
                notes.append(f"{task} cannot be approved now: {error.what}")
    return digests, notes


def _digest(runbook: Runbook, digests: Mapping[str, str]) -> str:
    return digest_of({"runbook": runbook.sha256, **digests})


def run(
    session: Session, name: str, first: str, approve: str, observer: Observer, ask: Ask | None
) -> Result[RunbookRun]:
    """Run a runbook: each command, with its text, kept in the open incident of this environment, or in a new one.

    Parameters
    ----------
    first
        The id of the step to begin with; empty: the first.
    approve
        The digest that `plan_runbook` returned; it approves every command of the runbook. Empty: each asks for itself.
    ask
        None: there is no terminal.

    Raises
    ------
    Refusal
        Before anything is run: there is no such runbook or step, or nobody can approve what writes.
    EnvironmentFileError
        When its page has a wrong form.
    """
    runbook = find_runbook(RUNBOOKS, name)
    if first and all(step.id != first for step in runbook.steps):
        raise Refusal(f"runbook {name} has no step {first!r}", f"Known: {', '.join(s.id for s in runbook.steps)}.")
    digests = _approved(session, runbook, approve, ask)
    incident = open_incident(session, f"runbook {name}", observer)
    return _run(session, runbook, first, digests, incident, observer)


def _approved(session: Session, runbook: Runbook, approve: str, ask: Ask | None) -> dict[str, str]:
    """Return the digests that were approved. Raises `Refusal` when they are others, or nobody can be asked."""
    if session.environment.approval == NO_APPROVAL or not (approve or ask is None):
        return {}
    digests, notes = _digests(session, runbook)
    digest = _digest(runbook, digests)
    if digests and approve != digest:
        how = f"If you want it: --approve {digest}; look at ./run runbook {runbook.name} --env {session.name} --plan."
        why = f"--approve {approve} is another digest"
        if not approve:
            why = "it is not approved, and there is no terminal to ask"
        raise Refusal(f"runbook {runbook.name}: {'; '.join([why, *notes])}", how)
    return digests


def _run(
    session: Session,
    runbook: Runbook,
    first: str,
    digests: Mapping[str, str],
    incident: Incident,
    observer: Observer,
) -> Result[RunbookRun]:
    environment = session.environment.name
    options = RunbookOptions(session.name, digests, first, _interrupted(session, incident))
    if options.interrupted_run:
        observer(Event(EventKind.NOTE, runbook.name, "", f"goes on with the interrupted run {options.interrupted_run}"))
    done = run_runbook(runbook, options, incident, run_command, observer)
    code = code_of_runbook(runbook, done)
    if code == exit_code.GREEN and any(step.section != DIAGNOSIS for step in runbook.steps):
        incident.add(INCIDENT, CLOSED, f"{VERIFIED} by runbook {runbook.name}")
        post_to_chat(session, incident, "incident closed", observer)
    elif code not in (exit_code.GREEN, exit_code.STOPPED):  # who stopped it knows that
        news = f"runbook {runbook.name} ended with exit code {code}"
        post_to_chat(session, incident, news, observer)
    header = f"environment {environment} · runbook {runbook.name} · incident {incident.id}"
    return Result("runbook", environment, header, RunbookRun(runbook.name, code, incident.id, done), code)


def _interrupted(session: Session, incident: Incident) -> str:
    """Return the redeploy that was begun since this incident, and has not ended; empty if there is none or it cannot be seen."""
    with session.fresh_systems() as systems:
        runs, _, _ = runs_here_and_in_cluster(systems, runs_folder(), is_this_cluster=True)
    newest = runs[0] if runs else None
    stamp = len("20261124t213123z")
    if newest and newest.state in (INTERRUPTED, FAILED) and newest.run_id[:stamp] >= incident.id[:stamp]:
        return newest.run_id
    return ""


def respond(session: Session, observe: Observe, observer: Observer, ask: Ask | None) -> Result[Response]:
    """Look, find the cause that is nearest to the root, run its runbook; again, until nothing is left that a runbook repairs.

    Parameters
    ----------
    observe
        As for `prompt_keda.commands.check_deps.check_deps`.
    ask
        Asks the person before each runbook. None: there is no terminal; then only where the environment needs no approval
        a runbook is run, elsewhere it is proposed.

    Raises
    ------
    PromptKedaError
        When the environment's file has a wrong form once a runbook was run, or the record cannot be written.
    """
    incident: Incident | None = None
    ran: list[RunbookRun] = []
    proposed: ProposedRunbook | None = None
    while True:
        with session.reopened() as now:  # what is seen after a runbook does not hang on what was connected before
            results, header = run_round(now.systems, choose(), observe), now.header()
        code = go_on(exit_code.of_checks(results))  # what was not looked at is no cause
        ranked = causes(results)
        if incident:
            keep_look(incident, results)
        tried = {done.runbook for done in ran}
        cause = next((cause for cause in ranked if cause.runbook and cause.runbook not in tried), None)
        if cause is None or len(ran) == MOST_RUNBOOKS:
            break
        for other in ranked if ask else ():  # before the question; without one they stand in the result
            observer(Event(EventKind.NOTE, "respond", "", _describe(other)))
        if not _wanted(cause, session.environment.approval, ask):
            proposed = ProposedRunbook(cause.runbook, f"./run runbook {cause.runbook} --env {session.name}")
            break
        runbook = find_runbook(RUNBOOKS, cause.runbook)
        incident = open_incident(session, f"respond: {_describe(cause)}", observer, results)
        done = _run(session, runbook, "", {}, incident, observer)
        ran.append(done.parts)
        if done.exit_code in exit_code.NEEDS_PEOPLE:
            code = done.exit_code
            break
    response = Response(ranked, ran, _summary(ranked), proposed, results)
    return Result("respond", session.environment.name, header, response, code)


def _wanted(cause: Cause, approval: str, ask: Ask | None) -> bool:
    if approval == NO_APPROVAL:
        return True
    return ask is not None and ask(f"Run runbook {cause.runbook}? yes/no: ").strip() == "yes"


def _describe(cause: Cause) -> str:
    first = cause.checks[0]
    more = f" (and {len(cause.checks) - 1} more)" if len(cause.checks) > 1 else ""
    return f"{cause.runbook or 'no runbook'}: {first.verdict.value} {first.id}: {first.observed}{more}"


def _summary(ranked: Sequence[Cause]) -> str:
    if not ranked:
        return "nothing is broken"
    worst = [cause for cause in ranked if cause.worst is not Verdict.WARN]
    if not worst:
        return f"nothing is broken; {len(ranked)} to look at (WARN)"
    warnings = len(ranked) - len(worst)
    causes = f"{len(worst)} cause{'s' * (len(worst) > 1)} left"
    return f"{causes}, and {warnings} to look at (WARN)" if warnings else causes
