"""An incident as Markdown, as one HTML page that loads nothing, and as a few lines for a chat."""

from __future__ import annotations

from prompt_keda.core.untrusted import one_line
from prompt_keda.records.incident_story import Story
from prompt_keda.report.pages import render, span


def to_html(story: Story) -> str:
    """Return the page. It asks no server for anything, and forbids itself to."""
    return render("incident.html.j2", story=story)


def to_markdown(story: Story) -> str:
    """Return the same for a ticket or a code host. What the record says cannot make markup."""
    return render("incident.md.j2", story=story)


def to_chat(story: Story) -> str:
    """Return a few lines that can be pasted into a chat."""
    lines = [one_line(f"Incident in {story.environment}: {story.why}")]
    took = "open, not verified yet"
    if story.closed_at:
        took = f"{story.state} after {span(story.duration_s)}"
        took += one_line(f" {story.closed_why}") if story.state == "closed" else ""
    failed = [step for step in story.steps if step.state != "done"]
    lines.append(f"{took}; {len(story.steps)} commands, {len(failed)} of them failed or were interrupted")
    lines += [
        f"KEDA recovered in {span(recovery.recovery_s)} (mode {one_line(recovery.mode)}); {recovery.before_count} Jobs and pods "
        "ran at the start, none was lost"
        for recovery in story.recoveries
    ]
    lines += [
        one_line(f"still open: {verdict} {id_}: {observed}") for id_, verdict, observed in list(story.open_checks)[:3]
    ]
    return "\n".join(lines)
