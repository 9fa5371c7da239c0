"""Clients that take the environment's proxy, and what is said when it is the trouble."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

import httpx

from prompt_keda.clients.http.failures import proxy_variable
from prompt_keda.core.errors import BadAnswer

FIX = "Correct it: HTTPS_PROXY=http://HOST:PORT; NO_PROXY=NAME,.DOMAIN,ADDRESS."


def client(system: str, place: str, **options: Any) -> httpx.Client:
    """Make a client; the library reads the environment by itself, and has other errors for each that it cannot take.

    Raises
    ------
    BadAnswer
        When the proxy is of SOCKS, or it or NO_PROXY makes no sense to the library; without the value.
    """
    try:
        return httpx.Client(**options)
    except ImportError as error:  # the library for SOCKS
        detail = "a SOCKS proxy (ALL_PROXY, HTTPS_PROXY) is not supported"
        raise BadAnswer(
            system, place, detail, "Name a proxy of HTTP alone: HTTPS_PROXY=http://HOST:PORT, without ALL_PROXY."
        ) from error
    except (ValueError, httpx.InvalidURL):
        detail = "the environment's proxy (ALL_PROXY, HTTPS_PROXY, HTTP_PROXY) or its NO_PROXY makes no sense"
    # outside the handler: what makes no sense may hold a password
    raise BadAnswer(system, place, detail, FIX)


def find_refusal(error: Exception, url: str) -> str | None:
    """Return what a proxy answered that did not connect; None where it was not the proxy that answered."""
    status = re.match(r"\d{3}", str(error)) if isinstance(error, httpx.ProxyError) else None
    return f"the proxy of {_variable(url) or 'the system'} answers HTTP {status[0]}" if status else None


def way(url: str) -> str:
    """Return how an https address is reached, to be added to why it was not; empty: without a proxy."""
    return f", through the proxy of {name}" if (name := _variable(url)) else ""


def _variable(url: str) -> str:
    return "" if proxy_bypass(urlsplit(url).hostname or "") else proxy_variable()
