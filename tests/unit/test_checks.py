"""Every check is seen green on doubles that are as they should be, and red when one thing is not.

The contract suites hold the doubles to what the real servers do.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest

from prompt_keda.clients import kube_resources as kinds
from prompt_keda.clients.kube_expiry import LoginLife
from prompt_keda.clients.vault import Token
from prompt_keda.engine.run_checks import run_checks
from prompt_keda.errors import Unreachable
from prompt_keda.model.environment import ClientLimit, FillIn
from prompt_keda.model.event import nobody
from tests.contracts.fakes.registry import FakeRegistry

from .world import (
    CHECKS,
    GROUP,
    HOST,
    KEDA_IMAGE,
    METRICS,
    OPERATOR,
    PART,
    SCALED_JOB,
    SCHEMA,
    SPACE,
    STREAM,
    TRIGGER,
    WORKER_IMAGE,
    World,
    conditions,
    keda_manifests,
    now,
)

HOUR = timedelta(hours=1)


def change(resource, name, namespace=None, **fields):
    return lambda world: world.change(resource, name, namespace, **fields)


def remove(resource, name, namespace=None):
    return lambda world: world.remove(resource, name, namespace)


def scaled_job(**fields):
    return change(kinds.SCALED_JOBS, SCALED_JOB, SPACE, **fields)


def triggers(changes, kind="redis-streams"):
    metadata = {key: value for key, value in (TRIGGER | changes).items() if value}
    return scaled_job(spec={"triggers": [{"type": kind, "metadata": metadata}]})


def lost_lag(world):
    lost_count(world)
    world.redis.add(STREAM, [{"visit": "1"}] * 2)


def lost_count(world, read=None):
    world.redis.add(STREAM, [{"visit": "1"}] * 2)
    world.redis.read(STREAM, GROUP, "pod-1", 2)
    world.redis.forget(STREAM, GROUP, read)


def renamed_group(world):
    world.redis.delete_stream(STREAM)


def other_generation(world):
    world.remove(kinds.JOBS, "j1", SPACE)
    world.put_job("1")


def without_parts(world):
    for one in world.kube.list(kinds.DEPLOYMENTS, "keda"):
        world.remove(kinds.DEPLOYMENTS, one["metadata"]["name"], "keda")


def without_pods(world):
    for one in world.kube.list(kinds.PODS):
        world.remove(kinds.PODS, one["metadata"]["name"], one["metadata"]["namespace"])


def denied(verb, plural):
    return lambda world: world.kube.denied.add((verb, plural))


def attribute(where, **values):
    return lambda world: [setattr(getattr(world, where), key, value) for key, value in values.items()]


def info(section, **values):
    def apply(world):
        original = world.redis.info
        world.redis.info = lambda asked: original(asked) | (values if asked == section else {})

    return apply


def environment(**changes):
    def apply(world):
        world.systems.environment = world.systems.environment.model_copy(update=changes)

    return apply


def nothing_secret(world):
    known = world.systems.environment
    redis, smoke = (
        part.model_copy(update={key: None}) for part, key in ((known.redis, "password"), (known.smoke, "pull_secret"))
    )
    environment(secrets=(), redis=redis, smoke=smoke, registries=())(world)


def latiss(*breaks, **fields):
    """Give a second instrument after the first, and break what is given; its ScaledJob has ``fields``."""

    def apply(world):
        world.add_instrument("latiss", **fields)
        for one in breaks:
            one(world)

    return apply


def unreachable(*arguments, **options):
    raise Unreachable("here", "there", "no answer in time")


def fails_for(where, method, *names):
    """Let a method of a double fail for one thing that it is asked for, as if the connection broke there."""

    def apply(world):
        double = getattr(world, where)
        original = getattr(double, method)

        def asked(*arguments, **options):
            broken = any(one in names for one in arguments)
            return unreachable() if broken else original(*arguments, **options)

        setattr(double, method, asked)

    return apply


def certificates(**how):
    return lambda world: world.put_certificates(**how)


def runs(*images, init=()):
    """Let the live ScaledJob run other images."""
    pod = {"containers": [{"image": one} for one in images], "initContainers": [{"image": one} for one in init]}
    return scaled_job(spec={"jobTargetRef": {"template": {"spec": pod}}})


def keda_runs(image=KEDA_IMAGE, init=()):
    """Let one part of KEDA run other images."""
    pod = {"containers": [{"image": image}], "initContainers": [{"image": one} for one in init]}
    return change(kinds.DEPLOYMENTS, "keda-operator", "keda", spec={"template": {"spec": pod}})


def names_images(*images):
    """Let the environment's instrument name other images."""

    def apply(world):
        instruments = world.systems.environment.instruments
        environment(instruments=(instruments[0].model_copy(update={"images": images}),))(world)

    return apply


def second_registry(world):
    """Put a registry beside the first that does not answer."""
    first = world.systems.environment.registries[0]
    environment(registries=(first, first.model_copy(update={"host": "silent.test"})))(world)
    silent = FakeRegistry("silent.test")
    silent.manifest_digest = unreachable
    world.systems._made["registry silent.test"] = silent


def both(*breaks):
    return lambda world: [one(world) for one in breaks]


def keda_settings(**fields):
    """Let the environment say something else of KEDA."""

    def apply(world):
        environment(keda=world.systems.environment.keda.model_copy(update=fields))(world)

    return apply


def without_manifests(world):
    manifests = world.systems.environment.keda.manifests.model_copy(update={"source": "/nowhere/keda.json"})
    keda_settings(manifests=manifests)(world)


def login(left, whole=None, kind="token", renews=False):
    """Let the login be one that has some time left of the whole that it was given."""

    def apply(world):
        ends = datetime.now(UTC) + left
        world.kube.life = LoginLife(kind, ends, ends - whole if whole else None, renews)

    return apply


KEY = "rubin/prompt-keda-local/prompt-redis"
OTHER_KEY = "rubin/prompt-keda-local/pull-secret"
SECRETS_OF_THE_ENVIRONMENT = "vault/secrets-have-their-keys"
PAUSED = {"annotations": {"autoscaling.keda.sh/paused": "true"}}
RED = [
    ("cluster/version-accepted", attribute("kube", version=lambda: "v1.20.0"), "warn", "v1.20.0"),
    ("cluster/clocks-agree", attribute("kube", server_time=lambda: datetime.now(UTC) + HOUR), "warn", "ahead of"),
    ("cluster/nodes-ready", change(kinds.NODES, "n1", status=conditions(Ready="False")), "fail", "why"),
    ("cluster/nodes-ready", remove(kinds.NODES, "n1"), "unknown", "no node is shown"),
    ("cluster/nodes-ready", denied("list", "nodes"), "fail", "cannot list"),
    ("cluster/keda-namespace-present", remove(kinds.NAMESPACES, "keda"), "fail", "absent"),
    ("cluster/external-metrics-available", remove(kinds.API_SERVICES, METRICS), "fail", "absent"),
    ("cluster/external-metrics-available", remove(kinds.SERVICES, "metrics", "keda"), "fail", "is gone"),
    (
        "cluster/external-metrics-available",
        change(kinds.API_SERVICES, METRICS, status=conditions(Available="False")),
        "fail",
        "not available: why",
    ),
    ("identity/cluster-is-the-expected-one", attribute("kube", ca_sha256="1" * 64), "fail", "its CA is 111"),
    (
        "identity/cluster-is-the-expected-one",
        both(remove(kinds.NAMESPACES, "kube-system"), lambda world: world.put(kinds.NAMESPACES, "kube-system")),
        "fail",
        "kube-system has the UID",
    ),
    ("identity/who-am-i", attribute("kube", whoami=lambda: {"username": "system:anonymous"}), "fail", "nobody"),
    ("vault/unsealed", attribute("vault", sealed=True), "fail", "sealed"),
    ("vault/unsealed", attribute("vault", initialized=False), "fail", "not initialised"),
    ("vault/login-works", lambda world: world.vault.use_token(""), "fail", "denied"),
    (SECRETS_OF_THE_ENVIRONMENT, lambda world: world.vault.contents.update({KEY: {}}), "fail", "no redis-password"),
    (SECRETS_OF_THE_ENVIRONMENT, lambda world: world.vault.deleted.add(KEY), "fail", "deleted"),
    (SECRETS_OF_THE_ENVIRONMENT, lambda world: world.vault.allowed.discard(KEY), "fail", "denied"),
    (
        "vault/cluster-secrets-present",
        remove(kinds.SECRETS, "pull-secret", "keda"),
        "fail",
        "keda/pull-secret is absent",
    ),
    (
        "vault/cluster-secrets-present",
        change(kinds.SECRETS, "prompt-redis-auth", SPACE, data={"redis-password": None}),
        "fail",
        "has no redis-password",
    ),
    ("redis/answers", attribute("redis", down=True), "unknown", "connection refused"),
    ("redis/answers", attribute("redis", given="wrong"), "fail", "WRONGPASS"),
    ("redis/version-at-least-7", info("server", redis_version="6.2.1"), "fail", "6.2.1"),
    ("redis/is-a-master", info("replication", role="slave"), "fail", "slave"),
    ("redis/takes-writes", info("persistence", rdb_last_bgsave_status="err"), "fail", "refuses writes"),
    ("redis/takes-writes", info("persistence", loading=1), "fail", "loading"),
    (
        "redis/takes-writes",
        info("persistence", aof_enabled=1, aof_last_write_status="err"),
        "fail",
        "append-only file failed",
    ),
    ("redis/memory-left", info("memory", maxmemory=2**20), "fail", "new events are refused"),
    ("redis/memory-left", info("memory", maxmemory=2**20 + 1), "warn", "1 MiB used of 1 MiB"),
    (
        "redis/memory-left",
        info("memory", maxmemory=2**30, maxmemory_policy="allkeys-lru"),
        "warn",
        "may be evicted",
    ),
    ("redis/lag-is-right", lost_lag, "fail", "2 events wait, the lag is unknown, and KEDA takes that for 0"),
    (
        "redis/lag-is-right",
        lambda world: lost_count(world, 1),
        "fail",
        "0 events wait, the lag is 1, and KEDA believes",
    ),
    ("redis/lag-is-right", lost_count, "warn", "has lost what was read"),
    ("redis/lag-is-right", renamed_group, "unknown", "NOGROUP"),
    ("redis/groups-exist", renamed_group, "fail", f"has no group {GROUP}"),
    ("images/keda-images-present", lambda world: world.registry.images.clear(), "fail", "keda has no sha256:222"),
    ("images/keda-images-present", both(without_parts, without_manifests), "unknown", "not on this machine"),
    ("images/instrument-images-present", attribute("registry", wanted="password"), "fail", "unauthorised"),
    ("images/smoke-image-present", lambda world: world.registry.images.clear(), "fail", "worker has no sha256:1"),
    ("keda/crds-established", remove(kinds.CRDS, "scaledjobs.keda.sh"), "fail", "absent"),
    (
        "keda/crds-established",
        change(kinds.CRDS, "scaledjobs.keda.sh", status=conditions(Established="False")),
        "fail",
        "is not served",
    ),
    ("keda/parts-ready", remove(kinds.DEPLOYMENTS, "keda-operator", "keda"), "fail", "keda-operator is absent"),
    (
        "keda/parts-ready",
        change(kinds.DEPLOYMENTS, "keda-operator", "keda", status={"availableReplicas": 0}),
        "fail",
        "0 available",
    ),
    (
        "keda/one-version",
        change(
            kinds.DEPLOYMENTS, "keda-operator", "keda", metadata={"labels": {"app.kubernetes.io/version": "2.15.0"}}
        ),
        "warn",
        "2.15.0",
    ),
    ("keda/one-version", without_parts, "unknown", "no part of KEDA stands"),
    ("keda/lease-fresh", remove(kinds.LEASES, "operator.keda.sh", "keda"), "fail", "no Lease"),
    (
        "keda/lease-fresh",
        change(kinds.LEASES, "operator.keda.sh", "keda", spec={"renewTime": now(minutes=2)}),
        "fail",
        "stale",
    ),
    ("keda/certificates-agree", remove(kinds.SECRETS, "kedaorg-certs", "keda"), "fail", "absent"),
    (
        "keda/certificates-agree",
        remove(kinds.VALIDATING_WEBHOOKS, "keda-admission"),
        "fail",
        "keda-admission is absent",
    ),
    ("keda/certificates-agree", remove(kinds.API_SERVICES, METRICS), "fail", "APIService is absent"),
    (
        "keda/certificates-agree",
        change(kinds.API_SERVICES, METRICS, spec={"caBundle": "b3RoZXI="}),
        "fail",
        "APIService trusts another CA",
    ),
    ("keda/scaled-jobs-ready", scaled_job(status=conditions(Ready="False")), "fail", "why"),
    ("keda/scaled-jobs-ready", scaled_job(status={"conditions": None}), "unknown", "not looked"),
    ("keda/scaled-jobs-ready", remove(kinds.SCALED_JOBS, SCALED_JOB, SPACE), "fail", "absent"),
    ("keda/none-paused", scaled_job(metadata=PAUSED), "warn", "not by this toolkit"),
    (
        "keda/no-max-run-time",
        scaled_job(spec={"jobTargetRef": {"activeDeadlineSeconds": 900}}),
        "fail",
        "activeDeadline",
    ),
    ("keda/jobs-carry-their-generation", other_generation, "warn", "1 running Jobs at risk"),
    ("keda/triggers-scale-on-lag", triggers({"lagCount": None}), "warn", "does not count lag"),
    ("keda/triggers-scale-on-lag", triggers({}, "kafka"), "warn", "type kafka"),
    (
        "keda/triggers-sensible",
        triggers({"stream": "instrument:latiss"}),
        "fail",
        "instrument:latiss",
    ),
]
OF_INSTRUMENTS = [
    "redis/groups-exist",
    "redis/lag-is-right",
    "keda/scaled-jobs-ready",
    "keda/none-paused",
    "keda/no-max-run-time",
    "keda/jobs-carry-their-generation",
    "keda/triggers-scale-on-lag",
    "keda/triggers-sensible",
    "keda/sizes-as-named",
    "capacity/burst-absorbed",
    "capacity/maximum-fits",
    "capacity/quota-allows",
]
CERTIFICATES, WORKERS, KEDA_IMAGES = (
    "keda/certificates-agree",
    "images/instrument-images-present",
    "images/keda-images-present",
)
UNSEEN = conditions(Ready="Unknown")
RED += [
    # green about nothing
    *((check, environment(instruments=()), "unknown", "names none") for check in OF_INSTRUMENTS),
    ("images/instrument-images-present", environment(instruments=()), "unknown", "names no image"),
    ("vault/cluster-secrets-present", environment(secrets=()), "unknown", "names none"),
    (SECRETS_OF_THE_ENVIRONMENT, nothing_secret, "unknown", "names none"),
    ("keda/triggers-scale-on-lag", scaled_job(spec={"triggers": []}), "warn", "has no trigger"),
    ("keda/triggers-sensible", scaled_job(spec={"triggers": []}), "fail", "no trigger of type redis-streams"),
    # what cannot be seen hides nothing that is broken
    (
        "keda/scaled-jobs-ready",
        latiss(scaled_job(status=UNSEEN), status=conditions(Ready="False")),
        "fail",
        "prompt-keda-latiss: why",
    ),
    ("keda/scaled-jobs-ready", latiss(status=UNSEEN), "unknown", "prompt-keda-latiss: KEDA has not looked"),
    (
        "keda/scaled-jobs-ready",
        latiss(fails_for("kube", "find", SCALED_JOB), status=conditions(Ready="False")),
        "fail",
        "prompt-keda-latiss: why",
    ),
    ("keda/scaled-jobs-ready", latiss(fails_for("kube", "find", SCALED_JOB)), "unknown", "no answer in time"),
    (
        "keda/none-paused",
        latiss(scaled_job(metadata=PAUSED), fails_for("kube", "find", "prompt-keda-latiss")),
        "unknown",
        "no answer in time",
    ),
    (
        "keda/no-max-run-time",
        latiss(remove(kinds.SCALED_JOBS, SCALED_JOB, SPACE), spec={"jobTargetRef": {"activeDeadlineSeconds": 9}}),
        "fail",
        "is absent; prompt-keda-latiss has activeDeadlineSeconds",
    ),
    (
        SECRETS_OF_THE_ENVIRONMENT,
        lambda world: [world.vault.deleted.add(KEY), fails_for("vault", "read_keys", OTHER_KEY)(world)],
        "fail",
        f"{KEY}: its newest version 1 is deleted",
    ),
    (SECRETS_OF_THE_ENVIRONMENT, fails_for("vault", "read_keys", OTHER_KEY), "unknown", OTHER_KEY),
    (
        "vault/cluster-secrets-present",
        lambda world: [
            remove(kinds.SECRETS, "prompt-redis-auth", SPACE)(world),
            fails_for("kube", "find", "pull-secret")(world),
        ],
        "fail",
        "prompt-redis-auth is absent",
    ),
    (
        "redis/groups-exist",
        latiss(renamed_group, fails_for("redis", "group_info", "instrument:latiss")),
        "fail",
        f"has no group {GROUP}",
    ),
    (
        "redis/lag-is-right",
        latiss(lost_lag, lambda world: world.redis.delete_stream("instrument:latiss")),
        "fail",
        "for 0",
    ),
    (
        "keda/crds-established",
        lambda world: [
            remove(kinds.CRDS, "triggerauthentications.keda.sh")(world),
            fails_for("kube", "find", "scaledjobs.keda.sh")(world),
        ],
        "fail",
        "triggerauthentications.keda.sh is absent",
    ),
    ("keda/parts-ready", fails_for("kube", "find", "keda-operator"), "unknown", "keda-operator: "),
]
RED += [
    (CERTIFICATES, certificates(begins_days=-9, ends_days=-1), "fail", "they ended on 20"),
    (CERTIFICATES, certificates(begins_days=1), "fail", "valid only from 20"),
    (CERTIFICATES, certificates(ends_days=29), "warn", "they end on 20"),
    (CERTIFICATES, certificates(signed_by_its_ca=False), "fail", "not signed by its CA"),
    (CERTIFICATES, change(kinds.SECRETS, "kedaorg-certs", "keda", data={"tls.crt": "Q0E="}), "fail", "not signed"),
    (CERTIFICATES, change(kinds.SECRETS, "kedaorg-certs", "keda", data={"tls.crt": None}), "fail", "incomplete"),
    (CERTIFICATES, change(kinds.VALIDATING_WEBHOOKS, "keda-admission", webhooks=[]), "fail", "has no webhook"),
    (
        CERTIFICATES,
        change(kinds.VALIDATING_WEBHOOKS, "keda-admission", webhooks=[{"clientConfig": {"caBundle": "b3RoZXI="}}]),
        "fail",
        "webhook configuration trusts another CA",
    ),
    (
        CERTIFICATES,
        both(remove(kinds.VALIDATING_WEBHOOKS, "keda-admission"), fails_for("kube", "find", METRICS)),
        "fail",
        "keda-admission is absent",
    ),
    # what really runs
    (WORKERS, runs(f"{HOST}/worker:new"), "fail", "worker has no new"),
    (WORKERS, runs(WORKER_IMAGE, init=[f"{HOST}/gone:1"]), "fail", "gone has no 1"),
    (KEDA_IMAGES, keda_runs(init=[f"{HOST}/gone:1"]), "fail", "gone has no 1"),
    (WORKERS, names_images(f"{HOST}/init"), "unknown", f"{HOST}/init names no tag"),
    (WORKERS, both(names_images(f"{HOST}/worker"), remove(kinds.SCALED_JOBS, SCALED_JOB, SPACE)), "unknown", "no tag"),
    (
        WORKERS,
        both(names_images(FillIn("FILL-IN: busybox by digest")), remove(kinds.SCALED_JOBS, SCALED_JOB, SPACE)),
        "unknown",
        "does not say all images of LSSTCam",
    ),
    (WORKERS, fails_for("kube", "find", SCALED_JOB), "unknown", "what prompt-keda-lsstcam runs is not seen"),
    (
        WORKERS,
        both(names_images(f"{HOST}/gone:1"), fails_for("kube", "find", SCALED_JOB)),
        "fail",
        "gone has no 1",
    ),
    (WORKERS, names_images("elsewhere.test/worker:1"), "unknown", "does not name elsewhere.test"),
    (
        WORKERS,
        both(second_registry, names_images(f"{HOST}/gone:1", "silent.test/a:1")),
        "fail",
        "gone has no 1",
    ),
    (WORKERS, both(second_registry, names_images("silent.test/a:1")), "unknown", "silent.test/a:1: "),
    # versions and sizes
    ("keda/one-version", keda_runs(f"{HOST}/keda:2.15.0"), "warn", "keda-operator: label 2.16.1, image tag 2.15.0"),
    (
        "keda/sizes-as-named",
        scaled_job(spec={"maxReplicaCount": 10}),
        "warn",
        "maxReplicaCount is 10, the environment says 20",
    ),
    ("keda/sizes-as-named", scaled_job(spec={"maxReplicaCount": None}), "warn", "maxReplicaCount is 100, "),
    (
        "keda/sizes-as-named",
        scaled_job(spec={"minReplicaCount": 0}),
        "warn",
        "minReplicaCount is 0, the environment says 3",
    ),
    (
        "keda/sizes-as-named",
        scaled_job(spec={"pollingInterval": 30}),
        "warn",
        "pollingInterval is 30, the environment says 2",
    ),
    ("keda/sizes-as-named", triggers({"lagCount": "5"}), "warn", "lagCount is 5, the environment says 1"),
    ("keda/sizes-as-named", triggers({"activationLagCount": None}), "warn", "activationLagCount is not set"),
]
RED += [
    (
        "identity/ldap-answers",
        attribute("directory", contexts=["dc=other"]),
        "fail",
        "holds dc=other, not dc=slac,dc=test",
    ),
    ("identity/ldap-answers", attribute("directory", contexts=[]), "fail", "holds nothing, not dc=slac,dc=test"),
    ("identity/ldap-answers", attribute("directory", down=True), "unknown", "connection refused"),
    ("identity/ldap-answers", attribute("directory", wants_a_name=True), "fail", "without a name"),
    ("identity/ldap-answers", environment(ldap=None), "skipped", "names no directory"),
]


def pod(name="p1", namespace=SPACE, node=None, begun=False, **status):
    return lambda world: world.put_pod(name, namespace, node, begun, **status)


def leaving(name, namespace, seconds):
    """Let a pod be one that should have stopped some seconds ago."""

    def apply(world):
        world.change(kinds.PODS, name, namespace, metadata={"deletionTimestamp": now(seconds=seconds)})

    return apply


ABSORBED, FITS, QUOTA = "capacity/burst-absorbed", "capacity/maximum-fits", "capacity/quota-allows"


def visit(events):
    """Let one visit bring so many events, and ten of them be in flight."""

    def apply(world):
        first = world.systems.environment.instruments[0]
        sizes = {"visit_events": events, "max_jobs": 10 * events}
        environment(instruments=(first.model_copy(update=sizes),))(world)

    return apply


def asks(cpu="10m", memory="16Mi", **pod_fields):
    """Let a worker of the live ScaledJob ask for room."""
    container = {"image": WORKER_IMAGE, "resources": {"requests": {"cpu": cpu, "memory": memory}}}
    template = {"spec": {"containers": [container], **pod_fields}}
    return scaled_job(spec={"jobTargetRef": {"template": template}})


def node(**spec):
    return change(kinds.NODES, "n1", spec=spec)


def terminating(name, seconds, *said):
    def apply(world):
        world.put(kinds.NAMESPACES, name) if world.kube.find(kinds.NAMESPACES, name) is None else None
        seen = [{"type": "NamespaceContentRemaining", "status": "True", "message": one} for one in said]
        deleted = {"deletionTimestamp": now(seconds=seconds)}
        world.change(kinds.NAMESPACES, name, metadata=deleted, status={"phase": "Terminating", "conditions": seen})

    return apply


def nothing_ready_behind(name, namespace):
    endpoints = [{"conditions": {"ready": False}}]
    return change(kinds.ENDPOINT_SLICES, name, namespace, endpoints=endpoints)


def with_policy(policy, *breaks):
    """Let KEDA's webhook have another failurePolicy, and break something."""
    client = {"service": {"name": "webhooks", "namespace": "keda"}}
    hooks = [{"name": "vscaledjob.keda.sh", "clientConfig": client, "failurePolicy": policy}]
    return both(change(kinds.VALIDATING_WEBHOOKS, "keda-admission", webhooks=hooks), *breaks)


GOING, REPORT, ROOM = "cluster/pods-get-going", "cluster/nodes-report", "cluster/nodes-have-room"
STUCK, DNS, HOOKS = "cluster/namespaces-not-stuck", "cluster/dns-answers", "cluster/webhooks-reachable"
OTHER_APIS, TAINT = "cluster/api-services-available", {"key": "gpu", "value": "1", "effect": "NoSchedule"}
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: cpu"}
RED += [
    (REPORT, change(kinds.LEASES, "n1", "kube-node-lease", spec={"renewTime": now(seconds=45)}), "warn", "n1 was last"),
    (REPORT, change(kinds.LEASES, "n1", "kube-node-lease", spec={"renewTime": None}), "warn", "n1 keeps no Lease"),
    (REPORT, remove(kinds.LEASES, "n1", "kube-node-lease"), "skipped", "no node keeps a Lease"),
    (REPORT, remove(kinds.NODES, "n1"), "unknown", "no node is shown"),
    (REPORT, denied("list", "leases"), "unknown", "may not be seen: 403"),
    (ROOM, asks(cpu="1500m"), "warn", "room for 2 of 3 more workers of LSSTCam: the nodes are short of cpu"),
    (ROOM, asks(memory="9Gi"), "warn", "room for 0 of 3 more workers of LSSTCam: the nodes are short of memory"),
    (ROOM, change(kinds.NODES, "n1", status={"allocatable": {"pods": "3"}}), "warn", "short of pods"),
    (ROOM, both(asks(cpu="1"), pod(node="n1", requests={"cpu": "2"})), "warn", "room for 2 of 3"),
    (ROOM, node(unschedulable=True), "warn", "no node takes them"),
    (ROOM, node(taints=[TAINT]), "warn", "no node takes them"),
    (ROOM, asks(nodeSelector={"disk": "fast"}), "warn", "no node takes them"),
    (ROOM, remove(kinds.NODES, "n1"), "unknown", "no node is shown"),
    (ROOM, remove(kinds.SCALED_JOBS, SCALED_JOB, SPACE), "unknown", "is absent"),
    (GOING, pod(), "fail", "p1 waits for 60 s and has neither a node nor a word of the scheduler"),
    (GOING, pod(conditions=[UNSCHEDULABLE]), "warn", "says the scheduler: Unschedulable: 0/1 nodes: cpu"),
    (GOING, pod(node="n1"), "fail", "p1 is on n1 for 60 s, and no container is begun"),
    (GOING, leaving("keda-operator-1", "keda", 50), "fail", "keda-operator-1 should have stopped 5"),
    (GOING, without_pods, "unknown", "no pod at all"),
    (GOING, change(kinds.NODES, "n1", status=conditions(Ready="Unknown")), "skipped", "on nodes that are not ready"),
    (DNS, nothing_ready_behind("kube-dns", "kube-system"), "fail", "nothing ready is behind the Service kube-system/"),
    (DNS, remove(kinds.ENDPOINT_SLICES, "kube-dns", "kube-system"), "fail", "nothing ready is behind the Service"),
    (DNS, remove(kinds.SERVICES, "kube-dns", "kube-system"), "unknown", "no Service of the cluster's DNS"),
    (STUCK, terminating("a", 90, "1 configmap remains"), "warn", "a is Terminating since 90 s: 1 configmap remains"),
    (STUCK, terminating(SPACE, 90), "fail", f"{SPACE} is Terminating since 90 s: its conditions give no reason"),
    (STUCK, both(terminating("a", 90), terminating(SPACE, 90)), "fail", SPACE),
    (
        OTHER_APIS,
        change(kinds.API_SERVICES, "v1beta1.metrics.k8s.io", status=conditions(Available="False")),
        "fail",
        "v1beta1.metrics.k8s.io by kube-system/metrics-server is not available: why",
    ),
    (OTHER_APIS, change(kinds.API_SERVICES, "v1beta1.metrics.k8s.io", status=None), "unknown", "does not say yet"),
    (HOOKS, nothing_ready_behind("webhooks", "keda"), "warn", "admitted unseen, failurePolicy is Ignore"),
    (
        HOOKS,
        with_policy("Fail", nothing_ready_behind("webhooks", "keda")),
        "fail",
        "no ScaledJob can be applied, failurePolicy is Fail",
    ),
    (HOOKS, remove(kinds.VALIDATING_WEBHOOKS, "keda-admission"), "fail", "is absent"),
]
LOGIN, READ, REDEPLOY = "identity/token-lives-on", "identity/may-read", "identity/may-redeploy"
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
RED += [
    (LOGIN, attribute("kube", life=None), "unknown", "does not say until when"),
    (LOGIN, login(-MINUTE, HOUR), "fail", "the token has ended at 20"),
    (LOGIN, login(-MINUTE, HOUR, renews=True), "fail", "the token has ended at 20"),
    (LOGIN, login(9.5 * MINUTE, 8 * HOUR), "warn", "the token ends in 9 min"),
    (LOGIN, login(1.5 * MINUTE, 15 * MINUTE), "warn", "the token ends in 1 min"),
    (LOGIN, login(1.5 * MINUTE), "warn", "the token ends in 1 min"),
    (LOGIN, login(6.5 * DAY, 365 * DAY, "client certificate"), "warn", "the client certificate ends in 6 days"),
    (READ, denied("list", "nodes"), "fail", "not allowed: list nodes"),
    (READ, denied("get", "secrets"), "fail", "get secrets kedaorg-certs in keda; get secrets pull-secret in keda"),
    (READ, fails_for("kube", "rules", "keda"), "unknown", "no answer in time"),
    (REDEPLOY, denied("delete", "apiservices"), "warn", f"not allowed: delete apiservices {METRICS}"),
    (REDEPLOY, denied("patch", "jobs"), "warn", f"not allowed: patch jobs in {SPACE}"),
    (REDEPLOY, without_manifests, "unknown", "what would be applied is not known"),
    (REDEPLOY, keda_settings(delivery="argocd"), "skipped", "Argo CD delivers here"),
]


def vault(**values):
    return attribute("vault", **values)


def in_vault(path, **keys):
    return lambda world: world.vault.contents[path].update(keys)


def denies(*commands):
    return lambda world: world.redis.denied_commands.update(commands)


def trigger(metadata=None, **fields):
    """Let the live ScaledJob's trigger log in in another way."""
    given = {"type": "redis-streams", "metadata": TRIGGER | (metadata or {})}
    return scaled_job(spec={"triggers": [given | fields]})


def authentication(**spec):
    """Let the TriggerAuthentication be another one."""
    spec = {"secretTargetRef": None} | spec
    return change(kinds.TRIGGER_AUTHENTICATIONS, "prompt-redis", SPACE, spec=spec)


def container(*env):
    """Let the workers' container have this environment."""
    pod = {"containers": [{"name": "prompt-service", "image": WORKER_IMAGE, "env": list(env)}]}
    return scaled_job(spec={"jobTargetRef": {"template": {"spec": pod}}})


def events(count, *, read=0, acknowledged=True, trimmed_to=None):
    """Let events come, of which a worker reads the first."""

    def apply(world):
        redis = world.redis
        redis.add(STREAM, [{"visit": "1"}] * count)
        ids = redis.read(STREAM, GROUP, "pod-1", read) if read else []
        if acknowledged:
            redis.ack(STREAM, GROUP, ids)
        if trimmed_to is not None:
            redis.trim(STREAM, trimmed_to)

    return apply


def left_pending(idle_s):
    def apply(world):
        events(1, read=1, acknowledged=False)(world)
        world.redis.grow_old(STREAM, GROUP, ["1-0"], idle_s)

    return apply


def last_event(**ago):
    """Let the last event have come so long ago."""
    came_ms = int((datetime.now(UTC) - timedelta(**ago)).timestamp() * 1000)

    def apply(world):
        inside = world.redis._stream(STREAM)
        inside["added"], inside["groups"][GROUP]["at"] = came_ms, came_ms

    return apply


def own_secret(**fields):
    return change(kinds.SECRETS, "prompt-redis-auth", SPACE, **fields)


def vault_secret(*conditions, **metadata):
    """Let vault-secrets-operator be served, and bring the Secret of Redis."""

    def apply(world):
        world.put(kinds.VAULT_SECRETS, "prompt-redis-auth", SPACE, status={"conditions": list(conditions)})
        if metadata:
            world.change(kinds.VAULT_SECRETS, "prompt-redis-auth", SPACE, metadata=metadata)

    return apply


OWNED = own_secret(metadata={"ownerReferences": [{"kind": "VaultSecret", "name": "prompt-redis-auth", "uid": "u"}]})
CREATED = {"type": "SecretCreated", "status": "True", "reason": "Updated"}
FETCH_FAILED = {"type": "SecretCreated", "status": "False", "reason": "FetchFailed", "message": "permission denied"}
FRESH, MAY_ASK, TRIMMED = "vault/cluster-secrets-fresh", "redis/keda-may-ask", "redis/backlog-not-trimmed"
DELETED, SYNC_HEALTHY, EMPTY = "vault/secrets-not-deleted", "vault/vaultsecret-healthy", "redis/not-restarted-empty"
API_PATH = f"secret/data/{KEY}"
OF_INSTRUMENTS_TOO = [TRIMMED, MAY_ASK, EMPTY, "redis/pending-is-young", "redis/fan-out-alive"]
RED += [
    ("vault/unsealed", vault(replica=True), "fail", "disaster-recovery secondary"),
    (
        "vault/token-lives-on",
        vault(token_is=Token(240, True)),
        "warn",
        "ends in 4 min 0 s and can be renewed; a redeploy",
    ),
    ("vault/token-lives-on", vault(token_is=Token(599, False)), "warn", "can not be renewed"),
    ("vault/token-lives-on", vault(token_is=Token(None, False, 3)), "warn", "good for 3 more requests"),
    ("vault/kv-version-as-named", vault(kv=1), "fail", f"version 1 reads secret/{KEY[:6]}"),
    ("vault/kv-version-as-named", vault(kv=1), "fail", "version 2 secret/data/"),
    ("vault/kv-version-as-named", vault(kv=1, tells_mounts=False), "unknown", "cannot be seen: denied"),
    ("vault/paths-readable", lambda world: world.vault.allowed.discard(KEY), "fail", f"not let it read {API_PATH}"),
    ("vault/paths-readable", vault(tells_capabilities=False), "unknown", "does not say what this token may"),
    ("vault/paths-readable", nothing_secret, "unknown", "names none"),
    (DELETED, lambda world: world.vault.deleted.add(KEY), "fail", f"{KEY}: version 1, its newest, is deleted"),
    (DELETED, lambda world: world.vault.destroyed.add(KEY), "fail", "is destroyed"),
    (DELETED, lambda world: world.vault.contents.pop(KEY), "unknown", "absent: never written, or deleted with"),
    (DELETED, lambda world: world.vault.allowed.discard(KEY), "unknown", "denied"),
    (DELETED, nothing_secret, "unknown", "names none"),
    (SECRETS_OF_THE_ENVIRONMENT, in_vault(KEY, **{"redis-password": ""}), "fail", "no redis-password, or it is empty"),
    (
        FRESH,
        in_vault(KEY, **{"redis-password": "new"}),
        "fail",
        "prompt-redis-auth differs from Vault in redis-password",
    ),
    (FRESH, in_vault(KEY, **{"redis-password": "new"}), "fail", "version 1 is of 2026-01-01T00:00:00Z"),
    (FRESH, own_secret(data={"redis-password": "bmV3"}), "fail", "differs from Vault in redis-password"),
    (FRESH, own_secret(data={"redis-password": "no base64"}), "fail", "differs from Vault in redis-password"),
    (FRESH, own_secret(type="kubernetes.io/tls"), "fail", "is of type kubernetes.io/tls, not Opaque"),
    (FRESH, environment(secrets=()), "unknown", "names none"),
    (SYNC_HEALTHY, vault_secret(FETCH_FAILED), "fail", "FetchFailed: permission denied"),
    (SYNC_HEALTHY, vault_secret(), "unknown", "has not looked at it"),
    (SYNC_HEALTHY, vault_secret(CREATED, deletionTimestamp=now()), "fail", "is being deleted"),
    (SYNC_HEALTHY, OWNED, "fail", "which is not there: nobody brings it up to date"),
    (SYNC_HEALTHY, denied("get", "vaultsecrets"), "unknown", "cannot get"),
    (SYNC_HEALTHY, environment(secrets=()), "unknown", "names none"),
    *((check, environment(instruments=()), "unknown", "names none") for check in OF_INSTRUMENTS_TOO),
    ("redis/info-allowed", denies("INFO"), "fail", "no permissions to run the 'info' command"),
    ("redis/is-a-master", info("replication", role="slave", master_link_status="down"), "fail", "link down"),
    ("redis/data-is-kept", lambda world: world.redis.saves.update(save=""), "warn", "a restart comes back empty"),
    (
        "redis/data-is-kept",
        denies("CONFIG GET"),
        "unknown",
        "whether it takes snapshots cannot be seen: this user has no",
    ),
    (EMPTY, renamed_group, "fail", f"came back without {STREAM} with its group {GROUP}"),
    (TRIMMED, events(5, read=2, trimmed_to=1), "fail", "2 events were gone before they were read"),
    (TRIMMED, events(3, read=1, trimmed_to=0), "fail", "2 events were gone before they were read"),
    (TRIMMED, events(800), "warn", "800 events wait; beyond 1000 the oldest are trimmed unread"),
    (
        "redis/pending-is-young",
        left_pending(61),
        "warn",
        "1 events were given out and not acknowledged, the oldest for",
    ),
    ("redis/pending-is-young", left_pending(3600), "warn", "for 1:00:00 by pod-1"),
    ("redis/pending-is-young", renamed_group, "unknown", "NOGROUP"),
    (TRIMMED, renamed_group, "unknown", "NOGROUP"),
    ("redis/fan-out-alive", last_event(hours=49), "warn", "last event 49.0 h ago, expected within 48 h"),
    (
        "redis/fan-out-alive",
        info("server", uptime_in_seconds=200_000),
        "warn",
        "no event in the 55.6 h that Redis is up",
    ),
    ("redis/fan-out-alive", renamed_group, "unknown", "is absent"),
    (MAY_ASK, denies("INFO"), "fail", "as the default user: INFO is denied"),
    (MAY_ASK, denies("XLEN", "XINFO GROUPS"), "fail", "XINFO GROUPS, XLEN is denied"),
    (MAY_ASK, own_secret(data={"redis-password": "b2xk"}), "fail", "the login fails: WRONGPASS"),
    (MAY_ASK, trigger(), "fail", "without a password: the login fails: NOAUTH"),
    (MAY_ASK, trigger({"enableTLS": "true"}), "fail", "KEDA wants TLS"),
    (MAY_ASK, trigger({"password": "old"}), "fail", "WRONGPASS"),
    (
        MAY_ASK,
        trigger({"passwordFromEnv": "P", "username": "keda"}),
        "unknown",
        "which no container's env names plainly",
    ),
    (
        MAY_ASK,
        both(trigger({"passwordFromEnv": "P"}), container({"name": "P", "value": "old"})),
        "fail",
        "WRONGPASS",
    ),
    (MAY_ASK, remove(kinds.TRIGGER_AUTHENTICATIONS, "prompt-redis", SPACE), "fail", "triggerauthentications"),
    (MAY_ASK, own_secret(data={"redis-password": None}), "fail", "Secret prompt-keda-lsstcam/prompt-redis-auth has no"),
    (MAY_ASK, authentication(hashiCorpVault={"address": "a"}), "unknown", "KEDA's password comes from hashiCorpVault"),
    (MAY_ASK, denied("get", "triggerauthentications"), "unknown", "cannot get"),
    (MAY_ASK, scaled_job(spec={"triggers": []}), "fail", "has no trigger of type redis-streams"),
    (MAY_ASK, remove(kinds.SCALED_JOBS, SCALED_JOB, SPACE), "unknown", "is absent: KEDA asks for nothing"),
]


def known(**changes):
    """Let the environment say something else about what cannot be read."""
    return lambda world: environment(capacity=world.systems.environment.capacity.model_copy(update=changes))(world)


def big_node(**changes):
    """Give a node with room for a whole visit of production; ``changes`` are to its spec."""
    status = {"allocatable": {"cpu": "64", "memory": "512Gi", "pods": "2000"}}
    return change(kinds.NODES, "n1", status=status, spec=changes)


def neighbour(cpu, node="n1", phase="Running"):
    """Put a pod on the node that asks for so much."""
    spec = {"nodeName": node, "containers": [{"resources": {"requests": {"cpu": cpu}}}]}
    return lambda world: world.put(kinds.PODS, "neighbour", SPACE, spec=spec, status={"phase": phase})


def keda_flag(*arguments):
    container = {"image": KEDA_IMAGE, "args": list(arguments)}
    return change(kinds.DEPLOYMENTS, "keda-operator", "keda", spec={"template": {"spec": {"containers": [container]}}})


def worker_asks(**spec):
    return scaled_job(spec={"jobTargetRef": {"template": {"spec": spec}}})


def quota(hard, **spec):
    return lambda world: world.put(kinds.RESOURCE_QUOTAS, "q", SPACE, spec={"hard": hard, **spec})


def limit_range(**limits):
    return lambda world: world.put(kinds.LIMIT_RANGES, "r", SPACE, spec={"limits": [limits]})


VISIT = both(visit(172), big_node())
AFFINITY = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}
SYNCER = ClientLimit(qps=40, burst=80)
NO_GPU = {"key": "gpu", "effect": "NoSchedule"}
RED += [
    (ABSORBED, VISIT, "warn", "after 23 s of 20 s, 2 s of them until KEDA looks, 2 s for the pod"),
    (ABSORBED, VISIT, "warn", "kube-controller-manager at 20/30 binds with 19 s, at 50/100: 11 s in all"),
    (
        ABSORBED,
        both(VISIT, known(controller_manager=ClientLimit(qps=300, burst=600)), keda_flag("--kube-api-qps=5")),
        "warn",
        "keda-operator at 5/30 binds with 28 s, at 50/100: 5 s in all",
    ),
    (ABSORBED, scaled_job(spec={"pollingInterval": 30}), "warn", "after 32 s of 20 s, 30 s of them until KEDA looks"),
    (
        ABSORBED,
        both(change(kinds.NODES, "n1", status={"images": []}), known(image_pull=timedelta(seconds=90))),
        "warn",
        "92 s for the pod",
    ),
    (ABSORBED, neighbour("3985m"), "fail", "room for 1 more workers on 1 nodes, one visit wants 2; too little of: cpu"),
    (ABSORBED, both(VISIT, neighbour("63500m")), "fail", "room for 50 more workers"),
    (ABSORBED, big_node(unschedulable=True), "fail", "room for 0 more workers on 0 nodes"),
    (ABSORBED, big_node(taints=[NO_GPU]), "fail", "room for 0 more workers on 0 nodes"),
    (ABSORBED, worker_asks(nodeSelector={"node": "big"}), "fail", "room for 0 more workers on 0 nodes"),
    (ABSORBED, remove(kinds.NODES, "n1"), "unknown", "no node is shown"),
    (ABSORBED, known(syncer=SYNCER), "unknown", "after 4 s; a vCluster shows neither all nodes"),
    (ABSORBED, both(known(syncer=SYNCER), visit(172)), "unknown", "20/30 binds with 19 s"),
    (ABSORBED, known(syncer=ClientLimit(qps=1, burst=1), pod_start=timedelta(seconds=30)), "unknown", "syncer at 1/1"),
    (ABSORBED, worker_asks(affinity=AFFINITY), "unknown", "require nodes by affinity"),
    (ABSORBED, remove(kinds.SCALED_JOBS, SCALED_JOB, SPACE), "unknown", "is absent: what its workers ask for"),
    (ABSORBED, keda_flag("--kube-api-qps=many"), "unknown", "its limit cannot be read"),
    (ABSORBED, denied("list", "pods"), "fail", "cannot list resource 'pods'"),
    (FITS, visit(40), "warn", "1 nodes hold 110 workers at most, 400 may run; too little of: pods"),
    (FITS, remove(kinds.NODES, "n1"), "unknown", "no node is shown"),
    (FITS, known(syncer=SYNCER), "unknown", "a vCluster"),
    (FITS, worker_asks(affinity=AFFINITY), "unknown", "by affinity"),
    (FITS, worker_asks(containers=[{"resources": {"requests": {"cpu": "much"}}}]), "unknown", "'much' is no quantity"),
    (QUOTA, quota({"pods": "1"}), "fail", "lets 1 workers of LSSTCam in (pods), one visit wants 2"),
    (
        QUOTA,
        quota({"requests.cpu": "50m", "pods": "30"}),
        "warn",
        "lets 5 workers of LSSTCam in (requests.cpu), 20 may",
    ),
    (QUOTA, quota({"count/jobs.batch": "205"}), "warn", "lets 5 workers of LSSTCam in (count/jobs.batch)"),
    (QUOTA, quota({"limits.cpu": "100"}), "fail", "counts limits.cpu, which workers do not name"),
    (QUOTA, quota({"pods": "1"}, scopes=["PriorityClass"]), "unknown", "is for some pods only"),
    (QUOTA, limit_range(type="Container", max={"memory": "32Mi"}), "fail", "more memory than 32Mi"),
    (QUOTA, limit_range(type="Pod", min={"cpu": "1"}), "fail", "less cpu than 1"),
]


def node_of(architecture):
    return change(kinds.NODES, "n1", status=node_info(architecture))


def node_info(architecture):
    return {**conditions(Ready="True"), "nodeInfo": {"operatingSystem": "linux", "architecture": architecture}}


def runs_without_pull_secret(world):
    scaled_job(spec={"jobTargetRef": {"template": {"spec": {"imagePullSecrets": None}}}})(world)


def secret(name, text, namespace=SPACE):
    """Let a Secret hold another docker config."""
    data = {".dockerconfigjson": base64.b64encode(text.encode()).decode()}
    return change(kinds.SECRETS, name, namespace, data=data)


def docker_config(host=HOST, password="p"):
    return json.dumps({"auths": {host: {"username": "u", "password": password}}})


def moved_tag(world):
    """Let a part run what the tag meant, and move the tag."""
    name = f"{HOST}/keda:2.16.1"
    container = {"name": "keda-operator", "image": name, "ports": [{"name": "metrics", "containerPort": 8080}]}
    world.change(kinds.PODS, OPERATOR, "keda", spec={"containers": [container]})
    world.registry.put("keda", "2.16.1", f"sha256:{'3' * 64}")


def part(**status):
    """Let the operator's container have another status."""
    made = {"name": "keda-operator", "imageID": KEDA_IMAGE, **PART, **status}
    return change(kinds.PODS, OPERATOR, "keda", status={"containerStatuses": [made]})


def ended(reason="Error", **ago):
    return {"terminated": {"reason": reason, "exitCode": 1, "finishedAt": now(**ago)}}


def foreign(name="keda-operator", namespace=SPACE, image="ghcr.io/kedacore/keda:2.15.0", labels=None):
    """Let another KEDA's operator stand somewhere."""
    pod = {"spec": {"containers": [{"image": image}]}}
    return lambda world: world.put(kinds.DEPLOYMENTS, name, namespace, labels, spec={"template": pod})


def job(name="prompt-keda-lsstcam-ab12c", labels=None, spec=None, owner=None, **status):
    """Let one more Job stand."""

    def apply(world):
        world.put(kinds.JOBS, name, SPACE, labels, spec=spec or {}, status=status)
        references = [{"kind": "ScaledJob", "name": owner, "uid": "u"}] if owner else []
        world.change(kinds.JOBS, name, SPACE, metadata={"ownerReferences": references})

    return apply


def finished(*kinds_of_end):
    """Let Jobs be finished, one after the other; each is Complete or Failed."""
    ends = [{"type": kind, "status": "True", "reason": "BackoffLimitExceeded", "message": "m"} for kind in kinds_of_end]
    return both(
        *(
            job(f"done-{index}", LABELLED, conditions=[{**end, "lastTransitionTime": f"2026-01-01T00:0{index}:00Z"}])
            for index, end in enumerate(ends)
        )
    )


def erring(*counts, polling=timedelta(milliseconds=1)):
    """Let KEDA count errors, more each time that it is asked."""

    def apply(world):
        one = world.systems.environment.instruments[0].model_copy(update={"polling_interval": polling})
        environment(instruments=(one,))(world)
        left = list(counts)

        def page(*where):
            count = left.pop(0) if len(left) > 1 else left[0]
            return f'keda_scaled_job_errors_total{{namespace="{SPACE}",scaledJob="{SCALED_JOB}"}} {count}'

        world.kube.page = page

    return apply


def schema(changes):
    """Let the CRD's schema of a ScaledJob's spec have other properties."""
    spec = SCHEMA["properties"]["spec"]
    return {**SCHEMA, "properties": {"spec": {**spec, "properties": {**spec["properties"], **changes}}}}


def next_keda(made):
    """Let the environment's manifests have another schema."""

    def apply(world):
        path, sha256 = keda_manifests(json.dumps(made))
        keda = world.systems.environment.keda
        pinned = keda.manifests.model_copy(update={"source": path, "sha256": sha256})
        environment(keda=keda.model_copy(update={"manifests": pinned}))(world)

    return apply


LABELLED = {"scaledjob.keda.sh/name": SCALED_JOB}
NO_DEFAULT = schema({"rollout": {"type": "object", "properties": {"strategy": {"enum": ["gradual", "immediate"]}}}})
HOOK = {"annotations": {"argocd.argoproj.io/hook": "PostSync"}}
DELETED = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["finalizer.keda.sh"]}
PLATFORMS, LAYERS, PULL_SECRETS = "images/platforms-fit", "images/layers-present", "images/pull-secrets-fit"
VALID, VALID_NEXT = "keda/scaled-jobs-valid", "keda/scaled-jobs-valid-for-redeploy"
ACTIVATE, ONLY_ONE, STAY_UP = "keda/triggers-activate", "keda/only-one", "keda/parts-not-restarting"
RED += [
    # images
    (PLATFORMS, node_of("s390x"), "fail", "not for linux/s390x"),
    (
        PLATFORMS,
        lambda world: world.put(kinds.NODES, "n2", status=node_info("arm64")),
        "warn",
        f"{HOST}/worker is for linux/amd64, not for linux/arm64",
    ),
    (PLATFORMS, lambda world: world.registry.lost.add("sha256:c1"), "fail", "worker has no sha256:c1"),
    (LAYERS, lambda world: world.registry.lost.add("sha256:l1"), "fail", f"{HOST}/worker lacks its part sha256:l1"),
    (LAYERS, lambda world: world.registry.lost.add("sha256:l2"), "fail", f"{HOST}/keda lacks its part sha256:l2"),
    (PULL_SECRETS, secret("pull-secret", docker_config("other.test")), "fail", f"has nothing for {HOST}"),
    (PULL_SECRETS, secret("pull-secret", docker_config(password="q")), "fail", f"is denied by {HOST}"),
    (PULL_SECRETS, secret("pull-secret", "?"), "fail", "is no docker config"),
    (PULL_SECRETS, remove(kinds.SECRETS, "pull-secret", SPACE), "fail", "Secret pull-secret is absent"),
    (PULL_SECRETS, runs_without_pull_secret, "fail", "the pods have no pull secret"),
    (
        PULL_SECRETS,
        both(remove(kinds.SECRETS, "pull-secret", SPACE), lambda world: world.opens_with.clear()),
        "warn",
        "is absent, and is not needed",
    ),
    (PULL_SECRETS, denied("get", "secrets"), "unknown", "may not be read here"),
    ("images/images-pinned", runs(f"{HOST}/worker:local"), "warn", "is named by a tag alone"),
    ("images/images-pinned", runs("busybox"), "warn", "the tag latest"),
    ("images/images-pinned", keda_runs(f"{HOST}/keda:2.16.1"), "warn", "keda-operator: "),
    ("images/running-as-named", moved_tag, "warn", "the tag was moved"),
    # KEDA's parts
    (STAY_UP, part(restartCount=2, lastState=ended(minutes=5)), "warn", "restarted 2 times, last 5 min ago: Error"),
    (STAY_UP, part(restartCount=1, lastState=ended("OOMKilled", minutes=5)), "fail", "ran out of memory"),
    (
        STAY_UP,
        part(restartCount=9, lastState=ended(hours=2), state={"waiting": {"reason": "CrashLoopBackOff"}}),
        "fail",
        "does not stay up: 9 restarts, last: Error (exit 1)",
    ),
    (
        "keda/crds-of-version",
        change(kinds.CRDS, "scaledjobs.keda.sh", metadata={"labels": {"app.kubernetes.io/version": "2.15.0"}}),
        "warn",
        "is of version 2.15.0",
    ),
    (
        "keda/crds-of-version",
        change(kinds.CRDS, "scaledjobs.keda.sh", metadata={"labels": {"app.kubernetes.io/version": None}}),
        "unknown",
        "says no version",
    ),
    (ONLY_ONE, foreign(), "fail", f"another KEDA operator: Deployment {SPACE}/keda-operator"),
    (
        ONLY_ONE,
        foreign("mine", image="a.test/own:1", labels={"app.kubernetes.io/name": "keda-operator"}),
        "fail",
        "mine",
    ),
    (
        ONLY_ONE,
        lambda world: world.put(kinds.LEASES, "operator.keda.sh", SPACE, spec={"renewTime": now()}),
        "fail",
        f"holds a Lease in {SPACE}",
    ),
    (ONLY_ONE, change(kinds.API_SERVICES, METRICS, spec={"service": {"namespace": "other"}}), "fail", "leads to other"),
    (
        ONLY_ONE,
        change(
            kinds.VALIDATING_WEBHOOKS,
            "keda-admission",
            webhooks=[{"clientConfig": {"service": {"namespace": "other"}}}],
        ),
        "fail",
        "webhooks of keda-admission lead to other",
    ),
    (ONLY_ONE, denied("list", "deployments"), "unknown", "Deployments of all namespaces may not be seen"),
    ("keda/ready-is-fresh", lambda world: world.put_metrics(names=()), "warn", "runs no loop for it"),
    (
        "keda/ready-is-fresh",
        change(kinds.LEASES, "operator.keda.sh", "keda", spec={"holderIdentity": "gone-1_u"}),
        "unknown",
        "the Lease's holder gone-1 is no pod",
    ),
    ("keda/ready-is-fresh", denied("get", "pods/portforward"), "unknown", "metrics may not be read"),
    ("keda/nothing-errors", erring(3, 5), "warn", "5 errors since the operator's start, 2 of them just now"),
    ("keda/nothing-errors", erring(3, polling=timedelta(minutes=1)), "warn", "whether they go on is not seen"),
    ("keda/nothing-errors", lambda world: world.kube.pages.clear(), "unknown", "404"),
    # ScaledJobs
    (VALID, scaled_job(spec={"triggers": None}), "fail", "spec lacks triggers"),
    (VALID, scaled_job(spec={"maxReplicaCount": "20"}), "fail", "spec.maxReplicaCount is no integer"),
    (VALID, scaled_job(spec={"maxReplicas": 20}), "warn", "KEDA knows no spec.maxReplicas"),
    (VALID, change(kinds.CRDS, "scaledjobs.keda.sh", spec={"versions": []}), "unknown", "has no schema of v1alpha1"),
    (VALID_NEXT, next_keda(NO_DEFAULT), "fail", "spec.rollout.strategy does not fit enum"),
    (VALID_NEXT, without_manifests, "unknown", "not on this machine"),
    ("keda/scaled-jobs-present", remove(kinds.SCALED_JOBS, SCALED_JOB, SPACE), "fail", "is absent"),
    ("keda/finalizers-not-stuck", scaled_job(metadata=DELETED), "fail", "held by finalizer.keda.sh"),
    (
        "keda/history-limits-sensible",
        scaled_job(spec={"failedJobsHistoryLimit": 0}),
        "warn",
        "failedJobsHistoryLimit is 0",
    ),
    (ACTIVATE, triggers({"activationLagCount": "0"}), "fail", "activationLagCount is missing or 0"),
    (ACTIVATE, triggers({"activationLagCount": None}), "fail", "activationLagCount is missing or 0"),
    (ACTIVATE, triggers({"lagCount": "many"}), "fail", "lagCount is many, which is no number"),
    (
        ACTIVATE,
        scaled_job(spec={"triggers": [{"type": "redis-streams", "metadata": TRIGGER, "metricType": "Value"}]}),
        "fail",
        "metricType is set",
    ),
    (
        ACTIVATE,
        scaled_job(spec={"triggers": [{"type": "redis-streams", "metadata": TRIGGER, "useCachedMetrics": True}]}),
        "warn",
        "useCachedMetrics",
    ),
    (
        ACTIVATE,
        scaled_job(spec={"triggers": [{"type": "redis-streams", "metadata": TRIGGER}] * 2}),
        "warn",
        "2 triggers, and one is expected",
    ),
    ("keda/rollout-keeps-jobs", scaled_job(metadata=HOOK), "warn", "a sync deletes its 1 running Jobs"),
    (
        "keda/no-max-run-time",
        scaled_job(spec={"jobTargetRef": {"template": {"spec": {"activeDeadlineSeconds": 900}}}}),
        "fail",
        "activeDeadlineSeconds",
    ),
    (
        "keda/scaled-jobs-ready",
        scaled_job(status={"conditions": [{"type": "Ready", "status": "Unknown", "reason": "PartialTriggerError"}]}),
        "fail",
        "PartialTriggerError",
    ),
    # Jobs
    ("keda/jobs-are-counted", job(active=1), "warn", "1 running Jobs are not counted: prompt-keda-lsstcam-ab12c"),
    ("keda/jobs-are-counted", job("renamed", owner=SCALED_JOB, active=1), "warn", "renamed"),
    (
        "keda/no-job-has-a-limit",
        job(labels=LABELLED, spec={"activeDeadlineSeconds": 900}, active=1),
        "fail",
        "1 running Jobs have a maximum run time",
    ),
    (
        "keda/no-job-has-a-limit",
        job(labels=LABELLED, spec={"template": {"spec": {"activeDeadlineSeconds": 900}}}, active=1),
        "fail",
        "prompt-keda-lsstcam-ab12c",
    ),
    (
        "keda/jobs-do-not-fail",
        finished("Failed", "Complete", "Failed", "Complete", "Failed", "Failed"),
        "warn",
        "3 of the newest 5 Jobs failed; done-5: BackoffLimitExceeded, m",
    ),
]
OF_NEW_INSTRUMENTS = (
    "keda/scaled-jobs-present",
    "keda/finalizers-not-stuck",
    "keda/history-limits-sensible",
    ACTIVATE,
    VALID,
    VALID_NEXT,
    "keda/ready-is-fresh",
    "keda/nothing-errors",
    "keda/rollout-keeps-jobs",
    "keda/jobs-are-counted",
    "keda/no-job-has-a-limit",
    "keda/jobs-do-not-fail",
)
RED += [(check, environment(instruments=()), "unknown", "names none") for check in OF_NEW_INSTRUMENTS]
NOT_HERE = {"cluster/api-answers"}
"""Seen red by tests/contracts/test_kube_login.py. The deep ones: tests/unit/test_deep.py."""


def here():
    return [id_ for id_, one in CHECKS.items() if id_ not in NOT_HERE and not one.deep]


@pytest.mark.parametrize("check", here())
def test_a_check_is_green_when_all_is_as_it_should_be(check):
    """On the doubles."""
    outcome = World().verdict(check)
    assert outcome.verdict.value == "ok", outcome


def test_the_checks_read_and_never_write():
    """All of them, side by side, on doubles whose writing methods raise; and nothing is other than before."""
    world = World()
    before = copy.deepcopy((world.kube._objects, world.redis._streams))
    world.systems._made |= world.read_only()
    checks = [one for one in CHECKS.values() if not one.deep]
    results = run_checks(checks, world.systems, nobody, timedelta(seconds=30))
    assert [one for one in results if one.verdict.value != "ok"] == []
    assert (world.kube._objects, world.redis._streams) == before


@pytest.mark.parametrize(
    "write",
    [
        lambda made: made["kube"].patch(kinds.SCALED_JOBS, SCALED_JOB, SPACE, {}),
        lambda made: made["kube"].request("DELETE", "/"),
        lambda made: made["redis"].ensure_group(STREAM, "new", "$"),
        lambda made: made["redis"].count_read(STREAM, GROUP),
    ],
    ids=["patch", "request", "ensure_group", "count_read"],
)
def test_the_doubles_that_checks_get_let_nothing_be_written(write):
    """Otherwise the test above, and every row of this file, would prove nothing of that."""
    with pytest.raises(AssertionError, match="never writes"):
        write(World().read_only())


@pytest.mark.parametrize(("check", "breaks", "verdict", "said"), RED, ids=[f"{one[0]}-{one[3]}" for one in RED])
def test_a_check_turns_red_for_its_reason(check, breaks, verdict, said):
    """One thing is broken; the verdict fits, and names it."""
    world = World()
    breaks(world)
    outcome = world.verdict(check)
    assert (outcome.verdict.value, said in outcome.observed) == (verdict, True), outcome


@pytest.mark.parametrize(
    "breaks",
    [
        both(names_images(f"{HOST}/worker"), runs(f"{HOST}/worker:local")),
        names_images(FillIn("FILL-IN: busybox by digest"), WORKER_IMAGE),
        keda_runs(f"{HOST}/keda:2.16.1@sha256:{'2' * 64}"),
    ],
    ids=["a name without tag", "a name to be filled in", "tag and digest"],
)
def test_what_is_as_it_should_be_in_another_way_is_green(breaks):
    """The live image stands in for a name that says no tag, or is to be filled in; a tag beside a digest is read."""
    world = World()
    breaks(world)
    for check in (WORKERS, KEDA_IMAGES, "keda/one-version"):
        assert world.verdict(check).verdict.value == "ok", world.verdict(check)


@pytest.mark.parametrize(
    ("check", "breaks"),
    [
        (LOGIN, login(2.5 * MINUTE, 15 * MINUTE)),
        (LOGIN, login(MINUTE, 15 * MINUTE, renews=True)),
        (LOGIN, login(11 * MINUTE, 8 * HOUR)),
        (LOGIN, login(8 * DAY, 365 * DAY, "client certificate")),
        (LOGIN, attribute("kube", life=LoginLife("token", None))),
        (GOING, pod(seconds=20)),
        (GOING, pod(node="n1", seconds=20)),
        (GOING, pod(phase="Failed")),
        (GOING, both(pod(node="n2"), lambda world: world.put(kinds.NODES, "n2", status=conditions(Ready="Unknown")))),
        (GOING, both(pod(), leaving("p1", SPACE, 20))),
        (STUCK, terminating("a", 40)),
        (STUCK, terminating("keda", 90)),
        (OTHER_APIS, change(kinds.API_SERVICES, METRICS, status=conditions(Available="False"))),
        (ROOM, both(asks(cpu="1"), pod(node="n1", requests={"cpu": "2"}, phase="Succeeded"))),
        (ROOM, both(node(taints=[TAINT]), asks(tolerations=[{"key": "gpu", "operator": "Exists"}]))),
        (DNS, change(kinds.ENDPOINT_SLICES, "kube-dns", "kube-system", endpoints=[{"conditions": {}}])),
    ],
)
def test_what_is_not_yet_broken_or_another_checks_is_green(check, breaks):
    """Pods and namespaces get their time; what another check tells is told once."""
    world = World()
    breaks(world)
    assert world.verdict(check).verdict.value == "ok", world.verdict(check)


OF_A_USER = {"secretTargetRef": [{"parameter": "password", "name": "prompt-redis-auth", "key": "redis-password"}]}
PASSWORD = {"name": "P", "valueFrom": {"secretKeyRef": {"name": "prompt-redis-auth", "key": "redis-password"}}}


@pytest.mark.parametrize(
    ("check", "breaks"),
    [
        ("vault/unsealed", vault(standby=True)),
        ("vault/token-lives-on", vault(token_is=Token(None, False))),
        ("vault/kv-version-as-named", vault(tells_mounts=False)),
        (SYNC_HEALTHY, both(OWNED, vault_secret(CREATED))),
        (EMPTY, both(renamed_group, info("commandstats", cmdstat_del={"calls": 1}))),
        (EMPTY, both(renamed_group, info("server", uptime_in_seconds=100_000))),
        ("redis/data-is-kept", both(denies("CONFIG GET"), info("persistence", aof_enabled=1))),
        (TRIMMED, events(5, read=3, trimmed_to=2)),
        (TRIMMED, lambda world: lost_count(world, 1)),
        ("redis/pending-is-young", left_pending(5)),
        ("redis/fan-out-alive", last_event(hours=47)),
        (MAY_ASK, both(trigger({"passwordFromEnv": "P"}), container(PASSWORD))),
        (MAY_ASK, trigger({"password": "value"})),
        (MAY_ASK, both(authentication(env=[{"parameter": "password", "name": "P"}]), container(PASSWORD))),
        (
            MAY_ASK,
            both(
                trigger({"username": "keda"}, authenticationRef={"name": "prompt-redis"}),
                lambda world: world.redis.users.update(keda="value"),
            ),
        ),
    ],
)
def test_vault_and_redis_are_green_in_other_ways_too(check, breaks):
    """A standby, a token for ever, another way to log in; and another cause than the one that a check is for."""
    world = World()
    breaks(world)
    assert world.verdict(check).verdict.value == "ok", world.verdict(check)


def test_a_shared_authentication_takes_its_secret_from_kedas_namespace():
    """ClusterTriggerAuthentication: its Secrets stand beside KEDA, not beside the ScaledJob."""
    world = World()
    world.put(kinds.CLUSTER_TRIGGER_AUTHENTICATIONS, "shared", spec=OF_A_USER)
    trigger(authenticationRef={"name": "shared", "kind": "ClusterTriggerAuthentication"})(world)
    assert "404" in world.verdict(MAY_ASK).observed
    world.put(kinds.SECRETS, "prompt-redis-auth", "keda", data={"redis-password": "dmFsdWU="})
    assert world.verdict(MAY_ASK).verdict.value == "ok"


@pytest.mark.parametrize(
    "breaks", [in_vault(KEY, **{"redis-password": "new"}), own_secret(data={"redis-password": "bmV3"})]
)
def test_a_stale_secret_is_told_without_a_value(breaks):
    """Neither value, nor its base64 form, nor a hash of it."""
    world = World()
    breaks(world)
    told = repr(world.verdict(FRESH))
    for value in (b"value", b"new"):
        forms = base64.b64encode(value).decode(), hashlib.sha256(value).hexdigest()
        assert not any(form in told for form in (*forms, "'new'", "'value'"))


def test_redis_is_asked_once_for_all_of_its_checks():
    """One survey, in one round trip; beside it the login and KEDA's own."""
    world, asked = World(), []
    original = world.redis.survey
    world.redis.survey = lambda pairs: [asked.append(pairs), original(pairs)][1]
    of_redis = [one for one in CHECKS.values() if one.category == "redis"]
    results = run_checks(of_redis, world.systems, nobody, timedelta(seconds=30))
    assert {one.verdict.value for one in results} == {"ok"} and asked == [[(STREAM, GROUP)]]


@pytest.mark.parametrize(
    ("check", "breaks", "said"),
    [
        (ABSORBED, neighbour("3985m", phase="Succeeded"), "room for 107 more workers"),
        (ABSORBED, neighbour("3985m", node="n2"), "room for 107 more workers"),
        (ABSORBED, both(big_node(taints=[NO_GPU]), worker_asks(tolerations=[{"operator": "Exists"}])), "room for"),
        (ABSORBED, both(VISIT, keda_flag("--kube-api-qps=-1"), known(controller_manager=SYNCER)), "after 12 s"),
        (FITS, both(visit(172), big_node()), "1 nodes hold 2000 workers, 1720 may run"),
        (QUOTA, quota({"pods": "30", "services": "0"}), "lets 20 workers in"),
        (QUOTA, quota({"pods": "1"}, scopes=["BestEffort"]), "is not about workers"),
        (QUOTA, both(quota({"limits.cpu": "9"}), limit_range(type="Container", default={"cpu": "10m"})), "lets"),
        (QUOTA, lambda world: None, "no quota in prompt-keda-lsstcam"),
    ],
)
def test_what_leaves_room_is_green(check, breaks, said):
    """Pods that have ended or stand elsewhere, taints that are tolerated, quotas that are wide enough or not meant."""
    world = World()
    breaks(world)
    outcome = world.verdict(check)
    assert (outcome.verdict.value, said in outcome.observed) == ("ok", True), outcome


def test_what_is_told_and_no_more_is_green():
    """One restart, errors of before, Jobs that an edit would delete, a lag to begin at, and no node in sight."""
    told = [
        (STAY_UP, part(restartCount=1, lastState=ended(minutes=1)), "1 restarts of 3 containers"),
        ("keda/nothing-errors", erring(3), "3 errors since the operator's start, none just now"),
        (
            "keda/rollout-keeps-jobs",
            lambda world: None,
            "an edit of prompt-keda-lsstcam would delete its 1 running Jobs",
        ),
        (ACTIVATE, triggers({"activationLagCount": "2"}), "from a lag of 3 on"),
        (PLATFORMS, remove(kinds.NODES, "n1"), "linux/amd64 (assumed: no node is seen)"),
        (VALID, scaled_job(status={"conditions": [], "unknown": 1}), "2 as KEDA's CRD wants them"),
        ("keda/crds-of-version", lambda world: None, "owned by no Helm release"),
    ]
    for check, breaks, said in told:
        world = World()
        breaks(world)
        outcome = world.verdict(check)
        assert outcome.verdict.value == "ok" and said in f"{outcome.observed} {outcome.detail}", outcome


def test_manifests_that_are_to_be_filled_in_are_no_next_keda():
    """The check is then left out, with its reason, and makes nothing red."""
    world = World()
    keda = world.systems.environment.keda
    unfilled = keda.manifests.model_copy(update={"source": FillIn("FILL-IN: the rendered chart")})
    environment(keda=keda.model_copy(update={"manifests": unfilled}))(world)
    assert world.verdict(VALID_NEXT).verdict.value == "skipped"


def test_a_registry_that_does_not_answer_is_asked_once():
    """Each time costs the time-out, and the check's deadline is short."""
    world = World()
    both(second_registry, names_images(*(f"silent.test/a:{number}" for number in range(7))))(world)
    asked = []
    world.systems._made["registry silent.test"].manifest_digest = lambda *names: [asked.append(names), unreachable()]
    outcome = world.verdict(WORKERS)
    assert len(asked) == 1 and "and 2 more" in outcome.observed, outcome


def test_every_check_is_seen_red():
    """A new check needs a row above."""
    assert {one[0] for one in RED} == set(here())


NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {}}


def test_the_images_of_a_keda_that_is_gone_come_from_its_manifests(tmp_path):
    """What a redeploy will pull: absent from the registry is red before anything is removed."""
    world = World()
    without_parts(world)
    container = {"image": f"{HOST}/keda@sha256:3"}
    deployment = {"kind": "Deployment", "spec": {"template": {"spec": {"containers": [container]}}}}
    data = json.dumps([NAMESPACE, {**NAMESPACE, **deployment}]).encode()
    (tmp_path / "keda.json").write_bytes(data)
    pinned = {"source": str(tmp_path / "keda.json"), "sha256": hashlib.sha256(data).hexdigest()}
    keda = world.systems.environment.keda
    keda = keda.model_copy(update={"manifests": keda.manifests.model_copy(update=pinned)})
    world.systems.environment = world.systems.environment.model_copy(update={"keda": keda})
    outcome = world.verdict("images/keda-images-present")
    assert outcome.verdict.value == "fail" and "keda has no sha256:3" in outcome.observed
