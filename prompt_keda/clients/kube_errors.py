"""What goes wrong with Kubernetes, in the errors of this project."""

from __future__ import annotations

import json

from prompt_keda.errors import BadAnswer, ClientError, LoggedOut, Missing, Refused

SYSTEM = "Kubernetes"


def failure(address: str, method: str, path: str, status: int, data: bytes) -> ClientError:
    """Translate an answer that is not a success, with the server's own words."""
    try:
        message = json.loads(data)["message"]
    except (ValueError, KeyError, TypeError):
        message = data.decode(errors="replace").strip()[:200] or "no reason given"
    kind = {401: LoggedOut, 403: Refused, 404: Missing}.get(status, BadAnswer)
    fix = "Log in again: the token is missing or has expired." if status == 401 else ""
    return kind(SYSTEM, address, f"{status} on {method} {path}: {message}", fix)


def one_line(error: object) -> str:
    """Give the last line of what an error says; its type if it says nothing."""
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
