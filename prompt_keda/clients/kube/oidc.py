"""A kubeconfig's `auth-provider: oidc`: its id-token, refreshed at the issuer once it has expired.

The `kubernetes` package refreshes too, but without verifying the issuer's certificate where the kubeconfig names no
authority for it, and waits without an end. Here nothing is sent to an issuer that is not verified.

Source: k8s.io/client-go v0.35.4, plugin/pkg/client/auth/oidc (what kubectl does).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prompt_keda.clients.kube.errors import SYSTEM
from prompt_keda.clients.kube.expiry import claims_of, moment
from prompt_keda.clients.kube.issuer import Issuer, NoToken
from prompt_keda.core.errors import LoggedOut

MARGIN_S = 10
"""A token that expires sooner than this counts as expired, as for kubectl."""
REST_S = 30
"""How long an issuer that failed is left alone: many checks would wait for it one after the other."""


@dataclass(frozen=True)
class KubeconfigUser:
    """Where a login is kept: a kubeconfig, and the name of its user."""

    kubeconfig: Path
    user: str


class IdToken:
    """The id-token of one user of a kubeconfig.

    Parameters
    ----------
    place
        Where it is read, and written after it was refreshed.
    config
        The provider's `config` in the kubeconfig.
    timeout
        For a refresh, all of it.
    """

    def __init__(self, place: KubeconfigUser, config: Mapping[str, Any], timeout: timedelta) -> None:
        self._place = place
        self._config = dict(config)
        self._timeout_s = timeout.total_seconds()
        self._failure: LoggedOut | None = None
        self._rest_ends = 0.0

    @property
    def renews(self) -> bool:
        """Whether there is what a refresh needs."""
        return bool(self._value("refresh-token"))

    def token(self) -> str:
        """Return a token that lives: the known one, the kubeconfig's if somebody has refreshed that, or a new one.

        A new one is kept in the kubeconfig with the refresh-token that came with it, as kubectl does.

        Raises
        ------
        LoggedOut
            When the token has expired and cannot be refreshed: what is missing, or what the issuer does.
        """
        if self._failure and time.monotonic() < self._rest_ends:
            raise self._failure
        try:
            if not _lives(self._value("id-token")):
                self._config = _read_config(self._place) or self._config
            if not _lives(self._value("id-token")):
                self._refresh()
        except NoToken as error:
            self._rest_ends = time.monotonic() + REST_S
            self._failure = LoggedOut(SYSTEM, str(self._place.kubeconfig), f"{self._state()}, and {error}", error.fix)
            raise self._failure from error
        return self._value("id-token")

    def _value(self, key: str) -> str:
        value = self._config.get(key)
        return value if isinstance(value, str) else ""

    def _state(self) -> str:
        """Return what there is of a token, in words."""
        token = self._value("id-token")
        if not token:
            return "the kubeconfig has no id-token"
        claims = claims_of(token)
        if claims is None:
            return "the kubeconfig's id-token is no JWT"
        expiry = moment(claims.get("exp"))
        if expiry is None:
            return "the kubeconfig's id-token does not say when it expires"
        return f"the kubeconfig's id-token expired at {expiry:%Y-%m-%d %H:%M:%S} UTC"

    def _refresh(self) -> None:
        token = self._value("id-token")
        if token and claims_of(token) is None:
            raise NoToken("kubectl would not send it either")
        for key in ("refresh-token", "idp-issuer-url", "client-id"):
            if not self._value(key):
                raise NoToken(f"the kubeconfig has no {key}")
        if not os.access(self._place.kubeconfig, os.W_OK):
            raise NoToken("the kubeconfig cannot be written: a refreshed login could not be kept")
        answer = Issuer(self._config, self._timeout_s).refresh()
        fresh = answer.get("id_token")
        if not isinstance(fresh, str) or not _lives(fresh):
            raise NoToken("its issuer sent no id-token that lives")
        changes = {"id-token": fresh}
        if isinstance(answer.get("refresh_token"), str) and answer["refresh_token"]:
            changes["refresh-token"] = answer["refresh_token"]
        self._config.update(changes)
        _write_config(self._place, changes)


def _lives(token: str) -> bool:
    expiry = moment((claims_of(token) or {}).get("exp"))
    return expiry is not None and expiry > datetime.fromtimestamp(time.time() + MARGIN_S, UTC)


def _read_config(place: KubeconfigUser) -> dict[str, Any] | None:
    """Return the provider's config that stands in the kubeconfig now; None if there is none any more."""
    try:
        return dict(_config_of(_document(place.kubeconfig.read_bytes()), place.user))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _write_config(place: KubeconfigUser, changes: Mapping[str, str]) -> None:
    """Change the provider's config in the kubeconfig, and nothing else.

    Written over in place, as kubectl does: the file may be a link, or be mounted. What cannot be kept is good until the
    token expires; the person logs in again then.
    """
    import yaml

    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError), place.kubeconfig.open("r+b") as file:
        document = _document(file.read())
        _config_of(document, place.user).update(changes)
        data = yaml.safe_dump(document, default_flow_style=False, sort_keys=False).encode()
        file.seek(0)
        file.write(data)
        file.truncate()


def _document(data: bytes) -> Any:
    """Read a kubeconfig. Times stay texts, which kubectl expects."""
    import yaml

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012  as the base class has it
            letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
            for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    try:
        return yaml.load(data, Loader)  # noqa: S506  it reads less than a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError("no YAML") from error


def _config_of(document: Any, user: str) -> Any:
    entries = {entry["name"]: entry for entry in reversed(document["users"])}  # the first of a name counts
    return entries[user]["user"]["auth-provider"]["config"]
