"""Why a connection failed, in the same words for every system: refused, silent, cut off, slow, not trusted.

Each of them leads people elsewhere. Refused: the host is there, and nothing listens, or a firewall says no. Silent: no packet
comes back, as without the VPN. Cut off: the server, or something on the way, has ended it. Slow: it connected, and then nothing.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator

from prompt_keda.clients.whole_answer import NotWhole

REFUSED = "no connection: refused"
CUT_OFF = "it connected, and the connection was cut off"
"""A reset, or an end before the answer. Python cannot tell them apart: OpenSSL loses a reset that comes while it sends (seen)."""
NO_NAME = "its name cannot be resolved"
CUT_WORDS = ("disconnected without", "peer closed connection", "terminated by server", "closed by server")
"""What httpx, ldap3 and redis-py say, which have no kind of error for it."""
WITHOUT_TLS = "TLS: it answers without TLS"
NO_CLIENT_CERTIFICATE = "TLS: it asks for a certificate of its client, which this toolkit does not have"
VERIFY_WORDS = {
    9: "TLS: its certificate is not valid yet: compare the clocks",
    10: "TLS: its certificate has expired",
    62: "TLS: its certificate is for another name",
    64: "TLS: its certificate is for another name",
}
"""Codes of a verification that failed (OpenSSL, x509_vfy.h); all others mean that its authority is not trusted."""
PROXY_VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
"""Which name a proxy to https, the first that is set first (httpx, as urllib.request.getproxies)."""
HANDSHAKE = "handshake"
"""Stands in what Python's ssl says when the time is over in the midst of it: TCP has connected by then."""


def proxy_variable() -> str:
    """Return the name of the variable that sets the environment's proxy to https; empty where none does."""
    return next((name for name in PROXY_VARIABLES if os.environ.get(name)), "")


def find_reason(error: BaseException) -> str | None:
    """Return why a connection failed, out of all that has led to an error; None where that does not tell.

    Time-outs are for `time_over`: each library says in its own way whether it was still connecting.
    """
    kinds: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
        (socket.gaierror, NO_NAME),
        (ConnectionRefusedError, REFUSED),
        ((ConnectionResetError, BrokenPipeError, ssl.SSLEOFError), CUT_OFF),
    )
    if words := find_tls_reason(error):
        return words
    for cause in _causes(error):
        for kind, words in kinds:
            if isinstance(cause, kind):
                return words
        if any(words in str(cause) for words in CUT_WORDS):
            return CUT_OFF
    return None


def find_tls_reason(error: BaseException) -> str | None:
    """Return why TLS was not accepted, out of all that has led to an error; None where that is not the reason."""
    for cause in _causes(error):
        # ldap3 makes errors of these kinds that lack what ssl tells in its own
        code, reason = getattr(cause, "verify_code", None), str(getattr(cause, "reason", None) or "")
        if isinstance(cause, ssl.SSLCertVerificationError) and code is not None:
            words = VERIFY_WORDS.get(code, "TLS: the authority of its certificate is not trusted")
            return f"{words} ({cause.verify_message.rstrip('.')})"
        if not isinstance(cause, ssl.SSLError):
            continue
        if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
            return WITHOUT_TLS
        if "CERTIFICATE_REQUIRED" in reason:
            return NO_CLIENT_CERTIFICATE
    return None


def time_over(error: BaseException, was_connecting: bool, limit: str = "in time") -> str:
    """Return what there was when the time was over: no connection, one without an answer, or with a part of it.

    Parameters
    ----------
    was_connecting
        What the library says. To some the TLS handshake is a part of connecting; here it is not.
    limit
        ``in time``, or with a number: ``within 5 s``.
    """
    if part := next((cause for cause in _causes(error) if isinstance(cause, NotWhole)), None):
        return f"it connected, but {part}"
    if was_connecting and not is_in_handshake(error):
        return f"no connection {limit}: nothing comes back"
    return f"it connected, but gave no answer {limit}"


def is_in_handshake(error: BaseException) -> bool:
    """Return whether the time was over in the midst of the TLS handshake."""
    return any(isinstance(cause, TimeoutError) and HANDSHAKE in str(cause) for cause in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, and all errors that have led to it: its causes, and those that it only carries."""
    known, left = set[int](), [error]
    while left:
        cause = left.pop(0)
        if id(cause) not in known:
            known.add(id(cause))
            yield cause
            carried = (cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args)
            left += [more for more in carried if isinstance(more, BaseException)]
