"""Fetches a file whose SHA-256 is known."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from prompt_keda.clients.http import proxied
from prompt_keda.clients.http.failures import find_reason, time_over
from prompt_keda.clients.http.tls import verified
from prompt_keda.core.deadline import in_time
from prompt_keda.core.errors import BadAnswer, ClientError, DeadlinePassed, Missing, Unreachable
from prompt_keda.core.whole_file import write_whole

SYSTEM = "download"
NOWHERE = "keda.manifests.source"
"""The key of the environment stands in for an address that makes no sense."""
LIMIT = timedelta(minutes=5)
"""For the whole file."""
MAX_BYTES = 64 * 2**20
"""No manifest is near this size (KEDA's have 0.8 MB); more is a mistake, and must not fill the disk."""


def download(url: str, sha256: str, target: Path, ca_file: Path | None, timeout: timedelta) -> int:
    """Fetch a file over https, and put it at ``target`` whole, or not at all. Gives its size in bytes.

    Redirects are followed to https alone: the SHA-256 says whether it is the right file.

    Parameters
    ----------
    url
        An ``https://`` address.
    sha256
        What it must be, in hex.
    ca_file
        None: the system's certificate authorities.
    timeout
        For each connection and each read; all of it together gets `LIMIT`.

    Raises
    ------
    Unreachable
        When no answer comes, or not all of it in time: a server may send a byte now and then.
    Missing
        On 404; and when ``ca_file`` is missing, or holds no certificate.
    BadAnswer
        On another error, too large a file, a redirect away from https, or another SHA-256; and when the environment's proxy
        is of SOCKS, or makes no sense.
    ClientError
        When this machine cannot keep the file: no right, or no room.
    """
    place = _place(url)
    context = verified(SYSTEM, place, ca_file)
    with _kept(target):  # before anything is fetched
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    data, makes_sense = b"", place != NOWHERE
    try:
        if makes_sense:
            data = in_time(lambda: _fetch(url, place, context, timeout), LIMIT, "the download")
    except DeadlinePassed as error:
        detail = f"it connected, but the file has not come within {LIMIT.total_seconds():.0f} s"
        raise Unreachable(SYSTEM, place, detail) from error
    except httpx.InvalidURL:
        makes_sense = False
    if not makes_sense:  # told outside the handler, without the address: a part of it may be a password
        raise BadAnswer(SYSTEM, NOWHERE, "the address makes no sense")
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        fix = "Find out why it changed before you pin the new one."
        raise BadAnswer(SYSTEM, place, f"the file has the SHA-256 {digest[:16]}…, expected {sha256[:16]}…", fix)
    with _kept(target):
        write_whole(target, data)
    return len(data)


@contextmanager
def _kept(target: Path) -> Iterator[None]:
    """Add the file's name to an error that this machine does not allow something."""
    try:
        yield
    except OSError as error:
        fix = "Look at the rights and the free room of that folder."
        raise ClientError(SYSTEM, str(target), f"it cannot be written: {error.strerror}", fix) from error


def _place(url: str) -> str:
    """Return the host of an address alone: the rest may be a password or a signature."""
    try:
        return f"https://{urlsplit(url).hostname}"
    except ValueError:
        return NOWHERE


def _fetch(url: str, place: str, context: ssl.SSLContext, timeout: timedelta) -> bytes:
    options: dict[str, Any] = {"follow_redirects": True, "event_hooks": {"request": [_only_https]}}
    try:
        with proxied.client(SYSTEM, place, verify=context, timeout=timeout.total_seconds(), **options) as client:
            data = bytearray()
            with client.stream("GET", url) as answer:
                if answer.status_code == 404:
                    raise Missing(SYSTEM, place, "there is no such file (404)")
                if answer.status_code != 200:
                    raise BadAnswer(SYSTEM, place, f"HTTP {answer.status_code}")
                for chunk in answer.iter_bytes():
                    data += chunk
                    if len(data) > MAX_BYTES:
                        raise BadAnswer(SYSTEM, place, f"the file has more than {MAX_BYTES // 2**20} MiB")
            return bytes(data)
    except httpx.TimeoutException as error:
        raise Unreachable(SYSTEM, place, time_over(error, isinstance(error, httpx.ConnectTimeout))) from error
    except httpx.HTTPError as error:
        reason = proxied.find_refusal(error, place) or find_reason(error) or f"no connection: {error}"
        raise Unreachable(SYSTEM, place, reason) from error


def _only_https(request: httpx.Request) -> None:
    if request.url.scheme != "https":
        raise BadAnswer(SYSTEM, f"https://{request.url.host}", "it leads away from https")
