"""docs/checks.md, made from the checks: their titles, their docstrings, their runbooks."""

from __future__ import annotations

from collections.abc import Iterator

from prompt_keda.clients.systems import Systems
from prompt_keda.components.catalogue import ALL_CHECKS, CATEGORIES
from prompt_keda.core.check import Check

HEAD = """# The checks
<!-- Made by `.venv/bin/python -m prompt_keda.commands.reference` from the functions in prompt_keda/components/. -->
Each check is one fact that should hold. `./run check-deps --only ID` runs one alone.

| verdict | means |
|---|---|
| OK | it holds |
| WARN | it holds, but somebody should know |
| FAIL | it was seen not to hold |
| UNKNOWN | nobody could look |
| SKIPPED | what it needs failed, or there is no such thing here |

A check of several things looks at all of them and reports the worst: FAIL names what is broken even if something else could
not be seen. Nothing to look at is UNKNOWN, never OK.
"""
MORE = {
    "capacity": "How the prediction is made: [capacity.md](capacity.md).",
    "deep": "Only with `--deep`: these need rights of their own "
    "([check-deps-deep.yaml](../environments/rbac/check-deps-deep.yaml)), and the cluster does something for them. "
    "Why they are as they are: [decision 0006](decisions/0006-deep-checks.md).",
}


def page() -> str:
    """Return docs/checks.md."""
    return HEAD + "".join(part for category in CATEGORIES for part in _category(category))


def _category(category: str) -> Iterator[str]:
    yield f"\n## {category}\n"
    if more := MORE.get(category):
        yield f"\n{more}\n"
    for check in ALL_CHECKS:
        if check.category == category:
            yield f"\n{_check(check)}"


def _check(check: Check[Systems]) -> str:
    looks, _, rest = check.page.partition("\n\nCause: ")
    cause, _, fix = rest.partition("\n\nFix: ")
    lines = [f"### {check.id}", f"**{check.title}.** {_line(looks)}", "", f"- Cause when it does not: {_line(cause)}"]
    if fix:
        lines.append(f"- Fix: {_line(fix)}")
    if check.runbook:
        lines.append(f"- Runbook: [{check.runbook}](../runbooks/{check.runbook}.md)")
    return "\n".join(lines) + "\n"


def _line(text: str) -> str:
    return " ".join(text.split())
