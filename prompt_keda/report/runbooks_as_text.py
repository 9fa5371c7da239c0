"""Runbooks and responses for people, on standard output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from prompt_keda.core.check import CheckResult, Verdict
from prompt_keda.core.untrusted import one_line
from prompt_keda.report.as_text import show_lines
from prompt_keda.report.checks_as_text import MARKS, summary
from prompt_keda.report.layout import columns, console_of, hanging


def show_runbooks(parts: dict[str, Any]) -> None:
    """Show each runbook: its name, its symptom, and its commands."""
    for one in parts["runbooks"]:
        show_lines([f"{one['name']:22} {one['title']}"])
        show_lines([f"    {step['id']:14} {step['command']}" for step in one["steps"]])


def show_plan(parts: dict[str, Any]) -> None:
    """Show what a runbook would run, and the digest that approves it."""
    show_lines([parts["title"]])
    console = console_of()
    for step in parts["steps"]:
        show_lines([f"  {step['id']:14} {step['command']}"])
        for text in step["text"].splitlines():
            for line in hanging(" " * 17, one_line(text), columns(console.file)):
                console.print(Text(line))
    show_lines([*parts["notes"], f"digest {parts['digest']}"])


def show_run(parts: dict[str, Any]) -> None:
    """Show what each step of a runbook gave."""
    for one in parts["steps"]:
        show_lines([f"  exit {one['exit_code']:<4}{one['id']:14} {one['said']} ({one['duration_s']:.1f} s)"])
    show_lines([f"incident {parts['incident']}"])
    if parts["steps"] and parts["steps"][-1]["exit_code"]:
        show_lines(["it is open; the same command goes on, and ./run note --close 'why' closes it"])


def show_response(parts: dict[str, Any], checks: Sequence[CheckResult]) -> None:
    """Show what was run, what is left, and what to type next; the last line is the next command."""
    for one in parts["ran"]:
        show_lines([f"runbook {one['runbook']}: exit {one['exit_code']}"])
        show_run(one)
    for one in parts["causes"]:
        first = one["checks"][0]
        _, word, _ = MARKS[Verdict(one["worst"])]
        console = console_of()
        told = f"{first['id']}: {first['observed']}; runbook {one['runbook'] or 'none'}"
        for line in hanging(f"{word:8} ", one_line(told), columns(console.file)):
            console.print(Text(line))
    show_lines([parts["said"], *summary(checks).splitlines()[:1]])
    if "proposed" in parts:
        show_lines(
            [
                "--plan shows what a runbook would run, and the digest that approves it",
                f"next: {parts['proposed']['how']}",
            ]
        )
