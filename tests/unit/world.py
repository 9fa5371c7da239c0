"""An environment and doubles of its systems, all as they should be."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.clients.systems import Systems
from prompt_keda.commands.session import Session
from prompt_keda.components.catalogue import ALL_CHECKS
from prompt_keda.components.keda import serving_certificate
from prompt_keda.components.keda.names import PARTS
from prompt_keda.core.run_checks import look
from prompt_keda.environment.loading import load_environment
from prompt_keda.environment.model import Capacity
from tests.contracts.fakes.kube import FakeKube
from tests.contracts.fakes.ldap import FakeDirectory
from tests.contracts.fakes.read_only import KUBE_READS, REDIS_READS, ReadOnly
from tests.contracts.fakes.redis_streams import FakeRedis
from tests.contracts.fakes.registry import FakeRegistry
from tests.contracts.fakes.vault import FakeVault
from tests.unit.environment.test_environment_file import FOLDER

SPACE, SCALED_JOB = "prompt-keda-lsstcam", "prompt-keda-lsstcam"
STREAM, GROUP = "instrument:lsstcam", "lsstcam_consumer_group"
HOST = "registry.prompt-keda.test:5000"
WORKER = f"sha256:{'1' * 64}"
KEDA_IMAGE = f"{HOST}/keda@sha256:{'2' * 64}"
WORKER_IMAGE = f"{HOST}/worker@{WORKER}"
REDIS = "prompt-redis.prompt-redis:6379"
TRIGGER = {"address": REDIS, "stream": STREAM, "consumerGroup": GROUP, "lagCount": "1", "activationLagCount": "1"}
DOCKER_CONFIG = json.dumps({"auths": {HOST: {"username": "u", "password": "p"}}})
PULL_SECRET = base64.b64encode(DOCKER_CONFIG.encode()).decode()
PULLS = {"imagePullSecrets": [{"name": "pull-secret"}]}
VERSION = {"app.kubernetes.io/version": "2.16.1"}
INDEX = "application/vnd.oci.image.index.v1+json"
OPERATOR = "keda-operator-1"
PART = {"restartCount": 0, "ready": True, "state": {"running": {}}}
SCHEMA = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "required": ["jobTargetRef", "triggers"],
            "properties": {
                "jobTargetRef": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "triggers": {
                    "type": "array",
                    "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                },
                "scalingStrategy": {"type": "object", "properties": {"strategy": {"type": "string"}}},
                "rollout": {
                    "type": "object",
                    "properties": {"strategy": {"type": "string"}, "propagationPolicy": {"type": "string"}},
                },
                **{
                    name: {"type": "integer", "format": "int32"}
                    for name in (
                        "minReplicaCount",
                        "maxReplicaCount",
                        "pollingInterval",
                        "successfulJobsHistoryLimit",
                        "failedJobsHistoryLimit",
                    )
                },
            },
        },
    },
}
"""A part of the schema of KEDA's CRD."""
METRICS = "v1beta1.external.metrics.k8s.io"
CHECKS = {check.id: check for check in ALL_CHECKS}
SERVED = [resource for resource in vars(kinds).values() if isinstance(resource, kinds.Resource)]


def conditions(**statuses):
    return {"conditions": [{"type": kind, "status": status, "message": "why"} for kind, status in statuses.items()]}


def now(**ago):
    return (datetime.now(UTC) - timedelta(**ago)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@cache
def keda_certificates(begins_days=-1, ends_days=3650, signed_by_its_ca=True):
    """Return the data of a Secret kedaorg-certs whose certificates are valid between two days from now."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "KEDA")])
    now = datetime.now(UTC)

    def signed(public_key, by):
        builder = x509.CertificateBuilder(name, name, public_key, x509.random_serial_number())
        builder = builder.not_valid_before(now + timedelta(days=begins_days))
        builder = builder.not_valid_after(now + timedelta(days=ends_days))
        hosts = x509.SubjectAlternativeName([x509.DNSName(f"{part}.keda.svc") for part in PARTS])
        made = builder.add_extension(hosts, critical=False).sign(by, hashes.SHA256())
        return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()

    signer = ca_key if signed_by_its_ca else key
    keys = {"ca.key": "a2V5", "tls.key": "a2V5"}
    return {"ca.crt": signed(ca_key.public_key(), ca_key), "tls.crt": signed(key.public_key(), signer), **keys}


made_certificates = cache(serving_certificate.make)
"""Those that a redeploy makes, once for all tests: their keys take a second, and a double keeps copies of them."""
_FOLDER = tempfile.TemporaryDirectory()


def crd(name, schema=None):
    """Return what a CRD of KEDA holds. ``schema``: as JSON; None: as it should be."""
    schema = json.loads(schema) if schema else SCHEMA
    version = {"name": "v1alpha1", "served": True, "schema": {"openAPIV3Schema": schema}}
    plural, _, group = name.partition(".")
    kind = {"scaledjobs": "ScaledJob", "triggerauthentications": "TriggerAuthentication"}[plural]
    names = {"kind": kind, "plural": plural}
    spec = {"group": group, "names": names, "scope": "Namespaced", "versions": [version]}
    return {"spec": spec, "status": conditions(Established="True")}


@cache
def keda_manifests(schema=None):
    """Return a file of KEDA's manifests, and its SHA-256. ``schema``: of its CRDs, as JSON; None: as it should be."""
    part_of = {"app.kubernetes.io/part-of": "keda-operator"}

    def manifest_object(resource, name, **fields):
        where = {"namespace": "keda"} if resource.namespaced else {}
        metadata = {"name": name, "labels": part_of, **where}
        return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **fields}

    pod = {"spec": {"containers": [{"image": KEDA_IMAGE}]}}
    client = {"clientConfig": {"service": {"name": "webhooks", "namespace": "keda"}}}
    names = ("keda-operator", "keda-operator-metrics-apiserver", "keda-admission-webhooks")
    objects = [
        *(
            manifest_object(kinds.CRDS, name, **crd(name, schema))
            for name in ("scaledjobs.keda.sh", "triggerauthentications.keda.sh")
        ),
        manifest_object(kinds.SERVICE_ACCOUNTS, "keda-operator"),
        manifest_object(kinds.CLUSTER_ROLES, "keda-operator", rules=[]),
        manifest_object(kinds.SERVICES, "metrics"),
        *(
            manifest_object(kinds.DEPLOYMENTS, name, spec={"selector": {"matchLabels": {"app": name}}, "template": pod})
            for name in names
        ),
        manifest_object(kinds.VALIDATING_WEBHOOKS, "keda-admission", webhooks=[client]),
        manifest_object(kinds.API_SERVICES, METRICS, spec={"service": {"name": "metrics", "namespace": "keda"}}),
    ]
    data = json.dumps(objects).encode()
    digest = hashlib.sha256(data).hexdigest()
    path = Path(_FOLDER.name) / f"keda-{digest[:12]}.json"
    path.write_bytes(data)
    return str(path), digest


def manifest(name, spec):
    """Return a file that holds a ScaledJob with a spec, in the namespace of its name, and its TriggerAuthentication."""

    def made(kind, called, **fields):
        metadata = {"name": called, "namespace": name}
        return json.dumps({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **fields})

    reference = {"parameter": "password", "name": "prompt-redis-auth", "key": "redis-password"}
    login = made(kinds.TRIGGER_AUTHENTICATIONS, "prompt-redis", spec={"secretTargetRef": [reference]})
    text = f"{login}\n---\n{made(kinds.SCALED_JOBS, name, spec=spec)}\n"
    path = Path(_FOLDER.name) / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.yaml"
    path.write_text(text)
    return path


class World:
    """An environment and its systems as they should be. A test changes one thing."""

    def __init__(self):
        names = [
            "kubeconfig",
            "context",
            "vault_role_id_file",
            "vault_secret_id_file",
            "ca_file",
        ]
        given = {name: f"/nowhere/{name}" for name in names}
        given |= {
            "registry_url": "https://registry.test",
            "vault_url": "https://vault.test",
            "ldap_url": "ldaps://directory.test",
            "worker_image": WORKER_IMAGE,
            "keda_manifests": keda_manifests()[0],
        }
        given |= {"keda_manifests_sha256": keda_manifests()[1], "ca_sha256": "0" * 64, "kube_system_uid": "to come"}
        given["redis_password"] = {"path": "rubin/prompt-keda-local/prompt-redis", "key": "redis-password"}
        self.kube, self.redis = FakeKube(SERVED), FakeRedis("value", "value")
        for name in ("kube-system", "keda", "prompt-redis", SPACE):
            self.put(kinds.NAMESPACES, name, status={"phase": "Active"})
        given["kube_system_uid"] = self.kube.get(kinds.NAMESPACES, "kube-system")["metadata"]["uid"]
        local = load_environment(FOLDER / "local.yaml", given)
        environment = local.model_copy(
            update={"capacity": Capacity()}
        )  # what was measured on a stack is not this world's
        wanted = {}
        for secret in environment.secrets:
            text = DOCKER_CONFIG if secret.type == "kubernetes.io/dockerconfigjson" else "value"
            wanted.setdefault(secret.vault_path, {}).update(dict.fromkeys(secret.keys, text))
            data = dict.fromkeys(secret.keys, base64.b64encode(text.encode()).decode())
            self.put(kinds.SECRETS, secret.name, secret.namespace, type=secret.type, data=data)
        self.opens_with = {HOST: "p"}  # host → the password that pods need there
        self.vault = FakeVault(wanted)
        self.vault.use_token("t")
        self.directory = FakeDirectory([environment.ldap.base_dn])
        self.systems = Systems(environment)
        self._put_cluster()
        self.redis.ensure_group(STREAM, GROUP, "0")
        self.redis.saves = {"save": "60 1", "appendonly": "no"}
        self.systems.vault_health = self.vault.health
        self.systems.naming_contexts = lambda: self.directory.probe("ldaps://directory.test")
        self.registry = FakeRegistry(HOST)
        self.registry.put("worker", "local", WORKER, blobs=("sha256:c1", "sha256:l1"))
        self.registry.put("keda", "2.16.1", f"sha256:{'2' * 64}", INDEX, ("linux/amd64", "linux/arm64"), ("sha256:l2",))
        clients = {"kube": self.kube, "redis": self.redis, "vault": self.vault, f"registry {HOST}": self.registry}
        self.systems._made = clients
        self._connect_registry_as = self.systems.registry_as
        self.systems.registry_as = self._registry_as

    def _registry_as(self, host, credentials):
        """Return the registry's double for these credentials; where there is none, what really connects."""
        known = self.systems._made.get(f"registry {host}")
        if known is None:
            return self._connect_registry_as(host, credentials)
        made = copy.copy(known)
        made.wanted, made.given = self.opens_with.get(host), credentials and credentials[1].reveal()
        return made

    def _put_cluster(self):
        room = {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}}
        room |= {"nodeInfo": {"operatingSystem": "linux", "architecture": "amd64"}}
        shown = {"images": [{"names": [WORKER_IMAGE], "sizeBytes": 1}]}
        self.put(kinds.NODES, "n1", status={**conditions(Ready="True"), **room, **shown})
        self.put(kinds.NAMESPACES, "kube-node-lease", status={"phase": "Active"})
        self.put(kinds.LEASES, "n1", "kube-node-lease", spec={"renewTime": now()})
        self.put_service("kube-dns", "kube-system")
        self.put_service("webhooks", "keda")
        metrics_server = {"name": "metrics-server", "namespace": "kube-system"}
        available = conditions(Available="True")
        self.put(kinds.API_SERVICES, "v1beta1.metrics.k8s.io", spec={"service": metrics_server}, status=available)
        self.put(kinds.API_SERVICES, "v1.apps", spec={"service": None}, status=available)
        for name in ("scaledjobs.keda.sh", "triggerauthentications.keda.sh"):
            self.put(kinds.CRDS, name, labels=VERSION, **crd(name))
        for name in ("keda-operator", "keda-operator-metrics-apiserver", "keda-admission-webhooks"):
            labels = VERSION
            pod = {"spec": {"containers": [{"image": KEDA_IMAGE}], **PULLS}}
            spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": pod}
            state = {"spec": spec, "status": {"availableReplicas": 1}}
            self.put(kinds.DEPLOYMENTS, name, "keda", labels, **state)
            self.put_part_pod(name)
        self.put(kinds.LEASES, "operator.keda.sh", "keda", spec={"renewTime": now(), "holderIdentity": f"{OPERATOR}_u"})
        self.put_metrics()
        for namespace in ("keda", SPACE):
            self.put(kinds.SERVICE_ACCOUNTS, "default", namespace)
        self.put(kinds.SECRETS, "kedaorg-certs", "keda")
        self.put(kinds.SERVICES, "metrics", "keda")
        spec = {"service": {"name": "metrics", "namespace": "keda"}}
        self.put(kinds.API_SERVICES, METRICS, spec=spec, status=conditions(Available="True"))
        self.put(kinds.VALIDATING_WEBHOOKS, "keda-admission")
        self.put_certificates()
        reference = {"parameter": "password", "name": "prompt-redis-auth", "key": "redis-password"}
        self.put(kinds.TRIGGER_AUTHENTICATIONS, "prompt-redis", SPACE, spec={"secretTargetRef": [reference]})
        trigger = {"type": "redis-streams", "metadata": TRIGGER, "authenticationRef": {"name": "prompt-redis"}}
        asked = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}}
        pod = {"spec": {"containers": [{"name": "prompt-service", "image": WORKER_IMAGE, "resources": asked}], **PULLS}}
        pod["spec"]["restartPolicy"] = "Never"
        spec = {"jobTargetRef": {"template": pod}, "triggers": [trigger], "rollout": {"strategy": "default"}}
        spec |= {
            "minReplicaCount": 3,
            "maxReplicaCount": 20,
            "pollingInterval": 2,
            "scalingStrategy": {"strategy": "eager"},
        }
        first = self.systems.environment.instruments[0].model_copy(update={"manifest": manifest(SCALED_JOB, spec)})
        self.systems.environment = self.systems.environment.model_copy(update={"instruments": (first,)})
        self.put(kinds.SCALED_JOBS, SCALED_JOB, SPACE, spec=spec, status=conditions(Ready="True"))
        self.change(kinds.SCALED_JOBS, SCALED_JOB, SPACE, metadata={"generation": 2})
        self.put_job("2")

    def put_part_pod(self, name):
        """Give one of KEDA's Deployments its pod."""
        container = {"name": name, "image": KEDA_IMAGE, "ports": [{"name": "metrics", "containerPort": 8080}]}
        status = {"name": name, "imageID": KEDA_IMAGE, **PART}
        self.put_pod(f"{name}-1", "keda", "n1")
        self.change(
            kinds.PODS,
            f"{name}-1",
            "keda",
            spec={"containers": [container]},
            status={"containerStatuses": [status]},
        )

    def put_metrics(self, *lines, names=(SCALED_JOB,)):
        """Give the operator its metrics: a loop for each of these ScaledJobs, and other lines."""
        loop = 'keda_internal_scale_loop_latency_seconds{{namespace="{0}",resource="{0}",type="scaledjob"}} 0.1'
        text = "\n".join([*(loop.format(id_) for id_ in names), *lines])
        self.kube.pages["keda", OPERATOR, 8080, "/metrics"] = text

    def put_certificates(self, **how):
        """Give KEDA other certificates, which APIService and webhook trust."""
        data = keda_certificates(**how)
        self.change(kinds.SECRETS, "kedaorg-certs", "keda", data=data)
        self.change(kinds.API_SERVICES, METRICS, spec={"caBundle": data["ca.crt"]})
        client = {"caBundle": data["ca.crt"], "service": {"name": "webhooks", "namespace": "keda"}}
        hooks = [{"name": "vscaledjob.keda.sh", "clientConfig": client, "failurePolicy": "Ignore"}]
        self.change(kinds.VALIDATING_WEBHOOKS, "keda-admission", webhooks=hooks)

    def add_instrument(self, name, **fields):
        """Give the environment one more instrument, as it should be; its ScaledJob is changed by ``fields``."""
        lower, first = name.lower(), self.systems.environment.instruments[0]
        space, stream, group = f"prompt-keda-{lower}", f"instrument:{lower}", f"{lower}_consumer_group"
        named = {"name": name, "namespace": space, "scaled_job": space, "stream": stream, "consumer_group": group}
        instruments = (*self.systems.environment.instruments, first.model_copy(update=named))
        self.systems.environment = self.systems.environment.model_copy(update={"instruments": instruments})
        self.put(kinds.NAMESPACES, space, status={"phase": "Active"})
        spec = self.kube.get(kinds.SCALED_JOBS, SCALED_JOB, SPACE)["spec"]
        self.put(kinds.TRIGGER_AUTHENTICATIONS, "prompt-redis", space)
        metadata = {**TRIGGER, "stream": stream, "consumerGroup": group}
        trigger = {"type": "redis-streams", "metadata": metadata, "authenticationRef": {"name": "prompt-redis"}}
        spec = {**spec, "triggers": [trigger]}
        named["manifest"] = manifest(space, spec)
        instruments = (*self.systems.environment.instruments[:-1], first.model_copy(update=named))
        self.systems.environment = self.systems.environment.model_copy(update={"instruments": instruments})
        body = {"spec": spec, "status": conditions(Ready="True")}
        self.put(kinds.SCALED_JOBS, space, space, **body)
        self.change(kinds.SCALED_JOBS, space, space, metadata={"generation": 2}, **fields)
        self.redis.ensure_group(stream, group, "0")
        self.put(kinds.SECRETS, "pull-secret", space, data={".dockerconfigjson": PULL_SECRET})
        self.put_metrics(names=(SCALED_JOB, space))

    def put_service(self, name, namespace):
        """Put a Service with one ready pod behind it."""
        self.put(kinds.SERVICES, name, namespace)
        endpoints = [{"conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": f"{name}-1"}}]
        labels = {"kubernetes.io/service-name": name}
        self.put(kinds.ENDPOINT_SLICES, name, namespace, labels, endpoints=endpoints)

    def put_pod(self, name, namespace, node=None, begun=True, requests=None, seconds=60, **status):
        """Put a pod that was made, and scheduled if it has a node, some seconds ago."""
        made = {"creationTimestamp": now(seconds=seconds)}
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": now(seconds=seconds)}
        state = {"phase": "Running" if begun else "Pending", "conditions": [scheduled] if node else []}
        state |= {"containerStatuses": [{"ready": True}]} if begun else {}
        container = {"image": WORKER_IMAGE, "resources": {"requests": requests or {}}}
        self.put(kinds.PODS, name, namespace, spec={"nodeName": node, "containers": [container]}, status=state | status)
        self.change(kinds.PODS, name, namespace, metadata=made)

    def put_job(self, generation):
        self.put(kinds.JOBS, "j1", SPACE, {"scaledjob.keda.sh/name": SCALED_JOB}, status={"active": 1})
        annotations = {"scaledjob.keda.sh/generation": generation}
        self.change(kinds.JOBS, "j1", SPACE, metadata={"annotations": annotations})

    def put(self, resource, name, namespace=None, labels=None, **fields):
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}, **fields}
        if labels:
            body["metadata"]["labels"] = labels
        self.kube.create(resource, body, namespace)

    def change(self, resource, name, namespace=None, **fields):
        self.kube.patch(resource, name, namespace, copy.deepcopy(fields))

    def remove(self, resource, name, namespace=None):
        self.kube.delete(resource, name, namespace)

    def read_only(self):
        """Return the API server's and Redis's doubles in a form that lets nothing be written."""
        return {"kube": ReadOnly(self.kube, KUBE_READS), "redis": ReadOnly(self.redis, REDIS_READS)}

    def verdict(self, check):
        """Run one check, on doubles that let nothing be written."""
        made = self.systems._made
        self.systems._made = {**made, **self.read_only()}
        try:
            return look(CHECKS[check], self.systems)
        finally:
            self.systems._made = made

    @property
    def session(self):
        """A session on these systems: to open it again, or to connect again, leads to the same ones."""
        return WorldSession("local", FOLDER / "local.yaml", self.systems)


class WorldSession(Session):
    @contextmanager
    def reopened(self):
        yield self

    @contextmanager
    def fresh_systems(self):
        yield self.systems
