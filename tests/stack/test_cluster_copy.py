"""Two machines and one cluster: what one has begun the other can finish, and never both at once."""

from __future__ import annotations

import json
import signal
from contextlib import contextmanager

import pytest

from prompt_keda.clients.kube.resources import CONFIG_MAPS, DEPLOYMENTS, Resource
from prompt_keda.core.errors import BadAnswer, Refused
from prompt_keda.environment.loading import load_environment
from prompt_keda.lab import state
from prompt_keda.lab.faults import signals
from prompt_keda.lab.faults.fault import Stage
from prompt_keda.records.lock import STATE_NAMESPACE
from prompt_keda.records.record import JournalFile, RunFolder
from prompt_keda.redeploy.cluster_copy import PLAN
from prompt_keda.redeploy.copied_runs import find_runs
from tests.runs import unfinished_run

from .conftest import CLUSTER, ENV, run_task, runs_folder, until
from .other_machine import Machine
from .test_redeploy import assert_none_lost, five_workers  # noqa: F401  a fixture

POLICIES, BINDINGS = (
    Resource("admissionregistration.k8s.io/v1", kind, f"{kind.lower()[:-1]}{end}", False)
    for kind, end in (("ValidatingAdmissionPolicy", "ies"), ("ValidatingAdmissionPolicyBinding", "gs"))
)


@pytest.fixture
def elsewhere(shared):
    return Machine(shared / "elsewhere", "elsewhere")


def begun(runs, step):
    """Return the newest run of a machine on this stack once it has begun a step."""
    uid = state.endpoints()["kube_system_uid"]  # other stacks of this user have runs of the same name
    run = unfinished_run(runs, ENV, lambda plan: uid in json.dumps(plan["inputs"]))
    return (
        run and any((value["step"], value["event"]) == (step, "begin") for value in JournalFile(run).entries()) and run
    )


@pytest.mark.desk_first
def test_a_redeploy_killed_on_one_machine_is_finished_on_another(five_workers, elsewhere, shared):  # noqa: F811
    """SIGKILL, KEDA half removed: a machine with another state folder and another clone waits for the lock, names its
    holder, goes on with the same plan and the same ledger, and ends green; the first one sees that nothing is left to do."""
    running = elsewhere.start("redeploy", "--mode", "reinstall")
    run = until(lambda: begun(elsewhere.runs, "remove/deployments"), 120, "the begin of the removal")
    running.send_signal(signal.SIGKILL)
    running.wait()
    third = Machine(shared / "third", "third")
    code, document, output = third.resume()
    assert code == 0, output
    assert f"waits for the lock of {run.id} " in output and "@elsewhere" in output and "expires in" in output
    assert document["run"] == run.id and document["mode"] == "reinstall"
    assert document["ledger"]["before"] == run.read_json("snapshot.json")["jobs"]
    assert {
        job["uid"] for job in document["ledger"]["before"]
    } & five_workers.uids  # some have ended before the run began
    assert_none_lost(five_workers)
    ended = RunFolder.find(third.runs, run.id)
    assert ended.is_finished and JournalFile(ended).entries()[:3] == JournalFile(run).entries()[:3]
    code, document, _ = elsewhere.run("resume")
    assert code == 2 and "no interrupted run" in document["error"]["what"]


def test_of_two_machines_at_once_one_goes_on_and_the_other_is_refused(deployed, elsewhere, admin, endpoints):
    """The second one sees within a renewal that the first is alive, and names it; the first ends green. Its copy in the
    cluster is deleted in mid-run: it is made again, and at the end it is whole."""
    stage = Stage(load_environment(CLUSTER, endpoints))
    running = elsewhere.start("redeploy", "--mode", "reinstall")
    until(lambda: begun(elsewhere.runs, "remove/deployments"), 120, "the begin of the removal")
    signals.send(stage, "kube-scheduler", signal.SIGSTOP)  # or the first may end before the second has looked
    try:
        run = until(lambda: begun(elsewhere.runs, "install/apply-parts"), 120, "the begin of the install")
        admin.delete(CONFIG_MAPS, f"run-{run.id}", STATE_NAMESPACE)
        done = run_task("redeploy", "--env", ENV)
    finally:
        signals.send(stage, "kube-scheduler", signal.SIGCONT)
    assert done.returncode == 2, done.stderr
    assert "another redeploy" in done.stderr and run.id in done.stderr and "@elsewhere" in done.stderr
    _, output = running.communicate(timeout=240)
    assert running.returncode == 0, output
    copy = {copied.run_id: copied for copied in find_runs(admin, ENV)}[run.id]
    assert copy.is_green and copy.entries() == JournalFile(run).entries() and copy.plan().mode == "reinstall"
    assert len(find_runs(admin, ENV)) <= 5


@contextmanager
def denied(admin):
    """Let nobody write the ConfigMap of a cluster copy; the API server itself says no."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}
    space = {"matchLabels": {"kubernetes.io/metadata.name": STATE_NAMESPACE}}
    match = {"resourceRules": [rule], "namespaceSelector": space}
    name = {"metadata": {"name": "no-cluster-copy"}}
    no = [{"expression": "false", "message": "not today"}]
    admin.create(POLICIES, {**name, "spec": {"matchConstraints": match, "validations": no}})
    admin.create(BINDINGS, {**name, "spec": {"policyName": "no-cluster-copy", "validationActions": ["Deny"]}})
    try:
        until(lambda: is_denied(admin), 60, "a policy at work")
        yield
    finally:
        admin.delete(BINDINGS, "no-cluster-copy")
        admin.delete(POLICIES, "no-cluster-copy")
        until(lambda: not is_denied(admin), 60, "the end of the policy")


def is_denied(admin):
    try:
        probe = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe", "namespace": STATE_NAMESPACE}}
        admin.apply(probe, dry_run=True)
    except (Refused, BadAnswer):
        return True
    return False


def test_a_cluster_copy_that_is_denied_does_not_stop_a_redeploy(deployed, admin):
    """It ends green; the warning comes once, the journal keeps why."""
    before = {value.run_id for value in find_runs(admin, ENV)}
    with denied(admin):
        done = run_task("redeploy", "--env", ENV, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the copy of this run in the cluster is behind; the run goes on") == 1, done.stderr
    assert {value.run_id for value in find_runs(admin, ENV)} == before
    entries = JournalFile(RunFolder.find(runs_folder(), json.loads(done.stdout)["run"])).entries()
    (noted,) = [value for value in entries if value["step"] == "cluster-copy"]
    assert noted["event"] == "failed" and "not today" in noted["detail"]


def test_a_damaged_copy_is_refused_with_one_message(deployed, elsewhere, admin):
    """Nothing is written, here or in the cluster."""
    copy = find_runs(admin, ENV)[0]
    uid = admin.get(DEPLOYMENTS, "keda-operator", "keda")["metadata"]["uid"]
    run_id = f"20990101t000000z-{ENV}-1"
    labels = {**copy.config_map["metadata"]["labels"], "prompt-keda.lsst.io/run": run_id}
    labels["prompt-keda.lsst.io/state"] = "unfinished"
    binary = {**copy.config_map["binaryData"], PLAN: copy.config_map["binaryData"][PLAN][:-16]}
    body = {"metadata": {"name": f"run-{run_id}", "labels": labels}, "data": {}, "binaryData": binary}
    admin.create(CONFIG_MAPS, body, STATE_NAMESPACE)
    try:
        code, document, output = elsewhere.run("resume")
    finally:
        admin.delete(CONFIG_MAPS, f"run-{run_id}", STATE_NAMESPACE)
    assert (
        code == 2 and f"the copy of run {run_id} in the cluster is damaged: plan.json.gz" in document["error"]["what"]
    )
    assert "Traceback" not in output and not elsewhere.runs.exists()
    assert admin.get(DEPLOYMENTS, "keda-operator", "keda")["metadata"]["uid"] == uid
