"""Pages of runbooks/ ↔ `Runbook`.

A page is plain Markdown: a title, the six sections of `prompt_keda.runbooks.page.SECTIONS`, in ``sh`` fences commands of this
toolkit alone, as people would type them for production (``invoke check-deps --env prod``), and in ``bash`` fences what somebody
without the toolkit copies. README.md is the index of the pages, and no page itself.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator
from pathlib import Path

from prompt_keda.core.errors import EnvironmentFileError, Refusal
from prompt_keda.runbooks.page import SECTIONS, Runbook, RunbookStep, ShellBlock

FENCE, OPENS, OPENS_SHELL, TABLE = "```", "```sh", "```bash", "(see the table on its page)"
INDEX = "README"
FORM = (
    "A page has a title, the sections "
    + ", ".join(SECTIONS)
    + ", and fences: `sh` of `invoke TASK … --env prod`, or `bash`."
)


def runbook_names(folder: Path) -> list[str]:
    """Return the names of all runbooks of a folder."""
    return sorted(page.stem for page in folder.glob("*.md") if page.stem != INDEX)


def find_runbook(folder: Path, name: str) -> Runbook:
    """Read a runbook by its name.

    Raises
    ------
    Refusal
        When there is none of that name.
    EnvironmentFileError
        When its page cannot be read, or has another form.
    """
    names = runbook_names(folder)
    if name not in names:
        raise Refusal(f"there is no runbook {name!r}", f"Known: {', '.join(names)}.")
    return load_runbook(folder / f"{name}.md")


def load_runbook(path: Path) -> Runbook:
    """Read a page. Raises `EnvironmentFileError` when it cannot be read, or has another form; it says the line."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise EnvironmentFileError(f"{path} cannot be read: {error}", "") from error
    lines = text.splitlines()
    if not lines or not lines[0].startswith("# "):
        raise _wrong(path, 1, "it has no title")
    prose: dict[str, list[str]] = {}
    steps: list[RunbookStep] = []
    blocks: list[ShellBlock] = []
    section, above, fence = "", "", ""
    block: list[str] = []
    for number, line in enumerate(lines[1:], 2):
        if fence and line == FENCE:
            if fence == OPENS_SHELL:
                blocks.append(ShellBlock(section, "\n".join(block)))
            fence, block = "", []
        elif fence == OPENS_SHELL:
            block.append(line)
        elif fence:
            words = _words(path, number, line)
            count = sum(step.section == section for step in steps) + 1
            steps.append(RunbookStep(f"{section.lower()}/{count}", section, above.strip(), words))
            above = ""
        elif line in (OPENS, OPENS_SHELL):
            fence = line
        elif line.startswith(FENCE):
            raise _wrong(path, number, "a fence without `sh` or `bash`")
        elif line.startswith("## "):
            section, above = line[3:], ""
            prose[section] = []
        elif section:
            prose[section].append(line)
            above = _more(above, line)
    if fence:
        raise _wrong(path, len(lines), "a fence that does not end")
    if tuple(prose) != SECTIONS:
        raise _wrong(path, 1, f"its sections are {', '.join(prose) or 'none'}")
    sections = {name: "\n".join(prose_lines).strip() for name, prose_lines in prose.items()}
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Runbook(path.stem, lines[0][2:].strip(), sections, tuple(steps), tuple(blocks), digest)


def _more(above: str, line: str) -> str:
    """Add a line to the text above a command. A table makes no sense in one line: it is named alone."""
    if not line.startswith("|"):
        return f"{above}\n{line}".strip()
    return above if above.endswith(TABLE) else f"{above}\n{TABLE}".strip()


def _words(path: Path, number: int, line: str) -> tuple[str, ...]:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise _wrong(path, number, str(error)) from error
    if not words:
        raise _wrong(path, number, "an empty line among the commands")
    place = words.index("--env") if "--env" in words else -1
    if words[0] != "invoke" or place < 2 or words[place : place + 2] != ["--env", "prod"]:
        raise _wrong(path, number, f"{line!r} is no `invoke TASK … --env prod`")
    return (*words[1:place], *words[place + 2 :])


def _wrong(path: Path, number: int, what: str) -> EnvironmentFileError:
    return EnvironmentFileError(f"{path}, line {number}: {what}", FORM)


def load_runbooks(folder: Path) -> Iterator[Runbook]:
    """Read all pages of a folder, by name. Raises as `load_runbook` does."""
    for name in runbook_names(folder):
        yield load_runbook(folder / f"{name}.md")
