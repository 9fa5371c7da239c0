"""A server that sends a byte now and then is waited for no longer than the whole of an answer may take: real sockets and TLS."""

from __future__ import annotations

import http.server
import os
import socket
import ssl
import threading
import time
from contextlib import contextmanager, suppress
from datetime import timedelta

import pytest

from prompt_keda.clients import whole_answer
from prompt_keda.clients.http.tls import Tls, verified
from prompt_keda.clients.http.webhook import post
from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.resources import PODS
from prompt_keda.clients.ldap import ldap_probe
from prompt_keda.clients.redis_streams import RedisStreams
from prompt_keda.clients.registry import Registry
from prompt_keda.clients.vault import Vault
from prompt_keda.core.errors import Unreachable
from prompt_keda.core.secret import Secret
from tests.contracts.conftest import serving_https
from tests.contracts.test_broken_connections import KUBECONFIG

LIMIT = timedelta(seconds=1)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
WHERE = {
    "in the first line": b"H",
    "in the headers": HEAD + b"X-More: ",
    "in the body": HEAD + b"Content-Length: 9999\r\n\r\n",
    "in a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n270f\r\n",
    "without an end": HEAD + b"\r\n",
}


def kube(port, ca_file, folder):
    (folder / "kubeconfig").write_text(KUBECONFIG.format(port=port, ca_file=ca_file))
    Kube.connect(folder / "kubeconfig", None, LIMIT).list(PODS, "n")


def vault(port, ca_file, folder):
    Vault.connect(f"https://127.0.0.1:{port}", ca_file, LIMIT).health()


def registry(port, ca_file, folder):
    Registry.connect("h", f"https://127.0.0.1:{port}", ca_file, None, LIMIT).manifest("a", "v1")


def redis_by_tls(port, ca_file, folder):
    tls = Tls(verified("Redis", "here", ca_file), "localhost")
    RedisStreams.direct("127.0.0.1", port, None, LIMIT, tls).ping()


def redis_plainly(port, ca_file, folder):
    RedisStreams.direct("127.0.0.1", port, None, LIMIT).ping()


def chat(port, ca_file, folder):
    post(Secret(f"https://127.0.0.1:{port}/hook"), "a post", ca_file, LIMIT)


def ldap(port, ca_file, folder):
    ldap_probe(f"ldaps://127.0.0.1:{port}", ca_file, LIMIT)


@contextmanager
def dripping(authority, begin):
    """Serve https: what an answer begins with, and then a byte each 0.2 s; gives the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def handle(self):
            with suppress(OSError):
                self.connection.recv(65536)
                self.connection.sendall(begin)
                while not ended.wait(0.2):
                    self.connection.sendall(b" ")

    ended = threading.Event()
    try:
        with serving_https(authority, Handler) as port:
            yield port
            ended.set()
    finally:
        ended.set()


@contextmanager
def dripping_plainly():
    """The same without TLS, as a Redis: a line that does not end."""

    def serve():
        with suppress(OSError):
            connection, _ = server.accept()
            connection.recv(65536)
            connection.sendall(b"+")
            while not ended.wait(0.2):
                connection.sendall(b"P")

    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        try:
            yield server.getsockname()[1]
        finally:
            ended.set()


def given_up(ask, port, authority, folder):
    """Return what is said, once it was said in time."""
    began = time.monotonic()
    with pytest.raises(Unreachable) as caught:
        ask(port, authority.ca_file, folder)
    took = time.monotonic() - began
    assert took < 15, f"{took:.1f} s"  # without the bound: without end
    return caught.value.detail


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(whole_answer, "WAITS", 2)


@pytest.mark.parametrize("begin", WHERE.values(), ids=WHERE)
@pytest.mark.parametrize("ask", [kube, vault, registry])
def test_an_answer_that_drips_is_given_up(ask, begin, authority, tmp_path):
    """Wherever in it; it is told as one that did not end, and nobody is told that the network is silent."""
    with dripping(authority, begin) as port:
        assert given_up(ask, port, authority, tmp_path) == "it connected, but its answer did not end within 2 s"


def test_a_redis_that_drips_is_given_up(authority, tmp_path):
    """Without TLS, as most are."""
    with dripping_plainly() as port:
        assert given_up(redis_plainly, port, authority, tmp_path).endswith("its answer did not end within 2 s")


def test_a_redis_by_tls_that_drips_is_given_up(authority, tmp_path):
    """The same."""
    with dripping(authority, b"+") as port:
        assert given_up(redis_by_tls, port, authority, tmp_path).endswith("its answer did not end within 2 s")


@pytest.mark.parametrize("begin", [WHERE["in the first line"], WHERE["in the headers"]], ids=["first line", "headers"])
def test_a_chat_that_drips_is_given_up(begin, authority, tmp_path):
    """Its body is not read."""
    with dripping(authority, begin) as port:
        assert given_up(chat, port, authority, tmp_path) == "its answer did not end within 2 s"


def test_a_directory_that_drips_is_given_up(authority, tmp_path):
    """A message of 9999 bytes has begun, and does not end."""
    with dripping(authority, b"\x30\x82\x27\x0f") as port:
        assert given_up(ldap, port, authority, tmp_path).endswith("its answer did not end within 2 s")


def test_each_question_has_the_whole_time(authority, tmp_path):
    """On one connection: the second answer is not late because the first one was long ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with suppress(OSError):
                while connection.recv(65536):
                    for byte in b"+PONG\r\n":
                        time.sleep(0.12)
                        connection.sendall(bytes([byte]))

        threading.Thread(target=serve, daemon=True).start()
        redis = RedisStreams.direct("127.0.0.1", server.getsockname()[1], None, LIMIT)
        began = time.monotonic()
        for _ in range(3):
            redis.ping()
        redis.close()
    took_s, whole_s = time.monotonic() - began, whole_answer.WAITS * LIMIT.total_seconds()
    assert took_s > whole_s, f"{took_s:.1f} s: one answer alone could have taken that long"


def test_what_threads_share_is_loaded_once_and_again_when_it_has_changed(tmp_path):
    """urllib3 loads authorities at each connection; two threads at once ended the process with a segmentation fault."""
    loaded, ca_file = [], tmp_path / "ca.crt"
    ca_file.write_text("authority")

    class Context(ssl.SSLContext):
        def load_verify_locations(self, *paths):
            loaded.append(paths)

    context = whole_answer.bounded(whole_answer.bounded(Context(ssl.PROTOCOL_TLS_CLIENT)))
    for changed_at in (1, 2):
        os.utime(ca_file, (changed_at, changed_at))
        threads = [threading.Thread(target=context.load_verify_locations, args=(str(ca_file), None)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(loaded) == changed_at
