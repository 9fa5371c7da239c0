"""The stack's login: it checks a person against the directory, and signs the short-lived token that the API server takes.

An OpenID Connect issuer as far as an API server needs one (discovery and keys), and ``POST /token`` with HTTP Basic.
Started as ``python -m prompt_keda.lab.login_server --config FILE``.
"""

from __future__ import annotations

import argparse
import base64
import json
import ssl
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import ldap3
from cryptography.hazmat.primitives import serialization
from ldap3.core.exceptions import LDAPException, LDAPInvalidCredentialsResult

AUDIENCE = "prompt-keda-lab"
ALGORITHM = "ES256"


@dataclass(frozen=True)
class Config:
    """The login server's configuration: its address, its keys, its directory, and how long a token lives (seconds)."""

    issuer: str
    address: str
    port: int
    certificate: str
    key: str
    signing_key: str
    ca_file: str
    ldap_url: str
    people_dn: str
    groups_dn: str
    token_ttl_s: int


class LoginRefused(Exception):
    """The directory does not know this person with this password."""


def groups_of(config: Config, person: str, password: str) -> list[str]:
    """Bind as a person, and return the groups that list them.

    Raises
    ------
    LoginRefused
        When the name or the password is wrong.
    LDAPException
        When the directory does not answer.
    """
    if not password or not person.isalnum():
        raise LoginRefused  # an empty password would be an anonymous bind, which always succeeds (RFC 4513, 5.1.2)
    tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=config.ca_file)
    server = ldap3.Server(config.ldap_url, tls=tls, connect_timeout=3, get_info=ldap3.NONE)
    dn = f"uid={person},{config.people_dn}"
    try:
        with ldap3.Connection(server, dn, password, raise_exceptions=True, receive_timeout=3) as connection:
            connection.search(config.groups_dn, f"(member={dn})", attributes=["cn"])
            return [str(entry.cn) for entry in connection.entries]
    except LDAPInvalidCredentialsResult as error:
        raise LoginRefused from error


def sign(config: Config, person: str, groups: list[str], now: float) -> tuple[str, float]:
    """Return a token and when it expires (Unix time)."""
    ends = int(now) + config.token_ttl_s
    claims = {"iss": config.issuer, "aud": AUDIENCE, "sub": person, "groups": groups, "iat": int(now), "exp": ends}
    key = Path(config.signing_key).read_text()
    return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": "1"}), ends


def public_keys(config: Config) -> dict[str, Any]:
    """Return the JSON Web Key Set with the key that `sign` signs with."""
    key = serialization.load_pem_private_key(Path(config.signing_key).read_bytes(), None)
    algorithm = jwt.get_algorithm_by_name(ALGORITHM)
    public = json.loads(algorithm.to_jwk(key.public_key()))
    return {"keys": [{**public, "kid": "1", "use": "sig", "alg": ALGORITHM}]}


def discovery(config: Config) -> dict[str, Any]:
    """Return the discovery document (OpenID Connect Discovery 1.0, section 3)."""
    return {
        "issuer": config.issuer,
        "jwks_uri": f"{config.issuer}/keys",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
    }


class Handler(BaseHTTPRequestHandler):
    """Answers the three requests. It logs no request, because a request carries a password."""

    config: Config
    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        """Serve discovery and keys."""
        documents = {"/.well-known/openid-configuration": discovery, "/keys": public_keys}
        make = documents.get(self.path)
        if make:
            self._answer(200, make(self.config))
        else:
            self._answer(404, {"error": "no such page"})

    def do_POST(self) -> None:
        """Log a person in."""
        if self.path != "/token":
            self._answer(404, {"error": "no such page"})
            return
        try:
            scheme, _, encoded = self.headers.get("Authorization", "").partition(" ")
            person, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
            groups = groups_of(self.config, person, password) if scheme == "Basic" else []
            token, ends = sign(self.config, person, groups, time.time())
            self._answer(200, {"token": token, "expires_at": ends})
        except (LoginRefused, ValueError):
            self._answer(401, {"error": "the directory refuses this name and password"})
        except LDAPException as error:
            self._answer(
                503, {"error": f"the directory at {self.config.ldap_url} does not answer: {type(error).__name__}"}
            )

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """Each connection's TLS handshake is done in its own thread, so that a silent client blocks nobody."""

    context: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Do the handshake, then answer."""
        request.settimeout(10)
        try:
            secured = self.context.wrap_socket(request, server_side=True)
        except (ssl.SSLError, OSError):
            return
        super().finish_request(secured, client_address)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    config = Config(**json.loads(parser.parse_args().config.read_text()))
    handler = type("ConfiguredHandler", (Handler,), {"config": config})
    server = Server((config.address, config.port), handler)
    server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.context.load_cert_chain(config.certificate, config.key)
    server.serve_forever()


if __name__ == "__main__":
    main()
