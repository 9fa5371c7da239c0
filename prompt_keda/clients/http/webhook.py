"""A chat's incoming webhook: Slack's, or one that takes the same (the standard library's `http.client`).

The address is a secret: who knows it can write into the chat. Other HTTP libraries write the addresses that they ask into
their logs. What Slack takes: its documentation, "Sending messages using incoming webhooks".
"""

from __future__ import annotations

import json
import re
import socket
import ssl
from datetime import timedelta
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from prompt_keda.clients.http.tls import require, verified
from prompt_keda.clients.whole_answer import NotWhole, bounded
from prompt_keda.core.errors import BadAnswer, Refused, Unreachable
from prompt_keda.core.secret import Secret

SYSTEM = "webhook"
KEY = "incidents.webhook.address"
"""The key of the environment stands in for an address that makes no sense."""
REWRITE = "Ask the chat's owners for the webhook's address, and write it into Vault."
MOST_CHARACTERS = 3000
"""More is cut off: Slack advises 4000 at most, and what is escaped becomes longer."""
MENTION = re.compile(r"(?<!\w)@(?=\w)")


def post(address: Secret, text: str, ca_file: Path | None, timeout: timedelta) -> str:
    """Post a text, and return the chat's host. A redirect is not followed: the text would go to somebody else.

    Parameters
    ----------
    address
        It begins with ``https://``. Only its host is ever shown.
    text
        In plain characters, whoever wrote them: none of them is taken for a link or a mention.
    ca_file
        None: the system's certificate authorities.
    timeout
        For the connection, and for each wait for the server; the whole answer has six times as long.

    Raises
    ------
    Unreachable
        When no answer comes.
    Refused
        When the address is not https; then nothing is sent. When the chat does not take the post (4xx).
    Missing
        When ``ca_file`` is missing, or holds no certificate.
    BadAnswer
        When the address makes no sense, or the answer is a redirect, an error (5xx) or no HTTP.
    """
    url = _taken_apart(address)
    if url is None or url.hostname is None:  # told here, where no handler's cause shows a part of it
        raise BadAnswer(SYSTEM, KEY, "what Vault has there is no address", REWRITE)
    host = url.hostname
    require("https", f"{url.scheme}://{host}", SYSTEM)
    context = bounded(verified(SYSTEM, host, ca_file))
    connection = HTTPSConnection(host, url.port, timeout=timeout.total_seconds(), context=context)
    try:
        body = json.dumps({"text": escaped(text)}).encode()
        target = f"{url.path or '/'}{'?' if url.query else ''}{url.query}"
        connection.request("POST", target, body, {"Content-Type": "application/json"})
        status = connection.getresponse().status
    except OSError as error:
        raise Unreachable(SYSTEM, host, _reason(error)) from error
    except HTTPException as error:
        raise BadAnswer(SYSTEM, host, "it does not answer in HTTP") from error
    finally:
        connection.close()
    _check(status, host)
    return host


def escaped(text: str) -> str:
    """Return a text as Slack wants plain characters ("Formatting text for app surfaces"), cut off where it is too long.

    Other chats take ``@channel`` itself for a mention: a blank in it makes it none.
    """
    plain = MENTION.sub("@ ", text[:MOST_CHARACTERS])
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _taken_apart(address: Secret) -> SplitResult | None:
    """Return an address by its parts; None when it makes no sense."""
    text = address.reveal().strip()
    if not (text.isascii() and text.isprintable()) or " " in text:
        return None
    try:
        url = urlsplit(text)
        url.port  # noqa: B018  one that is no number is seen when it is asked for
    except ValueError:
        return None
    return url


def _check(status: int, host: str) -> None:
    """Raise what an answer means; nothing if the post was taken."""
    if 200 <= status < 300:
        return
    if status == 429:
        raise Unreachable(SYSTEM, host, "it is asked too often (HTTP 429)")
    if 300 <= status < 400:
        raise BadAnswer(SYSTEM, host, f"HTTP {status}: it redirects, which is not followed", REWRITE)
    if 400 <= status < 500:
        raise Refused(SYSTEM, host, f"HTTP {status}: it does not take the post", REWRITE)
    raise BadAnswer(SYSTEM, host, f"HTTP {status}")


def _reason(error: OSError) -> str:
    if isinstance(error, NotWhole):
        return str(error)
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error}"
    return f"no connection ({type(error).__name__})"
