"""Vault (library `hvac`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import hvac
import requests
from hvac import exceptions

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


class Vault:
    """One Vault. It has a token after `login_approle` or `use_token`."""

    def __init__(self, client: hvac.Client, url: str) -> None:
        self._client = client
        self.endpoint = url

    @classmethod
    def connect(cls, url: str, ca_file: Path | None, timeout: timedelta) -> Vault:
        """Make a client. Nothing is sent yet. ``ca_file`` None: the system's certificate authorities."""
        verify: str | bool = str(ca_file) if ca_file else True
        client = hvac.Client(url=url, verify=verify, timeout=timeout.total_seconds(), token="")
        client.adapter.session.trust_env = False
        return cls(client, url)

    def health(self) -> VaultHealth:
        """Ask how it is; sealed, standby and uninitialised are answers (429, 472, 473, 501, 503), not errors.

        Raises
        ------
        Unreachable
            When it does not answer.
        """
        found = self._ask(lambda: self._client.sys.read_health_status(method="GET"))
        answer = found if isinstance(found, dict) else found.json()
        standby = bool(answer.get("standby"))
        return VaultHealth(bool(answer["initialized"]), bool(answer["sealed"]), standby, str(answer["version"]))

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

    def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
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
            raise Unreachable(SYSTEM, self.endpoint, f"no connection ({type(error).__name__})") from error
