"""A connection that fails is told in the same words by every client, each cause in its own: on real sockets with real TLS.

The proxy is the one of the local stack's network faults.
"""

from __future__ import annotations

import socket
import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace

import pytest
from kubernetes.stream import ws_client
from websocket import ABNF, WebSocketConnectionClosedException

from prompt_keda.clients.http.download import download
from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.port_forward import _forwarded
from prompt_keda.clients.ldap import ldap_probe
from prompt_keda.clients.redis_streams import RedisStreams
from prompt_keda.clients.registry import Registry
from prompt_keda.clients.vault import Vault
from prompt_keda.core.errors import ClientError, Unreachable
from prompt_keda.lab.faults.network_cuts import PROGRAM
from tests.contracts.conftest import free_port, recording, serving

LIMIT = timedelta(seconds=1)
ANSWER = 200, {"Content-Type": "application/json"}, b'{"gitVersion": "v1", "initialized": true}'
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: c
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
users: [{{name: u, user: {{token: t}}}}]
clusters: [{{name: c, cluster: {{server: "https://127.0.0.1:{port}", certificate-authority: "{ca_file}"}}}}]
"""


def kube(port, ca_file, folder, ask=lambda kube: kube.version()):
    (folder / "kubeconfig").write_text(KUBECONFIG.format(port=port, ca_file=ca_file))
    ask(Kube.connect(folder / "kubeconfig", None, LIMIT))


def vault(port, ca_file, folder):
    Vault.connect(f"https://127.0.0.1:{port}", ca_file, LIMIT).health()


def registry(port, ca_file, folder):
    Registry.connect("h", f"https://127.0.0.1:{port}", ca_file, None, LIMIT).manifest_digest("a", "v1")


def fetching(port, ca_file, folder):
    download(f"https://127.0.0.1:{port}/x", "0" * 64, folder / "x", ca_file, LIMIT)


def directory(port, ca_file, folder):
    ldap_probe(f"ldaps://127.0.0.1:{port}", ca_file, LIMIT)


CLIENTS = [kube, vault, registry, fetching, directory]
each_client = pytest.mark.parametrize("ask", CLIENTS, ids=[deployment.__name__ for deployment in CLIENTS])


@contextmanager
def proxied(authority, folder, *way):
    """Yield the port of a proxy before a server that speaks TLS."""
    with recording(authority, lambda path, headers: ANSWER) as (target, requests):
        port = free_port()
        argv = [sys.executable, PROGRAM, port, "127.0.0.1", target, *way]
        with serving(argv, port, folder / "proxy.log"):
            yield port, requests


def error_of(ask, port, authority, folder):
    with pytest.raises(Unreachable) as caught:
        ask(port, authority.ca_file, folder)
    return caught.value.detail


@each_client
def test_a_port_that_refuses_is_reported_as_refused(ask, authority, tmp_path):
    """The host is there."""
    assert error_of(ask, free_port(), authority, tmp_path) == "no connection: refused"


@each_client
@pytest.mark.parametrize("way", ["cut", "cut-answer"])
def test_a_reset_is_reported_as_such(ask, way, authority, tmp_path):
    """In the TLS handshake, where it is no fault of a certificate; and after it, where the server has heard the request."""
    with proxied(authority, tmp_path, way) as (port, _):
        assert error_of(ask, port, authority, tmp_path) == "it connected, and the connection was cut off"


@each_client
def test_a_slow_answer_is_reported_as_no_answer(ask, authority, tmp_path):
    """TCP has connected: it is not the network that is silent."""
    with proxied(authority, tmp_path, "slow", "1.5") as (port, _):
        assert error_of(ask, port, authority, tmp_path).startswith("it connected, but gave no answer ")


@each_client
def test_silence_is_reported_as_no_connection(ask, authority, tmp_path):
    """No packet comes back, as without the VPN: here from a port whose queue is full, which drops what more comes."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for client in (first, second):
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        message = error_of(ask, full.getsockname()[1], authority, tmp_path)
    assert message.startswith("no connection ") and message.endswith(": nothing comes back")


class Websocket:
    """The API server's end of a port-forward: it gives these frames, one after the other; an error is raised."""

    def __init__(self, *frames):
        self.connected, self.frames = True, list(frames)
        self.sock, there = socket.socketpair()
        there.send(b"always readable")
        self.there = there

    def fileno(self):
        return self.sock.fileno()

    def recv_data_frame(self, control):
        frame = self.frames.pop(0)
        if isinstance(frame, Exception):
            raise frame
        return ABNF.OPCODE_BINARY, SimpleNamespace(data=frame)

    def close(self):
        self.connected = False


BEGUN = (bytes([0, 0xEB, 0x18]), bytes([1, 0xEB, 0x18]))
"""The first frames of both channels: port 6379."""
KUBELET = b"error forwarding port 6379: dial tcp4 127.0.0.1:6379: connect: connection refused"
RESET = b"error forwarding port 6379: read tcp4 127.0.0.1:1->127.0.0.1:6379: read: connection reset by peer"


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ((*BEGUN, b"\x01" + KUBELET), "no connection: refused, at the pod's end of the port-forward"),
        (
            (*BEGUN, b"\x01" + RESET),
            "it connected, and the connection was cut off, at the pod's end of the port-forward",
        ),
        ((*BEGUN, b"\x01" + b"lost connection to pod"), "lost connection to pod"),
        ((*BEGUN, ConnectionResetError(104, "reset")), "it connected, and the connection was cut off"),
        ((*BEGUN, WebSocketConnectionClosedException()), "it connected, and the connection was cut off (a Redis that "),
    ],
    ids=["refused", "reset", "other words", "the way was reset", "no words"],
)
def test_a_port_forward_that_ends_reports_why(frames, message):
    """The kubelet's words, or what became of the way; nobody waits for a connection that is gone."""
    forward = lambda namespace, pod, port: _forwarded(ws_client, Websocket(*frames), port)  # noqa: E731
    pod = {"conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": "p"}}
    made = SimpleNamespace(list=lambda *asked: [{"endpoints": [pod]}], port_forward=forward)
    began = time.monotonic()
    with pytest.raises(Unreachable) as caught:
        RedisStreams.through(made, "n", "s", 6379, None, timedelta(seconds=5)).ping()
    assert caught.value.detail.startswith(message) and time.monotonic() - began < 4


@pytest.mark.parametrize("ask", [kube, vault, registry, fetching])
def test_what_is_slow_within_the_limit_is_no_fault(ask, authority, tmp_path):
    """The server is asked, and what it says counts."""
    with proxied(authority, tmp_path, "slow", "0.2") as (port, requests):
        try:
            ask(port, authority.ca_file, tmp_path)
        except ClientError as error:
            assert not isinstance(error, Unreachable), error
    assert requests
