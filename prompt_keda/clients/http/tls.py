"""TLS, as every client wants it: never left out, always verified."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path

from prompt_keda.core.errors import Missing, Refused


def require(scheme: str, url: str, system: str) -> None:
    """Make sure that an address has the scheme that means TLS, and holds no login: it is shown.

    Parameters
    ----------
    scheme
        ``https`` or ``ldaps``.
    system
        The system's name as people say it.

    Raises
    ------
    Refused
        When it has another one, or none, or a login; without a password that may stand in it.
    """
    spelt, _, rest = url.partition("://")
    place = (rest or spelt).rpartition("@")[2] or "no address"
    if spelt.lower() != scheme:
        fix = f"Give an address that begins with {scheme}://."
        raise Refused(system, place, f"its address is not {scheme}: nothing is sent", fix)
    if "@" in rest.partition("/")[0]:
        raise Refused(system, place, "its address holds a login: nothing is sent", "Take the login out of the address.")


@dataclass(frozen=True)
class Tls:
    """How a server that speaks TLS is verified.

    Parameters
    ----------
    context
        Of `verified` or `trusting`.
    server_name
        The name that its certificate must have.
    """

    context: ssl.SSLContext
    server_name: str


CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def verified(system: str, endpoint: str, ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that verifies a server's certificate and its name.

    Parameters
    ----------
    ca_file
        None: the system's certificate authorities.

    Raises
    ------
    Missing
        When the file is missing, or holds no certificate in PEM form; with its name.
    """
    fix = "Check ca_file in the environment."
    try:
        return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except ssl.SSLError as error:
        raise Missing(system, endpoint, f"{ca_file} holds no certificate in PEM form", fix) from error
    except OSError as error:
        raise Missing(system, endpoint, f"{ca_file} cannot be read: {error.strerror}", fix) from error


def trusting(system: str, endpoint: str, pem: str) -> ssl.SSLContext:
    """Return a context that verifies a server's certificate and its name by the system's authorities and these.

    Parameters
    ----------
    pem
        Certificates in PEM form; empty: the system's alone.

    Raises
    ------
    Missing
        When the text is not empty, and holds no certificate.
    """
    context = ssl.create_default_context()
    try:
        if pem:
            context.load_verify_locations(cadata=certificates_in(pem))
    except (ssl.SSLError, ValueError) as error:  # ValueError: no certificate at all
        raise Missing(system, endpoint, "what it is verified by holds no certificate in PEM form") from error
    return context


def authorities(system: str, endpoint: str, ca_file: Path) -> str:
    """Return the certificates of a file of authorities in PEM form, to hand them to others. Raises as `verified` does."""
    verified(system, endpoint, ca_file)
    return certificates_in(ca_file.read_text())


def certificates_in(pem: str) -> str:
    """Return the certificates of a text, and nothing else: a private key may stand beside them."""
    return "".join(f"{certificate}\n" for certificate in CERTIFICATE.findall(pem))
