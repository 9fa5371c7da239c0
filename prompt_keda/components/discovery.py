"""What a cluster shows of the values that an environment's file holds: read-only, and each with where it was seen.

The shipped read-only Role is enough for all but new ScaledJobs whose pods do not run; what may not be read is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.objects import Object, label
from prompt_keda.clients.kube.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    NAMESPACES,
    NODES,
    PODS,
    RESOURCE_QUOTAS,
    SCALED_JOBS,
    SECRETS,
    TRIGGER_AUTHENTICATIONS,
    VAULT_SECRETS,
    Resource,
)
from prompt_keda.clients.registry import parse_image
from prompt_keda.components.cluster.vcluster import FAKE_NODE, is_made_up
from prompt_keda.components.event_source.login import ENABLE_TLS
from prompt_keda.components.event_source.redis_streams import TRIGGER
from prompt_keda.components.keda.names import OPERATOR, VERSION_LABEL
from prompt_keda.components.scaled_jobs.objects import SCALED_JOB_LABEL, setting
from prompt_keda.core.errors import ClientError, Refused
from prompt_keda.core.untrusted import one_line
from prompt_keda.delivery.argocd import CONFIG, OWN_KEY, TRACKING_ID, tracking
from prompt_keda.delivery.helm import RELEASE_NAME
from prompt_keda.environment.model import FILL_IN, Environment, FillIn
from prompt_keda.environment.proposals import LiveValue

REGISTRIES = {
    "docker.io": "https://registry-1.docker.io",
    **{host: f"https://{host}" for host in ("ghcr.io", "quay.io", "gcr.io", "registry.k8s.io")},
}
"""Public registries, and where they answer."""
SYNCER = {"qps": 40, "burst": 80}
"""vCluster's own limit towards its host; no setting changes it."""
HOST_WORKERS = FillIn(
    "FILL-IN: for how many workers its host keeps room (quota, reservation); the vCluster's admins know it"
)
INSTANCE_LABELS = ("argocd.argoproj.io/instance", OWN_KEY)
"""The key that the public chart of Argo CD sets, and Argo CD's own default, which charts set as well."""
CHART = "helm.sh/chart"
PLAIN_TYPE = "Opaque"
ORIGINS = {
    "min_jobs": "spec.minReplicaCount",
    "max_jobs": "spec.maxReplicaCount",
    "polling_interval": "spec.pollingInterval",
    **dict.fromkeys(("stream", "consumer_group", "lag_count", "activation_lag_count"), f"its trigger {TRIGGER}"),
}
"""Where in a ScaledJob a key's value stands."""
LAG_DEFAULTS = (("lag_count", 1), ("activation_lag_count", 1))
"""What an environment's file need not say."""


@dataclass
class Discovery:
    """What was seen, what may not or cannot be read, and what a person should know beside it."""

    seen: list[LiveValue] = field(default_factory=list)
    not_seen: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def discover(kube: Kube, environment: Environment) -> Discovery:
    """Look at a cluster for every value of an environment that can be seen there. It reads, and never writes.

    Parameters
    ----------
    environment
        What its file says: it says which instrument, Secret and registry stands where in it.

    Raises
    ------
    ClientError
        When the cluster does not answer at all, or does not know who asks.
    """
    look = _Look(kube, environment)
    look.cluster()
    for part in (look.keda, look.scaled_jobs, look.redis, look.secrets, look.registries, look.vault, look.limits):
        look.try_to(part.__name__.replace("_", " "), part)
    return look.found


class _Look:
    """One look at a cluster: what it has seen already decides where it looks next."""

    def __init__(self, kube: Kube, environment: Environment) -> None:
        self.kube, self.environment = kube, environment
        self.found = Discovery()
        self.workers: list[Object] = []
        self.images: list[str] = []
        self.more: dict[str, int] = {}
        self.label_key = ""
        self.pull_secrets: list[tuple[str, str]] = []

    def try_to(self, what: str, look: Callable[..., None], *arguments: Any) -> None:
        """Look at one thing; what may not be read is said, and hides nothing else."""
        try:
            look(*arguments)
        except ClientError as error:
            self.found.not_seen.append(one_line(f"{what}: {error.detail}"))
        except (KeyError, TypeError, AttributeError, ValueError) as error:  # objects of others, of any form
            self.found.not_seen.append(f"{what}: an object there has an odd form ({type(error).__name__})")

    def see(self, where: tuple[str | int, ...], value: Any, source: str) -> None:
        self.found.seen.append(LiveValue(where, value, one_line(source)))

    def _list(self, kind: Resource, *where: str, **selectors: str) -> list[Object]:
        """List objects, each with its kind: a list of Kubernetes' own kinds leaves it out."""
        return [{**kind.head, **obj} for obj in self.kube.list(kind, *where, **selectors)]

    def cluster(self) -> None:
        """Identity and version. What goes wrong here goes wrong everywhere."""
        version = self.kube.version()
        minor = ".".join(version.removeprefix("v").split(".")[:2])
        self.see(("kubernetes", "accepted_versions"), [minor], f"/version of the API server: {version}")
        if self.kube.ca_sha256:
            place = ("kubernetes", "identity", "ca_sha256")
            self.see(
                place, self.kube.ca_sha256, "certificate authority in the kubeconfig, by which the API server answered"
            )
        else:
            self.found.not_seen.append("cluster's CA: the kubeconfig trusts no certificate authority of its own")

        def uid() -> None:
            namespace = self.kube.get(NAMESPACES, "kube-system")
            self.see(
                ("kubernetes", "identity", "kube_system_uid"), namespace["metadata"]["uid"], "Namespace kube-system"
            )

        self.try_to("namespace kube-system", uid)

    def keda(self) -> None:
        """Version, namespace and delivery, from the operator's Deployment."""
        operators = self._list(DEPLOYMENTS, field_selector=f"metadata.name={OPERATOR}")
        if not operators:
            self.found.not_seen.append(f"KEDA: no Deployment {OPERATOR} in any namespace")
            return
        operator, *others = operators
        if others:
            where = ", ".join(deployment["metadata"]["namespace"] for deployment in operators)
            self.found.notes.append(one_line(f"several Deployments {OPERATOR}, in {where}: the first was looked at"))
        metadata, named = operator["metadata"], label(operator)
        labels = metadata.get("labels") or {}
        self.see(("keda", "namespace"), metadata["namespace"], named)
        if VERSION_LABEL in labels:
            self.see(("keda", "version"), labels[VERSION_LABEL], f"{named}, label {VERSION_LABEL}")
        delivery, why = _delivery(metadata)
        if delivery:
            self.see(("keda", "delivery"), delivery, f"{named}: {why}")
        else:
            self.found.not_seen.append(f"KEDA's delivery: {why}")
        if delivery == "argocd":
            self._argocd(metadata, named)
        if delivery == "helm":
            self.see(("keda", "release"), metadata["annotations"][RELEASE_NAME], f"{named}, annotation {RELEASE_NAME}")
        template = operator["spec"]["template"]["spec"]
        self.images += [container["image"] for container in template["containers"]]
        self.pull_secrets += [
            (metadata["namespace"], reference["name"]) for reference in template.get("imagePullSecrets") or []
        ]

    def _argocd(self, metadata: Object, named: str) -> None:
        """Which Application, and how Argo CD knows its objects: as its ConfigMap says, else as they are marked."""
        settings = self.environment.argocd
        namespace = settings.namespace if settings else "argocd"
        config = self._find(CONFIG_MAPS, CONFIG, namespace)
        labels, has_id = metadata.get("labels") or {}, TRACKING_ID in (metadata.get("annotations") or {})
        likely = next((key for key in INSTANCE_LABELS if key in labels), INSTANCE_LABELS[0])
        method, self.label_key = tracking(config or {}, "annotation" if has_id else "label", likely)
        application = _application(metadata, self.label_key)
        source = f"ConfigMap {namespace}/{CONFIG}" if config else f"{named}, its marks"
        value = {"namespace": namespace, "tracking": method, "label_key": self.label_key}
        self.see(("argocd",), {**value, **({"application": application} if application else {})}, source)

    def scaled_jobs(self) -> None:
        """An instrument for each ScaledJob that is triggered by a stream."""
        smoke = self.environment.smoke.namespace
        for scaled_job in self._scaled_jobs():
            if scaled_job["metadata"]["namespace"] == smoke:
                continue
            if _trigger(scaled_job) is None:
                self.found.notes.append(one_line(f"{label(scaled_job)} has no trigger {TRIGGER}: no instrument"))
                continue
            self.workers.append(scaled_job)
            self.try_to(label(scaled_job), self._instrument, scaled_job)

    def _scaled_jobs(self) -> list[Object]:
        """Return all ScaledJobs; where they may not be listed, those that the file or the label of a pod names."""
        try:
            return self._list(SCALED_JOBS)
        except Refused as error:
            self.found.not_seen.append(
                one_line(f"ScaledJobs of all namespaces: {error.detail}. Looked at: those that the file or a pod names")
            )
        names = {(instrument.namespace, instrument.scaled_job) for instrument in self.environment.instruments}
        for pod in self.kube.each(PODS, label_selector=SCALED_JOB_LABEL):
            names.add((pod["metadata"]["namespace"], pod["metadata"]["labels"][SCALED_JOB_LABEL]))
        scaled_jobs: list[Object] = []

        def get(namespace: str, name: str) -> None:
            scaled_jobs.append(self.kube.get(SCALED_JOBS, name, namespace))

        for namespace, name in sorted(names):
            if not isinstance(namespace, FillIn) and not isinstance(name, FillIn):
                self.try_to(f"ScaledJob {namespace}/{name}", get, namespace, name)
        return scaled_jobs

    def _instrument(self, scaled_job: Object) -> None:
        metadata, spec, named = scaled_job["metadata"], scaled_job["spec"], label(scaled_job)
        trigger = (_trigger(scaled_job) or {})["metadata"]
        values = {
            "name": _name(scaled_job, str(trigger.get("stream", metadata["name"]))),
            "namespace": metadata["namespace"],
            "scaled_job": metadata["name"],
            "stream": trigger.get("stream"),
            "consumer_group": trigger.get("consumerGroup"),
            "min_jobs": setting(spec, "minReplicaCount"),
            "max_jobs": setting(spec, "maxReplicaCount"),
            "lag_count": _count(trigger.get("lagCount")),
            "activation_lag_count": _count(trigger.get("activationLagCount")),
            "polling_interval": f"{setting(spec, 'pollingInterval')}s",
            "application": _application(metadata, self.label_key) if self.label_key else None,
        }
        values = {key: value for key, value in values.items() if value is not None}
        images = dict(self._images(scaled_job))
        self.images += images.values()
        keys = ("namespace", "scaled_job")
        index = _index(self.environment.instruments, keys, values)
        if index is None:
            item = {key: value for key, value in values.items() if (key, value) not in LAG_DEFAULTS}
            self.see(self._end("instruments"), {**item, "images": list(images.values())}, named)
            return
        del values["name"]  # what an instrument is called is a person's choice
        for key, value in values.items():
            self.see(("instruments", index, key), value, f"{named}, {ORIGINS.get(key, 'its metadata')}")
        self._compare_images(index, images, named)

    def _images(self, scaled_job: Object) -> Iterator[tuple[str, str]]:
        """Yield each image as the ScaledJob names it, and by digest where a pod runs it."""
        metadata, template = scaled_job["metadata"], scaled_job["spec"]["jobTargetRef"]["template"]["spec"]
        digests: dict[str, str] = {}

        def running() -> None:
            selector = f"{SCALED_JOB_LABEL}={metadata['name']}"
            pods = self._list(PODS, metadata["namespace"], label_selector=selector)
            for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp"))):
                digests.update(_digests(pod))

        self.try_to(f"pods of {label(scaled_job)}", running)
        for container in (*(template.get("initContainers") or []), *template["containers"]):
            image = container["image"]
            by_digest = digests.get(image, "")
            yield image, image if "@" in image or not by_digest else by_digest

    def _compare_images(self, index: int, images: dict[str, str], named: str) -> None:
        """See each image in the place of the file's one of the same name, whether that has a tag or a digest."""
        own_images = [str(image) for image in self.environment.instruments[index].images]
        new = []
        for image, by_digest in images.items():
            same = [place for place, name in enumerate(own_images) if _same_name(name, by_digest)]
            if not same:
                new.append(by_digest)
            elif not {_meant(image), _meant(by_digest)} & {_meant(own_images[place]) for place in same}:
                source = f"{named}, its pod template, and the image that its newest pod runs"
                self.see(("instruments", index, "images", same[0]), by_digest, source)
        if new:
            self.see(("instruments", index, "images"), new, f"{named}, its pod template, and what its newest pod runs")

    def redis(self) -> None:
        """Service, port, TLS and password, from the triggers."""
        addresses: dict[str, Object] = {}
        for scaled_job in self.workers:
            if address := _address(scaled_job):
                addresses.setdefault(address, scaled_job)
        if not addresses:
            self.found.not_seen.append("Redis: no trigger names its address plainly")
            return
        (address, scaled_job), *others = addresses.items()
        if others:
            named = ", ".join(other_address for other_address, _ in others)
            self.found.notes.append(one_line(f"other triggers name other addresses of Redis: {named}"))
        source = f"{label(scaled_job)}, trigger {TRIGGER}"
        host, _, port = address.rpartition(":")
        service, _, rest = host.rstrip(".").partition(".")
        namespace = rest.removesuffix(".svc.cluster.local").removesuffix(".svc")
        if "." in namespace:  # no name of a Service: Redis stands outside
            self.see(("redis", "service"), host, source)
            self.see(("redis", "reach"), "direct", source)
        else:
            self.see(("redis", "service"), service, source)
            self.see(("redis", "namespace"), namespace or scaled_job["metadata"]["namespace"], source)
        self.see(("redis", "port"), _count(port), source)
        if (_trigger(scaled_job) or {})["metadata"].get("enableTLS") in ENABLE_TLS[True]:
            self.see(("redis", "tls"), {}, f"{source}, enableTLS")
        self._password(scaled_job)

    def _password(self, scaled_job: Object) -> None:
        space = scaled_job["metadata"]["namespace"]
        for reference in self._authentication(scaled_job):
            if reference.get("parameter") == "password":
                name, key = reference["name"], reference["key"]
                path, source = self._vault_path(space, name)
                self.see(("redis", "password"), {"path": path, "key": key}, source)

    def _authentication(self, scaled_job: Object) -> list[Object]:
        """Return what the trigger's TriggerAuthentication takes from Secrets."""
        reference = (_trigger(scaled_job) or {}).get("authenticationRef") or {}
        if not reference or reference.get("kind", "TriggerAuthentication") != "TriggerAuthentication":
            return []
        space = scaled_job["metadata"]["namespace"]
        spec = self.kube.get(TRIGGER_AUTHENTICATIONS, reference["name"], space).get("spec") or {}
        references: list[Object] = spec.get("secretTargetRef") or []
        return references

    def secrets(self) -> None:
        """The Secrets that ScaledJobs, their TriggerAuthentications and KEDA's pods name."""
        named = dict.fromkeys(self.pull_secrets)

        def add(scaled_job: Object) -> None:
            space = scaled_job["metadata"]["namespace"]
            pod = scaled_job["spec"]["jobTargetRef"]["template"]["spec"]
            named.update(dict.fromkeys((space, name) for name in _secrets_of(pod)))
            named.update(dict.fromkeys((space, reference["name"]) for reference in self._authentication(scaled_job)))

        for scaled_job in self.workers:
            self.try_to(f"Secrets of {label(scaled_job)}", add, scaled_job)
        for space, name in named:
            self.try_to(f"Secret {space}/{name}", self._secret, space, name)

    def _secret(self, namespace: str, name: str) -> None:
        vault_secret = self._find(VAULT_SECRETS, name, namespace)
        live = self._find(SECRETS, name, namespace)
        if vault_secret is None and live is None:
            self.found.not_seen.append(one_line(f"Secret {namespace}/{name}: it is named, and not there"))
            return
        path, source = self._vault_path(namespace, name)
        keys = ((vault_secret or {}).get("spec") or {}).get("keys") or sorted((live or {}).get("data") or {})
        kind = (live or {}).get("type") or vault_secret["spec"].get("type", PLAIN_TYPE)  # type: ignore[index]
        values = {"namespace": namespace, "name": name, "type": kind, "vault_path": path, "keys": list(keys)}
        index = _index(self.environment.secrets, ("namespace", "name"), values)
        if index is None:
            item = {key: value for key, value in values.items() if (key, value) != ("type", PLAIN_TYPE)}
            self.see(self._end("secrets"), item, source)
        else:
            self.see(("secrets", index), values, source)

    def _find(self, kind: Resource, name: str, namespace: str) -> Object | None:
        try:
            return self.kube.find(kind, name, namespace)
        except Refused as error:
            self.found.not_seen.append(one_line(f"{kind.kind} {namespace}/{name}: {error.detail}"))
            return None

    def _vault_path(self, namespace: str, name: str) -> tuple[str, str]:
        """Return where in Vault a Secret comes from, without the mount, and where that was seen."""
        vault_secret = self._find(VAULT_SECRETS, name, namespace)
        if vault_secret is None:
            wanted = FillIn(f"FILL-IN: the path in Vault, without the mount, that Secret {namespace}/{name} comes from")
            return wanted, f"Secret {namespace}/{name}; no VaultSecret names its path"
        mount, _, rest = str(vault_secret["spec"]["path"]).partition("/")
        self.see(("vault", "mount"), mount, label(vault_secret))
        return rest, label(vault_secret)

    def registries(self) -> None:
        """The registries of all images."""
        hosts = {str(registry.host) for registry in self.environment.registries}
        for host in dict.fromkeys(parse_image(image).host for image in self.images):
            if host not in hosts:
                unknown = FillIn(f"FILL-IN: how this machine reaches the registry {host}, most likely https://{host}")
                item = {"host": host, "url": REGISTRIES.get(host, unknown)}
                self.see(self._end("registries"), item, "names of the images of KEDA and of the workers")

    def vault(self) -> None:
        """Vault's address, as the operator that fills Secrets is given it."""
        for deployment in self._list(DEPLOYMENTS, field_selector="metadata.name=vault-secrets-operator"):
            for container in deployment["spec"]["template"]["spec"]["containers"]:
                address = _variable(container, "VAULT_ADDRESS") or _variable(container, "VAULT_ADDR")
                if address:
                    self.see(("vault", "url"), address.rstrip("/"), f"{label(deployment)}, VAULT_ADDRESS")
                    return

    def limits(self) -> None:
        """Signs of a vCluster, and quotas."""
        if any(map(is_made_up, self._list(NODES))):
            value = {"syncer": SYNCER, "host_workers_count": HOST_WORKERS}
            self.see(
                ("capacity",), value, f"nodes have the label {FAKE_NODE}: this is a vCluster, and 40/80 its own limit"
            )
        for namespace in sorted({scaled_job["metadata"]["namespace"] for scaled_job in self.workers}):
            self.try_to(f"quotas of {namespace}", self._quotas, namespace)

    def _quotas(self, namespace: str) -> None:
        for quota in self._list(RESOURCE_QUOTAS, namespace):
            hard = ", ".join(f"{key} {value}" for key, value in sorted((quota["spec"].get("hard") or {}).items()))
            self.found.notes.append(one_line(f"{label(quota)} sets {hard}"))

    def _end(self, part: str) -> tuple[str | int, ...]:
        """Return the place behind the last of a list, and behind those that were seen for it before."""
        self.more[part] = self.more.get(part, len(getattr(self.environment, part)) - 1) + 1
        return part, self.more[part]


def _delivery(metadata: Object) -> tuple[str, str]:
    """Return who delivers an object, as the environment names it, and by what it shows; empty: it is not known."""
    marks = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
    managers = [str(entry.get("manager")) for entry in metadata.get("managedFields") or []]
    for mark in (INSTANCE_LABELS[0], TRACKING_ID):
        if mark in marks:
            return "argocd", f"it carries {mark}"
    if "argocd-controller" in managers:
        return "argocd", "its field manager is argocd-controller"
    if RELEASE_NAME in marks:
        return "helm", f"it carries {RELEASE_NAME}"
    if CHART in marks:
        return (
            "",
            f"it carries {CHART}, and neither Argo CD's nor Helm's own mark: a rendered chart; who applied it is unknown",
        )
    return "manifests", "it carries no mark of Argo CD or Helm"


def _application(metadata: Object, label_key: str) -> str | None:
    """Return the Application that an object's marks name; None: they name none."""
    tracking_id = str((metadata.get("annotations") or {}).get(TRACKING_ID) or "")
    labelled = (metadata.get("labels") or {}).get(label_key)
    return tracking_id.partition(":")[0] or (str(labelled) if labelled else None)


def _trigger(scaled_job: Object) -> Object | None:
    triggers = scaled_job["spec"].get("triggers") or []
    return next((trigger for trigger in triggers if trigger.get("type") == TRIGGER and trigger.get("metadata")), None)


def _name(scaled_job: Object, stream: str) -> str:
    """Return what an instrument may be called: by what its workers get, else by how its stream's name ends."""
    for container in scaled_job["spec"]["jobTargetRef"]["template"]["spec"]["containers"]:
        if name := _variable(container, "RUBIN_INSTRUMENT"):
            return name
    return stream.rpartition(":")[2]


def _variable(container: Object, name: str) -> str:
    variables = container.get("env") or []
    return next((str(env["value"]) for env in variables if env["name"] == name and env.get("value")), "")


def _count(text: Any) -> Any:
    """Return a number that an object holds as a text; what is none stays as it is, for the model to refuse."""
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else text


def _address(scaled_job: Object) -> str:
    """Return Redis' address as a trigger, or the container's environment that it names, says it; empty: it does not."""
    metadata = (_trigger(scaled_job) or {})["metadata"]
    containers = scaled_job["spec"]["jobTargetRef"]["template"]["spec"]["containers"]

    def value(name: str) -> str:
        variable = metadata.get(f"{name}FromEnv")
        return str(metadata.get(name) or (_variable(containers[0], variable) if variable else ""))

    address = value("address").partition(",")[0] or ":".join(filter(None, (value("host"), value("port"))))
    return address if ":" in address else ""


def _digests(pod: Object) -> dict[str, str]:
    """Return the images of a pod as they are named, each by the digest that runs."""
    spec, status = pod["spec"], pod.get("status") or {}
    images = {
        container["name"]: container["image"]
        for container in (*(spec.get("initContainers") or []), *spec["containers"])
    }
    digests = {}
    for state in (*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])):
        digest = str(state.get("imageID") or "").partition("@")[2]
        image = images.get(state["name"])
        if image and digest:
            parsed = parse_image(image)
            digests[image] = f"{parsed.host}/{parsed.repository}@{digest}"
    return digests


def _same_name(first: str, second: str) -> bool:
    if first.startswith(FILL_IN):
        return False
    image, other = parse_image(first), parse_image(second)
    return (image.host, image.repository) == (other.host, other.repository)


def _meant(name: str) -> tuple[str, str, str]:
    """Return what an image's name means: ``busybox`` is ``docker.io/library/busybox:latest``."""
    image = parse_image(name)
    return image.host, image.repository, image.reference


def _secrets_of(pod: Object) -> Iterator[str]:
    """Yield the names of the Secrets that a pod takes: environment, volumes, and the pull secrets."""
    for reference in pod.get("imagePullSecrets") or []:
        yield reference["name"]
    for volume in pod.get("volumes") or []:
        if "secret" in volume:
            yield volume["secret"]["secretName"]
        for source in (volume.get("projected") or {}).get("sources") or []:
            if "secret" in source:
                yield source["secret"]["name"]
    for container in (*(pod.get("initContainers") or []), *pod["containers"]):
        for variable in container.get("env") or []:
            reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
            if reference:
                yield reference["name"]
        for source in container.get("envFrom") or []:
            if "secretRef" in source:
                yield source["secretRef"]["name"]


def _index(items: Sequence[BaseModel], keys: tuple[str, ...], values: Object) -> int | None:
    """Return the place of the one item that agrees with what was seen; what it leaves to be filled in agrees with all."""
    entries = [{key: getattr(item, key) for key in keys} for item in items]
    wanted = {key: values[key] for key in keys}
    exact = [index for index, item in enumerate(entries) if item == wanted]
    likely = [
        index
        for index, item in enumerate(entries)
        if all(isinstance(value, FillIn) or value == wanted[key] for key, value in item.items())
    ]
    places = exact or likely
    return places[0] if len(places) == 1 else None
