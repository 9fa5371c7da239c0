"""Finds planted secrets in what a program has said, however they are written."""

from __future__ import annotations

import base64
import html
import json
import re
import secrets
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

SPECIAL = '+/=%"\\ü&<'
"""Each is written otherwise in one of the forms: URL, JSON, XML, base64 for URLs, UTF-8."""
PIECE = 12
"""Characters of a value that are looked for at once: half a value is a leak as well."""
NOISE = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|<[^<>]*>|\s")
"""What may stand in the middle of a value that a table or a picture has broken: colours, tags, ends of lines."""


def planted(special=SPECIAL):
    """Return a value that nobody else has: four pieces, each with eight characters at random and some special ones."""
    pieces = []
    for number in range(4):
        own = "".join(special[(number * 3 + at) % len(special)] for at in range(4)) if special else secrets.token_hex(2)
        pieces.append(secrets.token_hex(2) + own[:2] + secrets.token_hex(2) + own[2:])
    return "".join(pieces)


def forms(piece):
    """Return each way in which a part of a value may be written, by name."""
    raw = piece.encode()
    quoted = json.dumps(piece)[1:-1]
    written = {
        "plain": raw,
        "latin-1": piece.encode("latin-1"),
        "JSON": quoted.encode(),
        "JSON, not ASCII alone": json.dumps(piece, ensure_ascii=False)[1:-1].encode(),
        "JSON in JSON": json.dumps(quoted)[1:-1].encode(),
        "Python": repr(piece)[1:-1].encode(),
        "Python, bytes": repr(raw)[2:-1].encode(),
        "URL": quote(piece, safe="").encode(),
        "URL, a path": quote(piece).encode(),
        "URL, a form": quote_plus(piece, safe="").encode(),
        "XML": escape(piece).encode(),
        "HTML": html.escape(piece).encode(),
        "hex": raw.hex().encode(),
    }
    for offset in range(3):
        first, last = -(-offset * 8 // 6), (offset + len(raw)) * 8 // 6  # what lies beside it changes the outer ones
        encoded = base64.b64encode(bytes(offset) + raw)[first:last]
        written[f"base64, {offset} before"] = encoded
        written[f"base64 for URLs, {offset} before"] = encoded.replace(b"+", b"-").replace(b"/", b"_")
    return written


def leaks(text, values):
    """Return (name, form) of each planted value of which at least a part stands in a text.

    Parameters
    ----------
    text
        Bytes, as a program wrote them.
    values
        Name → planted value.
    """
    raw = text.lower()
    looks = (raw, NOISE.sub(b"", raw))
    leaked = set()
    for name, value in values.items():
        for start in range(0, len(value) - PIECE + 1, PIECE):
            wanted = {}  # many forms are the same for a piece: each is searched for once
            for form, written in forms(value[start : start + PIECE]).items():
                wanted.setdefault(written.lower(), form)
            leaked |= {(name, form) for written, form in wanted.items() if any(written in look for look in looks)}
    return sorted(leaked)
