"""What goes wrong with Kubernetes, in the errors of this project."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from prompt_keda.clients.http.failures import NO_NAME, find_reason, time_over
from prompt_keda.clients.kube.proxy import Proxy, name_proxy
from prompt_keda.core.errors import BadAnswer, ClientError, LoggedOut, Missing, Refused, Unreachable

SYSTEM = "Kubernetes"
FIXES = {
    401: "Log in again: the token is missing or has expired.",
    403: "Ask for that right: identity/may-read and identity/may-redeploy name all that are missing.",
}

NO_IMPERSONATION = "cannot impersonate resource"
"""How an API server says that a login may not act as another user."""


def fix_of(status: int, message: str) -> str:
    """Return what to do about a status that a server answered; empty: not known."""
    if status == 403 and NO_IMPERSONATION in message:
        return "Ask for the right to impersonate that user, or take `as` out of the kubeconfig."
    return FIXES.get(status, "")


def message_of(data: bytes) -> str:
    """Return the server's own words, out of what it answered, in one line: more would look like ours."""
    try:
        message = str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        message = data.decode(errors="replace").strip()[:200] or "no reason given"
    return " ".join(message.split())


def failure(address: str, method: str, path: str, status: int, data: bytes) -> ClientError:
    """Translate an answer that is not a success, with the server's own words, in one line."""
    kind = {401: LoggedOut, 403: Refused, 404: Missing}.get(status, BadAnswer)
    message = message_of(data)
    return kind(SYSTEM, address, f"{status} on {method} {path}: {message}", fix_of(status, message))


def unreachable(
    error: Exception, address: str, connect_s: float, read_s: float, proxy: Proxy | None = None
) -> Unreachable:
    """Translate what urllib3 raises when no answer comes: name, TCP, TLS and time-out, told apart; and the proxy's own."""
    from urllib3.exceptions import ProxyError

    is_proxys = isinstance(error, ProxyError)
    inner = error.original_error if isinstance(error, ProxyError) else error
    return name_proxy(Unreachable(SYSTEM, address, _reason(inner, connect_s, read_s)), error, is_proxys, proxy)


def _reason(error: Exception, connect_s: float, read_s: float) -> str:
    from urllib3 import exceptions

    if isinstance(error, exceptions.SSLError):
        return find_reason(error) or f"TLS: {one_line(error)}"
    if isinstance(error, exceptions.NameResolutionError):
        return NO_NAME
    if isinstance(error, exceptions.NewConnectionError):  # before time-outs, of which it is one in urllib3
        return _broken(error)
    if isinstance(error, exceptions.ConnectTimeoutError):
        return time_over(error, True, f"within {connect_s:.0f} s")
    if isinstance(error, exceptions.TimeoutError):
        return time_over(error, False, f"within {read_s:.0f} s")
    return _broken(error)


def _broken(error: Exception) -> str:
    return find_reason(error) or f"no connection: {one_line(error)}"


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Return the seconds that a busy server wants to be left alone: its Retry-After, at least 0.1; 1 if it says none."""
    try:
        return max(0.1, float(headers.get("Retry-After", "1")))
    except ValueError:  # a date: allowed by HTTP, and not what an API server sends
        return 1.0


def is_conflict(error: ClientError) -> bool:
    """Return whether the API server answered 409: it already exists, has changed, or others own what differs."""
    return error.detail.startswith("409 ")


def conflicts(error: ClientError) -> list[tuple[str, str]]:
    """Return who owns which field that an apply would change: pairs of a field manager and a field's path, as a 409 names them.

    Empty where it names none. Source: apimachinery, util/managedfields/internal/conflict.go.
    """
    if not is_conflict(error):
        return []
    _, *parts = re.split(r'conflicts? with "((?:[^"\\]|\\.)*)"', error.detail)
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [(manager, path.lstrip(".")) for manager, rest in pairs for path in re.findall(r"(?<=\s)\.\S+", rest)]


def has_changed(error: ClientError) -> bool:
    """Return whether what was to be written is not as it was read: it is gone (404), or somebody else has written it (409)."""
    return isinstance(error, Missing) or is_conflict(error)


def cannot_be_changed(error: ClientError) -> bool:
    """Return whether the API server answered 409 or 422: what stands cannot be made into what is wanted."""
    return is_conflict(error) or error.detail.startswith("422 ")


def one_line(error: object) -> str:
    """Return the last line of what an error says; its type if it says nothing."""
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
