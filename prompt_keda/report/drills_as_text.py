"""The drills of this machine for people, on standard output."""

from __future__ import annotations

from collections.abc import Sequence

from prompt_keda.records.drill_record import DrillRecord
from prompt_keda.report.as_text import BAR, show_lines
from prompt_keda.report.pages import span


def show_kept(drills: Sequence[DrillRecord]) -> None:
    """Show two lines for each drill, newest first; nothing where there is none."""
    if not drills:
        return
    longest = max([0.1, *(drill.recovered_s or 0.0 for drill in drills)])
    width = max(len(drill.fault) for drill in drills)
    passed = sum(drill.passed for drill in drills)
    show_lines([f"drills: {passed} of {len(drills)} passed; ▒ until it was detected, ▇ until scaling was verified"])
    for drill in drills:
        when = drill.began_at[:19].replace("T", " ")
        took = f"detected {_after(drill.detected_s)}, recovered {_after(drill.recovered_s)}, {lost_as_text(drill.lost)}"
        word = "passed" if drill.passed else "failed"
        show_lines([f"{when}  {drill.fault:{width}}  {word}  {took}; {'; '.join(drill.problems)}".rstrip("; ")])
        if drill.recovered_s is not None:
            show_lines([f"  {_bar(drill.detected_s or 0.0, drill.recovered_s, longest)}"])


def lost_as_text(lost: Sequence[str] | None) -> str:
    """Return how many Jobs and pods were lost; None: they were not counted."""
    return "losses not counted" if lost is None else f"{len(lost)} lost"


def _bar(detected_s: float, recovered_s: float, longest: float) -> str:
    whole = max(1, round(BAR * recovered_s / longest))
    detected = min(whole, round(BAR * detected_s / longest))
    return "▒" * detected + "▇" * (whole - detected)


def _after(seconds: float | None) -> str:
    return "never" if seconds is None else f"after {span(seconds)}"
