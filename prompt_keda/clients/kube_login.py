"""Logging in to Kubernetes as a kubeconfig says (package `kubernetes`: certificates, tokens, exec plugins)."""

from __future__ import annotations

import hashlib
import logging
import ssl
from pathlib import Path
from typing import Any

from prompt_keda.clients.kube_errors import SYSTEM, one_line
from prompt_keda.errors import LoggedOut, Missing

_NO_OUTPUT = "'NoneType' object has no attribute 'strip'"
"""What the package logs when a plugin fails on a terminal: it looks for words that went to the terminal instead."""


def log_in(kubeconfig: Path | None, context: str | None) -> Any:
    """Read a kubeconfig, run its exec plugin if it names one, and give the package's ``Configuration``.

    Raises
    ------
    Missing
        When there is no such file, context or key in it.
    LoggedOut
        When the exec plugin gives no token; with its own last line.
    """
    from kubernetes import client, config

    configuration = client.Configuration()
    configuration.connection_pool_maxsize = 32
    configuration.retries = False
    said = _LogText()
    root = logging.getLogger()
    root.addHandler(said)
    try:
        config.load_kube_config(  # type: ignore[no-untyped-call]
            str(kubeconfig) if kubeconfig else None, context=context, client_configuration=configuration
        )
    except (config.ConfigException, OSError, ValueError) as error:
        where = str(kubeconfig or "the default kubeconfig")
        raise Missing(SYSTEM, where, one_line(error), "Check the file and the context's name.") from error
    finally:
        root.removeHandler(said)
    if said.text and not configuration.api_key:
        words = "its exec plugin failed, with the words above" if said.text == _NO_OUTPUT else said.text
        fix = "Log in again, or look at the exec plugin that the kubeconfig names."
        raise LoggedOut(SYSTEM, configuration.host, f"the kubeconfig's login gave no token: {words}", fix)
    return configuration


def ca_sha256(configuration: Any) -> str | None:
    """Give the SHA-256 of the DER form of the first CA certificate that is trusted, in lower-case hex."""
    path = configuration.ssl_ca_cert
    if not path:
        return None
    end = "-----END CERTIFICATE-----"
    first = Path(path).read_text().partition(end)[0] + end
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first[first.index("-----BEGIN") :])).hexdigest()


class _LogText(logging.Handler):
    """Keeps what the `kubernetes` package logs instead of raising."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        lines = record.getMessage().strip().splitlines()
        self.text = lines[-1] if lines else self.text
