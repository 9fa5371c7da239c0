"""The composition root of incident response: runbooks, what fits, and the record of what was done."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prompt_keda.clients.systems import viewpoint
from prompt_keda.commands import redeploy as redeploying
from prompt_keda.commands import smoke as proving
from prompt_keda.commands import toolkit
from prompt_keda.commands.chat import tell_chat
from prompt_keda.core.check import CheckResult, Verdict
from prompt_keda.core.decisions import digest_of
from prompt_keda.core.errors import PromptKedaError, Refusal
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.records.incident import Incident
from prompt_keda.records.incident_story import CLOSED, INCIDENT, NOTE
from prompt_keda.records.run_folder import JOURNAL
from prompt_keda.records.run_record import environment_of
from prompt_keda.records.run_summary import FAILED, INTERRUPTED
from prompt_keda.redeploy.approval import Ask
from prompt_keda.redeploy.modes import Wishes
from prompt_keda.report.archive import write_archive
from prompt_keda.report.incident_page import to_chat, to_html, to_markdown
from prompt_keda.report.result import Result
from prompt_keda.runbooks.causes import Cause, causes
from prompt_keda.runbooks.commands import STOPPED, go_on, run_command
from prompt_keda.runbooks.loading import find_runbook, load_runbooks
from prompt_keda.runbooks.page import DIAGNOSIS, Runbook
from prompt_keda.runbooks.run_runbook import Given, exit_code, run_runbook, words_of

RUNBOOKS = Path(__file__).parents[2] / "runbooks"
NO_APPROVAL = "none"
LAST_RUNS = 3
MOST_RUNBOOKS = 5
"""So many a response runs one after the other: what is broken after that needs people."""


def incidents_folder() -> Path:
    """Give the folder that holds all incidents."""
    return toolkit.runs_folder().parent / "incidents"


def list_runbooks() -> Result:
    """Give every runbook with its symptom and the checks that name it. Raises `EnvironmentFileError` for a page of a wrong form."""
    from prompt_keda.components.catalogue import ALL_CHECKS

    rows = []
    for one in load_runbooks(RUNBOOKS):
        named_by = [check.id for check in ALL_CHECKS if check.runbook == one.name]
        rows.append({"name": one.name, "title": one.title, "checks": named_by, "steps": _steps_told(one)})
    return Result("runbooks", "", header=f"{len(rows)} runbooks", parts={"runbooks": rows})


def _steps_told(runbook: Runbook) -> list[dict[str, str]]:
    return [{"id": one.id, "command": " ".join(("invoke", *one.words)), "text": one.text} for one in runbook.steps]


def plan_runbook(name: str, environment: str) -> Result:
    """Say what a runbook would run, and the digest that approves all of it. It reads, and never writes.

    Raises
    ------
    Refusal
        When there is no such runbook.
    EnvironmentFileError
        When its page or the environment's file has a wrong form.
    """
    runbook = find_runbook(RUNBOOKS, name)
    loaded = toolkit.load(environment)
    digests, notes = _digests(runbook, environment)
    steps = [
        {"id": one.id, "text": one.text, "command": " ".join(("invoke", *words_of(one, Given(environment, {}))))}
        for one in runbook.steps
    ]
    parts = {
        "runbook": name,
        "title": runbook.title,
        "steps": steps,
        "digest": _digest(runbook, digests),
        "notes": notes,
    }
    return Result("runbook", loaded.name, header=f"environment {loaded.name} · runbook {name}", parts=parts)


def _digests(runbook: Runbook, environment: str) -> tuple[dict[str, str], list[str]]:
    """Give task → the digest that approves it now; and in words each task that would be refused."""
    digests, notes = {}, []
    makers: dict[str, Callable[[], str]] = {
        "redeploy": lambda: str(redeploying.plan(environment, Wishes()).parts["plan"]["digest"]),
        "smoke": lambda: proving.smoke_digest(environment),
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


def run(name: str, environment: str, first: str, approve: str, observer: Observer, ask: Ask | None) -> Result:
    """Run a runbook: each command, with its text, kept in the open incident of this environment, or in a new one.

    Parameters
    ----------
    first
        The id of the step to begin with; empty: the first.
    approve
        The digest that `plan_runbook` printed; it approves every command of the runbook. Empty: each asks for itself.
    ask
        None: there is no terminal.

    Raises
    ------
    Refusal
        Before anything is run: there is no such runbook or step, or nobody can approve what writes.
    EnvironmentFileError
        When its page or the environment's file has a wrong form.
    """
    runbook = find_runbook(RUNBOOKS, name)
    if first and all(one.id != first for one in runbook.steps):
        raise Refusal(f"runbook {name} has no step {first!r}", f"Known are {', '.join(s.id for s in runbook.steps)}.")
    digests = _approved(runbook, environment, approve, ask)
    incident = _open(environment, f"runbook {name}", observer)
    return _run(runbook, environment, first, digests, incident, observer)


def _open(environment: str, why: str, observer: Observer, looked: Sequence[CheckResult] = ()) -> Incident:
    """Give the open incident of an environment, or begin one, and tell the chat of it. ``looked`` is kept first."""
    loaded = toolkit.load(environment)
    is_new = Incident.find_open(incidents_folder(), loaded.name) is None
    incident = Incident.open_(incidents_folder(), loaded.name, why, viewpoint())
    if looked:
        incident.keep("respond/check-deps", {"results": [_kept(one) for one in looked]})
    if is_new:
        tell_chat(loaded, environment, incident, "incident opened", observer)
    return incident


def _approved(runbook: Runbook, environment: str, approve: str, ask: Ask | None) -> dict[str, str]:
    """Give the digests that were approved. Raises `Refusal` when they are others, or nobody can be asked."""
    if toolkit.load(environment).approval == NO_APPROVAL:
        return {}
    if approve or ask is None:
        digests, notes = _digests(runbook, environment)
        digest = _digest(runbook, digests)
        if digests and approve != digest:
            how = (
                f"If you want it: --approve {digest}; look at ./run runbook {runbook.name} --env {environment} --plan."
            )
            said = (
                f"--approve {approve} is another digest"
                if approve
                else "it is not approved, and there is no terminal to ask"
            )
            raise Refusal(f"runbook {runbook.name}: {'; '.join([said, *notes])}", how)
        return digests
    return {}


def _run(
    runbook: Runbook, environment: str, first: str, digests: Mapping[str, str], incident: Incident, observer: Observer
) -> Result:
    loaded = toolkit.load(environment)
    header = f"environment {loaded.name} · runbook {runbook.name} · incident {incident.id}"
    result = Result("runbook", loaded.name, header=header)
    given = Given(environment, digests, first, _interrupted(environment, incident))
    if given.interrupted_run:
        observer(Event(EventKind.NOTE, runbook.name, "", f"goes on with the interrupted run {given.interrupted_run}"))
    done = run_runbook(runbook, given, incident, run_command, observer)
    result.exit_code = exit_code(runbook, done)
    result.parts = {"runbook": runbook.name, "incident": incident.id, "steps": [one.to_json() for one in done]}
    if result.exit_code == 0 and any(one.section != DIAGNOSIS for one in runbook.steps):
        incident.add(INCIDENT, CLOSED, f"proven by runbook {runbook.name}")
        tell_chat(loaded, environment, incident, "incident closed", observer)
    elif result.exit_code not in (0, STOPPED):  # who stopped it knows that
        news = f"runbook {runbook.name} ended with exit code {result.exit_code}"
        tell_chat(loaded, environment, incident, news, observer)
    return result


def close(environment: str, why: str) -> None:
    """Close the open incident of an environment, if there is one. Raises `Refusal` when it cannot be written."""
    if incident := Incident.find_open(incidents_folder(), environment):
        incident.add(INCIDENT, CLOSED, why)


def _interrupted(environment: str, incident: Incident) -> str:
    """Give the redeploy that was begun since this incident, and has not ended; empty if there is none or it cannot be seen."""
    try:
        runs = toolkit.history(environment).parts["runs"]
    except PromptKedaError:
        return ""
    newest = runs[0] if runs else None
    stamp = len("20261124t213123z")
    if newest and newest["state"] in (INTERRUPTED, FAILED) and newest["run_id"][:stamp] >= incident.id[:stamp]:
        return str(newest["run_id"])
    return ""


def respond(
    environment: str, observe: Callable[[Sequence[str]], toolkit.ChecksObserver], observer: Observer, ask: Ask | None
) -> Result:
    """Look, find the cause that is nearest to the root, run its runbook; again, until nothing is left that a runbook mends.

    Parameters
    ----------
    observe
        As for `toolkit.check_deps`.
    ask
        Asks the person before each runbook. None: there is no terminal; then only where the environment needs no approval
        a runbook is run, elsewhere it is proposed.

    Raises
    ------
    Refusal
        As `toolkit.check_deps` does.
    """
    loaded = toolkit.load(environment)
    result = Result("respond", loaded.name)
    incident: Incident | None = None
    ran: list[dict[str, Any]] = []
    while True:
        looked = toolkit.check_deps(environment, observe)
        go_on(looked.exit_code)  # what was not looked at is no cause, and nothing may be begun any more
        result.header, result.checks, result.exit_code = looked.header, looked.checks, looked.exit_code
        ranked = causes(looked.checks)
        result.parts = {"causes": [_cause_told(one) for one in ranked], "ran": ran, "said": _summary(ranked)}
        if incident:
            incident.keep("respond/check-deps", {"results": [_kept(one) for one in looked.checks]})
        tried = {one["runbook"] for one in ran}
        cause = next((one for one in ranked if one.runbook and one.runbook not in tried), None)
        if cause is None or len(ran) == MOST_RUNBOOKS:
            break
        for one in ranked:
            observer(Event(EventKind.NOTE, "respond", "", _told(one)))
        if not _wanted(cause, loaded.approval, ask):
            fix = f"./run runbook {cause.runbook} --env {environment}; with --plan it prints what approves it."
            result.parts["proposed"] = {"runbook": cause.runbook, "how": fix}
            break
        runbook = find_runbook(RUNBOOKS, cause.runbook)
        incident = _open(environment, f"respond: {_told(cause)}", observer, looked.checks)
        done = _run(runbook, environment, "", {}, incident, observer)
        ran.append({"runbook": cause.runbook, "exit_code": done.exit_code, **done.parts})
        if done.exit_code in (2, 130):
            result.exit_code = done.exit_code
            break
    return result


def _wanted(cause: Cause, approval: str, ask: Ask | None) -> bool:
    if approval == NO_APPROVAL:
        return True
    return ask is not None and ask(f"Run runbook {cause.runbook}? yes/no: ").strip() == "yes"


def _told(cause: Cause) -> str:
    first = cause.checks[0]
    more = f" (and {len(cause.checks) - 1} more)" if len(cause.checks) > 1 else ""
    return f"{cause.runbook or 'no runbook'}: {first.verdict.value} {first.id}: {first.observed}{more}"


def _summary(ranked: Sequence[Cause]) -> str:
    if not ranked:
        return "nothing is broken"
    worst = [one for one in ranked if one.worst is not Verdict.WARN]
    return (
        f"{len(worst)} causes left, {len(ranked) - len(worst)} amber"
        if worst
        else f"nothing is broken; {len(ranked)} amber"
    )


def _cause_told(cause: Cause) -> dict[str, Any]:
    checks = [{"id": one.id, "verdict": one.verdict.value, "observed": one.observed} for one in cause.checks]
    return {"runbook": cause.runbook, "worst": cause.worst.value, "checks": checks}


def _kept(one: CheckResult) -> dict[str, str]:
    return {"id": one.id, "verdict": one.verdict.value, "observed": one.observed, "runbook": one.runbook}


def status(environment: str) -> Result:
    """Say what stands, with the last runs and the open incident; raises as `toolkit.status` does."""
    result = toolkit.status(environment)
    found = Incident.find_open(incidents_folder(), result.environment)
    runs = toolkit.runs_of_this_machine(result.environment)[:LAST_RUNS]
    result.parts |= {"runs": runs, "incident": found.id if found else ""}
    return result


def bundle(environment: str, file: str, observer: Observer) -> Result:
    """Write what an expert asks for into one archive, without secrets; its content is told before it is written.

    Parameters
    ----------
    file
        The archive; empty: it is only told what it would hold.

    Raises
    ------
    Refusal
        When the file is there already, or cannot be written.
    ClientError
        When the Secrets that have to be taken out cannot be read: then nothing is collected.
    """
    loaded = toolkit.load(environment).name
    checks = toolkit.check_deps(environment, lambda ids: toolkit.Unwatched())
    go_on(checks.exit_code)
    own = {"check-deps.json": json.dumps([_kept(one) for one in checks.checks], indent=1), **_journals(loaded)}
    files, count = toolkit.support_files(environment, own)
    rows = [{"name": name, "size_bytes": len(text.encode())} for name, text in files.items()]
    for one in rows:
        observer(Event(EventKind.NOTE, "bundle", "", f"{one['size_bytes']:9} bytes  {one['name']}"))
    size = write_archive(Path(file), f"prompt-keda-{loaded}", files) if file else 0
    parts = {"file": file, "size_bytes": size, "files": rows, "redacted_count": count}
    return Result("bundle", loaded, header=checks.header, parts=parts)


def _journals(environment: str) -> dict[str, str]:
    """Give the journals of the last runs and of the newest incident that this machine has."""
    folders = [toolkit.runs_folder() / one["run_id"] for one in toolkit.runs_of_this_machine(environment)[:LAST_RUNS]]
    incident = Incident.find_newest(incidents_folder(), environment)
    folders += [incident.path] if incident else []
    kept = [one / JOURNAL for one in folders]
    return {f"{one.parent.parent.name}/{one.parent.name}.jsonl": one.read_text() for one in kept if one.is_file()}


def note(text: str, environment: str, observer: Observer) -> Result:
    """Add a note to the open incident of an environment, or open one with it. Raises `Refusal` when there is no text."""
    if not text.strip():
        raise Refusal("a note without a word", 'Say it: ./run note "asked the owners of Redis" --env prod')
    loaded = toolkit.load(environment).name
    incident = _open(environment, "a note", observer)
    incident.add(NOTE, viewpoint(), text.strip())
    parts = {"incident": incident.id, "at": datetime.now(UTC).isoformat(), "note": text.strip()}
    return Result("note", loaded, header=f"environment {loaded} · incident {incident.id}", parts=parts)


def report(environment: str, incident_id: str) -> Result:
    """Tell an incident: its story, and the same as Markdown and as a few lines for a chat.

    Parameters
    ----------
    incident_id
        Empty: the newest of the environment.

    Raises
    ------
    Refusal
        When there is no such incident, or its record is damaged.
    """
    loaded = toolkit.load(environment).name
    folder = incidents_folder()
    if incident_id and environment_of(incident_id) != loaded:
        raise Refusal(f"{incident_id!r} is no incident of environment {loaded}")
    found = Incident.find(folder, incident_id) if incident_id else Incident.find_newest(folder, loaded)
    if found is None:
        raise Refusal(
            f"no such incident of environment {loaded} is recorded on this machine",
            "They begin with a runbook or a note.",
        )
    story = found.story()
    parts = {"incident": found.id, "chat": to_chat(story), "markdown": to_markdown(story), "html": to_html(story)}
    return Result("report", loaded, header=f"environment {loaded} · incident {found.id}", parts=parts)
