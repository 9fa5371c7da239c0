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

from prompt_keda.clients.http.failures import find_reason, time_over
from prompt_keda.clients.http.tls import verified
from prompt_keda.core.errors import BadAnswer, ClientError, Missing, Unreachable

SYSTEM = "download"
NOWHERE = "keda.manifests.source"
"""The key of the environment stands in for an address that makes no sense."""
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
        For each connection and each read.

    Raises
    ------
    Unreachable
        When no answer comes.
    Missing
        On 404; and when ``ca_file`` is not there, or holds no certificate.
    BadAnswer
        On another error, too large a file, a redirect away from https, or another SHA-256.
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
            data = _fetch(url, place, context, timeout)
    except httpx.InvalidURL:
        makes_sense = False
    if not makes_sense:  # told outside the handler, without the address: a part of it may be a password
        raise BadAnswer(SYSTEM, NOWHERE, "the address makes no sense")
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        fix = "Find out why it changed before you pin the new one."
        raise BadAnswer(SYSTEM, place, f"the file has the SHA-256 {found[:16]}…, expected {sha256[:16]}…", fix)
    with _kept(target):
        scratch = target.with_name(f".{target.name}.new")
        scratch.write_bytes(data)
        scratch.rename(target)
    return len(data)


@contextmanager
def _kept(target: Path) -> Iterator[None]:
    """Tell what this machine does not allow with the file's name."""
    try:
        yield
    except OSError as error:
        fix = "Look at the rights and the free room of that folder."
        raise ClientError(SYSTEM, str(target), f"it cannot be written: {error.strerror}", fix) from error


def _place(url: str) -> str:
    """Give the host of an address alone: the rest may be a password or a signature."""
    try:
        return f"https://{urlsplit(url).hostname}"
    except ValueError:
        return NOWHERE


def _fetch(url: str, place: str, context: ssl.SSLContext, timeout: timedelta) -> bytes:
    options: dict[str, Any] = {"follow_redirects": True, "event_hooks": {"request": [_only_https]}}
    try:
        with httpx.Client(verify=context, timeout=timeout.total_seconds(), **options) as client:
            return _read(client, url, place)
    except httpx.TimeoutException as error:
        raise Unreachable(SYSTEM, place, time_over(error, isinstance(error, httpx.ConnectTimeout))) from error
    except httpx.HTTPError as error:
        raise Unreachable(SYSTEM, place, find_reason(error) or f"no connection: {error}") from error


def _only_https(request: httpx.Request) -> None:
    if request.url.scheme != "https":
        raise BadAnswer(SYSTEM, f"https://{request.url.host}", "it leads away from https")


def _read(client: httpx.Client, url: str, place: str) -> bytes:
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
