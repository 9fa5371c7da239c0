"""A Redis that speaks TLS, beside the stack's own: the toolkit, KEDA and the workers verify it, and scaling works on it.

Its certificate is for its Service's name alone: who connects through a port-forward, or verifies another name, is seen red.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from prompt_keda.clients.kube.conditions import has_condition
from prompt_keda.clients.kube.resources import SCALED_JOBS
from prompt_keda.clients.systems import Systems
from prompt_keda.environment.loading import load_environment
from prompt_keda.lab import base_objects, contents, services, settings, state
from prompt_keda.lab.pki import Authority

from .conftest import ENV, ROOT, run_json, until

SPACE, NAME = "redis-by-tls", "prompt-redis"
HOST = f"{NAME}.{SPACE}"
STREAM, GROUP = "instrument:bytls", "bytls_consumer_group"
CONF = """
port 0
tls-port 6379
tls-cert-file /etc/redis/redis.crt
tls-key-file /etc/redis/redis.key
tls-ca-cert-file /etc/redis/ca.crt
tls-auth-clients no
dir /data
appendonly yes
bind * -::*
protected-mode no
"""


def named(kind, name=NAME, api_version="v1", **fields):
    return {"apiVersion": api_version, "kind": kind, "metadata": {"namespace": SPACE, "name": name}, **fields}


def redis_objects(image, authority, password):
    """Return the namespace, and in it a Redis that speaks nothing but TLS."""
    files = {file: (authority.folder / file).read_text() for file in ("redis.crt", "redis.key", "ca.crt")}
    files["redis.conf"] = f"{CONF}requirepass {password}\n"
    container = {
        "name": "redis",
        "image": image,
        "args": ["/etc/redis/redis.conf"],
        "ports": [{"containerPort": 6379, "name": "redis"}],
        "readinessProbe": {"tcpSocket": {"port": "redis"}, "periodSeconds": 1},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/redis"}, {"name": "data", "mountPath": "/data"}],
    }
    pod = named("Pod", spec={
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "imagePullSecrets": [{"name": "pull-secret"}],
        "securityContext": {"runAsUser": base_objects.REDIS_USER, "runAsNonRoot": True},
        "containers": [container],
        "volumes": [{"name": "config", "secret": {"secretName": NAME}}, {"name": "data", "emptyDir": {}}],
    })  # fmt: skip
    pod["metadata"]["labels"] = {"app": NAME}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}},
        base_objects.pull_secret(SPACE, services.docker_config(settings.current_lab())),
        named("Secret", stringData=files),
        pod,
        named("Service", spec={"selector": {"app": NAME}, "ports": [{"port": 6379, "targetPort": "redis"}]}),
    ]


def scaled_job(image, **metadata):
    """Return an instrument's ScaledJob whose trigger asks this Redis."""
    trigger = {"address": f"{HOST}:6379", "stream": STREAM, "consumerGroup": GROUP}
    trigger |= {"lagCount": "1", "activationLagCount": "1", **metadata}
    pod = {"restartPolicy": "Never", "containers": [{"name": "worker", "image": image}]}
    spec = {"jobTargetRef": {"template": {"spec": pod}}, "pollingInterval": 1, "maxReplicaCount": 1}
    spec["triggers"] = [{"type": "redis-streams", "metadata": trigger, "authenticationRef": {"name": NAME}}]
    return named("ScaledJob", api_version="keda.sh/v1alpha1", spec=spec)


def trigger_authentication(authority, password):
    """Return what KEDA logs in with, and verifies this Redis by."""
    values = {"redis-password": password, "ca": authority.ca_file.read_text()}
    keys = {"password": "redis-password", "ca": "ca"}
    spec = {
        "secretTargetRef": [{"parameter": parameter, "name": "keda", "key": key} for parameter, key in keys.items()]
    }
    made = named("TriggerAuthentication", api_version="keda.sh/v1alpha1", spec=spec)
    return [named("Secret", "keda", stringData=values), made]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A CA that nothing else of the stack knows."""
    made = Authority(tmp_path_factory.mktemp("tls") / "pki")
    made.ensure_server("redis", [HOST])
    return made


def environment(folder, ca_file):
    """Write the suite's environment with this Redis, and one instrument on it; gives the file."""
    data = yaml.safe_load((ROOT / "environments" / f"{ENV}.yaml").read_text())
    data["redis"] |= {"namespace": SPACE, "tls": {"ca_file": str(ca_file)}}
    instrument = data["instruments"][0]
    del instrument["manifest"]
    instrument |= {"namespace": SPACE, "scaled_job": NAME, "stream": STREAM, "consumer_group": GROUP}
    instrument |= {"min_jobs": 0, "max_jobs": 1}
    file = folder / "by-tls.yaml"
    file.write_text(yaml.safe_dump(data))
    return str(file)


@pytest.fixture
def env(shared, authority):
    """The environment, readable for whoever runs the toolkit."""
    (shared / "ca.crt").write_text(authority.ca_file.read_text())
    return environment(shared, shared / "ca.crt")


@pytest.fixture(scope="module")
def tls_redis(deployed, endpoints, admin, authority, tmp_path_factory):
    """A Redis with TLS in a namespace of its own, and a ScaledJob that KEDA says is Ready."""
    lab = settings.current_lab()
    password = state.ensure_secret(lab, "redis-password").reveal()
    own = contents.kubectl(lab, ["-n", base_objects.REDIS_NAMESPACE, "get", "statefulset", NAME, "-o", "json"])
    image = json.loads(own)["spec"]["template"]["spec"]["containers"][0]["image"]
    try:
        contents.apply(lab, redis_objects(image, authority, password))
        wait = ["-n", SPACE, "wait", f"pod/{NAME}", "--for=condition=Ready", "--timeout=60s"]
        contents.kubectl(lab, wait, timeout_s=70)
        file = environment(tmp_path_factory.mktemp("by-tls"), authority.ca_file)
        made = Systems(load_environment(Path(file), endpoints))
        made.redis.ensure_group(STREAM, GROUP, "0")
        made.close()
        objects = trigger_authentication(authority, password)
        contents.apply(lab, [*objects, scaled_job(endpoints["worker_image"], enableTLS="true")])
        until(lambda: has_condition(admin.get(SCALED_JOBS, NAME, SPACE), "Ready"), 60, "a ScaledJob that is Ready")
        yield
    finally:
        contents.kubectl(lab, ["-n", SPACE, "delete", "scaledjob", "--all", "--ignore-not-found"])
        contents.kubectl(lab, ["delete", "namespace", SPACE, "--ignore-not-found"], timeout_s=120)


def verdicts(env, only="redis"):
    """Return what the checks of Redis say: id → verdict and what was seen."""
    _, document = run_json("check-deps", "--env", env, "--only", only)
    return {result["id"]: (result["verdict"], result["observed"]) for result in document["results"]}


def test_every_check_of_redis_is_green(tls_redis, env):
    """Through the port-forward, with the certificate verified for the Service's name; and as KEDA, by KEDA's authority."""
    results = verdicts(env)
    assert {outcome[0] for outcome in results.values()} == {"ok"}, results
    assert " by TLS (port-forward" in results["redis/answers"][1]


def test_events_become_jobs_whose_workers_acknowledge_them(tls_redis, env):
    """The smoke test: KEDA and its workers are handed the authority, and speak TLS."""
    code, document = run_json("smoke", "--env", env, "--events", "2")
    assert code == 0, document
    assert document["smoke"]["acknowledged_count"] == document["smoke"]["events_count"] >= 3


def test_an_authority_that_did_not_sign_is_not_taken(tls_redis, env, endpoints):
    """The stack's own CA has nothing to do with this Redis: nothing is asked, and nothing is green."""
    text = Path(env).read_text()
    Path(env).write_text(text.replace(str(Path(env).parent / "ca.crt"), endpoints["ca_file"]))
    results = verdicts(env)
    assert results["redis/answers"][0] == "unknown"
    assert "TLS: the authority of its certificate is not trusted" in results["redis/answers"][1]
    assert "ok" not in {outcome[0] for name, outcome in results.items() if name.startswith("redis/")}


def test_a_trigger_that_asks_without_tls_is_seen(tls_redis, env, endpoints):
    """Redis answers the toolkit, and KEDA would hear nothing: red, for its own reason; and put back, it is green."""
    image = endpoints["worker_image"]
    for metadata, verdict, message in (
        ({}, "fail", "KEDA asks without TLS, this Redis wants it"),
        ({"enableTLS": "true", "address": f"{HOST}.svc:6379"}, "fail", "KEDA does not trust this Redis: TLS: its"),
        ({"enableTLS": "true"}, "ok", ""),
    ):
        contents.apply(settings.current_lab(), [scaled_job(image, **metadata)])
        results = verdicts(env, "redis/keda-may-ask")["redis/keda-may-ask"]
        assert (results[0], message in results[1]) == (verdict, True), results
