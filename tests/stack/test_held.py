"""What others keep from being deleted: KEDA comes back for everybody else, or nothing is removed at all."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest
import yaml

from prompt_keda.clients.kube.resources import CONFIG_MAPS, DEPLOYMENTS, JOBS, NAMESPACES, PODS, SCALED_JOBS

from .conftest import (
    ENV,
    INSTRUMENT,
    ROOT,
    active_workers,
    at_the_stack_only,
    run_json,
    run_task,
    until,
    work_time,
)
from .survivors import Survivors

OTHER = "prompt-keda-held"
OTHER_STREAM, STREAM, GROUP = "instrument:held", "instrument:lsstcam", "lsstcam_consumer_group"
HOOK, HOLD = "argocd.argoproj.io/hook-finalizer", "example.com/hold"
OPERATOR = "keda-operator"
KEDA = "finalizer.keda.sh"


def write_two_instruments(folder):
    """Write the environment with one more instrument, whose workers work for an hour on each event."""
    other = folder / "other.yaml"
    manifest = (ROOT / "environments/local/prompt-keda-lsstcam.yaml").read_text()
    for old, new in ((INSTRUMENT, OTHER), (STREAM, OTHER_STREAM), *work_time(3600)):
        assert old in manifest
        manifest = manifest.replace(old, new)
    other.write_text(manifest)
    environment = yaml.safe_load((ROOT / "environments/local.yaml").read_text())
    (instrument,) = environment["instruments"]
    instrument["manifest"] = str(ROOT / "environments" / instrument["manifest"])
    names = {"name": "Held", "namespace": OTHER, "scaled_job": OTHER, "stream": OTHER_STREAM, "manifest": str(other)}
    environment["instruments"].append({**instrument, **names})
    environment["secrets"] += [
        {**secret, "namespace": OTHER, "name": secret["name"].replace(INSTRUMENT, OTHER)}
        for secret in environment["secrets"]
        if secret["namespace"] == INSTRUMENT
    ]
    file = folder / "local.yaml"
    file.write_text(yaml.safe_dump(environment))
    return str(file)


@pytest.fixture
def two(deployed, systems, admin, tmp_path):
    """Two instruments at work; the second one and all that is its own goes afterwards."""
    environment = write_two_instruments(tmp_path)
    code, document = run_json("redeploy", "--env", environment)
    assert code == 0, document.get("error")
    yield environment
    remove_finalizers(admin, SCALED_JOBS, OTHER, OTHER)
    admin.delete(NAMESPACES, OTHER)
    until(lambda: admin.find(NAMESPACES, OTHER) is None, 120, f"the end of {OTHER}")
    systems.forget_redis()
    systems.redis.delete_stream(OTHER_STREAM)
    done = run_task("redeploy", "--env", ENV)
    assert done.returncode == 0, done.stderr


def hold(admin, kind, name, namespace, finalizer):
    names = admin.get(kind, name, namespace)["metadata"].get("finalizers") or []
    admin.patch(kind, name, namespace, {"metadata": {"finalizers": [*names, finalizer]}})


def remove_finalizers(admin, kind, name, namespace):
    if admin.find(kind, name, namespace) is not None:
        admin.patch(kind, name, namespace, {"metadata": {"finalizers": None}})


def workers_of(admin, namespace):
    """Return (kind, name) → UID of the Jobs and pods that run."""
    running = {}
    for kind in (JOBS, PODS):
        for live in admin.list(kind, namespace):
            status = live.get("status", {})
            if status.get("phase") == "Running" if kind is PODS else status.get("active"):
                running[kind.kind, live["metadata"]["name"]] = live["metadata"]["uid"]
    return running


@at_the_stack_only
def test_a_finalizer_of_others_on_one_scaled_job_keeps_no_other_from_its_work(two, systems, admin):
    """The operator and one ScaledJob are deleted, Argo CD has left a finalizer on it: the other one scales within 10 s.

    The run ends with exit 1 and says what is left; the Jobs of the held one live on; resume brings it back once nothing holds it.
    """
    systems.redis.add(OTHER_STREAM, [{"visit": "long"}] * 3)
    workers = until(lambda: len(at_work := workers_of(admin, OTHER)) >= 6 and at_work, what="workers of the other one")
    watched = Survivors(admin, OTHER, workers)
    before = {job["metadata"]["uid"] for job in admin.list(JOBS, INSTRUMENT)}
    hold(admin, SCALED_JOBS, OTHER, OTHER, HOOK)
    admin.delete(DEPLOYMENTS, OPERATOR, "keda", propagation="Foreground")
    until(lambda: admin.find(DEPLOYMENTS, OPERATOR, "keda") is None, what="an operator that is gone")
    admin.delete(SCALED_JOBS, OTHER, OTHER)
    systems.redis.add(STREAM, [{"visit": str(number)} for number in range(40)])

    code, document = run_json("redeploy", "--env", two)
    words = document["error"]["what"]
    assert code == 1, document["error"]
    for expected in (f"ScaledJob {OTHER}/{OTHER} is held by finalizer {HOOK}", "Argo CD takes it away", "kubectl -n"):
        assert expected in words
    assert admin.get(SCALED_JOBS, OTHER, OTHER)["metadata"]["finalizers"] == [HOOK]
    made = [job for job in admin.list(JOBS, INSTRUMENT) if job["metadata"]["uid"] not in before]
    assert made and scaled_after(admin, made) <= timedelta(seconds=10)
    assert not watched.lost

    command = re.search(r"kubectl -n \S+ patch scaledjobs\.keda\.sh \S+ --type merge -p '\S+'", words)
    done = run_task("lab.exec", "--", *(part.strip("'") for part in command[0].split()))
    assert done.returncode == 0, done.stderr
    code, document = run_json("resume", "--env", two)
    assert code == 0, document.get("error")
    assert "deletionTimestamp" not in admin.get(SCALED_JOBS, OTHER, OTHER)["metadata"]
    assert not watched.lost
    watched.close()


def scaled_after(admin, made):
    """Return the time from the start of the new operator to the first Job that it made; both are exact to a second."""
    (pod,) = admin.list(PODS, "keda", f"app={OPERATOR}")
    started = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    first = min(job["metadata"]["creationTimestamp"] for job in made)
    return datetime.fromisoformat(first) - datetime.fromisoformat(started)


@pytest.mark.exhaustive
@at_the_stack_only
def test_a_held_namespace_of_one_instrument_keeps_no_other_from_its_work(two, admin):
    """Its running Jobs have to be given up first: they go with it. Then all of KEDA is replaced without it; exit 1."""
    body = {"metadata": {"name": "left", "finalizers": [HOLD]}}
    admin.create(CONFIG_MAPS, body, OTHER)
    try:
        admin.delete(NAMESPACES, OTHER)
        until(lambda: not admin.list(PODS, OTHER), 120, "the end of its workers")
        until(lambda: HOLD in str(admin.get(NAMESPACES, OTHER)["status"]), what="a namespace that says what holds it")
        code, document = run_json("redeploy", "--env", two, "--mode", "reinstall")
    finally:
        remove_finalizers(admin, CONFIG_MAPS, "left", OTHER)
    assert code == 1 and f"Namespace {OTHER} is Terminating" in document["error"]["what"], document["error"]
    assert {step["id"] for step in document["steps"] if step["acted"]} >= {"remove/deployments", "verify/smoke"}
    until(lambda: admin.find(NAMESPACES, OTHER) is None, what="a namespace that is gone")
    code, document = run_json("resume", "--env", two)
    assert code == 0 and admin.find(SCALED_JOBS, OTHER, OTHER), document.get("error")


@pytest.fixture
def held_operator(deployed, admin):
    hold(admin, DEPLOYMENTS, OPERATOR, "keda", HOLD)
    yield
    remove_finalizers(admin, DEPLOYMENTS, OPERATOR, "keda")


def test_a_finalizer_on_what_has_to_go_is_refused_before_any_write(held_operator, admin):
    """Exit code 2, its name and who takes it away; all of KEDA stands, the same as before."""
    before = {deployment["metadata"]["uid"] for deployment in admin.list(DEPLOYMENTS, "keda")}
    code, document = run_json("redeploy", "--env", ENV, "--mode", "reinstall")
    assert code == 2, document
    assert f"Deployment keda/{OPERATOR} would be held by finalizer {HOLD}" in document["error"]["what"]
    live = admin.list(DEPLOYMENTS, "keda")
    assert {obj["metadata"]["uid"] for obj in live} == before
    assert not any("deletionTimestamp" in obj["metadata"] for obj in live)


def test_a_purge_is_refused_while_a_scaled_job_would_be_held(deployed, admin):
    """Its CRD would wait for it, and KEDA for the CRD."""
    hold(admin, SCALED_JOBS, INSTRUMENT, INSTRUMENT, HOOK)
    try:
        code, document = run_json("redeploy", "--env", ENV, "--mode", "purge")
    finally:
        admin.patch(SCALED_JOBS, INSTRUMENT, INSTRUMENT, {"metadata": {"finalizers": [KEDA]}})
    assert code == 2 and "CRD scaledjobs.keda.sh waits for ScaledJob" in document["error"]["what"], document["error"]


POLICY = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingAdmissionPolicy",
    "metadata": {"name": "held"},
}
BINDING = {
    **POLICY,
    "kind": "ValidatingAdmissionPolicyBinding",
    "spec": {"policyName": "held", "validationActions": ["Deny"]},
}
RULE = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["deployments"]}
SPEC = {
    "failurePolicy": "Fail",
    "matchConstraints": {"resourceRules": [RULE]},
    "validations": [{"expression": "oldObject.metadata.namespace != 'keda'", "message": "nobody deletes that"}],
}


@at_the_stack_only
def test_a_policy_that_denies_a_removal_is_seen_before_any_write(deployed, admin):
    """Else the APIService and the webhooks would be gone by then."""
    made = (admin.resource_of(POLICY), admin.resource_of(BINDING))
    before = {deployment["metadata"]["uid"] for deployment in admin.list(DEPLOYMENTS, "keda")}
    try:
        for body in ({**POLICY, "spec": SPEC}, BINDING):
            admin.apply(body)
        until(lambda: denied(admin), what="a policy that denies")
        code, document = run_json("redeploy", "--env", ENV, "--mode", "reinstall")
    finally:
        for kind in made:
            admin.delete(kind, "held")
        until(lambda: not denied(admin), what="the end of the policy")
    assert code == 2 and "nobody deletes that" in document["error"]["what"], document["error"]
    assert {deployment["metadata"]["uid"] for deployment in admin.list(DEPLOYMENTS, "keda")} == before


def denied(admin):
    """Return whether the policy is at work yet."""
    try:
        admin.delete(DEPLOYMENTS, OPERATOR, "keda", dry_run=True)
    except Exception as error:  # noqa: BLE001  whatever it is: it is denied
        return "nobody deletes that" in str(error)
    return False


def test_a_job_that_was_on_its_way_out_before_the_run_is_no_loss(deployed, admin):
    """A person has deleted it, and a finalizer holds its pod: the run ends green, and tells of it."""
    name = until(
        lambda: next((name for kind, name in active_workers(admin) if kind == "Pod"), None), what="a running worker"
    )
    job = admin.get(PODS, name, INSTRUMENT)["metadata"]["labels"]["batch.kubernetes.io/job-name"]
    hold(admin, PODS, name, INSTRUMENT, HOLD)
    try:
        admin.delete(JOBS, job, INSTRUMENT, propagation="Foreground")
        until(lambda: "deletionTimestamp" in admin.get(PODS, name, INSTRUMENT)["metadata"], what="a pod that goes")
        code, document = run_json("redeploy", "--env", ENV)
    finally:
        remove_finalizers(admin, PODS, name, INSTRUMENT)
    assert code == 0, document.get("error")
    (step,) = [step for step in document["steps"] if step["id"] == "verify/no-job-lost"]
    assert job in str(step), step
