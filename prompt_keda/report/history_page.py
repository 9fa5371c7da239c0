"""Recovery times over all runs, as one HTML page that loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from prompt_keda.report.pages import render


def to_html(environment: str, runs: Sequence[dict[str, Any]]) -> str:
    """Give the page. ``runs`` are those of ``history --json``, newest first."""
    green = [one["recovery_s"] for one in runs if one["recovery_s"] is not None]
    return render(
        "history.html.j2",
        environment=environment,
        runs=runs,
        green=green,
        median=median(green) if green else None,
        longest=max([0.1, *green]),
    )
