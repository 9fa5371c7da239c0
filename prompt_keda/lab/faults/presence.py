"""Injecting and reverting faults. Each is noted first, so that it can be reverted whatever became of who injected it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prompt_keda.core.errors import PromptKedaError
from prompt_keda.lab import state
from prompt_keda.lab.faults.fault import Fault, Stage


def inject(fault: Fault, stage: Stage) -> None:
    """Inject a fault into the stack. Idempotent: yes.

    Raises
    ------
    LabError
        When it cannot be noted: then nothing is injected.
    PromptKedaError
        As the fault's own act does: it may be injected half-way then.
    """
    others = [id_ for id_ in state.faults(stage.lab) if id_ != fault.id]
    state.write_faults(stage.lab, [*others, fault.id])
    fault.inject(stage)


def revert(fault: Fault, stage: Stage) -> None:
    """Revert a fault. Idempotent: yes.

    Raises
    ------
    LabError
        When it cannot be noted as reverted.
    PromptKedaError
        As the fault's own act does: it stays noted then.
    """
    fault.revert(stage)
    state.write_faults(stage.lab, [id_ for id_ in state.faults(stage.lab) if id_ != fault.id])


def revert_all(
    faults: Sequence[Fault], stage: Stage, report: Callable[[Fault], None] = lambda fault: None
) -> dict[str, PromptKedaError]:
    """Revert these faults, the last one first. Idempotent: yes.

    What another fault keeps from being reverted, as a stopped Vault does its policy, is tried again after all others.

    Parameters
    ----------
    report
        Called with each fault before it is reverted.

    Returns
    -------
    dict
        Id of each fault that could not be reverted → why.
    """
    left: list[Fault] = [*reversed(faults)]
    errors: dict[str, PromptKedaError] = {}
    for _ in range(2):
        errors = {}
        for fault in left:
            report(fault)
            try:
                revert(fault, stage)
            except PromptKedaError as error:
                errors[fault.id] = error
        left = [fault for fault in left if fault.id in errors]
    return errors
