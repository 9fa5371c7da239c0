"""An environment: one cluster with a Prompt KEDA in it, as a file in environments/ describes it.

The file's keys are exactly the fields below; `prompt_keda.environment.loading` reads it strictly.
A text that begins with ``FILL-IN:`` marks a value that is not public and has to be filled in. It is read as a `FillIn`:
what needs it is UNKNOWN for a check and refused for a write.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import core_schema

FILL_IN = "FILL-IN:"
PREPARED = "prepared"
"""Stands where a file or an address could: what ``prepare --phalanx`` rendered, in the user's cache by its SHA-256."""
T = TypeVar("T")


class Part(BaseModel):
    """The base of every part of an environment: frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, use_attribute_docstrings=True)


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


def _or_placeholder(schema: dict[str, Any]) -> None:
    """Let a ``${lab:…}`` stand for a mapping in the JSON schema: the stack gives the whole of it."""
    schema["anyOf"].append({"type": "string", "pattern": r"^\$\{lab:[a-z0-9_]+\}$"})


class PathText(str):
    """A text that is a path, where an ``https://`` address could stand as well."""


def _mark_path(value: str) -> str:
    if isinstance(value, FillIn) or value.startswith("https://") or value == PREPARED:
        return value
    return PathText(value)


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


def _parse_count(value: Any) -> Any:
    """Read a number from 1 on, or what is still to be filled in."""
    if isinstance(value, str) and value.startswith(FILL_IN):
        return FillIn(value)
    if type(value) is not int or value < 1:
        raise ValueError("a whole number from 1 on is expected, or FILL-IN")
    return value


UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
DURATION = re.compile("([1-9][0-9]{0,7})(ms|s|m|h)")
LONGEST = timedelta(hours=24)


def parse_duration(value: Any) -> Any:
    """Read ``500ms``, ``20s``, ``5m`` or ``1h``."""
    if isinstance(value, timedelta):
        return value
    match = DURATION.fullmatch(value) if isinstance(value, str) else None
    duration = timedelta(milliseconds=int(match[1]) * UNITS_MS[match[2]]) if match else None
    if not duration or duration > LONGEST:
        raise ValueError("a duration is a whole number and a unit: 500ms, 20s, 5m or 1h; not 0, at most 24h")
    return duration


def format_duration(value: timedelta) -> str:
    """Return a duration as the file says it."""
    milliseconds = round(value.total_seconds() * 1000)
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


@dataclass(frozen=True)
class Like:
    """Holds a text to a pattern, here and in the JSON schema. What is still to be filled in passes.

    Parameters
    ----------
    pattern
        For the whole text; read the same way by Python and by JSON schema.
    wanted
        What is expected, in words that end the sentence "… is expected".
    """

    pattern: str
    wanted: str

    def check(self, value: str) -> str:
        """Return the text if it fits. Raises `ValueError` if not."""
        if isinstance(value, FillIn) or re.fullmatch(self.pattern, value):
            return value
        raise ValueError(f"{self.wanted} expected")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "pattern": rf"^(FILL-IN:.*|.*\$\{{lab:[a-z0-9_]+\}}.*|{self.pattern})$"}


Text = Annotated[str, Field(min_length=1, strict=True), AfterValidator(_mark_fill_in)]
"""A text that is not empty; a `FillIn` where the file says ``FILL-IN:``."""

Whole = Annotated[int, Field(strict=True)]
"""A whole number; neither a text nor true."""

CountToFillIn = Annotated[
    int | FillIn,
    PlainValidator(_parse_count),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": f"^{FILL_IN}.*"}]}),
]
"""A whole number from 1 on, or a `FillIn`."""

File = Annotated[Path, BeforeValidator(_parse_path)]

ListOf = Annotated[tuple[T, ...], BeforeValidator(_parse_list)]

Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration),
    WithJsonSchema({"type": "string", "pattern": f"^{DURATION.pattern}$"}),
]

NAME = "[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?"
NAME_WANTED = "1 to 32 lower-case letters, digits and dashes, no dash at an end, are"
Name = Annotated[Text, Like(NAME, NAME_WANTED)]
Sha256 = Annotated[Text, Like("[0-9a-f]{64}", "64 lower-case hex digits are")]
MinorVersion = Annotated[Text, Like(r"[0-9]+\.[0-9]+", "a minor version such as '1.31' is")]
PLACE = r"[^\s/?#@]+(/[^\s?#@]*)?"
"""A host, perhaps a port and a path. No login and no token: the address is shown."""
HttpsUrl = Annotated[Text, Like(f"https://{PLACE}", "an address that begins with https://, and holds no login, is")]
LdapsUrl = Annotated[Text, Like(f"ldaps://{PLACE}", "an address that begins with ldaps://, and holds no login, is")]
PathOrUrl = Annotated[
    Text,
    Like(r"https://\S+|(?!\w+://).+", "a path or an address that begins with https:// is"),
    AfterValidator(_mark_path),
]
Image = Annotated[Text, Like(r"[^\s@]+:[\w.-]+|[^\s@]+@sha256:[0-9a-f]{64}", "an image with its tag or its digest is")]
PinnedImage = Annotated[
    Text,
    Like(
        r"[^\s@]+@sha256:[0-9a-f]{64}", "an image pinned by its digest (name@sha256: and 64 lower-case hex digits) is"
    ),
]
UtcHours = Annotated[
    Text, Like("([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]", "hours such as 22:00-10:00 are")
]
GroupStart = Annotated[
    Text, Like(r"\$|0|[0-9]{1,20}-[0-9]{1,20}", "'$', '0' or a stream id such as '123-4', in quotes, is")
]


class Identity(Part):
    """What makes a cluster that cluster: its CA and the UID of its namespace ``kube-system``."""

    ca_sha256: Sha256
    """SHA-256 of the DER form of the cluster's CA certificate (of several: one after the other), 64 lower-case hex digits."""
    kube_system_uid: Text
    """The namespace's UID: ``kubectl get namespace kube-system -o jsonpath={.metadata.uid}``."""


class HostCluster(Part):
    """In a vCluster: its host, to look at and no more. environments/rbac/vcluster-host.yaml has the rights that this needs."""

    kubeconfig: File | None = None
    """None: what kubectl would take."""
    context: Text
    """The context of the host in the kubeconfig."""
    namespace: Text
    """The vCluster's namespace on the host."""
    name: Text
    """The vCluster's name, which is that of its release."""


class Kubernetes(Part):
    """The API server, and who is expected behind it."""

    kubeconfig: File | None = None
    """None: what kubectl would take (``$KUBECONFIG``, else the file in the home folder).

    Its ``as``, ``as-uid``, ``as-groups`` and ``as-user-extra`` hold for every request, as with kubectl.
    """
    context: Text
    """The context of the cluster in the kubeconfig."""
    identity: Identity
    """Another cluster under the same context's name is refused."""
    accepted_versions: ListOf[MinorVersion] = Field(min_length=1)
    """Minor versions that are known to work, for example ``1.31``."""
    host: HostCluster | None = None
    """In a vCluster: its host. None: it is not looked at, and what only the host knows is not seen."""


class Ldap(Part):
    """The directory that the people of the cluster authenticate to."""

    url: LdapsUrl
    """``ldaps://host:port``."""
    ca_file: File | None = None
    """The certificate authority of its server; None: the system's."""
    base_dn: Text
    """Where the directory's entries begin: ``dc=slac,dc=test``."""


class VaultLogin(Part):
    """How the toolkit gets its Vault token."""

    method: Literal["approle", "token"]
    """``token``: from ``$VAULT_TOKEN``, else from ``.vault-token`` in the home folder, as the vault command does."""
    role_id_file: File | None = None
    """For ``approle``: a file with mode 0600 that holds the role id."""
    secret_id_file: File | None = None
    """For ``approle``: a file with mode 0600 that holds the secret id."""

    @model_validator(mode="after")
    def _has_its_files(self) -> VaultLogin:
        if self.method == "approle" and not (self.role_id_file and self.secret_id_file):
            raise ValueError("method approle needs role_id_file and secret_id_file")
        return self


class VaultSettings(Part):
    """The Vault that holds the secrets of Prompt KEDA."""

    url: HttpsUrl
    """``https://host:port``."""
    ca_file: File | None = None
    """The certificate authority of its server; None: the system's."""
    mount: Text = "secret"
    """Where the KV engine is mounted."""
    kv_version: Annotated[Literal[1, 2], BeforeValidator(_parse_kv_version)] = 2
    """The KV engine's version."""
    login: VaultLogin
    """How the toolkit gets its token."""


class VaultKey(Part):
    """One key of one secret in Vault."""

    path: Text
    """Without the mount: ``rubin/usdf-prompt-processing/prompt-keda``."""
    key: Text
    """The key in the secret."""


class RedisTls(Part):
    """TLS to Redis. Its certificate is always verified; ``tls: {}`` trusts the system's authorities."""

    ca_file: File | None = None
    """The certificate authority of its server; None: the system's. Smoke tests hand its certificates to KEDA and workers."""
    server_name: Text | None = None
    """The name in its certificate, by which KEDA and workers reach it. None: ``service.namespace``; with ``direct`` the host."""


class RedisSettings(Part):
    """Prompt Redis."""

    namespace: Text = "prompt-redis"
    """The namespace of its Service."""
    service: Text = "prompt-redis"
    """The name of its Service; with ``direct`` the host."""
    port: Whole = Field(default=6379, ge=1, le=65535)
    """The port of its Service."""
    reach: Literal["direct", "port-forward"] = "port-forward"
    """How the toolkit gets there; from inside the cluster it is always ``service.namespace:port``."""
    password: Annotated[VaultKey | None, Field(json_schema_extra=_or_placeholder)] = None
    """None: Redis without a password."""
    tls: RedisTls | None = None
    """None: Redis without TLS."""

    @property
    def inside_address(self) -> str:
        """The address as seen from a pod. KEDA and workers verify a certificate against the host in it."""
        named = self.tls.server_name if self.tls else None
        return f"{named or f'{self.service}.{self.namespace}'}:{self.port}"

    @property
    def server_name(self) -> str:
        """The name that the certificate of a Redis with TLS must have."""
        named = self.tls.server_name if self.tls else None
        return named or (self.service if self.reach == "direct" else f"{self.service}.{self.namespace}")


class RegistrySettings(Part):
    """A container registry that images are pulled from."""

    host: Text
    """As it stands in image names: ``ghcr.io``."""
    url: HttpsUrl
    """How the toolkit reaches it: ``https://ghcr.io``."""
    ca_file: File | None = None
    """The certificate authority of its server; None: the system's."""
    pull_secret: VaultKey | None = None
    """A docker config JSON in Vault; None: anonymous."""


class Manifests(Part):
    """Where KEDA's manifests come from. They are used only if their SHA-256 fits."""

    source: PathOrUrl
    """A path; an ``https://`` address, which ``prepare`` fetches into the cache; or ``prepared``: what ``prepare --phalanx``
    rendered into the cache, and wrote here."""
    sha256: Sha256
    """The SHA-256 of that file."""
    ca_file: File | None = None
    """The certificate authority of the ``https://`` address; None: the system's."""


class KedaSettings(Part):
    """The KEDA that belongs there."""

    version: Text
    """The version that KEDA's Deployments are expected to have: ``2.16.1``."""
    namespace: Text = "keda"
    """KEDA's namespace."""
    delivery: Literal["manifests", "argocd", "helm"]
    """Who delivers KEDA besides this toolkit, which always applies the manifests itself. ``manifests``: nobody.
    ``argocd``: they are what Argo CD would apply, with its marks; it keeps still meanwhile, and confirms. ``helm``: they
    bear Helm's marks, and ``helm`` goes on with its release."""
    release: Text = "keda"
    """The Helm release, in KEDA's namespace; counts for the delivery ``helm``."""
    manifests: Manifests
    """They are used only if their SHA-256 fits."""


class ArgoCdSettings(Part):
    """The Argo CD that delivers KEDA, for the delivery ``argocd``."""

    namespace: Text = "argocd"
    """The namespace of its Applications and of its ConfigMap ``argocd-cm``."""
    application: Text = "keda"
    """The Application that delivers KEDA."""
    tracking: Literal["label", "annotation", "annotation+label"]
    """How it knows its objects: ``application.resourceTrackingMethod`` in ``argocd-cm``. ``argocd/tracking-right`` compares."""
    label_key: Text = "argocd.argoproj.io/instance"
    """The label's key: ``application.instanceLabelKey`` in ``argocd-cm``; without that, Argo CD's own default is
    ``app.kubernetes.io/instance``."""

    @property
    def tracks_by_label(self) -> bool:
        """Whether objects bear the label."""
        return "label" in self.tracking

    @property
    def tracks_by_annotation(self) -> bool:
        """Whether objects bear the annotation."""
        return "annotation" in self.tracking


class SecretSync(Part):
    """A Kubernetes Secret whose keys come from one secret in Vault."""

    namespace: Text
    """The Secret's namespace."""
    name: Text
    """The Secret's name."""
    type: Literal["Opaque", "kubernetes.io/dockerconfigjson"] = "Opaque"
    """The Secret's type."""
    vault_path: Text
    """Where its values stand in Vault, without the mount."""
    keys: ListOf[Text] = Field(min_length=1)
    """The keys that it has, all of them."""


class PreparedObjects(Part):
    """What ``prepare --phalanx`` rendered."""

    sha256: Sha256
    """The SHA-256 of the rendering in the cache; ``prepare --phalanx`` writes it."""


VISITS_IN_FLIGHT = 10
"""LSSTCam: 172 events a visit, at most 1700 Jobs (production's maxReplicaCount)."""


class Instrument(Part):
    """One instrument: its stream, and the ScaledJob that works it off."""

    name: Text
    """The instrument's name: ``LSSTCam``."""
    namespace: Text
    """The namespace of its ScaledJob and Jobs."""
    scaled_job: Text
    """The ScaledJob's name."""
    stream: Text
    """The Redis stream of its events: ``instrument:lsstcam``."""
    consumer_group: Text
    """The consumer group whose lag is scaled on."""
    manifest: File | None = None
    """File with the ScaledJob and what belongs to it (TriggerAuthentication), relative to the environment's file.
    None: delivered by someone else, for example Argo CD; or ``prepared``."""
    application: Text | None = None
    """The Argo CD Application that delivers it, whose chart ``prepare --phalanx`` renders; None: there is none."""
    release: Text | None = None
    """The Helm release that delivers it, in its namespace, for the delivery ``helm``; None: there is none."""
    prepared: PreparedObjects | None = None
    """In the place of ``manifest``: the rendering of its Application. None: there is none."""
    min_jobs: Whole = Field(ge=0)
    """The ScaledJob's minReplicaCount."""
    max_jobs: Whole = Field(ge=1)
    """The ScaledJob's maxReplicaCount; not below ``min_jobs``."""
    lag_count: Whole = Field(default=1, ge=1)
    """The trigger's lagCount."""
    activation_lag_count: Whole = Field(default=1, ge=1)
    """The trigger's activationLagCount."""
    polling_interval: Duration
    """The ScaledJob's pollingInterval."""
    images: ListOf[Image]
    """What its Jobs pull, each by tag or digest."""
    visit_events: Whole | None = Field(default=None, ge=1)
    """Events of one visit, one for each detector; None: a tenth of ``max_jobs``, because ten visits are in flight at most."""
    group_start: GroupStart = "$"
    """Where a consumer group that has to be made again begins: ``$`` skips the backlog, ``0`` replays it.

    A group that was lost in a restart of Redis begins before all that came since in any case: nobody can have read it.
    """

    skip_backsync: bool | None = None
    """In a vCluster: whether its workers carry the annotation vcluster.loft.sh/skip-backsync, so that they live on where a syncer
    starts on a store that was lost. Then they run on unseen beside new ones, and their host's owners have to delete what hangs.
    A redeploy puts it on the ScaledJob of a ``manifest``; others get it where they come from. None: not decided."""

    @model_validator(mode="after")
    def _has_one_source(self) -> Instrument:
        if self.manifest is not None and self.prepared is not None:
            raise ValueError("manifest and prepared are two sources of one ScaledJob: take one of them out")
        return self

    @property
    def burst_count(self) -> int:
        """How many events one visit brings at once."""
        return self.visit_events or max(1, self.max_jobs // VISITS_IN_FLIGHT)

    @field_validator("max_jobs")
    @classmethod
    def _not_below_min(cls, value: int, info: ValidationInfo) -> int:
        least = info.data.get("min_jobs", 0)
        if value < least:
            raise ValueError(f"min_jobs ({least}) or more is expected")
        return value


class PhalanxChart(Part):
    """A packed chart that Phalanx takes from a repository of charts, pinned."""

    name: Text
    """As the chart that needs it names it: ``keda``."""
    version: Text
    """The chart's version: ``2.16.1``."""
    sha256: Sha256
    """The SHA-256 of its file, NAME-VERSION.tgz. No other one is rendered."""
    source: HttpsUrl | None = None
    """The address that ``prepare`` fetches it from. None: it is in the checkout or in the cache."""


class Phalanx(Part):
    """Where this environment stands in Phalanx, from which Argo CD delivers it."""

    environment: Text
    """The environment's name there: ``usdfprod-prompt-processing``."""
    revision: Text | None = None
    """The targetRevision with which its app of apps is installed. None: as Phalanx' own values say."""
    charts: ListOf[PhalanxChart] = ()
    """Charts that are not in Phalanx itself."""


class Smoke(Part):
    """What the smoke test runs with: its own namespace, and an image pinned by digest."""

    namespace: Text = "prompt-keda-smoke"
    """A namespace of its own: the smoke test makes and removes it."""
    image: PinnedImage
    """The worker's image, pinned by digest."""
    pull_secret: SecretSync | None = None
    """The pull secret that the smoke test puts into its namespace; None: the image is public."""
    events_count: Whole = Field(default=5, ge=1, le=100)
    """How many Jobs it wants to see, 1 to 100."""
    deadline: Duration = timedelta(seconds=120)
    """For the whole smoke test."""


class ClientLimit(Part):
    """How many requests a program sends to its API server: some at once, then so many a second."""

    qps: Whole = Field(ge=1)
    """Requests a second (``--kube-api-qps``)."""
    burst: Whole = Field(ge=1)
    """Requests at once (``--kube-api-burst``)."""


class Capacity(Part):
    """What cannot be read from the cluster, and sets how long one visit's burst takes. The defaults are Kubernetes' own."""

    target: Duration = timedelta(seconds=20)
    """From a visit's events to its last worker running: the events come at least 20 s before the first exposure."""
    controller_manager: ClientLimit = ClientLimit(qps=20, burst=30)
    """The limit of kube-controller-manager, that of its Job controller; left out: Kubernetes' own, 20/30."""
    scheduler: ClientLimit = ClientLimit(qps=50, burst=100)
    """The limit of kube-scheduler; left out: Kubernetes' own, 50/100."""
    syncer: ClientLimit | None = None
    """In a vCluster: the limit of its syncer towards the host, vCluster's own is 40/80. None: this is no vCluster."""
    host_workers_count: CountToFillIn | None = None
    """In a vCluster: for how many workers of all instruments its host keeps room, as its owners say. Where
    ``kubernetes.host`` does not show its nodes and pods, checks take it as stated, and say so. None: not known, and room is
    UNKNOWN then."""
    pod_start: Duration = timedelta(seconds=2)
    """From a pod that has its node to its container running, the image being there."""
    pod_start_each: Duration | None = None
    """What each pod adds that starts on the same node at the same time: the node's CPU sets it. ``./run bench --of burst``
    measures it. None: nothing, as on nodes of many cores."""
    image_pull: Duration = timedelta(seconds=10)
    """What the pull of a worker's image adds on a node that does not show it; a guess until it is measured."""

    @model_validator(mode="after")
    def _host_is_of_a_vcluster(self) -> Capacity:
        if self.host_workers_count is not None and self.syncer is None:
            raise ValueError("host_workers_count is about the host of a vCluster: name its syncer")
        return self


class Webhook(Part):
    """An incoming webhook of a chat: Slack's, or one that takes the same."""

    address: VaultKey
    """Where its https address stands in Vault. Who knows the address can write into the chat: it never stands in this file."""
    ca_file: File | None = None
    """The certificate authority of its server; None: the system's."""


class Incidents(Part):
    """Who is notified of an incident."""

    webhook: Webhook | None = None
    """A chat that is notified when a redeploy begins and ends, when an incident is opened or closed, or when a runbook ends
    badly; None: no chat is notified."""


class Observing(Part):
    """When people observe: then ``redeploy`` and ``drill`` ask once more. One of ``hours`` and ``command``."""

    hours: ListOf[UtcHours] = ()
    """Hours of each day in UTC, each ``22:00-10:00``; an end before its begin is one of the next day."""
    command: ListOf[Text] = ()
    """A program and its arguments, run without a shell: exit code 0 says that people observe, 1 that they do not. Whatever
    else it gives, or nothing in time, is taken for yes. An absolute path, or a name from the PATH."""
    deadline: Duration = timedelta(seconds=10)
    """For the command's answer."""

    @model_validator(mode="after")
    def _says_it_in_one_way(self) -> Observing:
        if bool(self.hours) == bool(self.command):
            raise ValueError("either hours or a command is expected")
        if self.command and "/" in self.command[0] and not self.command[0].startswith("/"):
            raise ValueError("the command is an absolute path, or a name from the PATH")
        if any(hours.partition("-")[0] == hours.partition("-")[2] for hours in self.hours):
            raise ValueError("hours begin and end at different times")
        return self


class Limits(Part):
    """How long the toolkit waits."""

    connect: Duration = timedelta(seconds=5)
    """For one connection to one system, and for one answer of it to what is only read."""
    answer: Duration = timedelta(seconds=15)
    """For one answer of the API server to what is written, or tried by a dry run: admission and a busy store hold it up. Once a
    redeploy has written something, a write that is not answered is done again until its step's deadline."""
    checks: Duration = timedelta(seconds=15)
    """For all checks together."""


APART = (("name",), ("stream", "consumer_group"), ("namespace", "scaled_job"))
"""What two instruments never have in common."""


class Environment(Part):
    """One cluster with a Prompt KEDA in it."""

    name: Name
    """The environment's name, typed to approve a plan; part of the names of runs."""
    description: Annotated[str, Field(strict=True)] = ""
    """For people."""
    approval: Literal["none", "confirm", "digest"]
    """What a write needs: nothing (only on a local stack), a yes on a terminal, or the plan's digest."""
    kubernetes: Kubernetes
    """The API server, and who is expected behind it."""
    ldap: Ldap | None = None
    """The directory that people authenticate to; None: it is not looked at."""
    vault: VaultSettings
    """The Vault that holds the secrets."""
    event_source: Literal["redis-streams"] = "redis-streams"
    """Where the events of the instruments wait."""
    redis: RedisSettings
    """Prompt Redis."""
    registries: ListOf[RegistrySettings]
    """Where the images come from; an image of another registry is a fault."""
    keda: KedaSettings
    """The KEDA that belongs there."""
    argocd: ArgoCdSettings | None = Field(default=None, validate_default=True)
    """The Argo CD that delivers it; needed for the delivery ``argocd``, and only there."""
    secrets: ListOf[SecretSync]
    """The Kubernetes Secrets that are made from Vault."""
    phalanx: Phalanx | None = None
    """Where it stands in Phalanx; ``prepare --phalanx`` needs it. None: it is not delivered from there."""
    instruments: ListOf[Instrument]
    """One for each stream; no two share a name, a stream and group, or a ScaledJob."""
    smoke: Smoke
    """What the smoke test runs with."""
    capacity: Capacity = Capacity()
    """What cannot be read from the cluster, and sets how long one visit's burst takes."""
    incidents: Incidents = Incidents()
    """Who is notified of an incident."""
    observing: Observing | None = None
    """When people observe; None: nobody is asked once more."""
    limits: Limits = Limits()
    """How long the toolkit waits."""

    def portable(self) -> dict[str, Any]:
        """Return the environment as JSON without its paths: these are each machine's own, and differ between clones."""
        portable: dict[str, Any] = _portable(self)
        return portable

    @field_validator("argocd")
    @classmethod
    def _argocd_where_it_delivers(cls, value: ArgoCdSettings | None, info: ValidationInfo) -> ArgoCdSettings | None:
        keda = info.data.get("keda")
        if keda is not None and (keda.delivery == "argocd") != (value is not None):
            raise ValueError("it belongs to keda.delivery argocd, and is needed there")
        return value

    @field_validator("instruments")
    @classmethod
    def _each_its_own(cls, value: tuple[Instrument, ...]) -> tuple[Instrument, ...]:
        for keys in APART:
            owners: dict[tuple[str, ...], str] = {}
            for inner in value:
                own = tuple(getattr(inner, key) for key in keys)
                if own in owners and not any(isinstance(part, FillIn) for part in own):
                    same = " and ".join(keys)
                    raise ValueError(f"{owners[own]} and {inner.name} have the same {same}; each needs its own")
                owners[own] = inner.name
        return value


def _portable(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {key: _portable(inner) for key, inner in value if not isinstance(inner, Path | PathText)}
    if isinstance(value, tuple):
        return [_portable(inner) for inner in value]
    return format_duration(value) if isinstance(value, timedelta) else value
