"""Pages that a pod serves by plain HTTP, read through a port-forward."""

from __future__ import annotations

import http.client
from typing import Any

from prompt_keda.clients.kube.errors import SYSTEM
from prompt_keda.clients.kube.port_forward import why_closed
from prompt_keda.core.errors import BadAnswer, Unreachable

LARGEST_BYTES = 8 * 2**20
"""KEDA's metrics are some 100 KiB with a thousand ScaledJobs; what is larger is not read."""


def read_page(connection: Any, endpoint: str, path: str, timeout_s: float) -> str:
    """Ask for a page on an open connection, close that, and return the page.

    Raises
    ------
    Unreachable
        When no answer comes in time, or the connection breaks.
    BadAnswer
        When it is another status than 200, is no HTTP, or is too large.
    """
    try:
        connection.settimeout(timeout_s)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = http.client.HTTPResponse(connection, method="GET")
        answer.begin()
        data = answer.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise Unreachable(SYSTEM, endpoint, f"{path}: {why_closed(connection) or error or 'it broke'}") from error
    except http.client.HTTPException as error:
        raise BadAnswer(SYSTEM, endpoint, f"{path}: no HTTP ({type(error).__name__})") from error
    finally:
        connection.close()
    if answer.status != 200 or len(data) > LARGEST_BYTES:
        raise BadAnswer(SYSTEM, endpoint, f"{path}: HTTP {answer.status}, {len(data)} bytes")
    return data.decode(errors="replace")
