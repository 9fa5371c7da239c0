"""Regenerates what is made from the code: an environment's keys, its JSON schema, the shipped roles, and the page of the checks.

``.venv/bin/python -m prompt_keda.commands.reference`` writes them; a test compares.
"""

from __future__ import annotations

from pathlib import Path

from prompt_keda.components import checks_page
from prompt_keda.components.identity import roles
from prompt_keda.core.places import ROOT
from prompt_keda.environment import reference


def pages(root: Path) -> dict[Path, str]:
    """Return each file that is made from the code, with what it should hold."""
    environments = root / "environments"
    made = {**reference.pages(environments), **roles.pages(environments)}
    return {**made, root / "docs" / "checks.md": checks_page.page()}


def write(root: Path) -> None:
    """Write these files. Idempotent: yes."""
    for path, text in pages(root).items():
        path.write_text(text)


if __name__ == "__main__":
    write(ROOT)
