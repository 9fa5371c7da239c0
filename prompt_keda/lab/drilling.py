"""The composition root of drills: faults are injected into the local stack alone."""

from __future__ import annotations

import fcntl
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prompt_keda.clients.kube.resources import CONFIG_MAPS
from prompt_keda.commands.incidents import close_incident
from prompt_keda.commands.session import read_environment
from prompt_keda.core.errors import ClientError, PromptKedaError, Refusal
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.core.places import drills_folder
from prompt_keda.lab import providers, state
from prompt_keda.lab.as_text import DrillsDone
from prompt_keda.lab.drills.drill import drill
from prompt_keda.lab.drills.toolkit import LOCAL, Toolkit
from prompt_keda.lab.faults import ALL_FAULTS, OF_DELIVERY, fault_of
from prompt_keda.lab.faults.fault import Fault, Stage
from prompt_keda.lab.stack import DELIVERIES
from prompt_keda.records.drill_history import Drills, begin_drills, stopped_drills
from prompt_keda.records.drill_record import DrillRecord
from prompt_keda.redeploy.approval import MARKER, Ask
from prompt_keda.redeploy.observing import agree_while_observing
from prompt_keda.report.result import Result

EVENTS = ("sent", "lost", "duplicated", "taken", "unseen")
NOT_COUNTED = "not counted"
HEAD = """# Drills
Made by `./run drill --all --markdown FILE`, or `--fault` for some, on the local stack; `--rest` goes on with drills that were
stopped, and what was not drilled keeps its row. In each a fault is injected, its checks detect it, the runbook that `respond`
proposes is followed, and scaling is verified. What drills found: [found.md](found.md).

- answered by: people, where the runbook's commands were not enough and the steps that its page asks people for were done.
- workers: those that ran when the fault was injected.
- Jobs and pods lost (seen by a watch): they ran before, or came during the recovery, and were deleted before they had ended.
- events: sent throughout. Lost: by the recovery. Duplicated: given to two workers by it. Taken: by the fault itself, for example
  with all that Redis held. Unseen: acknowledged, by the group's own account, while nobody could listen; how often is not known.

| fault | detected by | after | runbook | answered by | recovered in | workers | Jobs and pods lost | events | passed |
|---|---|---|---|---|---|---|---|---|---|
"""


@contextmanager
def alone(is_marked: bool = False) -> Iterator[Stage]:
    """Lend the local stack to one drill at a time. A drill that is killed gives it back.

    Parameters
    ----------
    is_marked
        The cluster is known to carry the marker: it is not asked again.

    Raises
    ------
    EnvironmentFileError
        When the local stack is not up.
    Refusal
        When another drill is at work on it, the cluster does not carry the marker that `lab.up` puts there, or the stack's
        state folder cannot be written.
    ClientError
        When the API server cannot be asked for the marker.
    """
    there = _stage()
    with _locked(there.lab.state / "drill.lock"):
        if not is_marked:
            _see_marker(there)
        yield there


def _stage() -> Stage:
    """Return the stack, in the environment of what delivers there: by another one a redeploy would fight with it."""
    there = Stage(read_environment(LOCAL))
    delivery = str(there.endpoints.get("delivery", ""))
    return Stage(read_environment(delivery)) if delivery else there


def require_here(faults: Sequence[Fault], stage: Stage) -> None:
    """Raise `Refusal` when the stack lacks what one of these faults needs: then nothing is injected."""
    for fault in faults:
        if refusal := find_lack(fault, stage):
            raise refusal


def find_lack(fault: Fault, stage: Stage) -> Refusal | None:
    """Return what a fault needs that the stack lacks, and how to have it; None if it has all of it."""
    if not fault.needs:
        return None
    provider = providers.of(stage.lab)
    for lacking in sorted(fault.needs - provider.capabilities - {str(stage.endpoints.get("delivery", ""))}):
        if lacking in DELIVERIES:
            return Refusal(f"{fault.id} needs a stack with {lacking}", f"./run lab.up --with {lacking}")
        lack = f"{fault.id} needs {lacking}, which the provider {provider.name} lacks"
        return Refusal(lack, "Another stack: PROMPT_KEDA_LAB=another ./run lab.up --provider native")
    return None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        file = path.open("w")
    except OSError as error:
        raise Refusal(f"{path} cannot be written: {error.strerror}", "Make room.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = "another drill is at work on the local stack"
            raise Refusal(message, "Two would see each other's faults.") from error
        yield


def _see_marker(there: Stage) -> None:
    try:
        marker = there.kube.find(CONFIG_MAPS, MARKER, "kube-system")
    except ClientError as error:
        if state.faults(there.lab):
            error.fix = "A fault that was injected is still there: ./run faults --revert"
        raise
    if marker is None:
        raise Refusal("this cluster does not carry the marker of the local stack", "Drills inject faults: only there.")


@dataclass(frozen=True)
class Selection:
    """Which faults a person asks for: by one of these alone.

    Parameters
    ----------
    fault
        Its id, or the start of several.
    all_of_them
        Every fault of `ALL_FAULTS` that the stack can have.
    seed
        One fault, which this picks: the same as long as the faults are the same.
    rest
        What is left of the newest drills that were stopped.
    while_observing
        A person has agreed to drill while people observe.
    """

    fault: str = ""
    all_of_them: bool = False
    seed: int | None = None
    rest: bool = False
    while_observing: bool = False


def run(
    selection: Selection, write: Callable[[str], None], observer: Observer, ask: Ask | None = None
) -> Result[DrillsDone]:
    """Drill one fault, or several, one after the other. What each has shown is kept on this machine.

    Parameters
    ----------
    write
        Given the table as Markdown after each drill: hours of them may be stopped.

    Raises
    ------
    Refusal
        When no fault is asked for, or in two ways, there is none of that name, the stack lacks what it needs, no drills
        were stopped, the cluster is not the local stack that `lab.up` made, another drill is at work on it, people observe and
        nobody agrees, or nothing can be kept on this machine; and what ``write`` raises.
    EnvironmentFileError, ClientError
        As `alone` does.
    """
    chosen = choose(selection)
    with alone() as there:
        if selection.all_of_them:
            chosen = _possible(chosen, there, observer)
        require_here(chosen, there)
        agree_while_observing(there.environment, "drill", selection.while_observing, ask)
        if selection.rest:
            drills = stopped_drills(drills_folder(), there.environment.name, there.lab.name)
        else:
            ids = [fault.id for fault in chosen]
            drills = begin_drills(drills_folder(), there.environment.name, there.lab.name, ids)
        return _drill_each(drills, there, write, observer)


def choose(selection: Selection) -> Sequence[Fault]:
    """Return the faults that are asked for; none for ``rest``. Raises `Refusal` as `run` does."""
    if [bool(selection.fault), selection.all_of_them, selection.seed is not None, selection.rest].count(True) != 1:
        raise Refusal(
            "say which fault to inject, in one way: --fault ID, --all, --seed N or --rest",
            "./run faults lists the ids.",
        )
    if selection.rest:
        return []
    if selection.seed is not None:
        return [random.Random(selection.seed).choice(ALL_FAULTS)]  # noqa: S311  nobody has to be unable to guess it
    if selection.all_of_them:
        return ALL_FAULTS
    all_faults = (*ALL_FAULTS, *OF_DELIVERY)
    ids = [fault.id for fault in all_faults]
    several = [] if selection.fault in ids else [fault for fault in all_faults if fault.id.startswith(selection.fault)]
    return several or [fault_of(selection.fault)]


def _possible(faults: Sequence[Fault], there: Stage, observer: Observer) -> list[Fault]:
    """Return those that the stack can have, and report of each other one why it cannot."""
    possible = []
    for fault in faults:
        if lack := find_lack(fault, there):
            observer(Event(EventKind.NOTE, "drill", "skipped", lack.what))
        else:
            possible.append(fault)
    return possible


def _drill_each(drills: Drills, there: Stage, write: Callable[[str], None], observer: Observer) -> Result[DrillsDone]:
    drilled = list(drills.done)
    close_incident(there.environment, "drills begin")
    if drilled:
        news = f"{len(drilled)} of {len(drills.chosen)} drills were done, since {drills.done[0].began_at:.16}"
        observer(Event(EventKind.NOTE, "drill", "", news))
    try:
        for fault in _faults_left(drills):
            drilled.append(drill(fault, there, Toolkit(observer, there.environment.name), observer))
            # the next one's runbook would go on with this one's run
            close_incident(there.environment, f"drill {fault.id} is over")
            drills.record.keep(fault.id, drilled[-1].to_json())
            write(page(drilled))
    except PromptKedaError as error:
        error.parts = DrillsDone(drilled)
        raise
    except KeyboardInterrupt:
        news = f"{len(drilled)} of {len(drills.chosen)} drills are done; ./run drill --rest goes on"
        observer(Event(EventKind.NOTE, "drill", "", news))
        raise
    header, code = (
        f"{len(drills.chosen)} drills on the local stack",
        1 if any(drill.problems for drill in drilled) else 0,
    )
    return Result("drill", there.environment.name, header, DrillsDone(drilled), code)


def _faults_left(drills: Drills) -> list[Fault]:
    try:
        return [fault_of(id_) for id_ in drills.left]
    except Refusal as error:  # it is there no more, or was renamed
        error.fix = f"What was chosen is of another version: remove {drills.record.path}, and begin: drill --all"
        raise


def page(drilled: Sequence[DrillRecord]) -> str:
    """Return the table of what was drilled, as Markdown."""
    return HEAD + "".join(f"{_row(drill)}\n" for drill in drilled)


def beside(kept: str, page: str) -> str:
    """Return a page of drills with the rows of another one for the faults that it does not have, in the faults' order."""
    place = {f"| {fault.title}": number for number, fault in enumerate((*ALL_FAULTS, *OF_DELIVERY))}
    old, new = ({row.split(" | ")[0]: row for row in text.splitlines()} for text in (kept, page.removeprefix(HEAD)))
    rows = {title: row for title, row in old.items() if title in place} | new
    ordered = sorted(rows, key=lambda title: place.get(title, len(place)))
    return HEAD + "".join(f"{rows[title]}\n" for title in ordered)


def _row(drill: DrillRecord) -> str:
    checks = ", ".join(drill.expected_checks)
    spans = [f"{value:.0f} s" if value is not None else "never" for value in (drill.detected_s, drill.recovered_s)]
    passed = "yes" if not drill.problems else "; ".join(drill.problems).replace("|", "/")
    runbook = f"[{drill.runbook}](../runbooks/{drill.runbook}.md)" if drill.runbook else "none"
    events = ", ".join(f"{drill.events[kind]} {kind}" for kind in EVENTS if kind in drill.events) or NOT_COUNTED
    ran = NOT_COUNTED if drill.at_work is None else str(drill.at_work)
    lost = NOT_COUNTED if drill.lost is None else str(len(drill.lost))
    cells = [drill.title, checks, spans[0], runbook, drill.answered_by, spans[1], ran, lost, events, passed]
    return f"| {' | '.join(cells)} |"
