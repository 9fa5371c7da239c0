"""An environment: one cluster with a Prompt KEDA in it, as a file in environments/ describes it.

The file's keys are exactly the fields below; `prompt_keda.files.environment_file` reads it strictly.
A text that begins with ``FILL-IN:`` marks a value that is not public and has to be filled in. It is read as a `FillIn`:
what needs it is UNKNOWN for a check and refused for a write.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

FILL_IN = "FILL-IN:"
T = TypeVar("T")


class Part(BaseModel):
    """The base of every part of an environment: frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class FillIn(str):
    """A value that a person has to fill in. The text says what belongs there and who knows it."""

    @property
    def wanted(self) -> str:
        """What belongs there."""
        return self.removeprefix(FILL_IN).strip()


def _mark_fill_in(value: str) -> str:
    if value.startswith(FILL_IN):
        return FillIn(value)
    return value


def _parse_path(value: Any) -> Any:
    """Read a path; pydantic would take the empty text for the folder itself."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError("a file's path is expected")
    if value.startswith(FILL_IN):
        raise ValueError("a path cannot be FILL-IN; leave the key out until the file is there")
    return value


def _parse_list(value: Any) -> Any:
    """Read a list; pydantic would take a set as well."""
    if not isinstance(value, list | tuple):
        raise ValueError("a list is expected")
    return tuple(value)


def _parse_kv_version(value: Any) -> Any:
    """Read 1 or 2; pydantic would take true for 1."""
    if type(value) is not int or value not in (1, 2):
        raise ValueError("1 or 2 is expected")
    return value


def _parse_duration(value: Any) -> Any:
    """Read ``500ms``, ``20s``, ``5m`` or ``1h``."""
    if isinstance(value, timedelta):
        return value
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    if isinstance(value, str):
        for unit, seconds in units.items():
            number = value.removesuffix(unit)
            if number != value and number.isascii() and number.isdigit():
                return timedelta(seconds=int(number) * seconds)
    raise ValueError("a duration is a whole number and a unit: 500ms, 20s, 5m or 1h")


def _format_duration(value: timedelta) -> str:
    milliseconds = round(value.total_seconds() * 1000)
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


Text = Annotated[str, Field(min_length=1, strict=True), AfterValidator(_mark_fill_in)]
"""A text that is not empty; a `FillIn` where the file says ``FILL-IN:``."""

Whole = Annotated[int, Field(strict=True)]
"""A whole number; neither a text nor true."""

File = Annotated[Path, BeforeValidator(_parse_path)]

ListOf = Annotated[tuple[T, ...], BeforeValidator(_parse_list)]

Duration = Annotated[
    timedelta,
    BeforeValidator(_parse_duration),
    PlainSerializer(_format_duration),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"}),
]


class Identity(Part):
    """What makes a cluster that cluster: its CA and the UID of its namespace ``kube-system``."""

    ca_sha256: Text
    """SHA-256 of the DER form of the cluster's CA certificate, 64 lower-case hex digits."""
    kube_system_uid: Text


class Kubernetes(Part):
    """The API server, and who is expected behind it."""

    kubeconfig: File | None = None
    """None: what kubectl would take (``$KUBECONFIG``, else the file in the home folder)."""
    context: Text
    identity: Identity
    accepted_versions: ListOf[Text]
    """Minor versions that are known to work, for example ``1.31``."""


class Ldap(Part):
    """The directory that the people of the cluster authenticate to."""

    url: Text
    """``ldaps://host:port``."""
    ca_file: File | None = None
    base_dn: Text


class VaultLogin(Part):
    """How the toolkit gets its Vault token."""

    method: Literal["approle", "token"]
    role_id_file: File | None = None
    """For ``approle``: a file with mode 0600 that holds the role id."""
    secret_id_file: File | None = None
    """For ``approle``: a file with mode 0600 that holds the secret id."""


class VaultSettings(Part):
    """The Vault that holds the secrets of Prompt KEDA."""

    url: Text
    ca_file: File | None = None
    mount: Text = "secret"
    kv_version: Annotated[Literal[1, 2], BeforeValidator(_parse_kv_version)] = 2
    login: VaultLogin
    """For ``token``: from ``$VAULT_TOKEN``, else from ``.vault-token`` in the home folder, as the vault command does."""


class VaultKey(Part):
    """One key of one secret in Vault."""

    path: Text
    """Without the mount: ``rubin/usdf-prompt-processing/prompt-keda``."""
    key: Text


class RedisSettings(Part):
    """Prompt Redis."""

    namespace: Text = "prompt-redis"
    service: Text = "prompt-redis"
    port: Whole = Field(default=6379, ge=1, le=65535)
    reach: Literal["direct", "port-forward"] = "port-forward"
    """How the toolkit gets there; from inside the cluster it is always ``service.namespace:port``."""
    password: VaultKey | None = None
    """None: Redis without a password."""

    @property
    def inside_address(self) -> str:
        """The address as seen from a pod."""
        return f"{self.service}.{self.namespace}:{self.port}"


class Registry(Part):
    """A container registry that images are pulled from."""

    host: Text
    """As it stands in image names: ``ghcr.io``."""
    url: Text
    """How the toolkit reaches it: ``https://ghcr.io``."""
    ca_file: File | None = None
    pull_secret: VaultKey | None = None
    """A docker config JSON in Vault; None: anonymous."""


class Manifests(Part):
    """Where KEDA's manifests come from. They are used only if their SHA-256 fits."""

    source: Text
    """A path, or an ``https://`` address, which ``prepare`` fetches into the cache."""
    sha256: Text
    ca_file: File | None = None
    """The certificate authority of the ``https://`` address; None: the system's."""


class KedaSettings(Part):
    """The KEDA that belongs there."""

    version: Text
    namespace: Text = "keda"
    delivery: Literal["manifests", "argocd"]
    """``manifests``: this toolkit applies them. ``argocd``: Argo CD does; writes are refused until that is built."""
    manifests: Manifests


class SecretSync(Part):
    """A Kubernetes Secret whose keys come from one secret in Vault."""

    namespace: Text
    name: Text
    type: Literal["Opaque", "kubernetes.io/dockerconfigjson"] = "Opaque"
    vault_path: Text
    keys: ListOf[Text] = Field(min_length=1)


class Instrument(Part):
    """One instrument: its stream, and the ScaledJob that works it off."""

    name: Text
    namespace: Text
    scaled_job: Text
    stream: Text
    consumer_group: Text
    manifest: File | None = None
    """File with the ScaledJob and what belongs to it (TriggerAuthentication), relative to the environment's file.
    None: delivered by someone else, for example Argo CD."""
    min_jobs: Whole = Field(ge=0)
    max_jobs: Whole = Field(ge=1)
    lag_count: Whole = Field(default=1, ge=1)
    activation_lag_count: Whole = Field(default=1, ge=1)
    polling_interval: Duration
    images: ListOf[Text]
    group_start: Text = "$"
    """Where a consumer group that has to be made again begins: ``$`` skips the backlog, ``0`` replays it."""


class Smoke(Part):
    """What the smoke test runs with: its own namespace, and an image pinned by digest."""

    namespace: Text = "prompt-keda-smoke"
    image: Text
    pull_secret: SecretSync | None = None
    """The pull secret that the smoke test puts into its namespace; None: the image is public."""
    events_count: Whole = Field(default=5, ge=1, le=100)
    deadline: Duration = timedelta(seconds=120)


class Limits(Part):
    """How long the toolkit waits."""

    connect: Duration = timedelta(seconds=5)
    """For one connection to one system."""
    checks: Duration = timedelta(seconds=15)
    """For all checks together."""
    redeploy: Duration = timedelta(minutes=10)
    """For a whole redeploy."""


class Environment(Part):
    """One cluster with a Prompt KEDA in it."""

    name: Text
    description: Annotated[str, Field(strict=True)] = ""
    approval: Literal["none", "confirm", "digest"]
    kubernetes: Kubernetes
    ldap: Ldap | None = None
    vault: VaultSettings
    redis: RedisSettings
    registries: ListOf[Registry]
    keda: KedaSettings
    secrets: ListOf[SecretSync]
    instruments: ListOf[Instrument]
    smoke: Smoke
    limits: Limits = Limits()
