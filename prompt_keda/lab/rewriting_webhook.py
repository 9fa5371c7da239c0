"""A mutating webhook that rewrites what it is asked about, as other teams' webhooks do: a JSON patch for every object.

Run inside the stack's network, by its file: ``python rewriting_webhook.py CERTIFICATE KEY PORT PATCH [DELAY_S]``.
"""

from __future__ import annotations

import base64
import json
import ssl
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def main(certificate: str, key: str, port: str, patch: str, delay_s: str = "0") -> None:
    """Serve until it is killed.

    Parameters
    ----------
    patch
        A JSON patch (RFC 6902), as JSON.
    delay_s
        How long it takes for each answer.
    """
    sent = base64.b64encode(patch.encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name that http.server wants
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            time.sleep(float(delay_s))
            answer = {"uid": review["request"]["uid"], "allowed": True, "patchType": "JSONPatch", "patch": sent}
            whole = {"apiVersion": review["apiVersion"], "kind": review["kind"], "response": answer}
            body = json.dumps(whole).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
