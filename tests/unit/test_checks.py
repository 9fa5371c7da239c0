"""Every check is seen green on doubles that are as they should be, and red when one thing is not.

The contract suites hold the doubles to what the real servers do.
"""

from __future__ import annotations

import copy
import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest

from prompt_keda.clients import kube_resources as kinds
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
    SCALED_JOB,
    SPACE,
    STREAM,
    TRIGGER,
    WORKER_IMAGE,
    World,
    conditions,
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
    redis = world.systems.environment.redis.model_copy(update={"password": None})
    environment(secrets=(), redis=redis)(world)


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
    ("images/keda-images-present", lambda world: world.registry.images.clear(), "fail", "keda has no sha256:2"),
    ("images/keda-images-present", without_parts, "unknown", "not on this machine"),
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
        f"{KEY}: no such secret",
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
ABSORBED, FITS, QUOTA = "capacity/burst-absorbed", "capacity/maximum-fits", "capacity/quota-allows"


def visit(events):
    """Let one visit bring so many events, and ten of them be in flight."""

    def apply(world):
        first = world.systems.environment.instruments[0]
        sizes = {"visit_events": events, "max_jobs": 10 * events}
        environment(instruments=(first.model_copy(update=sizes),))(world)

    return apply


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
TAINT = {"key": "gpu", "effect": "NoSchedule"}
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
    (ABSORBED, neighbour("1990m"), "fail", "room for 1 more workers on 1 nodes, one visit wants 2; too little of: cpu"),
    (ABSORBED, both(VISIT, neighbour("63500m")), "fail", "room for 50 more workers"),
    (ABSORBED, big_node(unschedulable=True), "fail", "room for 0 more workers on 0 nodes"),
    (ABSORBED, big_node(taints=[TAINT]), "fail", "room for 0 more workers on 0 nodes"),
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
        keda_runs(f"{HOST}/keda:2.16.1@sha256:2"),
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
    ("check", "breaks", "said"),
    [
        (ABSORBED, neighbour("1990m", phase="Succeeded"), "room for 110 more workers"),
        (ABSORBED, neighbour("1990m", node="n2"), "room for 110 more workers"),
        (ABSORBED, both(big_node(taints=[TAINT]), worker_asks(tolerations=[{"operator": "Exists"}])), "room for"),
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
