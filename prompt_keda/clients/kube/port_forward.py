"""Sockets to pods, through the API server (websocket port-forward of the `kubernetes` package)."""

from __future__ import annotations

import ssl
from typing import Any

from prompt_keda.clients.http.failures import CUT_OFF, NO_NAME, REFUSED, find_reason
from prompt_keda.clients.kube.errors import FIXES, NO_IMPERSONATION, SYSTEM, fix_of, message_of, one_line
from prompt_keda.clients.kube.proxy import name_proxy, websocket_options
from prompt_keda.core.errors import BadAnswer, ClientError, LoggedOut, Missing, Refused, Unreachable

KUBELET_WORDS = {"connection refused": REFUSED, "connection reset": CUT_OFF}
"""What Linux says of a connection at the pod's end, which the kubelet passes on in a long sentence with names of its own."""
PROTOCOLS = "v5.channel.k8s.io,v4.channel.k8s.io"


def open_port(
    configuration: Any, address: str, token: str | None, namespace: str, pod: str, port: int, timeout_s: float
) -> Any:
    """Return a socket to a port of a pod; `why_closed` returns why it has ended.

    The package's own call has no time-out and one kind of error for everything, so the websocket is opened here.

    Raises
    ------
    Unreachable
        When the API server or the kubelet does not make the connection: name, TCP, TLS and time-out told apart.
    LoggedOut
        On 401.
    Refused
        On 403.
    Missing
        When there is no such pod.
    BadAnswer
        On any other answer.
    """
    from kubernetes.stream import ws_client
    from websocket import WebSocket, WebSocketException

    package: Any = ws_client
    endpoint = f"{address} → {namespace}/{pod}:{port}"
    query = f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward?ports={port}"
    url = address.replace("http", "ws", 1) + query
    headers = [f"authorization: {token}"] if token else []
    headers += [f"{name}: {value}" for name, value in configuration.impersonation]
    options: dict[str, Any] = {"header": [*headers, f"sec-websocket-protocol: {PROTOCOLS}"], "timeout": timeout_s}
    proxy = configuration.named_proxy
    if proxy and proxy.scheme == "https":  # the library would speak plain HTTP to it, with the proxy's login
        detail = f"port-forward: not through the proxy {proxy!r}, only through one that is spoken to by http://"
        raise BadAnswer(SYSTEM, endpoint, detail, proxy.fix)
    websocket: Any = WebSocket(sslopt=_tls(configuration), skip_utf8_validation=False)
    try:
        websocket.connect(url, redirect_limit=0, **options, **websocket_options(proxy))
    except (WebSocketException, OSError) as error:
        websocket.shutdown()
        answer = websocket.handshake_response
        if answer is not None and answer.status != 101:  # a redirect: not followed, because the token would go along
            raise BadAnswer(SYSTEM, endpoint, f"port-forward: HTTP {answer.status}") from error
        translated = _translated(error, endpoint, timeout_s)
        raise (
            name_proxy(translated, error, _is_proxys(error), proxy)
            if isinstance(translated, Unreachable)
            else translated
        ) from error
    websocket.settimeout(None)  # from here on the reader of the socket has the time-out
    return _forwarded(package, websocket, port)


def _is_proxys(error: Exception) -> bool:
    """Return whether it was the proxy that could not be reached, where there is one: nothing else is connected to."""
    from websocket import WebSocketAddressException, WebSocketProxyException

    return isinstance(error, (WebSocketAddressException, WebSocketProxyException, ConnectionRefusedError))


def why_closed(connection: Any) -> str:
    """Return why a forwarded connection has ended: as the kubelet says, or what became of the way to it; empty: not known."""
    reason = str(getattr(connection, "why", str)() or "").strip()
    for words, meaning in KUBELET_WORDS.items():
        if words in reason:
            return f"{meaning}, at the pod's end of the port-forward"
    return reason[-200:]


def _forwarded(package: Any, websocket: Any, port: int) -> Any:
    """Start the package's port-forward. Its own thread dies of a connection that breaks, and lets who reads wait."""

    class Forward(package.PortForward):  # type: ignore[misc]  # the package is imported at its first use
        def _proxy(self) -> None:
            try:
                super()._proxy()
            except Exception as error:  # noqa: BLE001  whatever it is, nothing comes any more
                end = self.local_ports[port]
                end.error = find_reason(error) or one_line(error)
                end.python.close()

    forward = Forward(websocket, [port])
    made = forward.socket(port)
    made.why = lambda: forward.error(port)
    return made


def _tls(configuration: Any) -> dict[str, Any]:
    import certifi

    options: dict[str, Any] = {
        "cert_reqs": ssl.CERT_REQUIRED,
        "ca_certs": configuration.ssl_ca_cert or certifi.where(),
        "certfile": configuration.cert_file,
        "keyfile": configuration.key_file,
        "server_hostname": configuration.tls_server_name,
    }
    return {key: value for key, value in options.items() if value}


def _translated(error: Exception, endpoint: str, timeout_s: float) -> ClientError:
    from websocket import WebSocketAddressException, WebSocketBadStatusException, WebSocketTimeoutException

    if isinstance(error, WebSocketBadStatusException):
        kind = {401: LoggedOut, 403: Refused, 404: Missing}.get(error.status_code, BadAnswer)
        message = message_of(error.resp_body or b"")
        if kind is Refused and NO_IMPERSONATION in message:
            return kind(SYSTEM, endpoint, f"port-forward: HTTP 403: {message}", fix_of(403, message))
        why = ": get and create pods/portforward are needed there" if kind is Refused else ""
        what = f"port-forward: HTTP {error.status_code}{why}"
        return kind(SYSTEM, endpoint, what, FIXES[401] if kind is LoggedOut else "")
    if any(isinstance(cause, (WebSocketTimeoutException, TimeoutError)) for cause in (error, error.__context__)):
        return Unreachable(SYSTEM, endpoint, f"no answer within {timeout_s:.0f} s")
    if isinstance(error, ssl.SSLError):
        return Unreachable(SYSTEM, endpoint, find_reason(error) or f"TLS: {one_line(error)}")
    if isinstance(error, WebSocketAddressException):
        return Unreachable(SYSTEM, endpoint, NO_NAME)
    return Unreachable(SYSTEM, endpoint, find_reason(error) or f"no connection: {one_line(error)}")
