"""Pages that a pod serves: on real sockets, with servers that answer as they should and as they should not."""

from __future__ import annotations

import socket
import threading

import pytest

from prompt_keda.clients.kube import pages as kube_pages
from prompt_keda.clients.kube.pages import read_page
from prompt_keda.core.errors import BadAnswer, Unreachable

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


def asked(answer, timeout_s=5, close=True):
    """Ask a server that gives these bytes, and keeps the connection open unless ``close``."""
    here, there = socket.socketpair()

    def serve():
        there.recv(4096)
        there.sendall(answer)
        if close:
            there.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        return read_page(here, "keda/operator:8080", "/metrics", timeout_s)
    finally:
        there.close()


@pytest.mark.parametrize("close", [True, False])
def test_a_page_in_pieces_is_read_to_its_end(close):
    """As Go's servers send a long page; the end is known without the connection's end."""
    assert asked(CHUNKED, close=close) == "abcde"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP 404"),
        (b"-NOAUTH\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", "no HTTP"),
    ],
)
def test_what_is_no_page_is_a_bad_answer(answer, message):
    """Another status, another protocol, and a page that breaks off."""
    with pytest.raises(BadAnswer, match=message):
        asked(answer)


def test_a_server_that_says_nothing_is_not_waited_for():
    """The time-out is the client's; a connection that ends silently is no answer either."""
    with pytest.raises(Unreachable):
        asked(b"", timeout_s=0.05, close=False)
    with pytest.raises(Unreachable, match="closed"):
        asked(b"")


def test_a_page_without_an_end_is_not_read(monkeypatch):
    """No pod can fill this machine's memory."""
    monkeypatch.setattr(kube_pages, "LARGEST_BYTES", 4)
    with pytest.raises(BadAnswer, match="5 bytes"):
        asked(CHUNKED)
