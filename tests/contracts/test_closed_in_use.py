"""A connection that is closed while another thread waits for its answer harms no connection that is opened after it."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
import urllib.request
from contextlib import ExitStack, suppress
from datetime import timedelta

from prompt_keda.clients.registry import Registry
from prompt_keda.clients.whole_answer import bounded
from prompt_keda.core.errors import PromptKedaError
from tests.contracts.conftest import serving_https

LIMIT = timedelta(seconds=10)


def test_a_late_answer_is_not_read_from_the_connection_that_came_after(authority):
    """A check that is overdue waits for its registry when the clients are closed; the next round connects again.

    Its socket had the number of the closed one: the overdue thread took the first bytes of its answer, and both broke with
    "bad record mac".
    """
    asked, late, sent = threading.Event(), threading.Event(), threading.Semaphore(0)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path.startswith("/v2/"):
                asked.set()
                late.wait(LIMIT.seconds)
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):  # nobody waits for the late one any more
                self.wfile.write(b"x" * 50_000)
                self.wfile.flush()
            sent.release()

        def log_message(self, *arguments):
            pass

    def ask():
        with suppress(PromptKedaError):
            registry.manifest("a", "v1")

    with serving_https(authority, Handler) as port:
        registry = Registry.connect("h", f"https://127.0.0.1:{port}", authority.ca_file, None, LIMIT)
        overdue = threading.Thread(target=ask)
        overdue.start()
        assert asked.wait(LIMIT.seconds)
        registry.close()
        context = bounded(ssl.create_default_context(cafile=authority.ca_file))
        with ExitStack() as stack:  # one of them has the number
            url = f"https://127.0.0.1:{port}/new"
            answers = [
                stack.enter_context(urllib.request.urlopen(url, None, LIMIT.seconds, context=context)) for _ in range(5)
            ]
            assert all(sent.acquire(timeout=LIMIT.seconds) for _ in answers)  # their first bytes wait to be read
            late.set()
            overdue.join(LIMIT.seconds)
            assert not overdue.is_alive()
            assert [answer.read() for answer in answers] == [b"x" * 50_000] * 5


def test_nobody_begins_to_read_from_one_that_is_being_closed(authority, monkeypatch):
    """Between the look at who uses it and the close, another thread could: it then waited in another connection forever."""
    order, closing, reading = [], threading.Event(), threading.Event()
    close, read = ssl.SSLSocket._real_close, ssl.SSLSocket.read

    def slow_close(sock):
        closing.set()
        reading.wait(0.5)
        close(sock)
        order.append("closed")

    def noted_read(sock, *arguments):
        order.append("read")
        reading.set()
        return read(sock, *arguments)

    def read_meanwhile():
        closing.wait(LIMIT.seconds)
        with suppress(ValueError, OSError):  # it is closed
            used.read(1)

    with serving_https(authority, http.server.BaseHTTPRequestHandler) as port:
        context = bounded(ssl.create_default_context(cafile=authority.ca_file))
        plain = socket.create_connection(("127.0.0.1", port), LIMIT.seconds)
        used = context.wrap_socket(plain, server_hostname="127.0.0.1")
        monkeypatch.setattr(ssl.SSLSocket, "_real_close", slow_close)
        monkeypatch.setattr(ssl.SSLSocket, "read", noted_read)
        reader = threading.Thread(target=read_meanwhile)
        reader.start()
        used.close()
        reader.join(LIMIT.seconds)
    assert order[:2] == ["closed", "read"]
