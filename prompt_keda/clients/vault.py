"""Vault (library `hvac`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hvac
import requests
from hvac import exceptions
from urllib3.exceptions import ReadTimeoutError
from urllib3.util.ssl_ import create_urllib3_context

from prompt_keda.clients.http.failures import NO_NAME, find_reason, time_over
from prompt_keda.clients.http.header_text import sendable
from prompt_keda.clients.http.tls import require, verified
from prompt_keda.clients.whole_answer import bounded
from prompt_keda.core.errors import BadAnswer, Missing, Refused, Unreachable
from prompt_keda.core.secret import Secret

SYSTEM = "Vault"


@dataclass(frozen=True)
class VaultHealth:
    """What Vault says of itself.

    Parameters
    ----------
    standby
        Another node leads. A standby (429) passes requests on, a performance standby (473) answers reads itself.
    replica
        A secondary for disaster recovery (472): it answers nothing until it is promoted.
    """

    initialized: bool
    sealed: bool
    standby: bool
    version: str
    replica: bool = False


@dataclass(frozen=True)
class Token:
    """What a token is good for. ``ttl_s`` None: it does not expire; ``uses`` 0: as often as one likes."""

    ttl_s: int | None
    renewable: bool
    uses: int = 0


@dataclass(frozen=True)
class SecretVersion:
    """The newest version of a secret: when it was written (RFC 3339), whether it is deleted, and beyond recovery."""

    version: int
    created_at: str
    deleted: bool
    destroyed: bool = False


class Vault:
    """One Vault. It has a token after `login_approle` or `use_token`."""

    def __init__(self, client: hvac.Client, url: str) -> None:
        self._client = client
        self.endpoint = url

    @classmethod
    def connect(cls, url: str, ca_file: Path | None, timeout: timedelta) -> Vault:
        """Make a client. Nothing is sent yet. ``ca_file`` None: the system's certificate authorities.

        Raises
        ------
        Refused
            When the address is not https.
        Missing
            When ``ca_file`` is missing, or holds no certificate.
        """
        require("https", url, SYSTEM)
        verified(SYSTEM, url, ca_file)  # the library would report a bad file in the middle of a request
        verify: str | bool = str(ca_file) if ca_file else True
        client = hvac.Client(url=url, verify=verify, timeout=timeout.total_seconds(), token="", allow_redirects=False)
        client.adapter.session.trust_env = False
        client.adapter.session.mount("https://", _Https())
        return cls(client, url)

    def health(self) -> VaultHealth:
        """Ask how it is; sealed, standby and uninitialised are answers (429, 472, 473, 501, 503), not errors.

        Raises
        ------
        Unreachable
            When it does not answer.
        BadAnswer
            When what answers is no Vault.
        """
        answer = self._ask(lambda: self._client.sys.read_health_status(method="GET"))
        standby = bool(answer.get("standby") or answer.get("performance_standby"))
        replica = answer.get("replication_dr_mode") == "secondary"
        try:
            seal_status = bool(answer["initialized"]), bool(answer["sealed"])
            return VaultHealth(*seal_status, standby, str(answer["version"]), replica)
        except KeyError as error:
            raise BadAnswer(SYSTEM, self.endpoint, f"its health has no {error}: is this a Vault?") from error

    def login_approle(self, role_id: Secret, secret_id: Secret) -> None:
        """Log in with an AppRole. Raises `Refused` when Vault does not take it."""
        self._ask(lambda: self._client.auth.approle.login(role_id.reveal(), secret_id.reveal()))

    def use_token(self, token: Secret) -> None:
        """Use a token that the person has. Raises `NotSendable` when it cannot be sent."""
        self._client.token = sendable(token.reveal())

    def token(self) -> Token:
        """Return what this token is good for. Raises as `read_keys` does, but never `Missing`."""
        data = self._ask(lambda: self._client.auth.token.lookup_self())["data"]
        ttl_s = int(data["ttl"]) if data.get("expire_time") else None
        return Token(ttl_s, bool(data.get("renewable")), int(data.get("num_uses") or 0))

    def kv_version(self, mount: str) -> int:
        """Return the real version of a KV engine: 1 or 2.

        The endpoint is the one that the vault command asks before it reads; every token may use it that has a right to
        anything under the mount.

        Raises
        ------
        Refused
            When the mount is missing, or the token has no right to anything in it.
        BadAnswer
            When something else than a KV engine is mounted there.
        """
        mount_info = self._ask(lambda: self._client.adapter.get(f"/v1/sys/internal/ui/mounts/{mount}"))["data"]
        if mount_info.get("type") != "kv":
            raise BadAnswer(SYSTEM, self.endpoint, f"{mount} is an engine of type {mount_info.get('type')}, not kv")
        return int((mount_info.get("options") or {}).get("version") or 1)

    def capabilities(self, paths: Sequence[str]) -> dict[str, set[str]]:
        """Return what the token may do with each API path, in one request: ``read``, ``deny``, ``root`` and so on."""
        answer = self._ask(lambda: self._client.sys.get_capabilities(list(paths)))["data"]
        return {path: set(answer.get(path) or ["deny"]) for path in paths}

    def read_keys(self, mount: str, path: str, kv_version: int) -> dict[str, Secret]:
        """Return all keys of one secret.

        Raises
        ------
        Missing
            When it is missing, or its newest version is deleted; the message tells these apart.
        Refused
            When it is denied, or the mount is missing: Vault does not tell these apart (failure mode F35).
        """
        if kv_version == 1:
            kv = self._client.secrets.kv.v1
            data = self._ask(lambda: kv.read_secret(path, mount_point=mount))["data"]
            return _secret(data)
        document = self._read_newest(mount, path)
        if document["data"] is None:
            version = _version(document)
            how = "destroyed" if version.destroyed else "deleted"
            raise Missing(SYSTEM, self.endpoint, f"its newest version {version.version} is {how}")
        return _secret(document["data"])

    def newest_version(self, mount: str, path: str, kv_version: int) -> SecretVersion | None:
        """Return the newest version of a secret; None for KV version 1, which keeps none. Needs no right but to read it.

        Raises
        ------
        Missing
            When there is no such secret.
        Refused
            When it is denied, or the mount is missing.
        """
        return None if kv_version == 1 else _version(self._read_newest(mount, path))

    def _read_newest(self, mount: str, path: str) -> dict[str, Any]:
        """Return data and metadata; with a deleted version Vault answers 404, and still sends its metadata."""
        read = self._client.secrets.kv.v2.read_secret_version

        def ask() -> Any:
            try:
                return read(path, mount_point=mount, raise_on_deleted_version=True)
            except exceptions.InvalidPath as error:
                document = error.json if isinstance(error.json, dict) else {}
                if (document.get("data") or {}).get("metadata"):
                    return document
                raise

        data: dict[str, Any] = self._ask(ask)["data"]
        return data

    def _ask(self, question: Callable[[], Any]) -> dict[str, Any]:
        try:
            return self._document(question())
        except exceptions.InvalidPath as error:
            raise Missing(SYSTEM, self.endpoint, "no such secret") from error
        except (exceptions.Forbidden, exceptions.Unauthorized) as error:
            raise Refused(SYSTEM, self.endpoint, "denied, or no such mount (Vault does not tell them apart)") from error
        except exceptions.InvalidRequest as error:
            raise Refused(SYSTEM, self.endpoint, "the login or request was not accepted") from error
        except exceptions.VaultNotInitialized as error:
            raise BadAnswer(SYSTEM, self.endpoint, "it is not initialised") from error
        except exceptions.VaultDown as error:
            raise BadAnswer(SYSTEM, self.endpoint, "it is sealed", "Unseal it, then try again.") from error
        except exceptions.VaultError as error:
            raise BadAnswer(SYSTEM, self.endpoint, type(error).__name__) from error
        except requests.exceptions.SSLError as error:
            reason = find_reason(error) or "TLS: its certificate is not trusted"
            raise Unreachable(SYSTEM, self.endpoint, reason) from error
        except requests.exceptions.RequestException as error:
            raise Unreachable(SYSTEM, self.endpoint, _reason(error)) from error

    def _document(self, answer: Any) -> dict[str, Any]:
        """Return the JSON of an answer. A redirect is not followed: the library would send the token along."""
        if isinstance(answer, requests.Response):
            if answer.is_redirect:
                place = urlsplit(answer.headers["Location"]).hostname or "another path"
                raise BadAnswer(SYSTEM, self.endpoint, f"it redirects to {place}", "Give the address it redirects to.")
            try:
                answer = answer.json()
            except ValueError:
                answer = None
        if not isinstance(answer, dict):
            raise BadAnswer(SYSTEM, self.endpoint, "it did not answer with JSON: is this a Vault?")
        return answer


class _Https(requests.adapters.HTTPAdapter):
    """Https with whole answers in time; how a server is verified is passed with each request."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options, ssl_context=bounded(create_urllib3_context()))


def _secret(data: dict[str, Any]) -> dict[str, Secret]:
    return {key: Secret(str(value)) for key, value in data.items()}


def _version(document: dict[str, Any]) -> SecretVersion:
    metadata = document["metadata"]
    gone = document["data"] is None  # a deletion time alone may lie ahead
    return SecretVersion(int(metadata["version"]), str(metadata["created_time"]), gone, bool(metadata.get("destroyed")))


def _reason(error: requests.exceptions.RequestException) -> str:
    # requests makes a plain ConnectionError of a time-out in the midst of a body
    if any(isinstance(part, (requests.exceptions.Timeout, ReadTimeoutError)) for part in (error, *error.args)):
        return time_over(error, isinstance(error, requests.exceptions.ConnectTimeout))
    if "NameResolutionError" in str(error):  # requests keeps the kind of the cause in its words alone
        return NO_NAME
    return find_reason(error) or f"no connection ({type(error).__name__})"
