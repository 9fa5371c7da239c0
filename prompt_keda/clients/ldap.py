"""The directory that people authenticate to (library `ldap3`)."""

from __future__ import annotations

import ssl
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from prompt_keda.clients.http.failures import NO_NAME, find_reason, time_over
from prompt_keda.clients.http.tls import require, verified
from prompt_keda.clients.libraries import ONE_AT_A_TIME
from prompt_keda.clients.whole_answer import BoundedSocket
from prompt_keda.core.errors import BadAnswer, Refused, Unreachable

SYSTEM = "LDAP"


def ldap_probe(url: str, ca_file: Path | None, timeout: timedelta) -> list[str]:
    """Read a directory's naming contexts over TLS, without a name or password.

    Raises
    ------
    Unreachable
        When it does not answer: name, TCP, TLS or time-out told apart.
    Refused
        When it lets nobody read that without a name, or the address is not ldaps.
    Missing
        When ``ca_file`` is missing, or holds no certificate.
    BadAnswer
        When it answers anything else, or the address makes no sense.
    """
    require("ldaps", url, SYSTEM)
    verified(SYSTEM, url, ca_file)  # the library has an error of its own for a bad file, which says no more
    with ONE_AT_A_TIME:
        import ldap3
        from ldap3.core import exceptions as ldap_errors

    refusals = (
        ldap_errors.LDAPInsufficientAccessRightsResult,
        ldap_errors.LDAPInappropriateAuthenticationResult,
        ldap_errors.LDAPStrongerAuthRequiredResult,
        ldap_errors.LDAPConfidentialityRequiredResult,
    )
    seconds = timeout.total_seconds()
    tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=str(ca_file) if ca_file else None)
    try:
        server = ldap3.Server(url, tls=tls, connect_timeout=seconds, get_info=ldap3.NONE)
        options = {"receive_timeout": max(1, int(seconds)), "raise_exceptions": True}
        connection = ldap3.Connection(server, **options)
        connection.open()
        connection.socket = BoundedSocket(connection.socket)
        try:
            connection.bind()
            connection.search("", "(objectClass=*)", ldap3.BASE, attributes=["namingContexts"])
            if not connection.entries:
                raise BadAnswer(SYSTEM, url, "its root entry cannot be read")
            return [str(name) for name in connection.entries[0].namingContexts.values]
        finally:
            with suppress(ldap_errors.LDAPException):  # what went wrong before it is told
                connection.unbind()
    except (ldap_errors.LDAPCommunicationError, ldap_errors.LDAPMaximumRetriesError) as error:
        raise Unreachable(SYSTEM, url, _broken(error)) from error
    except refusals as error:
        raise Refused(SYSTEM, url, f"it lets nobody read without a name: {_reason(error)}") from error
    except (ldap_errors.LDAPException, ValueError) as error:
        raise BadAnswer(SYSTEM, url, _reason(error)) from error


def _broken(error: Exception) -> str:
    """Return why no answer came. The library makes each of its errors one of Python's own kind as well."""
    if isinstance(error, TimeoutError):
        return time_over(error, "while opening" in str(error))
    return find_reason(error) or _reason(error)


def _reason(error: Exception) -> str:
    text = (str(error).strip().splitlines() or [""])[-1][:200]
    if "gaierror" in text or "invalid server address" in text:
        return NO_NAME
    if "ssl" in text.lower() or "certificate" in text.lower():
        return f"TLS: {text}"
    return text or type(error).__name__
