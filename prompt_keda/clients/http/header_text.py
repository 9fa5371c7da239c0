"""Tokens as people have them, and as they can be sent: in one header of HTTP."""

from __future__ import annotations


class NotSendable(ValueError):
    """A token cannot be sent; says why, without it."""


def sendable(token: str) -> str:
    """Return a token without the blanks and line ends around it, which come from files and from pasting.

    Raises
    ------
    NotSendable
        When nothing is left of it, or it holds what no token holds: a line end in its midst, a letter outside ASCII.
    """
    stripped = token.strip()
    if not stripped:
        raise NotSendable("token is empty")
    if not (stripped.isascii() and stripped.isprintable()):
        raise NotSendable(
            "token holds a character that no token has, as a line end in its midst or a letter outside ASCII"
        )
    return stripped
