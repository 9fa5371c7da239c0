"""Text that came from outside, made safe to show in a terminal."""

from __future__ import annotations

import unicodedata


def neutral(text: str) -> str:
    """Give the text with every control character and direction mark replaced by a visible ``�``; newlines stay."""
    return "".join(one if one == "\n" or unicodedata.category(one) not in ("Cc", "Cf") else "\ufffd" for one in text)
