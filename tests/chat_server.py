"""A chat's server on loopback that speaks https, and keeps what was posted to it."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from contextlib import contextmanager
from types import SimpleNamespace

from prompt_keda.core.secret import Secret
from tests.leaks import planted


@contextmanager
def chat(authority, status=200, headers=None, drips=False):
    """Serve until the end of the block.

    Parameters
    ----------
    status, headers
        Of its answers. Status None: it does not answer.
    drips
        Whether each answer comes in single characters, and is never whole.

    Yields
    ------
    ``posts``: path, headers and document of each; ``token``: a planted value; ``address``: one that has it in its path.
    """
    made = SimpleNamespace(posts=[], token=planted("-_"), port=0)
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.posts.append((self.path, dict(self.headers), json.loads(body)))
            if drips:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
                for _ in range(200):  # an end after 10 s, for a client that waits without a limit
                    if not over.wait(0.05):
                        self.wfile.write(b"x")
                return
            if status is None:
                over.wait(30)
                return
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()

        do_GET = do_POST  # what follows a redirect would ask so

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.folder / "server.crt", authority.folder / "server.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        made.port = server.server_port
        made.address = Secret(f"https://127.0.0.1:{made.port}/services/{made.token}?key={made.token}")
        try:
            yield made
        finally:
            over.set()
            server.shutdown()
