"""The promise, on the real stack."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from types import SimpleNamespace

import pytest

from prompt_keda.clients.kube.resources import (
    API_SERVICES,
    CRDS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    SCALED_JOBS,
    SECRETS,
    SERVICES,
)
from prompt_keda.lab import state
from prompt_keda.lab.drills.witness import Witness
from prompt_keda.records import lock
from prompt_keda.records.run_folder import JournalFile
from tests.runs import unfinished_run

from .conftest import (
    ENV,
    INSTRUMENT,
    ROOT,
    active_workers,
    changed_environment,
    command,
    run_json,
    run_task,
    runs_folder,
    sealed,
    until,
)

STREAM, GROUP = "instrument:lsstcam", "lsstcam_consumer_group"


def replace_it():
    """Give the command line that replaces a KEDA that is in order."""
    return command("redeploy", "--env", ENV, "--mode", "reinstall")


@pytest.fixture
def five_workers(deployed, systems, admin):
    """Five workers or more are in mid-work, and watched: events for a minute are on the stream, and their pods run.

    Gives the UIDs of their Jobs and pods, and the witness. KEDA removes the oldest ones that have ended: these are not lost.
    """
    with Witness.at_work(lambda: admin, [INSTRUMENT]) as witness:
        systems.redis.add(STREAM, [{"visit": str(n)} for n in range(60)])
        until(lambda: sum(kind == "Pod" for kind, _ in active_workers(admin)) >= 5, what="five running workers")
        yield SimpleNamespace(uids=set(active_workers(admin).values()), witness=witness)


def test_the_first_redeploy_proves_scaling(deployed):
    """From no KEDA at all to events that became Jobs and were acknowledged; the output says so."""
    said = re.search(r"smoke test: (\d+) events sent, (\d+) Jobs made", deployed.stdout)
    assert said and int(said[1]) >= 6 and int(said[2]) >= 5  # more where KEDA breaks off: docs/decisions/0003
    assert f"{said[1]} acknowledged, lag 0" in deployed.stdout
    assert "recovery time" in deployed.stdout


def test_a_redeploy_over_running_workers_keeps_every_job_and_pod(five_workers, systems, admin):
    """Same UIDs before and after, no deletionTimestamp; events added while KEDA is away are worked off afterwards."""
    before = {one["metadata"]["name"]: one["metadata"]["uid"] for one in admin.list(DEPLOYMENTS, "keda")}
    running = subprocess.Popen(replace_it(), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    until(lambda: admin.find(DEPLOYMENTS, "keda-operator", "keda") is None, what="KEDA away")
    systems.redis.add(STREAM, [{"visit": f"late {n}"} for n in range(10)])
    assert running.wait(timeout=240) == 0, running.stderr.read()
    after = {one["metadata"]["name"]: one["metadata"]["uid"] for one in admin.list(DEPLOYMENTS, "keda")}
    assert set(before) == set(after) and not set(before.values()) & set(after.values()), "KEDA was not replaced"
    assert_none_lost(five_workers)
    done = until(lambda: (g := systems.redis.group_info(STREAM, GROUP)).lag == 0 and g, 120, "lag 0")
    assert done.pending == 0


def test_a_redis_that_was_restarted_is_counted_again(deployed, systems, admin):
    """F16: its lag is lost or an old one, the check is red; after the redeploy it is what waits, and all is worked off."""
    old = admin.get(PODS, "prompt-redis-0", "prompt-redis")["metadata"]["uid"]
    admin.delete(PODS, "prompt-redis-0", "prompt-redis")
    until(lambda: _is_ready(admin.find(PODS, "prompt-redis-0", "prompt-redis"), old), what="a new Redis pod")
    systems.redis.add(STREAM, [{"visit": str(n)} for n in range(60)])
    assert not systems.redis.backlog(STREAM, GROUP).is_right
    code, document = run_json("check-deps", "--env", ENV, "--only", "redis")
    assert code == 1 and [r["id"] for r in document["results"] if r["verdict"] == "fail"] == ["redis/lag-matches-backlog"]
    code, document = run_json("redeploy", "--env", ENV)
    acted = {one["id"]: one for one in document["steps"]}
    assert code == 0 and acted["restore/count-lag"]["acted"] and "lag" in acted["prove/lag-right"]["detail"]
    until(lambda: (seen := systems.redis.backlog(STREAM, GROUP)).is_right and not seen.waiting, 120, "all worked off")


def _is_ready(pod, old_uid):
    conditions = {one["type"]: one["status"] for one in (pod or {}).get("status", {}).get("conditions") or []}
    return pod and pod["metadata"]["uid"] != old_uid and conditions.get("Ready") == "True"


def test_a_redeploy_keeps_crds_scaled_jobs_namespace_and_certificates(deployed, admin):
    """What is kept has the same UID afterwards."""
    kept = [
        (CRDS, "scaledjobs.keda.sh", None),
        (SCALED_JOBS, INSTRUMENT, INSTRUMENT),
        (NAMESPACES, "keda", None),
        (SECRETS, "kedaorg-certs", "keda"),
    ]
    before = [admin.get(*one)["metadata"]["uid"] for one in kept]
    code, document = run_json("redeploy", "--env", ENV, "--mode", "reinstall")
    assert code == 0 and document["mode"] == "reinstall"
    assert [admin.get(*one)["metadata"]["uid"] for one in kept] == before


@pytest.mark.parametrize("stage", ["remove/deployments", "install/apply-parts", "prove/smoke"])
def test_a_killed_redeploy_is_finished_by_resume(deployed, admin, stage):
    """SIGKILL while a stage is at work; resume ends green, and does not take the lock for somebody else's."""
    running = subprocess.Popen(replace_it(), cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    until(lambda: begun(stage), 120, f"the begin of {stage}")
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    code, document = run_json("resume", "--env", ENV)
    assert code == 0
    assert document["smoke"]["acknowledged_count"] == document["smoke"]["events_count"]
    until(lambda: not admin.list(SCALED_JOBS, "prompt-keda-smoke"), 60, "the end of what the killed smoke test left")


def test_ctrl_c_ends_with_130_and_can_be_resumed(deployed):
    """SIGINT in mid-run: exit code 130, a hint, and resume ends green."""
    running = subprocess.Popen(replace_it(), cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    until(lambda: begun("install/apply-parts"), 120, "the begin of the install")
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert "resume" in said
    assert run_task("resume", "--env", ENV).returncode == 0


def begun(stage):
    uid = state.endpoints()["kube_system_uid"]  # other stacks of this user have runs of the same name

    def here(plan):
        return plan["inputs"]["environment"]["kubernetes"]["identity"]["kube_system_uid"] == uid

    folder = unfinished_run(runs_folder(), ENV, here)
    return folder and any(one["step"] == stage and one["event"] == "begin" for one in JournalFile(folder).entries())


def test_a_stale_api_service_does_not_block_the_redeploy(deployed, admin):
    """F9: with the metrics Service gone, a namespace cannot be deleted; the redeploy mends it, and then it goes."""
    name = "keda-operator-metrics-apiserver"
    admin.delete(SERVICES, name, "keda")
    admin.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "stuck"}})
    until(lambda: _is_unavailable(admin), 60, "an unavailable APIService")
    admin.delete(NAMESPACES, "stuck")
    code, document = run_json("check-deps", "--env", ENV, "--only", "cluster")
    red = {one["id"] for one in document["results"] if one["verdict"] == "fail"}
    assert code == 1 and red == {"cluster/external-metrics-available"}
    assert run_task("redeploy", "--env", ENV).returncode == 0
    until(lambda: admin.find(NAMESPACES, "stuck") is None, 120, "the end of the stuck namespace")


def _is_unavailable(admin):
    found = admin.get(API_SERVICES, "v1beta1.external.metrics.k8s.io")
    conditions = {one["type"]: one["status"] for one in found["status"]["conditions"]}
    return conditions.get("Available") == "False"


def test_a_second_redeploy_at_the_same_time_is_refused(deployed, admin):
    """A lock that somebody else holds: exit code 2 or 1 before anything is removed, naming the holder."""
    uid = admin.get(DEPLOYMENTS, "keda-operator", "keda")["metadata"]["uid"]
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    spec = {"holderIdentity": "another-run someone@elsewhere", "leaseDurationSeconds": 600, "renewTime": now}
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": lock.LEASE, "namespace": lock.STATE_NAMESPACE},
        "spec": spec,
    }
    from prompt_keda.clients.kube.resources import LEASES

    admin.create(LEASES, lease, lock.STATE_NAMESPACE)
    try:
        done = run_task("redeploy", "--env", ENV)
    finally:
        admin.delete(LEASES, lock.LEASE, lock.STATE_NAMESPACE)
    assert done.returncode == 2
    assert "someone@elsewhere" in done.stderr
    assert admin.get(DEPLOYMENTS, "keda-operator", "keda")["metadata"]["uid"] == uid


def test_a_resume_beside_its_own_live_run_is_refused(deployed, admin):
    """F47: it would remove the smoke test's objects from under the run; exit code 2, and the run ends green."""
    running = subprocess.Popen(replace_it(), cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    until(lambda: begun("install/apply-parts"), 120, "the begin of the install")
    done = run_task("resume", "--env", ENV)
    assert done.returncode == 2 and f"still at work, in process {running.pid}" in done.stderr, done.stderr
    _, said = running.communicate(timeout=240)
    assert running.returncode == 0, said


def test_orphaned_jobs_survive_the_return_of_their_scaled_job(five_workers, admin):
    """F2: a ScaledJob deleted with its Jobs orphaned comes back paused, its Jobs are stamped, and all live on."""
    admin.delete(SCALED_JOBS, INSTRUMENT, INSTRUMENT, propagation="Orphan")
    until(lambda: admin.find(SCALED_JOBS, INSTRUMENT, INSTRUMENT) is None, 60, "the end of the ScaledJob")
    five_workers.uids &= set(active_workers(admin).values())
    assert five_workers.uids, "no Job survived the orphaning: the test itself is wrong"
    done = run_task("redeploy", "--env", ENV)
    assert done.returncode == 0, done.stderr
    assert_none_lost(five_workers)
    annotations = admin.get(SCALED_JOBS, INSTRUMENT, INSTRUMENT)["metadata"].get("annotations") or {}
    assert "autoscaling.keda.sh/paused" not in annotations


def assert_none_lost(workers):
    """All of these Jobs and pods live on, or have ended by themselves."""
    lost = workers.witness.lost()
    assert [lost[uid] for uid in workers.uids if uid in lost] == []


def test_a_scaled_job_changes_under_its_running_jobs_and_loses_none(five_workers, admin, shared):
    """F1: another spec with the strategy default. It is applied paused, its Jobs are stamped, and all live on; then back."""
    changed = changed_environment(shared, manifest=[("maxReplicaCount: 20", "maxReplicaCount: 19")])
    before = admin.get(SCALED_JOBS, INSTRUMENT, INSTRUMENT)["metadata"]
    for environment, count in ((changed, 19), (ENV, 20)):
        done = run_task("redeploy", "--env", environment)
        assert done.returncode == 0, done.stderr
        assert_none_lost(five_workers)
        after = admin.get(SCALED_JOBS, INSTRUMENT, INSTRUMENT)
        assert after["spec"]["maxReplicaCount"] == count and after["spec"]["rollout"]["strategy"] == "default"
        assert after["metadata"]["generation"] > before["generation"] and after["metadata"]["uid"] == before["uid"]
        assert "autoscaling.keda.sh/paused" not in (after["metadata"].get("annotations") or {})
        before = after["metadata"]


def test_a_deleted_namespace_comes_back_with_new_certificates(deployed, admin):
    """`kubectl delete namespace keda`: stuck on the stale APIService; the redeploy frees it, and all is trusted again."""
    admin.delete(NAMESPACES, "keda")
    until(lambda: not admin.list(DEPLOYMENTS, "keda"), 60, "a namespace that is stuck with nothing in it")
    done = run_task("redeploy", "--env", ENV)
    assert done.returncode == 0, done.stderr
    code, document = run_json("check-deps", "--env", ENV, "--only", "keda,cluster")
    assert code == 0, [one for one in document["results"] if one["verdict"] != "ok"]


def test_a_vault_that_is_sealed_is_seen_before_anything_is_removed(deployed, endpoints, admin):
    """The preflight: exit code 3, it could not tell; KEDA is not touched."""
    uid = admin.get(DEPLOYMENTS, "keda-operator", "keda")["metadata"]["uid"]
    with sealed(endpoints):
        done = run_task("redeploy", "--env", ENV)
    assert done.returncode in (2, 3) and "sealed" in done.stderr, done.stderr
    assert admin.get(DEPLOYMENTS, "keda-operator", "keda")["metadata"]["uid"] == uid
