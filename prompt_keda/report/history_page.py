"""Recovery times over all runs, as one HTML page that loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from prompt_keda.records.drill_record import DrillRecord
from prompt_keda.records.run_summary import RunSummary
from prompt_keda.report.pages import render


@dataclass(frozen=True)
class History:
    """Runs and drills, newest first.

    Parameters
    ----------
    damaged
        What cannot be read, in words.
    not_seen
        Why not all of it could be seen; empty: it could.
    """

    runs: Sequence[RunSummary]
    drills: Sequence[DrillRecord]
    damaged: Sequence[str] = ()
    not_seen: str = ""


def to_html(environment: str, history: History) -> str:
    """Return the page."""
    runs, drills = history.runs, history.drills
    green = [run.recovery_s for run in runs if run.recovery_s is not None]
    return render(
        "history.html.j2",
        environment=environment,
        runs=runs,
        green=green,
        median=median(green) if green else None,
        longest=max([0.1, *green]),
        drills=drills,
        passed=sum(drill.passed for drill in drills),
        longest_drill=max([0.1, *(drill.recovered_s or 0.0 for drill in drills)]),
    )
