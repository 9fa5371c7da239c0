"""The composition root of faults by hand: for people who look at what one does, or practise. The local stack alone."""

from __future__ import annotations

from collections.abc import Sequence

from prompt_keda import drilling
from prompt_keda.drills.drill import runbook_of
from prompt_keda.faults import ALL_FAULTS, fault_of, presence
from prompt_keda.faults.fault import Fault
from prompt_keda.lab import state
from prompt_keda.lab.settings import current_lab
from prompt_keda.model.event import Event, EventKind, Observer
from prompt_keda.report.result import Result


def list_faults() -> Result:
    """Give every fault, and which of them are in the local stack: brought in by hand, or left by a drill that was killed."""
    there = state.faults(current_lab())
    return _result("faults", ALL_FAULTS, there, f"{len(ALL_FAULTS)} faults, {len(there)} of them in the local stack")


def bring_in(fault_id: str, observer: Observer) -> Result:
    """Break the local stack by one fault, and leave it so. Idempotent: yes.

    Raises
    ------
    Refusal
        When there is no such fault, the cluster is not the local stack that `lab.up` made, or a drill is at work on it.
    LabError
        When the local stack is not up.
    PromptKedaError
        As the fault's own act does. What it has broken by then is mended by `take_back`.
    """
    fault = fault_of(fault_id)
    with drilling.alone() as stage:
        _tell(observer, fault, "comes in")
        presence.bring_in(fault, stage)
        return _result("fault", [fault], [fault.id], f"{fault.title}: ./run faults --mend takes it back")


def take_back(fault_id: str, observer: Observer) -> Result:
    """Mend one fault; or all that are in the local stack, the last one first. Idempotent: yes. Raises as `bring_in` does."""
    there = state.faults(current_lab())
    chosen = [fault_of(fault_id)] if fault_id else [fault_of(one) for one in reversed(there)]
    # what is noted was brought into this stack when its marker was seen; the API server may be what is away now
    is_noted = all(one.id in there for one in chosen)
    with drilling.alone(is_marked=is_noted) as stage:
        for fault in chosen:
            _tell(observer, fault, "is mended")
            presence.take_back(fault, stage)
        header = f"mended: {len(chosen)}; ./run check-deps --env local tells when all is well"
        return _result("fault" if fault_id else "faults", chosen, state.faults(stage.lab), header)


def _result(task: str, faults: Sequence[Fault], there: Sequence[str], header: str) -> Result:
    rows = [
        {
            "id": one.id,
            "title": one.title,
            "case": one.case,
            "seen_by": dict(one.seen),
            "runbook": runbook_of(one),
            "stops_scaling": one.stops_scaling,
            "is_there": one.id in there,
        }
        for one in faults
    ]
    return Result(task, drilling.LOCAL, header=header, parts={"faults": rows})


def _tell(observer: Observer, fault: Fault, what: str) -> None:
    observer(Event(EventKind.NOTE, f"fault/{fault.id}", "", f"{fault.title}: {what}"))
