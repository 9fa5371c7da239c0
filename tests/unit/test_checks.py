"""Every check is seen green on doubles that are as they should be, and red when one thing is not.

The contract suites hold the doubles to what the real servers do.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest

from prompt_keda.clients import kube_resources as kinds

from .world import (
    CHECKS,
    GROUP,
    HOST,
    METRICS,
    SCALED_JOB,
    SPACE,
    STREAM,
    TRIGGER,
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


KEY = "rubin/prompt-keda-local/prompt-redis"
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
        scaled_job(spec={"triggers": [{"metadata": {"stream": "instrument:latiss", "consumerGroup": GROUP}}]}),
        "fail",
        "instrument:latiss",
    ),
]
NOT_HERE = {"identity/ldap-answers", "cluster/api-answers"}
"""Seen red on the real directory and Redis alone; and by tests/contracts/test_kube_login.py."""


def here():
    return [id_ for id_ in CHECKS if id_ not in NOT_HERE]


@pytest.mark.parametrize("check", here())
def test_a_check_is_green_when_all_is_as_it_should_be(check):
    """On the doubles."""
    outcome = World().verdict(check)
    assert outcome.verdict.value == "ok", outcome


@pytest.mark.parametrize(("check", "breaks", "verdict", "said"), RED, ids=[f"{one[0]}-{one[3]}" for one in RED])
def test_a_check_turns_red_for_its_reason(check, breaks, verdict, said):
    """One thing is broken; the verdict fits, and names it."""
    world = World()
    breaks(world)
    outcome = world.verdict(check)
    assert (outcome.verdict.value, said in outcome.observed) == (verdict, True), outcome


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
