"""Runbooks and responses for people, on standard output."""

from __future__ import annotations

from rich.text import Text

from prompt_keda.core.untrusted import one_line
from prompt_keda.report.as_text import show_lines
from prompt_keda.report.checks_as_text import MARKS, summary
from prompt_keda.report.layout import columns, console_of, hanging
from prompt_keda.report.parts import Runbooks
from prompt_keda.report.response import Response, RunbookPlan, RunbookRun


def show_runbooks(every: Runbooks) -> None:
    """Show each runbook: its name, its symptom, and its commands."""
    for runbook in every.runbooks:
        show_lines([f"{runbook.name:22} {runbook.title}"])
        show_lines([f"    {step.id:14} {step.command}" for step in runbook.steps])


def show_plan(plan: RunbookPlan) -> None:
    """Show what a runbook would run, and the digest that approves it."""
    show_lines([plan.title])
    console = console_of()
    for step in plan.steps:
        show_lines([f"  {step.id:14} {step.command}"])
        for text in step.text.splitlines():
            for line in hanging(" " * 17, one_line(text), columns(console.file)):
                console.print(Text(line))
    show_lines([*plan.notes, f"digest {plan.digest}"])


def show_run(done: RunbookRun) -> None:
    """Show what each step of a runbook gave."""
    for step in done.steps:
        show_lines([f"  exit {step.exit_code:<4}{step.id:14} {step.message} ({step.duration_s:.1f} s)"])
    show_lines([f"incident {done.incident}"])
    if done.steps and done.steps[-1].exit_code:
        show_lines(["it is open; the same command goes on, and ./run note --close 'why' closes it"])


def show_response(response: Response) -> None:
    """Show what was run, what is left, and what to type next; the last line is the next command."""
    for done in response.ran:
        show_lines([f"runbook {done.runbook}: exit {done.exit_code}"])
        show_run(done)
    for cause in response.causes:
        first, console = cause.checks[0], console_of()
        _, word, _ = MARKS[cause.worst]
        text = f"{first.id}: {first.observed}; runbook {cause.runbook or 'none'}"
        for line in hanging(f"{word:8} ", one_line(text), columns(console.file)):
            console.print(Text(line))
    show_lines([response.message, *summary(response.results).splitlines()[:1]])
    if response.proposed:
        show_lines(
            [
                "--plan shows what a runbook would run, and the digest that approves it",
                f"next: {response.proposed.how}",
            ]
        )
