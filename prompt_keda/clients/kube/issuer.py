"""An OpenID Connect issuer that refreshes a login: verified, in time, or not at all.

Source: OpenID Connect Discovery 1.0, 4; RFC 6749, 6 and 2.3.1; k8s.io/client-go v0.35.4, plugin/pkg/client/auth/oidc.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus, urlencode

from prompt_keda.clients.http.tls import require
from prompt_keda.clients.kube.errors import SYSTEM, unreachable
from prompt_keda.clients.kube.proxy import use_proxy
from prompt_keda.clients.libraries import ONE_AT_A_TIME
from prompt_keda.core.errors import ClientError

ISSUER = "its issuer"
LOG_IN = "Log in again."
AUTHORITY = ("idp-certificate-authority-data", "idp-certificate-authority")
LARGEST_BYTES = 2**20
ERROR_CODE = re.compile(r"[a-z_]{1,40}")
"""What an issuer's error looks like (RFC 6749, 5.2); anything else it says is not shown."""


class NoToken(Exception):
    """No id-token is available; says why, without any of the login, and what to do."""

    def __init__(self, why: str, fix: str = LOG_IN) -> None:
        super().__init__(why)
        self.fix = fix


class Issuer:
    """An issuer, asked over verified TLS.

    Parameters
    ----------
    config
        The provider's `config` in a kubeconfig, with `idp-issuer-url`, `client-id` and `refresh-token`.
    timeout_s
        For all that it is asked.

    Raises
    ------
    NoToken
        When its address is not https, or its certificate authority in the kubeconfig is none.
    """

    def __init__(self, config: Mapping[str, str], timeout_s: float) -> None:
        with ONE_AT_A_TIME:
            from kubernetes import client
            from kubernetes.client.rest import RESTClientObject

        self._config = config
        self._timeout_s = timeout_s
        self._end = time.monotonic() + timeout_s
        self._url = config["idp-issuer-url"].rstrip("/")
        self._require_tls(self._url)
        configuration: Any = client.Configuration(host=self._url)
        self._configuration = configuration
        configuration.retries = False
        configuration.ssl_ca_cert, configuration.ca_cert_data = _authority(config)
        try:
            use_proxy(configuration, None, SYSTEM)
        except ClientError as error:
            raise NoToken(f"{ISSUER} {self._url} cannot be asked: {error.detail}", error.fix) from error
        self._pool: Any = RESTClientObject(configuration).pool_manager

    def refresh(self) -> dict[str, Any]:
        """Return what the issuer answers to the refresh-token: its document with the new tokens.

        Raises
        ------
        NoToken
            When it is not verified, does not answer in time, refuses, or answers something that makes no sense.
        """
        place = self._ask("GET", f"{self._url}/.well-known/openid-configuration")[1].get("token_endpoint")
        if not isinstance(place, str) or not place:
            raise NoToken(f"{ISSUER} names no token_endpoint")
        self._require_tls(place)
        form = {"grant_type": "refresh_token", "refresh_token": self._config["refresh-token"]}
        name, secret = self._config["client-id"], self._config.get("client-secret")
        if not secret:
            return self._granted(*self._ask("POST", place, {**form, "client_id": name}))
        login = base64.b64encode(f"{quote_plus(name)}:{quote_plus(secret)}".encode()).decode()
        status, answer = self._ask("POST", place, form, {"Authorization": f"Basic {login}"})
        if 400 <= status < 500 and answer.get("error") != "invalid_grant":  # some take the secret in the form alone
            status, answer = self._ask("POST", place, {**form, "client_id": name, "client_secret": secret})
        return self._granted(status, answer)

    def _granted(self, status: int, answer: dict[str, Any]) -> dict[str, Any]:
        if status != 200:
            code = str(answer.get("error"))
            raise NoToken(f"{ISSUER} refused: {code if ERROR_CODE.fullmatch(code) else f'HTTP {status}'}")
        return answer

    def _ask(
        self, method: str, url: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Return the status and the document of an answer; one that is neither granted nor refused ends here."""
        status, data = self._send(method, url, form, headers)
        if status != 200 and not (method == "POST" and 400 <= status < 500):
            raise NoToken(f"{ISSUER} answered HTTP {status}")
        try:
            answer = json.loads(data)
        except (ValueError, RecursionError):
            answer = None
        if isinstance(answer, dict):
            return status, answer
        if status == 200:
            raise NoToken(f"{ISSUER} answered with no JSON object")
        return status, {}

    def _send(
        self, method: str, url: str, form: Mapping[str, str] | None, headers: Mapping[str, str] | None
    ) -> tuple[int, bytes]:
        import urllib3

        left_s = max(0.1, self._end - time.monotonic())
        all_headers = {"Accept": "application/json", **(headers or {})}
        if form is not None:
            all_headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = None if form is None else urlencode(form).encode()
        options: dict[str, Any] = {"redirect": False, "retries": False, "preload_content": False}
        wait = urllib3.Timeout(connect=left_s, read=left_s)
        try:
            answer = self._pool.request(method, url, body=body, headers=all_headers, timeout=wait, **options)
            try:
                return int(answer.status), self._read(answer)
            finally:
                answer.close()
        except urllib3.exceptions.HTTPError as error:
            proxy = self._configuration.named_proxy
            reason = unreachable(error, self._url, self._timeout_s, self._timeout_s, proxy)
            fix = f"{reason.fix} Then try again." if reason.fix else LOG_IN
            if isinstance(error, urllib3.exceptions.SSLError) and not any(map(self._config.get, AUTHORITY)):
                fix = f"{LOG_IN} Or name the issuer's authority in the kubeconfig: idp-certificate-authority."
            raise NoToken(f"{ISSUER} {self._url} does not answer: {reason.detail}", fix) from error

    def _read(self, answer: Any) -> bytes:
        """Read an answer until the time is over: one that comes drop by drop never runs into a socket's time-out."""
        data = b""
        while len(data) < LARGEST_BYTES and (part := answer.read1(2**16)):
            data += part
            if time.monotonic() > self._end:
                raise NoToken(f"{ISSUER} {self._url} sent no whole answer within {self._timeout_s:.0f} s")
        return data

    @staticmethod
    def _require_tls(url: str) -> None:
        try:
            require("https", url, SYSTEM)
        except ClientError as error:
            raise NoToken(f"{ISSUER} {error.endpoint}: {error.detail}") from error


def _authority(config: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the file with the issuer's certificate authority, or its text; neither: the system's authorities."""
    text, path = map(config.get, AUTHORITY)
    try:
        if text:
            pem: str = base64.b64decode(text, validate=True).decode()
            ssl.create_default_context(cadata=pem)
            return None, pem
        if path:
            ssl.create_default_context(cafile=path)
            return path, None
    except OSError as error:
        raise NoToken(f"the kubeconfig's idp-certificate-authority cannot be used: {_words(error)}") from error
    except (ValueError, TypeError) as error:
        raise NoToken("the kubeconfig's idp-certificate-authority-data is no certificate in PEM form") from error
    return None, None


def _words(error: OSError) -> str:
    return "it is no certificate in PEM form" if isinstance(error, ssl.SSLError) else error.strerror or "not readable"
