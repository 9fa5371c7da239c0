"""The composition root of faults that people inject, to look at one or to practise. On the local stack alone."""

from __future__ import annotations

from collections.abc import Sequence

from prompt_keda.core.errors import PromptKedaError, Refusal
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.lab import drilling, state
from prompt_keda.lab.as_text import FaultRow, Faults
from prompt_keda.lab.drills.drill import runbook_of
from prompt_keda.lab.drills.toolkit import LOCAL
from prompt_keda.lab.faults import ALL_FAULTS, OF_DELIVERY, fault_of, presence
from prompt_keda.lab.faults.fault import Fault
from prompt_keda.lab.settings import current_lab
from prompt_keda.report.result import Result

TO_SEE = "./run check-deps --env local shows when all is well"


def list_faults() -> Result[Faults]:
    """Return every fault, and whether it is in the local stack: injected by hand, or left by a drill that was killed."""
    there = state.faults(current_lab())
    all_faults = (*ALL_FAULTS, *OF_DELIVERY)
    return _result("faults", all_faults, there, f"{len(all_faults)} faults, {len(there)} of them in the local stack")


def inject(fault_id: str, observer: Observer) -> Result[Faults]:
    """Inject one fault into the local stack, and leave it there. Idempotent: yes.

    Raises
    ------
    Refusal
        When there is no such fault, or the stack lacks what it needs; and as `drilling.alone` does.
    EnvironmentFileError, ClientError
        As `drilling.alone` does.
    LabError
        When it cannot be noted.
    PromptKedaError
        As the fault's own act does. `revert` reverts what it has done by then.
    """
    fault = fault_of(fault_id)
    with drilling.alone() as stage:
        drilling.require_here([fault], stage)
        _report(observer, fault, "being injected")
        presence.inject(fault, stage)
        return _result("fault", [fault], [fault.id], f"{fault.title}: ./run faults --revert reverts it")


def revert(fault_id: str, observer: Observer) -> Result[Faults]:
    """Revert one fault. Idempotent: yes. Raises as `inject` does."""
    fault = fault_of(fault_id)
    # a noted fault was injected into this stack once its marker was seen; now the API server may be what is away
    with drilling.alone(is_marked=fault.id in state.faults(current_lab())) as stage:
        _report(observer, fault, "being reverted")
        presence.revert(fault, stage)
        return _result("fault", [fault], state.faults(stage.lab), f"reverted. {TO_SEE}")


def revert_all(observer: Observer) -> Result[Faults]:
    """Revert all faults that are there, as `presence.revert_all` does. Idempotent: yes.

    Raises
    ------
    PromptKedaError
        As `inject` does; and the first error of those that could not be reverted, when all were tried.
    """
    with drilling.alone(is_marked=True) as stage:
        known, errors = _known(state.faults(stage.lab))
        errors += presence.revert_all(known, stage, lambda fault: _report(observer, fault, "being reverted")).values()
        left = state.faults(stage.lab)
        reverted = [fault for fault in known if fault.id not in left]
        result = _result("faults", reverted, left, f"reverted: {len(reverted)}. {TO_SEE}")
        if errors:
            errors[0].parts = result.parts
            raise errors[0]
        return result


def _known(ids: Sequence[str]) -> tuple[list[Fault], list[PromptKedaError]]:
    """Return the faults of these ids, and an error for each that this toolkit does not know."""
    found: list[Fault] = []
    errors: list[PromptKedaError] = []
    for id_ in ids:
        try:
            found.append(fault_of(id_))
        except Refusal as error:
            errors.append(error)
    return found, errors


def _result(task: str, faults: Sequence[Fault], there: Sequence[str], header: str) -> Result[Faults]:
    rows = [
        FaultRow(
            id=fault.id,
            title=fault.title,
            case=fault.case,
            expected_checks=fault.expected_checks,
            runbook=runbook_of(fault),
            stops_scaling=fault.stops_scaling,
            needs=sorted(fault.needs),
            is_there=fault.id in there,
        )
        for fault in faults
    ]
    return Result(task, LOCAL, header, Faults(rows))


def _report(observer: Observer, fault: Fault, what: str) -> None:
    observer(Event(EventKind.NOTE, f"fault/{fault.id}", "", f"{fault.title}: {what}"))
