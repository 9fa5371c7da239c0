"""Recovery times over all runs, as one HTML page that loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from prompt_keda.report.pages import render


def to_html(environment: str, runs: Sequence[dict[str, Any]], drills: Sequence[dict[str, Any]]) -> str:
    """Give the page. ``runs`` and ``drills`` are those of ``history --json``, newest first."""
    green = [one["recovery_s"] for one in runs if one["recovery_s"] is not None]
    return render(
        "history.html.j2",
        environment=environment,
        runs=runs,
        green=green,
        median=median(green) if green else None,
        longest=max([0.1, *green]),
        drills=drills,
        passed=sum(one["passed"] for one in drills),
        longest_drill=max([0.1, *(one["recovered_s"] or 0.0 for one in drills)]),
    )
