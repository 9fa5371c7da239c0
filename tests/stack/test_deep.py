"""check-deps --deep on the real stack: seen green, red with the right cause, and it leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest
import yaml

from prompt_keda.clients.kube.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, JOBS, PODS, ROLE_BINDINGS
from prompt_keda.environment.loading import load_environment
from prompt_keda.lab import processes, settings
from prompt_keda.lab.faults import fault_of
from prompt_keda.lab.faults.fault import Stage

from .conftest import ENV, ROOT, at_the_stack_only, changed_environment, command, run_json, until

pytestmark = at_the_stack_only  # parts of the stack are stopped
SMOKE = "prompt-keda-smoke"
CANARY = "prompt-keda.lsst.io/canary"


@pytest.fixture(scope="module")
def stage(deployed, endpoints):
    return Stage(load_environment(ROOT / "environments" / "local.yaml", endpoints))


def deep(only="deep", env=ENV):
    """Run deep checks; give the exit code, and what each said."""
    code, document = run_json("check-deps", "--env", str(env), "--deep", "--only", only)
    return code, {
        result["id"].removeprefix("deep/"): (result["verdict"], result["observed"]) for result in document["results"]
    }


def canaries(admin):
    return admin.list(JOBS, SMOKE, CANARY) + admin.list(PODS, SMOKE, CANARY)


@contextmanager
def frozen(name):
    pid = processes.pid_of(settings.current_lab(), name)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_all_is_green_and_the_canary_goes(deployed, admin):
    """A real pod on the node, which has asked the registry and found Redis by its name."""
    code, results = deep()
    assert code == 0, results
    assert "a pod ran after" in results["canary-runs"][1] and results["dns-inside"][1].endswith("prompt-redis:6379")
    until(lambda: not canaries(admin), 90, "no canary")


def test_ctrl_c_takes_the_canary_away(deployed, admin):
    """Exit code 130; the canary, which would never run, goes though nobody waits for it any more."""
    until(lambda: not canaries(admin), 30, "no canary of before")
    argv = command("check-deps", "--env", ENV, "--deep", "--only", "deep/canary-runs")
    with frozen("kube-scheduler"), subprocess.Popen(argv, cwd=ROOT) as running:
        until(lambda: canaries(admin), 90, "the canary")
        running.send_signal(signal.SIGINT)
        assert running.wait(90) == 130
        until(lambda: not canaries(admin), 90, "no canary")


@pytest.mark.exhaustive
def test_a_cluster_without_dns_is_red(deployed, stage):
    """Nothing is behind its Service: the pod runs, and cannot resolve Redis (F31)."""
    dns_gone = fault_of("cluster/dns-gone")
    dns_gone.inject(stage)
    try:
        code, results = deep("deep/canary-runs,deep/dns-inside")
    finally:
        dns_gone.revert(stage)
    assert (code, results["canary-runs"][0], results["dns-inside"][0]) == (1, "ok", "fail"), results
    assert "cannot resolve prompt-redis.prompt-redis" in results["dns-inside"][1]


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("part", "cause"),
    [
        ("kube-scheduler", "it has no node: the scheduler"),
        pytest.param("kube-controller-manager", "no pod was made for it", marks=pytest.mark.exhaustive),
        pytest.param("kubelet", "and does not start: the kubelet", marks=pytest.mark.exhaustive),
    ],
)
def test_a_part_that_hangs_is_named(deployed, part, cause):
    """The API server answers, and no new pod runs: what a vCluster's dead syncer looks like (F30)."""
    with frozen(part):
        began = time.monotonic()
        code, results = deep("deep/canary-runs,deep/dns-inside")
    assert (code, results["canary-runs"][0], results["dns-inside"][0]) == (1, "fail", "skipped")
    assert cause in results["canary-runs"][1] and time.monotonic() - began < 45


@pytest.mark.exhaustive
def test_a_right_that_keda_lacks_is_named(deployed, admin, stage):
    """Its role without the kinds of eventing: an operator that starts now would crash-loop (F13)."""
    role = admin.get(CLUSTER_ROLES, "keda-operator")
    rules = [rule for rule in role["rules"] if rule["apiGroups"] != ["eventing.keda.sh"]]
    assert len(rules) < len(role["rules"])
    admin.patch(CLUSTER_ROLES, "keda-operator", None, {"rules": rules})
    try:
        code, results = deep("deep/keda-may-work")
    finally:
        admin.patch(CLUSTER_ROLES, "keda-operator", None, {"rules": role["rules"]})
    assert code == 1 and "may not list clustercloudeventsources.eventing.keda.sh in all" in results["keda-may-work"][1]
    until(lambda: deep("deep/keda-may-work")[0] == 0, 20, "green again")


@pytest.mark.exhaustive
def test_a_field_that_somebody_owns_is_named(deployed, admin, stage):
    """A redeploy would stop there: the dry run says so before."""
    name = "keda-operator-external-metrics-reader"
    labels = admin.get(CLUSTER_ROLES, name)["metadata"]["labels"]
    key = "app.kubernetes.io/part-of"
    admin.patch(CLUSTER_ROLES, name, None, {"metadata": {"labels": {key: "somebody"}}})
    query = {"fieldManager": "somebody"}
    body = {"metadata": {"labels": {key: "else"}}}
    kind = "application/merge-patch+json"
    admin.request("PATCH", CLUSTER_ROLES.path(None, name), query=query, body=body, content_type=kind)
    try:
        code, results = deep("deep/dry-run-applies")
    finally:
        admin.apply(stage.keda_object("ClusterRole", name), force=True)
    assert code == 1 and f"ClusterRole {name}: 409" in results["dry-run-applies"][1], results
    assert admin.get(CLUSTER_ROLES, name)["metadata"]["labels"] == labels
    assert deep("deep/dry-run-applies")[0] == 0


@pytest.fixture
def as_reader(deployed, admin, endpoints, tmp_path):
    """An environment whose person may look, and has the deep Role; without the Role again afterwards."""
    text = (ROOT / "environments" / "rbac" / "check-deps-deep.yaml").read_text()
    roles = list(yaml.safe_load_all(text.replace("FILL-IN\n", "ldap:prompt-keda-readers\n")))
    for role in roles:
        admin.apply(role)
    reader = str(settings.current_lab().state / "reader.kubeconfig")
    yield changed_environment(tmp_path, environment=[("${lab:kubeconfig}", reader)])
    for role in roles:
        admin.delete(admin.resource_of(role), role["metadata"]["name"], role["metadata"].get("namespace"))


def test_the_shipped_role_is_enough(as_reader):
    """For all but the dry runs, which are UNKNOWN to who may not redeploy, and name what may not be tried."""
    code, results = deep(env=as_reader)
    assert {name: verdict for name, (verdict, _) in results.items()} == {
        "dry-run-applies": "unknown",
        "keda-may-work": "ok",
        "canary-runs": "ok",
        "dns-inside": "ok",
    }, results
    assert code == 3 and "you may not patch it" in results["dry-run-applies"][1]


def test_without_the_role_what_is_missing_is_named(as_reader, admin):
    """A person who may only look."""
    admin.delete(CLUSTER_ROLE_BINDINGS, "prompt-keda-check-deps-deep")
    admin.delete(ROLE_BINDINGS, "prompt-keda-check-deps-deep", SMOKE)
    code, results = deep("deep/keda-may-work,deep/canary-runs", env=as_reader)
    assert code == 1
    assert (
        "cannot create resource" in results["keda-may-work"][1]
        and "subjectaccessreviews" in results["keda-may-work"][1]
    )
    assert "cannot create resource" in results["canary-runs"][1] and "jobs" in results["canary-runs"][1]
