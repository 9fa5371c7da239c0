"""Bringing faults in and taking them back. Each is noted before: it can be mended whatever became of who brought it in."""

from __future__ import annotations

from prompt_keda.faults.fault import Fault, Stage
from prompt_keda.lab import state


def bring_in(fault: Fault, stage: Stage) -> None:
    """Break the stack by one fault. Idempotent: yes.

    Raises
    ------
    LabError
        When it cannot be noted: then nothing is broken.
    PromptKedaError
        As the fault's own act does: it may be broken half-way then.
    """
    others = [one for one in state.faults(stage.lab) if one != fault.id]
    state.write_faults(stage.lab, [*others, fault.id])
    fault.breaks(stage)


def take_back(fault: Fault, stage: Stage) -> None:
    """Mend it. Idempotent: yes.

    Raises
    ------
    LabError
        When it cannot be noted that it is mended.
    PromptKedaError
        As the fault's own act does: it stays noted then.
    """
    fault.mends(stage)
    state.write_faults(stage.lab, [one for one in state.faults(stage.lab) if one != fault.id])
