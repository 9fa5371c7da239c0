"""The local stack, its faults and drills for people, on standard output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prompt_keda.report.as_text import show_lines
from prompt_keda.report.drills_as_text import lost_as_text

if TYPE_CHECKING:
    from prompt_keda.lab.drills.chaos import RoundOutcome
    from prompt_keda.lab.drills.chaos_plan import Round
    from prompt_keda.lab.image_checks import ImagesChecked
    from prompt_keda.lab.state import LabStatus
    from prompt_keda.records.drill_record import DrillRecord


def show_lab(status: LabStatus) -> None:
    """Show where the local stack is and what it uses."""
    running = [name for name, pid in status.processes.items() if pid]
    used = f"{status.memory_bytes / 2**20:.0f} MiB, {status.cpu_s:.0f} CPU seconds since its start"
    lines = [f"kubeconfig {status.kubeconfig}", f"{len(running)} processes: {', '.join(running)}", used]
    if status.faults:
        lines += [f"faults injected, not reverted: {', '.join(status.faults)}; ./run faults --revert reverts them"]
    show_lines([f"  {line}" for line in lines])


@dataclass(frozen=True)
class FaultRow:
    """A fault, what detects it, and whether it is there. ``stops_scaling``: no event becomes a Job while it is."""

    id: str
    title: str
    case: str
    expected_checks: Mapping[str, str]
    runbook: str
    stops_scaling: bool
    needs: Sequence[str]
    is_there: bool


@dataclass(frozen=True)
class Faults:
    """Faults of the local stack."""

    faults: Sequence[FaultRow]


@dataclass(frozen=True)
class DrillsDone:
    """Drills, in their order."""

    drills: Sequence[DrillRecord]


@dataclass(frozen=True)
class SmallestRound:
    """The smallest round that fails as another one did, and how many were tried for it."""

    round: Round
    tries: int


@dataclass(frozen=True)
class ChaosDone:
    """Chaos rounds, in their order; of each that failed the smallest that still does."""

    rounds: Sequence[RoundOutcome]
    smallest: Sequence[SmallestRound]


def show_faults(rows: Faults) -> None:
    """Show two lines for each fault: its title, and what detects and answers it."""
    for fault in rows.faults:
        marks = ["scaling stops"] * fault.stops_scaling + ["INJECTED, NOT REVERTED"] * fault.is_there
        show_lines([f"{fault.id}: {'; '.join([fault.title, *marks])}"])
        checks = ", ".join(f"{check} {verdict.upper()}" for check, verdict in fault.expected_checks.items())
        show_lines([f"  detected by {checks}; runbook {fault.runbook}"])


def show_images(done: ImagesChecked) -> None:
    """Show what is known of each image of the list, and what to do about what is not as it should be."""
    for row in done.images:
        show_lines([f"{row.verdict.value.upper():8} {row.reference}", f"         {row.observed}"])
        show_lines([f"         {row.fix}"] if row.fix else [])


def show_drills(done: DrillsDone) -> None:
    """Show a line for each drill, and what should not have been."""
    drills = done.drills
    for drill in drills:
        detected, recovered = map(_span, (drill.detected_s, drill.recovered_s))
        word = "failed" if drill.problems else "passed"
        how = f"{drill.answered_by or 'nobody'} ({drill.runbook or 'no runbook'})"
        text = f"detected after {detected}, answered by {how}, recovered in {recovered}, {lost_as_text(drill.lost)}"
        show_lines([f"{word:7} {drill.fault:34} {text}"])
        show_lines([f"        {problem}" for problem in drill.problems])
    passed = sum(not drill.problems for drill in drills)
    show_lines([f"{passed} of {len(drills)} drills passed"])


def show_chaos(done: ChaosDone) -> None:
    """Show a line for each chaos round, and each promise that was not kept."""
    rounds = done.rounds
    for outcome in rounds:
        word, plan = "broken" if outcome.problems else "kept", outcome.round
        acts = f"{len(plan.acts) - len(outcome.not_done)} of {len(plan.acts)} acts"
        text = f"mode {plan.mode}, {acts}, {outcome.starts_count} starts"
        show_lines(
            [f"{word:7} round {plan.number:<4} {text}, {outcome.events_sent} events, {outcome.duration_s:.0f} s"]
        )
        show_lines([f"        not done: {act}" for act in outcome.not_done])
        show_lines([f"        {problem}" for problem in outcome.problems])
    kept = sum(not outcome.problems for outcome in rounds)
    show_lines([f"{kept} of {len(rounds)} rounds kept every promise"])


def _span(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f} s"
