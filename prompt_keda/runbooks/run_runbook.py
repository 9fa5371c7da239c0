"""Runs a runbook: each command of the page in its order, kept in the incident's record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.core.exit_code import NEEDS_PEOPLE, of_commands
from prompt_keda.records.incident import Incident
from prompt_keda.records.incident_story import BEGAN, DONE, FAILED
from prompt_keda.report.response import StepDone
from prompt_keda.runbooks.commands import Ran, RunCommand
from prompt_keda.runbooks.page import DIAGNOSIS, VERIFICATION, Runbook, RunbookStep, as_typed


@dataclass(frozen=True)
class RunbookOptions:
    """What a runbook is run with.

    Parameters
    ----------
    environment
        As the person named it: a name or a path.
    digests
        Task → the digest that approves it; a task that is not in it asks for itself.
    first
        The id of the step to begin with; empty: the first.
    interrupted_run
        The redeploy that this incident has begun and not ended; empty if there is none. It is resumed, not begun again.
    """

    environment: str
    digests: Mapping[str, str]
    first: str = ""
    interrupted_run: str = ""


def run_runbook(
    runbook: Runbook, options: RunbookOptions, incident: Incident, run: RunCommand, observer: Observer
) -> list[StepDone]:
    """Run a runbook to its verification, or to the first step without which the others make no sense.

    A diagnosis only reports: whatever it sees, the runbook goes on. A mitigation that does not end well stops it, and so does
    anything that was refused or stopped. Every command looks for itself what is done already, so a runbook that was
    killed is simply run again.

    Returns
    -------
    list of StepDone
        One for each step that was run; `code_of_runbook` makes one code of them.
    """
    steps = list(runbook.steps)
    begins = next((place for place, step in enumerate(steps) if step.id == options.first), 0)
    done: list[StepDone] = []
    for step in steps[begins:]:
        done.append(_run_step(runbook, step, options, incident, run, observer))
        code = done[-1].exit_code
        if code in NEEDS_PEOPLE or (code and step.section not in (DIAGNOSIS, VERIFICATION)):
            break
    return done


def code_of_runbook(runbook: Runbook, done: Sequence[StepDone]) -> int:
    """Return the exit code of a runbook that was run: a diagnosis only reports, and does not count."""
    section = {step.id: step.section for step in runbook.steps}
    counted = [step.exit_code for step in done if section[step.id] != DIAGNOSIS]
    return of_commands(counted, done[-1].exit_code if done else 0)


def words_of(step: RunbookStep, options: RunbookOptions) -> list[str]:
    """Return the words of the command: for this environment, approved if it was, and resuming what was interrupted."""
    words = list(step.words)
    if step.task == "redeploy" and options.interrupted_run:
        return ["resume", "--env", options.environment, "--run", options.interrupted_run]
    words += ["--env", options.environment]
    return [*words, "--approve", options.digests[step.task]] if step.task in options.digests else words


def _run_step(
    runbook: Runbook,
    step: RunbookStep,
    options: RunbookOptions,
    incident: Incident,
    run: RunCommand,
    observer: Observer,
) -> StepDone:
    words = words_of(step, options)
    command, where = as_typed(words), f"{runbook.name}/{step.id}"
    for line in step.plain_lines:
        observer(Event(EventKind.NOTE, where, "", line))
    observer(Event(EventKind.NOTE, where, "", command))
    incident.add(where, BEGAN, command)
    ran: Ran = run(words)
    file = incident.keep(where, ran.document)
    is_well = ran.exit_code == 0 or (step.section == DIAGNOSIS and ran.exit_code not in NEEDS_PEOPLE)
    incident.add(
        where, DONE if is_well else FAILED, f"{ran.message} [exit {ran.exit_code}, {ran.duration_s:.1f} s, {file}]"
    )
    state = "done" if ran.exit_code == 0 else ("seen" if is_well else "broken")
    observer(Event(EventKind.FINISHED, where, state, ran.message, ran.duration_s))
    return StepDone(step.id, command, ran.exit_code, ran.message, ran.duration_s, file)
