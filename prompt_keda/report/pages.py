"""Pages made from templates: what stands in them is escaped, and a missing value is an error."""

from __future__ import annotations

import re
from datetime import UTC
from pathlib import Path
from typing import Any

from prompt_keda.core.untrusted import one_line

TEMPLATES = Path(__file__).parent / "templates"
MARKDOWN = re.compile(r"([\\`*_\[\]<>|#])")


def render(name: str, **values: Any) -> str:
    """Fill a template. Text that others may have written goes through its filter ``line``, in Markdown through ``md`` as well."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=select_autoescape(["html.j2"]),  # Markdown is escaped by its own filter
    )
    environment.filters |= {
        "line": one_line,
        "md": lambda text: MARKDOWN.sub(r"\\\1", text),
        "span": span,
        "moment": lambda at: f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        "clock": lambda at: f"{at.astimezone(UTC):%H:%M:%S}",
    }
    return environment.get_template(name).render(**values)


def span(seconds: float | None) -> str:
    """Return a duration in seconds as people say it."""
    if seconds is None:
        return "not seen"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s"
