"""Takes secrets out of text that is given to somebody else. Each is replaced by a token that is the same throughout."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

SHORTEST = 6
"""A shorter value would take ordinary words out of the text; and what is so short is no secret."""
PATTERNS = (
    re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),  # a JSON web token
    re.compile(r"(?i)(?<=bearer )[A-Za-z0-9._~+/-]{8,}=*"),
    re.compile(r"(?<=://)[^\s/:@\"']+:[^\s/@\"']+(?=@)"),  # user and password in an address
    re.compile(r"\bhv[sbr]\.[A-Za-z0-9_-]{10,}"),  # a token of Vault
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL),
    re.compile(r"(?i)(?<=password=)[^\s&\"',;]{3,}"),
)
"""What secrets look like that nobody has named."""


class Redaction:
    """Takes known values, and what looks like a secret, out of texts.

    Parameters
    ----------
    values
        Secrets that are known: they are found in plain, JSON, URL, hex and base64.
    """

    def __init__(self, values: Iterable[str]) -> None:
        self._key = secrets.token_bytes(16)
        forms = {form: value for value in values if len(value) >= SHORTEST for form in _forms(value)}
        self._tokens = {form: self._token(value) for form, value in forms.items()}
        longest_first = sorted(self._tokens, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
        self.count = 0

    def __call__(self, text: str) -> str:
        """Return the text without them."""
        if self._known is not None:
            text = self._known.sub(lambda match: self._taken(self._tokens[match[0]]), text)
        for pattern in PATTERNS:
            text = pattern.sub(lambda match: self._taken(self._token(match[0])), text)
        return text

    def _taken(self, token: str) -> str:
        self.count += 1
        return token

    def _token(self, value: str) -> str:
        """Return a token that is the same for the same value in this bundle, and reveals nothing of it: its key is forgotten."""
        return f"[redacted-{hmac.new(self._key, value.encode(), hashlib.sha256).hexdigest()[:8]}]"


def _forms(value: str) -> Iterator[str]:
    raw, quoted = value.encode(), json.dumps(value)[1:-1]
    yield from (value, quoted, json.dumps(quoted)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    yield from (quote(value, safe=""), quote(value), quote_plus(value, safe=""), raw.hex())
    for offset in range(3):  # what lies beside it changes the outer characters of base64
        first, last = -(-offset * 8 // 6), (offset + len(raw)) * 8 // 6
        encoded = base64.b64encode(bytes(offset) + raw).decode()[first:last]
        if len(encoded) >= SHORTEST:
            yield encoded
            yield encoded.replace("+", "-").replace("/", "_")


def known_secrets(data: Iterable[str]) -> Iterator[str]:
    """Yield the secret values of a Kubernetes Secret's data, and what a docker configuration holds inside."""
    for encoded in data:
        try:
            value = base64.b64decode(encoded).decode()
        except ValueError:
            continue
        yield value
        yield from (line for line in value.splitlines() if len(line) >= SHORTEST)
        try:
            auths = json.loads(value)["auths"].values()
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        for login in auths:
            yield from (str(login[key]) for key in ("password", "auth") if isinstance(login, dict) and login.get(key))
