"""What the contract suites share: real servers on loopback, each killed by its own id, and certificates for them."""

from __future__ import annotations

import http.server
import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager
from datetime import timedelta

import pytest

from prompt_keda.lab.pki import Authority

SECONDS = timedelta(seconds=5)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextmanager
def serving(argv, port, log):
    """Run a server until the end of the block; it has a listening port when the block begins."""
    with log.open("ab") as output:
        process = subprocess.Popen([str(word) for word in argv], stdout=output, stderr=output)
    try:
        _until_listening(process, port, log)
        yield process
    finally:
        process.kill()
        process.wait()


def _until_listening(process, port, log):
    end = time.monotonic() + 20
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < end, f"{process.args[0]} does not listen: {log.read_text()[-500:]}"
        try:
            code = process.wait(0.05)  # the pause between two looks, and it tells at once of a server that ended
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"{process.args[0]} ended with {code}: {log.read_text()[-500:]}")


@contextmanager
def recording(authority, answer, name="server"):
    """Serve https. Gives the port, and each request's path and Authorization.

    ``answer(path, headers)`` gives status, headers and body; ``name`` is that of the certificate.
    """
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append((self.path, self.headers.get("Authorization")))
            status, headers, body = answer(self.path.partition("?")[0], self.headers)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_POST = do_GET

        def log_message(self, *arguments):
            pass

    with serving_https(authority, Handler, name) as port:
        yield port, requests


@contextmanager
def serving_https(authority, handler, name="server"):
    """Serve https with a request handler, and a certificate of a name; gives the port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.folder / f"{name}.crt", authority.folder / f"{name}.key")
        # Hands are shaken where a request is read: a client that is silent holds up neither the others nor the end.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """A CA, and a server certificate ``server`` for 127.0.0.1 and localhost."""
    made = Authority(tmp_path_factory.mktemp("pki") / "pki")
    made.ensure_server("server", ["127.0.0.1", "localhost"])
    return made
