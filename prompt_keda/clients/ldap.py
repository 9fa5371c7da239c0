"""The directory that people authenticate to (library `ldap3`)."""

from __future__ import annotations

import ssl
from datetime import timedelta
from pathlib import Path

from prompt_keda.errors import Unreachable

SYSTEM = "LDAP"


def ldap_probe(url: str, ca_file: Path | None, timeout: timedelta) -> list[str]:
    """Read a directory's naming contexts over TLS, without a name or password.

    Raises
    ------
    Unreachable
        When it does not answer, or its certificate is not trusted.
    """
    import ldap3
    from ldap3.core.exceptions import LDAPException

    seconds = timeout.total_seconds()
    tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=str(ca_file) if ca_file else None)
    server = ldap3.Server(url, tls=tls, connect_timeout=seconds, get_info=ldap3.NONE)
    try:
        with ldap3.Connection(server, receive_timeout=max(1, int(seconds)), raise_exceptions=True) as connection:
            connection.search("", "(objectClass=*)", ldap3.BASE, attributes=["namingContexts"])
            return [str(one) for one in connection.entries[0].namingContexts.values]
    except LDAPException as error:
        reason = str(error).strip().splitlines()[-1][:200] or type(error).__name__
        raise Unreachable(SYSTEM, url, reason) from error
