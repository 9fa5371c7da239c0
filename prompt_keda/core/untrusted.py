"""Text that came from outside, made safe to show in a terminal."""

from __future__ import annotations

import unicodedata

UNSAFE = {"Cc", "Cf", "Cn", "Cs", "Zl", "Zp"}
"""Control characters, direction marks, code points that are no character, half ones, ends of lines and paragraphs."""


def neutral(text: str) -> str:
    """Return the text with every control character and direction mark replaced by a visible ``�``; newlines stay.

    For our own messages of several lines alone: whoever can bring a newline into any other could forge a line of ours.
    """
    return "".join(
        character if character == "\n" or unicodedata.category(character) not in UNSAFE else "\ufffd"
        for character in text
    )


def one_line(text: str) -> str:
    """Return the text as `neutral` does, and newlines replaced as well."""
    return neutral(text).replace("\n", "\ufffd")
