"""The drills of this machine for people, on standard output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prompt_keda.report.as_text import BAR, show_lines
from prompt_keda.report.pages import span


def show_kept(drills: Sequence[dict[str, Any]]) -> None:
    """Show two lines for each drill, newest first; nothing where there is none. ``drills`` are those of ``history --json``."""
    if not drills:
        return
    longest = max([0.1, *(one["recovered_s"] or 0.0 for one in drills)])
    width = max(len(one["fault"]) for one in drills)
    passed = sum(one["passed"] for one in drills)
    show_lines([f"drills: {passed} of {len(drills)} passed; ▒ until it was seen, ▇ until scaling was proven"])
    for one in drills:
        when = one["began_at"][:19].replace("T", " ")
        took = f"seen {_after(one['detected_s'])}, recovered {_after(one['recovered_s'])}, {lost_told(one['lost'])}"
        word = "passed" if one["passed"] else "failed"
        show_lines([f"{when}  {one['fault']:{width}}  {word}  {took}; {'; '.join(one['problems'])}".rstrip("; ")])
        if one["recovered_s"] is not None:
            show_lines([f"  {_bar(one['detected_s'] or 0.0, one['recovered_s'], longest)}"])


def lost_told(lost: Sequence[str] | None) -> str:
    """Say how many Jobs and pods were lost; None: they were not counted."""
    return "losses not counted" if lost is None else f"{len(lost)} lost"


def _bar(detected_s: float, recovered_s: float, longest: float) -> str:
    whole = max(1, round(BAR * recovered_s / longest))
    seen = min(whole, round(BAR * detected_s / longest))
    return "▒" * seen + "▇" * (whole - seen)


def _after(seconds: float | None) -> str:
    return "never" if seconds is None else f"after {span(seconds)}"
