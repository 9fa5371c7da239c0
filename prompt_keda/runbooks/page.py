"""A runbook: the page that a person reads, as the program that acts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

SECTIONS = ("Meaning", "Impact", "Diagnosis", "Mitigation", "Verification", "Escalation")
DIAGNOSIS, VERIFICATION = "Diagnosis", "Verification"

LINK = re.compile(r"\[([^]]+)\]\([^)]+\)")


def as_typed(words: Iterable[str]) -> str:
    """Return a task and its flags as people type them in a clone."""
    return " ".join(("./run", *words))


@dataclass(frozen=True)
class RunbookStep:
    """One command of a runbook.

    Parameters
    ----------
    id
        ``section/number`` in lower case: ``mitigation/1``.
    section
        One of `SECTIONS`.
    text
        What stands above it on the page, without tables: what people have to do before, or why.
    words
        The task and its flags, without ``invoke`` and without the environment: ``("check-deps", "--only", "redis")``.
    """

    id: str
    section: str
    text: str
    words: tuple[str, ...]

    @property
    def task(self) -> str:
        """The task that it runs."""
        return self.words[0]

    @property
    def plain_lines(self) -> list[str]:
        """Its text as a terminal shows it: of a link its words, nothing in bold, no empty line."""
        plain = LINK.sub(r"\1", self.text).replace("**", "")
        return [line for line in plain.splitlines() if line.strip()]


@dataclass(frozen=True)
class ShellBlock:
    """Lines of bash that a person copies: for somebody without the toolkit. No program runs them."""

    section: str
    text: str


@dataclass(frozen=True)
class Runbook:
    """One page of runbooks/.

    Parameters
    ----------
    name
        The file's name without its ending: what checks and people call it.
    title
        The symptom, in words.
    sections
        Section → its prose, without the commands.
    steps
        Its commands, in the order of the page.
    blocks
        What people can type instead, in the order of the page.
    sha256
        Of the whole page: what a person has approved.
    """

    name: str
    title: str
    sections: Mapping[str, str]
    steps: tuple[RunbookStep, ...]
    blocks: tuple[ShellBlock, ...]
    sha256: str
