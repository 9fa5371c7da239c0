"""Acting as somebody else: `as`, `as-uid`, `as-groups` and `as-user-extra` of a kubeconfig's user, as kubectl sends them.

Source: k8s.io/client-go v0.35.4, transport/round_trippers.go (the headers), tools/clientcmd/validation.go (what is refused).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

Headers = tuple[tuple[str, str], ...]
NEEDS_A_USER = ("as-uid", "as-groups", "as-user-extra")
EMPTY: tuple[Any, ...] = (None, "", [], {})
"""What kubectl takes for left out."""
LEGAL_IN_A_NAME = "!#$&'*+-.^_`|~"
"""What may stand in a header's name beside letters and digits (RFC 7230, token); without %, which escapes the others."""


class NotHonoured(ValueError):
    """A kubeconfig asks to act as somebody in a way that cannot be honoured; says which key, without its value."""


def impersonation(user: Mapping[str, Any]) -> Headers:
    """Return the headers that make the API server act as another user; none if the kubeconfig names nobody.

    Parameters
    ----------
    user
        The user's entry in the kubeconfig.

    Raises
    ------
    NotHonoured
        When a value is of another form than kubectl takes, cannot stand in a header, or needs `as`, which is left out.
    """
    if user.get("as") in EMPTY:
        for key in NEEDS_A_USER:
            if user.get(key) not in EMPTY:
                raise NotHonoured(f"`{key}` needs `as`, the user to act as")
        return ()
    return tuple(_headers(user))


def _headers(user: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Impersonate-User", _text("as", user["as"])
    if user.get("as-uid") not in EMPTY:
        yield "Impersonate-Uid", _text("as-uid", user["as-uid"])
    for group in _list("as-groups", user.get("as-groups")):
        yield "Impersonate-Group", _text("as-groups", group)
    extra = user.get("as-user-extra")
    if extra in EMPTY:
        return
    if not isinstance(extra, dict):
        raise NotHonoured("`as-user-extra` is no map of lists")
    for key, values in extra.items():
        header = f"Impersonate-Extra-{quote(_text('as-user-extra', key), safe=LEGAL_IN_A_NAME)}"
        for value in _list("as-user-extra", values):
            yield header, _text("as-user-extra", value)


def _list(key: str, values: Any) -> list[Any]:
    if values in EMPTY:
        return []
    if not isinstance(values, list):
        raise NotHonoured(f"`{key}` holds something else than a list")
    return values


def _text(key: str, value: Any) -> str:
    """Return a value. An empty one would be read as nobody, and one with a line end as another header."""
    if not isinstance(value, str) or not value.strip():
        raise NotHonoured(f"`{key}` holds something else than a text")
    if not value.isprintable():
        raise NotHonoured(f"`{key}` holds a character that cannot be printed")
    return value
