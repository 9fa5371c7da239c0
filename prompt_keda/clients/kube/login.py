"""Logging in to Kubernetes as a kubeconfig says (package `kubernetes`: certificates, tokens, exec plugins; `oidc`).

Inside a pod that has no kubeconfig it is the pod's ServiceAccount, as with kubectl.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any

from prompt_keda.clients.http.tls import require
from prompt_keda.clients.kube.errors import SYSTEM, one_line
from prompt_keda.clients.kube.impersonation import NotHonoured, impersonation
from prompt_keda.clients.kube.loader import make_loader
from prompt_keda.clients.kube.proxy import use_proxy
from prompt_keda.clients.libraries import ONE_AT_A_TIME
from prompt_keda.core.errors import BadAnswer, LoggedOut, Missing, Refused

_NO_OUTPUT = "'NoneType' object has no attribute 'strip'"
"""What the package logs when a plugin fails on a terminal: it looks for words that went to the terminal instead."""

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet puts a pod's token, which it renews, and the certificate authority of its API server."""
PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def log_in(kubeconfig: Path | None, context: str | None, timeout: timedelta) -> Any:
    """Read a kubeconfig, run its exec plugin or ask its issuer if it names one, and return the package's ``Configuration``.

    It gets two attributes for `kube_expiry`: ``renews``, and ``plugin_expiry()``, the expiry that the plugin stated last; and
    ``impersonation``, the headers to send with every request, which the package does not know of; and ``named_proxy``.

    Raises
    ------
    Missing
        When there is no such file, context or key in it.
    BadAnswer
        When the file is no kubeconfig, its certificate authority is no certificate, or whom to act as or its proxy makes no sense.
    Refused
        When it speaks without TLS, or does not verify it: the cluster's identity could not be known then.
    LoggedOut
        When the exec plugin gives no token; with its own last line. When the issuer gives none; with the reason.
    """
    with ONE_AT_A_TIME:
        import yaml
        from kubernetes import client, config

    where = str(kubeconfig or "the default kubeconfig")
    configuration: Any = client.Configuration()
    configuration.connection_pool_maxsize = 32
    configuration.retries = False
    log = _LogText()
    root = logging.getLogger()
    root.addHandler(log)
    try:
        _load(kubeconfig, context, configuration, timeout)
    except (config.ConfigException, OSError) as error:
        said_of_it = one_line(error).partition("{")[0]  # the package shows an entry whole, with its token
        raise Missing(SYSTEM, where, said_of_it, "Check the file and the context's name.") from error
    except yaml.YAMLError as error:
        raise BadAnswer(SYSTEM, where, f"it is no YAML: {one_line(error).strip()}", "Correct the file.") from error
    except NotHonoured as error:
        fix = "Correct the file: kubectl would act as that user, and nothing is sent as anybody else."
        raise BadAnswer(SYSTEM, where, f"whom to act as makes no sense: {error}", fix) from error
    except (ValueError, TypeError, AttributeError, KeyError) as error:  # the package checks no types
        detail = f"it is no kubeconfig, or a value in it makes no sense ({type(error).__name__})"
        raise BadAnswer(SYSTEM, where, detail, "Correct the file.") from error
    finally:
        root.removeHandler(log)
    _insist_on_tls(configuration)
    use_proxy(configuration, configuration.proxy_url, SYSTEM)
    if log.text and not configuration.api_key:
        words = "its exec plugin failed, with the words above" if log.text == _NO_OUTPUT else log.text
        fix = "Log in again, or look at the exec plugin that the kubeconfig names."
        raise LoggedOut(SYSTEM, configuration.host, f"the kubeconfig's login gave no token: {words}", fix)
    return configuration


def _load(kubeconfig: Path | None, context: str | None, configuration: Any, timeout: timedelta) -> None:
    """Do what the package's ``load_kube_config`` does, and keep the loader: it alone knows what the plugin answered."""
    from kubernetes.config import ConfigException, kube_config

    package: Any = kube_config
    location = str(kubeconfig or package.KUBE_CONFIG_DEFAULT_LOCATION)
    if kubeconfig is None and _is_in_a_pod(location):
        _load_service_account(configuration)
        return
    merged = package.KubeConfigMerger(location)
    if merged.config is None:
        raise ConfigException("Invalid kube-config file. No configuration found.")
    loader = make_loader(merged, context, timeout, str(kubeconfig or "the default kubeconfig"))
    user = getattr(loader._user, "value", None) or {}  # the package shows whom it found nowhere else
    configuration.impersonation = impersonation(user)
    loader.load_and_set(configuration)
    configuration.proxy_url = loader._cluster.value.get("proxy-url")
    configuration.renews = "exec" in user or (loader.id_token is not None and loader.id_token.renews)
    configuration.plugin_expiry = lambda: getattr(loader, "expiry", None)


def _is_in_a_pod(location: str) -> bool:
    """Return whether this is a pod with a ServiceAccount, and no kubeconfig is where kubectl would look for one."""
    has_file = any(Path(path).expanduser().exists() for path in location.split(os.pathsep) if path)
    return not has_file and "KUBERNETES_SERVICE_HOST" in os.environ and (SERVICE_ACCOUNT / "token").exists()


def _load_service_account(configuration: Any) -> None:
    """Take the pod's token and certificate authority. The token is read again each minute: the kubelet renews the file."""
    from kubernetes.config import incluster_config

    package: Any = incluster_config
    token, authority = str(SERVICE_ACCOUNT / "token"), str(SERVICE_ACCOUNT / "ca.crt")
    package.InClusterConfigLoader(token, authority, environ=os.environ).load_and_set(configuration)
    configuration.impersonation = ()
    configuration.proxy_url = None
    configuration.renews = True
    configuration.plugin_expiry = lambda: None


def ca_sha256(configuration: Any) -> str | None:
    """Return the SHA-256 of the DER form of all CA certificates that are trusted, one after the other, in lower-case hex.

    All of them: a second one in the file would let another server pass for the cluster that is meant.

    Raises
    ------
    Missing
        When the file that holds it cannot be read.
    BadAnswer
        When that holds no certificate in PEM form.
    """
    path = configuration.ssl_ca_cert
    if not path:
        return None
    try:
        ssl.create_default_context(cafile=path)  # the whole of it: a certificate that is none is not trusted either
        certificates = PEM.findall(Path(path).read_text())
        if not certificates:
            raise ValueError("no certificate")
        return hashlib.sha256(b"".join(map(ssl.PEM_cert_to_DER_cert, certificates))).hexdigest()
    except (ssl.SSLError, ValueError) as error:
        detail = "the kubeconfig's certificate authority is no certificate in PEM form"
        raise BadAnswer(SYSTEM, configuration.host, detail, "Correct the kubeconfig.") from error
    except OSError as error:
        detail = f"the kubeconfig's certificate authority cannot be read: {error.strerror}"
        raise Missing(SYSTEM, configuration.host, detail, "Correct the kubeconfig.") from error


def _insist_on_tls(configuration: Any) -> None:
    """Make sure that the server has to prove who it is: what the kubeconfig trusts is compared as its identity."""
    require("https", configuration.host, SYSTEM)
    if not configuration.verify_ssl:
        fix = "Take insecure-skip-tls-verify out of the kubeconfig, and name the certificate authority in it."
        raise Refused(SYSTEM, configuration.host, "the kubeconfig says not to verify its certificate", fix)
    ca_sha256(configuration)


class _LogText(logging.Handler):
    """Keeps what the `kubernetes` package logs instead of raising."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        lines = record.getMessage().strip().splitlines()
        self.text = lines[-1] if lines else self.text
