"""Vault (library `hvac`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hvac
import requests
from hvac import exceptions

from prompt_keda.clients.tls import require, verified
from prompt_keda.errors import BadAnswer, Missing, Refused, Unreachable
from prompt_keda.model.secret import Secret

SYSTEM = "Vault"


@dataclass(frozen=True)
class VaultHealth:
    """What Vault says of itself. A standby (429, 473) may be read from; sealed or uninitialised it gives nothing."""

    initialized: bool
    sealed: bool
    standby: bool
    version: str


@dataclass(frozen=True)
class SecretVersion:
    """The newest version of a secret, when it was written (RFC 3339), and whether it is deleted or destroyed."""

    version: int
    created_at: str
    deleted: bool


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
            When ``ca_file`` is not there, or holds no certificate.
        """
        require("https", url, SYSTEM)
        verified(SYSTEM, url, ca_file)  # the library would tell of a bad file in the middle of a request
        verify: str | bool = str(ca_file) if ca_file else True
        client = hvac.Client(url=url, verify=verify, timeout=timeout.total_seconds(), token="", allow_redirects=False)
        client.adapter.session.trust_env = False
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
        standby = bool(answer.get("standby"))
        try:
            return VaultHealth(bool(answer["initialized"]), bool(answer["sealed"]), standby, str(answer["version"]))
        except KeyError as error:
            raise BadAnswer(SYSTEM, self.endpoint, f"its health has no {error}: is this a Vault?") from error

    def login_approle(self, role_id: Secret, secret_id: Secret) -> None:
        """Log in with an AppRole. Raises `Refused` when Vault does not take it."""
        self._ask(lambda: self._client.auth.approle.login(role_id.reveal(), secret_id.reveal()))

    def use_token(self, token: Secret) -> None:
        """Use a token that the person has."""
        self._client.token = token.reveal()

    def token_ttl_s(self) -> int | None:
        """Give how many seconds the token has left; None if it does not expire."""
        data = self._ask(lambda: self._client.auth.token.lookup_self())["data"]
        return int(data["ttl"]) if data.get("expire_time") else None

    def read_keys(self, mount: str, path: str, kv_version: int) -> dict[str, Secret]:
        """Give all keys of one secret.

        Raises
        ------
        Missing
            When it is not there, or its newest version is deleted.
        Refused
            When it is denied, or the mount is absent: Vault does not tell these apart (failure mode F35).
        """
        kv = self._client.secrets.kv
        if kv_version == 1:
            data = self._ask(lambda: kv.v1.read_secret(path, mount_point=mount))["data"]
        else:
            read = kv.v2.read_secret_version
            data = self._ask(lambda: read(path, mount_point=mount, raise_on_deleted_version=True))["data"]["data"]
        return {key: Secret(str(value)) for key, value in data.items()}

    def metadata(self, mount: str, path: str, kv_version: int) -> SecretVersion | None:
        """Give the newest version of a secret; None for KV version 1, which keeps none. Raises as `read_keys` does."""
        if kv_version == 1:
            return None
        kv = self._client.secrets.kv.v2
        data = self._ask(lambda: kv.read_secret_metadata(path, mount_point=mount))["data"]
        newest = data.get("versions", {}).get(str(data["current_version"]), {})
        gone = bool(newest.get("deletion_time") or newest.get("destroyed"))
        return SecretVersion(int(data["current_version"]), str(newest.get("created_time", "")), gone)

    def _ask(self, question: Callable[[], Any]) -> dict[str, Any]:
        try:
            return self._document(question())
        except exceptions.InvalidPath as error:
            raise Missing(SYSTEM, self.endpoint, "no such secret, or its newest version is deleted") from error
        except (exceptions.Forbidden, exceptions.Unauthorized) as error:
            raise Refused(SYSTEM, self.endpoint, "denied, or no such mount (Vault does not tell them apart)") from error
        except exceptions.InvalidRequest as error:
            raise Refused(SYSTEM, self.endpoint, "the login or request was not accepted") from error
        except exceptions.VaultDown as error:
            raise BadAnswer(SYSTEM, self.endpoint, "it is sealed", "Unseal it, then try again.") from error
        except exceptions.VaultError as error:
            raise BadAnswer(SYSTEM, self.endpoint, type(error).__name__) from error
        except requests.exceptions.SSLError as error:
            raise Unreachable(SYSTEM, self.endpoint, "TLS: its certificate is not trusted") from error
        except requests.exceptions.RequestException as error:
            raise Unreachable(SYSTEM, self.endpoint, _reason(error)) from error

    def _document(self, found: Any) -> dict[str, Any]:
        """Give the JSON of an answer. A redirect is not followed: the library would send the token along."""
        if isinstance(found, requests.Response):
            if found.is_redirect:
                place = urlsplit(found.headers["Location"]).hostname or "another path"
                raise BadAnswer(SYSTEM, self.endpoint, f"it redirects to {place}", "Give the address it redirects to.")
            try:
                found = found.json()
            except ValueError:
                found = None
        if not isinstance(found, dict):
            raise BadAnswer(SYSTEM, self.endpoint, "it did not answer with JSON: is this a Vault?")
        return found


def _reason(error: requests.exceptions.RequestException) -> str:
    if isinstance(error, requests.exceptions.Timeout):
        return "no answer in time"
    if "NameResolutionError" in str(error):  # requests keeps the kind of the cause in its words alone
        return "its name cannot be resolved"
    return f"no connection ({type(error).__name__})"
