"""An incident as Markdown, as one HTML page that loads nothing, and as a few lines for a chat."""

from __future__ import annotations

import re
from datetime import UTC
from pathlib import Path

from prompt_keda.model.incident_story import Story
from prompt_keda.report.untrusted import one_line

TEMPLATES = Path(__file__).parent / "templates"
MARKDOWN = re.compile(r"([\\`*_\[\]<>|#])")


def to_html(story: Story) -> str:
    """Give the page. It asks no server for anything, and forbids itself to."""
    return _render("incident.html.j2", story)


def to_markdown(story: Story) -> str:
    """Give the same for a ticket or a code host. What the record says cannot make markup."""
    return _render("incident.md.j2", story)


def to_chat(story: Story) -> str:
    """Give a few lines that can be pasted into a chat."""
    lines = [one_line(f"Incident in {story.environment}: {story.why}")]
    took = f"proven after {_span(story.duration_s)}" if story.closed_at else "open, not proven yet"
    failed = [one for one in story.steps if one.state != "done"]
    lines.append(f"{took}; {len(story.steps)} commands, {len(failed)} of them failed or were interrupted")
    lines += [
        f"KEDA recovered in {_span(one.recovery_s)} (mode {one_line(one.mode)}); {one.before_count} Jobs and pods ran "
        "at the start, none was lost"
        for one in story.recoveries
    ]
    lines += [one_line(f"still open: {verdict} {id_}: {seen}") for id_, verdict, seen in list(story.open_checks)[:3]]
    return "\n".join(lines)


def _render(name: str, story: Story) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=select_autoescape(["html.j2"]),  # Markdown is escaped by its own filter
    )
    environment.filters |= {
        "line": one_line,
        "md": lambda text: MARKDOWN.sub(r"\\\1", text),
        "span": _span,
        "moment": lambda at: f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        "clock": lambda at: f"{at.astimezone(UTC):%H:%M:%S}",
        "share": lambda seconds: min(100.0, round(100 * (seconds or 0) / story.length_s, 2)),
    }
    return environment.get_template(name).render(story=story)


def _span(seconds: float | None) -> str:
    """Give a duration as people say it."""
    if seconds is None:
        return "not seen"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s"
