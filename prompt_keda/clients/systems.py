"""All outside systems of one environment, connected when they are first needed."""

from __future__ import annotations

import getpass
import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from prompt_keda.clients.http.header_text import NotSendable
from prompt_keda.clients.http.tls import Tls, verified
from prompt_keda.clients.kube import in_vcluster
from prompt_keda.clients.kube.client import Kube, as_it_is
from prompt_keda.clients.libraries import ONE_AT_A_TIME
from prompt_keda.core.errors import ClientError, LoggedOut, Missing, Refused, Unfilled
from prompt_keda.core.secret import Secret
from prompt_keda.environment.model import Environment, FillIn, VaultKey

if TYPE_CHECKING:  # each library is imported where its system is first needed: together they cost half a second
    from prompt_keda.clients.redis_state import RedisState
    from prompt_keda.clients.redis_streams import RedisStreams
    from prompt_keda.clients.registry import Registry
    from prompt_keda.clients.vault import Vault, VaultHealth

T = TypeVar("T")


def filled(value: str, key: str) -> str:
    """Return a value of the environment.

    Raises
    ------
    Unfilled
        When it is still to be filled in.
    """
    if isinstance(value, FillIn):
        raise Unfilled(key, value.wanted)
    return value


def viewpoint() -> str:
    """Return from where this looks: ``user@host``; the user's number where the machine has no name for it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user that stands in no passwd file
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


class Systems:
    """The clients of one environment. Each is made once, at its first use; its errors are raised at each use.

    Parameters
    ----------
    environment
        What to connect to.
    placeholders
        The values for ``${lab:NAME}`` in the manifests that it names; None: there is no local stack.
    """

    def __init__(self, environment: Environment, placeholders: Mapping[str, Any] | None = None) -> None:
        self.environment = environment
        self.placeholders = placeholders
        self._made: dict[str, Any] = {}
        self._refused: dict[str, Refused] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    @property
    def viewpoint(self) -> str:
        """From where this looks, as `viewpoint` says it."""
        return viewpoint()

    @property
    def kube(self) -> Kube:
        """The API server. Raises as `Kube.connect` does, and `Unfilled`."""
        settings = self.environment.kubernetes

        def make() -> Kube:
            context = filled(settings.context, "kubernetes.context")
            explain = in_vcluster.explain if self.environment.capacity.syncer else as_it_is
            limits = self.environment.limits
            return Kube.connect(settings.kubeconfig, context, limits.connect, explain, limits.answer)

        return self._once("kube", make, is_login=True)

    @property
    def host(self) -> Kube | None:
        """The API server of a vCluster's host; None: the environment names none. Raises as ``kube``."""
        settings = self.environment.kubernetes.host
        if settings is None:
            return None

        def make() -> Kube:
            context = filled(settings.context, "kubernetes.host.context")
            limit = self.environment.limits.connect
            return Kube.connect(settings.kubeconfig, context, limit, in_vcluster.explain_of_host)

        return self._once("host", make, is_login=True)

    @property
    def connected_kube(self) -> Kube | None:
        """The API server's client if something has needed it already, else None. It never connects."""
        return self._made.get("kube")

    @property
    def redis(self) -> RedisStreams:
        """Prompt Redis.

        Raises as `RedisStreams.through` does, `ClientError` when Vault does not give its password, and `Missing` when the file
        of its authorities is not there.
        """
        settings = self.environment.redis

        def make() -> RedisStreams:
            with ONE_AT_A_TIME:
                from prompt_keda.clients.redis_streams import RedisStreams

            place = f"{settings.service}.{settings.namespace}:{settings.port}"
            password = self._password("Redis", place, settings.password) if settings.password else None
            timeout = self.environment.limits.connect
            tls = None
            if settings.tls:
                name = filled(settings.server_name, "redis.tls.server_name")
                tls = Tls(verified("Redis", place, settings.tls.ca_file), name)
            if settings.reach == "direct":
                return RedisStreams.direct(settings.service, settings.port, password, timeout, tls)
            return RedisStreams.through(
                self.kube, settings.namespace, settings.service, settings.port, password, timeout, tls
            )

        return self._once("redis", make)

    def redis_state(self) -> RedisState:
        """Return what Prompt Redis says of itself and of every instrument's stream, asked once. Raises as ``redis``."""
        pairs = [(instrument.stream, instrument.consumer_group) for instrument in self.environment.instruments]
        return self._once("redis state", lambda: self.redis.observe(pairs))

    def forget_redis(self) -> None:
        """Connect to Redis again at the next use: its pod may be another one."""
        self._made.pop("redis", None)
        self._made.pop("redis state", None)

    @property
    def vault(self) -> Vault:
        """Vault, logged in. Raises as its login does, and `Missing` when there is no credential here."""
        return self._once("vault", self._log_in_to_vault, is_login=True)

    def vault_health(self) -> VaultHealth:
        """Ask Vault how it is; this needs no login."""
        return self._vault().health()

    def secret(self, key: VaultKey) -> Secret:
        """Return one key of one secret in Vault. Raises `Missing` when it is missing or empty, and as `Vault.read_keys`."""
        keys = self.secret_keys(key.path)
        if not keys.get(key.key):
            raise Missing("Vault", self.vault.endpoint, f"{key.path} has no key {key.key}")
        return keys[key.key]

    def secret_keys(self, path: str) -> dict[str, Secret]:
        """Return all keys of one secret in Vault, read once. Raises as `Vault.read_keys` does."""
        settings = self.environment.vault
        return self._once(f"secret {path}", lambda: self.vault.read_keys(settings.mount, path, settings.kv_version))

    def naming_contexts(self) -> list[str]:
        """Ask the directory what it holds. Raises as `ldap_probe` does, and `Missing` when the environment names none."""
        settings = self.environment.ldap
        if settings is None:
            raise Missing("LDAP", self.environment.name, "the environment names no directory")
        from prompt_keda.clients.ldap import ldap_probe

        return ldap_probe(filled(settings.url, "ldap.url"), settings.ca_file, self.environment.limits.connect)

    def registry(self, host: str) -> Registry:
        """Return a registry of the environment by its host. Raises `Missing` when the environment does not name it."""
        return self._once(f"registry {host}", lambda: self._connect_registry(host))

    def post_to_chat(self, text: str) -> str:
        """Post a text to the environment's chat; return the chat's host.

        Raises as `webhook.post` does, `Missing` when the environment names no chat, `Unfilled` when it does not say where the
        address stands, and `ClientError` when Vault does not give it.
        """
        from prompt_keda.clients.http.webhook import KEY, SYSTEM, post

        settings = self.environment.incidents.webhook
        if settings is None:
            raise Missing(SYSTEM, self.environment.name, "the environment names no chat")
        place = VaultKey(
            path=filled(settings.address.path, f"{KEY}.path"), key=filled(settings.address.key, f"{KEY}.key")
        )
        try:
            address = self.secret(place)
        except ClientError as error:
            raise ClientError(SYSTEM, KEY, f"its address cannot be read: {error.what}", error.fix) from error
        return post(address, text, settings.ca_file, self.environment.limits.connect)

    def keep(self, name: str, make: Callable[[], T]) -> T:
        """Return what several checks share: made by the first who asks, and closed with the systems if it can be."""
        return self._once(name, make)

    def kept(self, name: str) -> Any:
        """Return what `keep` has made under a name; None: nothing so far."""
        return self._made.get(name)

    def registry_as(self, host: str, credentials: tuple[str, Secret] | None) -> Registry:
        """Return a registry of the environment with other credentials than its own; None: anonymous. The caller closes it.

        Raises `Missing` when the environment does not name it.
        """
        with ONE_AT_A_TIME:
            from prompt_keda.clients.registry import Registry

        for registry in self.environment.registries:
            if registry.host == host:
                timeout = self.environment.limits.connect
                return Registry.connect(
                    host, filled(registry.url, "registries.url"), registry.ca_file, credentials, timeout
                )
        raise Missing("registry", host, "the environment does not name this registry", "Add it under registries.")

    def close(self) -> None:
        """Close what was opened. One that cannot be closed does not stop the others, nor hide why the work ended."""
        for made in list(self._made.values()):  # a check that came too late may be connecting just now
            if hasattr(made, "close"):
                with suppress(Exception):
                    made.close()

    def _vault(self) -> Vault:
        settings = self.environment.vault
        timeout = self.environment.limits.connect
        with ONE_AT_A_TIME:
            from prompt_keda.clients.vault import Vault

        return Vault.connect(filled(settings.url, "vault.url"), settings.ca_file, timeout)

    def _log_in_to_vault(self) -> Vault:
        vault = self._vault()
        login = self.environment.vault.login
        if login.method == "approle":
            vault.login_approle(_secret_from(login.role_id_file, vault), _secret_from(login.secret_id_file, vault))
            return vault
        path = Path.home() / ".vault-token"
        token = os.environ.get("VAULT_TOKEN", "").strip()
        try:
            vault.use_token(Secret(token) if token else _secret_from(path, vault))
        except NotSendable as error:
            place = "VAULT_TOKEN" if token else str(path)
            fix = "Log in to Vault again (vault login), or set a new VAULT_TOKEN."
            raise LoggedOut("Vault", vault.endpoint, f"{place}: the {error}", fix) from error
        return vault

    def _connect_registry(self, host: str) -> Registry:
        with ONE_AT_A_TIME:
            from prompt_keda.clients.registry import credentials_from_docker_config

        credentials = None
        for registry in self.environment.registries:
            if registry.host == host and registry.pull_secret:
                credentials = credentials_from_docker_config(
                    self._password("registry", host, registry.pull_secret), host
                )
        return self.registry_as(host, credentials)

    def _password(self, system: str, place: str, key: VaultKey) -> Secret:
        """Return what another system is logged in to with. That Vault has refused it says nothing of that system."""
        try:
            return self.secret(key)
        except (Refused, Missing) as error:
            fix = error.fix or "Repair the connection to Vault first: its own checks say what is wrong."
            raise ClientError(system, place, f"its password cannot be read: {error.what}", fix) from error

    def _once(self, name: str, make: Callable[[], T], is_login: bool = False) -> T:
        """Return what was made once. A login that was refused is not tried again.

        Each of a round's checks would try it, and servers lock out who fails too often: Vault an AppRole for 15 minutes
        after five times (its documentation, "User lockout").
        """
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:  # two checks that need the same client wait for one connection
            if name in self._refused:
                raise self._refused[name]
            if name not in self._made:
                try:
                    self._made[name] = make()
                except Refused as error:
                    if is_login:
                        self._refused[name] = error
                    raise
            made: T = self._made[name]
            return made


def _secret_from(path: Path | None, vault: Vault) -> Secret:
    try:
        text = path.read_text(errors="surrogateescape").strip() if path else ""
    except OSError as error:
        fix = "Log in to Vault (vault login), or set VAULT_TOKEN."
        raise Missing("Vault", vault.endpoint, f"no credential here: {path}: {error.strerror}", fix) from error
    if not text:
        raise Missing("Vault", vault.endpoint, f"no credential here: {path} is empty or not named")
    return Secret(text)
