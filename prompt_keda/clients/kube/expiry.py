"""When a login to Kubernetes expires, as far as that can be read without verifying it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class LoginLife:
    """How long a login lives. It never holds the login itself.

    Parameters
    ----------
    kind
        ``token`` or ``client certificate``.
    ends
        None: it is one that does not expire.
    begins
        None where it does not say.
    renews
        Whether an exec plugin or a refresh-token fetches the next one.
    """

    kind: str
    ends: datetime | None
    begins: datetime | None = None
    renews: bool = False


def login_life(configuration: Any, token: str | None) -> LoginLife | None:
    """Return how long a login lives; None if it is not known.

    A token says it itself (JWT, RFC 7519: exp, iat), else the exec plugin that gave it (client.authentication.k8s.io,
    expirationTimestamp). Without a token the client certificate counts.

    Parameters
    ----------
    configuration
        What `prompt_keda.clients.kube.login.log_in` gives.
    token
        The value of the Authorization header.
    """
    plugin_says, renews = configuration.plugin_expiry(), configuration.renews
    if token:
        claims = claims_of(token) or {"exp": "not stated"}
        ends = moment(claims.get("exp")) or plugin_says
        if ends is None and "exp" in claims:
            return None
        return LoginLife("token", ends, moment(claims.get("iat")) or moment(claims.get("nbf")), renews)
    return _certificate_life(configuration.cert_file, renews)


def claims_of(token: str) -> dict[str, Any] | None:
    """Return what a JWT says, not verified; None for a token that is none."""
    parts = token.removeprefix("Bearer ").split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (IndexError, ValueError, RecursionError):
        return None
    return claims if len(parts) == 3 and isinstance(claims, dict) else None


def moment(seconds: Any) -> datetime | None:
    """Return the time that a claim names, in seconds since 1970; None if it names none."""
    try:
        return datetime.fromtimestamp(float(seconds), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _certificate_life(path: str | None, renews: bool) -> LoginLife | None:
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(Path(path).read_bytes()) if path else None
    except (OSError, ValueError):
        return None
    if certificate is None:
        return None
    return LoginLife("client certificate", certificate.not_valid_after_utc, certificate.not_valid_before_utc, renews)
