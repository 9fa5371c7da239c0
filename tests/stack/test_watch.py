"""watch on the local stack: in a pod as environments/watch.yaml runs it, and as a process that outlives its servers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import hvac
import pytest
import yaml

from prompt_keda.clients.kube.resources import NAMESPACES, PODS
from prompt_keda.components.keda.operator_metrics import samples
from prompt_keda.environment.loading import load_environment
from prompt_keda.lab import base_objects, services, settings, state
from prompt_keda.lab.faults import ALL_FAULTS
from prompt_keda.lab.faults.fault import Stage

from . import watch_image
from .conftest import ROOT, TASKS, at_the_stack_only, until

FAULTS = {fault.id: fault for fault in ALL_FAULTS}
NAMESPACE, EVERY_S = "prompt-keda-watch", 15
OBJECTS = list(yaml.safe_load_all((ROOT / "environments" / "watch.yaml").read_text()))
ROLES = list(yaml.safe_load_all((ROOT / "environments" / "rbac" / "check-deps.yaml").read_text()))
HERE = "/etc/prompt-keda"
BUILT = os.environ.get("PROMPT_KEDA_WATCH_IMAGE", "")
"""By digest: an image of watch.Containerfile that was pushed into the stack's registry; empty: one of `watch_image`."""

pytestmark = [pytest.mark.exhaustive, at_the_stack_only]


@pytest.fixture(scope="module")
def stage(deployed, endpoints):
    return Stage(load_environment(ROOT / "environments" / "local.yaml", endpoints))


@pytest.fixture
def pod(stage, admin, endpoints, tmp_path):
    """The pod of environments/watch.yaml: its image is this clone's, its environment the stack's."""
    image = BUILT or watch_image.build(ROOT, tmp_path)
    lab = settings.current_lab()
    try:
        for obj in [*ROLES, *OBJECTS]:
            if obj["metadata"].get("namespace") != "argocd" and not is_for_others(obj) and obj["kind"] != "Deployment":
                admin.apply(obj, force=True)
        admin.apply(base_objects.pull_secret(NAMESPACE, services.docker_config(lab)), force=True)
        token = vault_token(lab, endpoints)
        admin.apply(config("ConfigMap", "environment", data=files(endpoints)), force=True)
        admin.apply(config("Secret", "vault", stringData={"VAULT_TOKEN": token}), force=True)
        admin.apply(deployment(image), force=True)
        until(lambda: ready(admin), 300, "the pod of watch")
        yield lambda: ready(admin)
    finally:
        for obj in [*ROLES, *OBJECTS]:
            if obj["kind"].startswith(("Role", "ClusterRole")) and obj["metadata"].get("namespace") != "argocd":
                admin.delete(admin.resource_of(obj), obj["metadata"]["name"], obj["metadata"].get("namespace"))
        admin.delete(NAMESPACES, NAMESPACE)
        until(lambda: admin.find(NAMESPACES, NAMESPACE) is None, 120, "the end of its namespace")


def is_for_others(obj):
    """Return whether it binds people, whom check-deps.yaml does not name yet."""
    return "subjects" in obj and NAMESPACE not in json.dumps(obj["subjects"])


def vault_token(lab, endpoints):
    """Return a token of Vault that lives for twenty minutes, as the desk has one."""
    vault = hvac.Client(url=endpoints["vault_url"], verify=endpoints["ca_file"], timeout=10)
    role_id, secret_id = (state.secret_file(lab, f"vault-{kind}-id").read_text() for kind in ("role", "secret"))
    return vault.auth.approle.login(role_id, secret_id)["auth"]["client_token"]


def config(kind, name, **content):
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, **content}


def files(endpoints):
    """Return the ConfigMap's files: the environment as the pod sees it, its instrument's manifest, and the authority."""

    def filled(value):
        if isinstance(value, dict):
            return {key: filled(part) for key, part in value.items()}
        if isinstance(value, list):
            return [filled(part) for part in value]
        name = re.fullmatch(r"\$\{lab:(\w+)\}", value) if isinstance(value, str) else None
        return endpoints[name[1]] if name else value

    document = yaml.safe_load((ROOT / "environments" / "prodlike.yaml").read_text())
    document = filled(document)
    for part in (document["ldap"], document["vault"], *document["registries"]):
        part["ca_file"] = f"{HERE}/ca.crt"
    document["instruments"][0]["manifest"] = f"{HERE}/manifest.yaml"
    manifest = (ROOT / "environments" / "local" / "prompt-keda-lsstcam.yaml").read_text()
    manifest = re.sub(r"\$\{lab:(\w+)\}", lambda name: str(endpoints[name[1]]), manifest)
    authority = Path(endpoints["ca_file"]).read_text()
    return {"prod.yaml": yaml.safe_dump(document), "manifest.yaml": manifest, "ca.crt": authority}


def deployment(image):
    """Return the Deployment with what FILL-IN asks for, the stack's pull secret, and shorter rounds."""
    (obj,) = (obj for obj in OBJECTS if obj["kind"] == "Deployment")
    obj = json.loads(json.dumps(obj))
    spec = obj["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    container["image"] = image
    container["env"] += [] if BUILT else watch_image.environment()
    container["args"] = [f"--every={EVERY_S}s" if word == "--every=60s" else word for word in container["args"]]
    spec["imagePullSecrets"] = [{"name": "pull-secret"}]
    return obj


def ready(admin):
    """Return the pod once it is ready, else None."""
    for pod in admin.list(PODS, NAMESPACE):
        conditions = {condition["type"]: condition["status"] for condition in pod["status"].get("conditions", [])}
        if conditions.get("Ready") == "True":
            return pod
    return None


def transitions(admin, pod):
    """Return what the pod has reported, from its log."""
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}/log"
    lines = admin.open("GET", path).data.decode().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def verdicts(admin, pod):
    """Return check → verdict's number, as the pod serves it."""
    page = admin.page(NAMESPACE, pod["metadata"]["name"], 9847, "/metrics")
    return {labels["check"]: value for labels, value in samples(page, "prompt_keda_check_verdict")}


def test_as_a_pod_it_reports_a_fault_within_two_intervals(pod, stage, admin):
    """By the shipped Roles alone, under Pod Security "restricted"; it is the same pod after, and its metrics say the same."""
    running = pod()
    until(lambda: verdicts(admin, running).get("keda/parts-ready") == 0, 60, "a first round that is green")
    first = verdicts(admin, running)
    assert first["identity/may-read"] == first["redis/answers"] == first["scaling/works"] == 0, first
    injected = datetime.now(UTC)
    FAULTS["keda/operator-gone"].inject(stage)
    try:
        known = until(lambda: reported(admin, running, "fail"), 120, "the transition")
    finally:
        FAULTS["keda/operator-gone"].revert(stage)
    took = (datetime.fromisoformat(known["at"]) - injected).total_seconds()
    assert took <= 2 * EVERY_S, f"{took} s after the fault"
    assert (known["before"], known["runbook"]) == ("ok", "keda-gone")
    until(lambda: reported(admin, running, "ok"), 180, "that it is well again")
    again = pod()
    assert again["metadata"]["uid"] == running["metadata"]["uid"]
    assert again["status"]["containerStatuses"][0]["restartCount"] == 0


def test_as_a_pod_it_reports_a_right_that_is_withdrawn_and_given_back(pod, admin):
    """A fault of its own alone: its ServiceAccount loses a binding. It is told within two intervals, and so is the end."""
    running = pod()
    until(lambda: verdicts(admin, running).get("identity/may-read") == 0, 60, "a first round")
    (binding,) = (
        obj for obj in OBJECTS if obj["kind"] == "RoleBinding" and obj["metadata"]["namespace"] == "prompt-redis"
    )
    withdrawn = datetime.now(UTC)
    admin.delete(admin.resource_of(binding), binding["metadata"]["name"], "prompt-redis")
    known = until(lambda: reported(admin, running, "fail", "identity/may-read"), 60, "the transition")
    assert (datetime.fromisoformat(known["at"]) - withdrawn).total_seconds() <= 2 * EVERY_S
    admin.apply(binding, force=True)
    until(lambda: reported(admin, running, "ok", "identity/may-read"), 60, "that it has the right again")


def reported(admin, pod, verdict, check="keda/parts-ready"):
    """Return the first transition of a check to a verdict, once it is in the pod's log."""
    reports = transitions(admin, pod)
    return next((change for change in reports if (change["check"], change["now"]) == (check, verdict)), None)


def test_it_outlives_redis_vault_and_the_api_server(stage, tmp_path):
    """Each goes away and comes back; it reports both, keeps its memory, and ends at SIGTERM with 0."""
    out = (tmp_path / "out").open("w+")
    argv = [sys.executable, TASKS, "watch", "--env", "local", "--every", "5s", "--json", "--listen", "127.0.0.1:0"]
    argv[-1] = f"127.0.0.1:{free_port()}"
    running = subprocess.Popen(argv, cwd=ROOT, stdout=out, stderr=subprocess.DEVNULL, env={**os.environ, "CI": "true"})
    try:
        until(lambda: rounds(argv[-1]), 60, "a first round")
        sizes = []
        for fault, check in (
            ("redis/stopped", "redis/answers"),
            ("vault/stopped", "vault/unsealed"),
            ("cluster/api-server-killed", "cluster/api-answers"),
        ):
            try:
                FAULTS[fault].inject(stage)
                until(lambda c=check: last(out, c) in ("fail", "unknown"), 90, f"{fault} in the report")
            finally:
                FAULTS[fault].revert(stage)
            until(lambda c=check: last(out, c) == "ok", 120, f"{check} well again")
            sizes.append(resident_bytes(running.pid))
        assert sizes[-1] < sizes[0] * 1.3, sizes
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0
    finally:
        running.kill()
        running.wait()


def free_port():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def rounds(listen):
    """Return whether a round has ended."""
    try:
        page = urllib.request.urlopen(f"http://{listen}/metrics", timeout=5).read().decode()
    except OSError:
        return False
    return any(True for _ in samples(page, "prompt_keda_round_seconds"))


def last(out, check):
    """Return the newest verdict that was reported of a check."""
    out.seek(0)
    documents = [json.loads(line) for line in out.read().splitlines() if line.startswith("{") and line.endswith("}")]
    return next((document["now"] for document in reversed(documents) if document["check"] == check), None)


def resident_bytes(pid):
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
