"""Runbooks and responses for people, on standard output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prompt_keda.model.check import CheckResult
from prompt_keda.report.as_text import show_lines, summary
from prompt_keda.report.drills_as_text import lost_told


def show_runbooks(parts: dict[str, Any]) -> None:
    """Show each runbook: its name, its symptom, and its commands."""
    for one in parts["runbooks"]:
        show_lines([f"{one['name']:22} {one['title']}"])
        show_lines([f"    {step['id']:14} {step['command']}" for step in one["steps"]])


def show_plan(parts: dict[str, Any]) -> None:
    """Show what a runbook would run, and the digest that approves it."""
    show_lines([parts["title"]])
    for one in parts["steps"]:
        show_lines([f"  {one['id']:14} {one['text']}".rstrip(), f"  {'':14} {one['command']}"])
    show_lines([*parts["notes"], f"digest {parts['digest']}"])


def show_run(parts: dict[str, Any]) -> None:
    """Show what each step of a runbook gave."""
    for one in parts["steps"]:
        show_lines([f"  exit {one['exit_code']:<4}{one['id']:14} {one['said']} ({one['duration_s']:.1f} s)"])
    show_lines([f"incident {parts['incident']}"])


def show_response(parts: dict[str, Any], checks: Sequence[CheckResult]) -> None:
    """Show what was run, what is left, and what is proposed."""
    for one in parts["ran"]:
        show_lines([f"runbook {one['runbook']}: exit {one['exit_code']}"])
        show_run(one)
    for one in parts["causes"]:
        first = one["checks"][0]
        show_lines([f"{one['worst']:8} {one['runbook'] or 'no runbook':22} {first['id']}: {first['observed']}"])
    if "proposed" in parts:
        show_lines([f"proposed: runbook {parts['proposed']['runbook']}", f"  {parts['proposed']['how']}"])
    show_lines([parts["said"], *summary(checks).splitlines()[:1]])


def show_faults(faults: Sequence[dict[str, Any]]) -> None:
    """Show two lines for each fault: what is broken, and what sees and answers it."""
    for one in faults:
        marks = ["scaling stops"] * one["stops_scaling"] + ["BROUGHT IN, NOT TAKEN BACK"] * one["is_there"]
        show_lines([f"{one['id']}: {'; '.join([one['title'], *marks])}"])
        seen = ", ".join(f"{check} {verdict.upper()}" for check, verdict in one["seen_by"].items())
        show_lines([f"  seen by {seen}; runbook {one['runbook']}"])


def show_drills(drills: Sequence[dict[str, Any]]) -> None:
    """Show a line for each drill, and what should not have been."""
    for one in drills:
        seen, recovered = (_span(one[key]) for key in ("detected_s", "recovered_s"))
        word = "failed" if one["problems"] else "passed"
        how = f"{one['answered_by'] or 'nobody'} ({one['runbook'] or 'no runbook'})"
        said = f"seen after {seen}, answered by {how}, recovered in {recovered}, {lost_told(one['lost'])}"
        show_lines([f"{word:7} {one['fault']:34} {said}"])
        show_lines([f"        {problem}" for problem in one["problems"]])
    passed = sum(not one["problems"] for one in drills)
    show_lines([f"{passed} of {len(drills)} drills passed"])


def show_storm(rounds: Sequence[dict[str, Any]]) -> None:
    """Show a line for each round of a storm, and each promise that was not kept."""
    for one in rounds:
        word, plan = "broken" if one["problems"] else "kept", one["round"]
        acts = f"{len(plan['acts']) - len(one['not_done'])} of {len(plan['acts'])} acts"
        said = f"mode {plan['mode']}, {acts}, {one['starts_count']} starts"
        show_lines(
            [f"{word:7} round {plan['number']:<4} {said}, {one['events_sent']} events, {one['duration_s']:.0f} s"]
        )
        show_lines([f"        not done: {act}" for act in one["not_done"]])
        show_lines([f"        {problem}" for problem in one["problems"]])
    kept = sum(not one["problems"] for one in rounds)
    show_lines([f"{kept} of {len(rounds)} rounds kept every promise"])


def _span(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f} s"
