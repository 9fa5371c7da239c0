"""Lines for people: as wide as the terminal, with a hanging indent, cut only with an ellipsis, in characters that it can show."""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from rich.cells import cell_len
from rich.console import Console

USUAL = 80
"""Columns of a terminal that does not say how wide it is."""
LEAST = 40
"""A terminal that claims to be narrower than this is written to as if it were so wide."""
LINE_LIMIT = 300
"""Where a line that has to stay one is cut when there is no terminal, in characters."""
PLAIN = {
    "…": "...", "✓": "+", "✗": "x", "·": "-", "→": "->", "—": "-", "–": "-", "▇": "#", "▒": ":", "“": '"', "”": '"',
    "±": "+-", "×": "x", "≤": "<=", "≥": ">=", "\u00a0": " ", "\ufffd": "?",
}  # fmt: skip
"""What stands for a character of ours where the encoding has none; every other one becomes a question mark."""
ERRORS = "prompt-keda-plain"


class ReportConsole(Console):
    """A console that lets the program know when nobody reads any more; rich would end it with a code of its own."""

    def on_broken_pipe(self) -> None:
        """Raise on, for the one place that turns this into an exit code."""
        raise BrokenPipeError


def console_of(stream: TextIO | None = None) -> ReportConsole:
    """Return a console that leaves lines as they are: they are wrapped by this module. None: standard output."""
    stream = stream or sys.stdout
    make_safe(stream)
    return ReportConsole(file=stream, highlight=False, soft_wrap=True, width=columns(stream) or USUAL)


def make_safe(stream: Any) -> None:
    """Let a stream write what its encoding lacks as `plain` does, or as a question mark: it is no error. Idempotent: yes."""
    if isinstance(stream, io.TextIOWrapper) and stream.errors != ERRORS:
        stream.reconfigure(errors=ERRORS)


def columns(stream: Any) -> int | None:
    """Return the width of the terminal behind a stream; None where there is none, and lines stay as long as they are.

    ``$COLUMNS`` counts where it is a number above 0.
    """
    named = os.environ.get("COLUMNS", "")
    if named.isascii() and named.isdigit() and len(named) < 6 and int(named) > 0:
        return max(LEAST, int(named))
    try:
        if not stream.isatty():
            return None
        return max(LEAST, os.get_terminal_size(stream.fileno()).columns or USUAL)
    except (OSError, ValueError, AttributeError):
        return None


def can_show(stream: Any, text: str) -> bool:
    """Return whether the encoding of a stream has all characters of a text, and the person has not asked for ASCII."""
    if asks_for_ascii() and not text.isascii():
        return False
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def asks_for_ascii() -> bool:
    """Return whether the locale is C: Python writes UTF-8 there all the same, and a serial console shows rubbish.

    It sets ``LC_CTYPE`` to C.UTF-8 by itself where ``LANG`` is C (PEP 538), so that says nothing.
    """
    every, kind, language = (os.environ.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    if every or os.environ.get("PYTHONIOENCODING"):
        return every in ("C", "POSIX") and not os.environ.get("PYTHONIOENCODING")
    return kind in ("", "C", "POSIX", "C.UTF-8") and language in ("C", "POSIX")


def plain(text: str) -> str:
    """Return the text with our own symbols written in ASCII."""
    return "".join(PLAIN.get(char, char) for char in text)


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAIN.get(char, "?") for char in error.object[error.start : error.end]), error.end


codecs.register_error(ERRORS, _replace)


def hanging(first: str, text: str, width: int | None) -> list[str]:
    """Return lines that begin with ``first`` and go on below its end.

    Parameters
    ----------
    width
        In columns; None: one line.
    """
    if width is None:
        return [f"{first}{text}".rstrip()]
    indent = cell_len(first)
    lines = list(_wrapped(text, max(width - indent, 10))) or [""]
    return [f"{first}{lines[0]}".rstrip(), *(" " * indent + line for line in lines[1:])]


def _wrapped(text: str, width: int) -> Iterator[str]:
    """Break between words; within one only where it is longer than a line, and there behind a slash or its like."""
    line = ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if cell_len(joined) <= width:
            line = joined
            continue
        if line and cell_len(word) <= width:
            yield line
            line = word
            continue
        *full, line = _pieces(joined if line else word, width)
        yield from full
    if line:
        yield line


def _pieces(text: str, width: int) -> list[str]:
    """Break a text that is longer than a line where it can be broken, else at the line's end."""
    pieces = [""]
    for part in re.split(r"(?<= )|(?<=[/,:;@=&?_.-])", text):
        if cell_len(pieces[-1] + part) <= width:
            pieces[-1] += part
            continue
        if pieces[-1]:
            pieces.append("")
        for char in part:
            if cell_len(pieces[-1] + char) > width:
                pieces.append("")
            pieces[-1] += char
    return [piece.rstrip(" ") for piece in pieces]


def cut(text: str, width: int | None, stream: Any = None) -> str:
    """Return one line that fits the terminal; what was cut off is an ellipsis, at the end of a word if there is one."""
    width, mark = width or LINE_LIMIT, "…" if can_show(stream, "…") else "..."
    if cell_len(text) <= width:
        return text
    room, kept = width - cell_len(mark), ""
    for char in text:
        if cell_len(kept + char) > room:
            break
        kept += char
    border = kept.rfind(" ")
    if border < room * 3 // 4:
        border = max(kept.rfind(char) for char in " ,/:;@-_.")
    return (kept[:border] if border > room // 3 else kept).rstrip(" ,/:;") + mark


def error_lines(explained: Iterable[str], stream: TextIO) -> list[str]:
    """Return what happened, and below it what to do, as wide as the terminal behind a stream; empty parts are left out."""
    lines = "\n  ".join(filter(None, explained)).split("\n")
    return [part for line in lines for part in block(line, columns(stream))]


def block(line: str, width: int | None) -> list[str]:
    """Return a line of ours as lines: what does not fit goes on two columns to the right of where it begins."""
    text = line.lstrip(" ")
    if width is None or cell_len(line) <= width:
        return [line]
    indent = " " * (len(line) - len(text))
    first, *rest = hanging(indent, text, width - 2)
    return [first, *(f"  {more}" for more in rest)]
