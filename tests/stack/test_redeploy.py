"""The promise, on the real stack.

A redeploy takes half a minute: what can be seen of the same one is looked at by several tests.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
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
from prompt_keda.clients.systems import Systems
from prompt_keda.environment.loading import load_environment
from prompt_keda.lab import processes, settings, state
from prompt_keda.lab.drills.job_watcher import JobWatcher
from prompt_keda.records import lock
from prompt_keda.records.record import JournalFile
from tests.runs import unfinished_run

from .conftest import (
    ENV,
    INSTRUMENT,
    ROOT,
    active_workers,
    at_the_stack_only,
    changed_environment,
    command,
    forget_what_is_pending,
    run_json,
    run_task,
    runs_folder,
    sealed,
    until,
)

STREAM, GROUP = "instrument:lsstcam", "lsstcam_consumer_group"
AT_FIRST, A_SECOND = 60, 2
"""Events: so many are enough for all workers, and then so many a second keep half of them at work."""
ACKNOWLEDGED = re.compile(rf'"XACK" "{STREAM}" "{GROUP}"((?: "[0-9]+-[0-9]+")+)', re.IGNORECASE)
KEPT = [
    (CRDS, "scaledjobs.keda.sh", None),
    (SCALED_JOBS, INSTRUMENT, INSTRUMENT),
    (NAMESPACES, "keda", None),
    (SECRETS, "kedaorg-certs", "keda"),
]


def replace_it(*more):
    """Return the command line that replaces a KEDA that is in order."""
    return command("redeploy", "--env", ENV, "--mode", "reinstall", *more)


class Producer:
    """Adds events at a steady pace, and keeps their ids."""

    def __init__(self, redis):
        self._redis, self._over = redis, threading.Event()
        self.ids = redis.add(STREAM, [{"visit": str(n)} for n in range(AT_FIRST)])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        begun, sent = time.monotonic(), 0
        while not self._over.wait(max(0.0, begun + sent / A_SECOND - time.monotonic())):
            self.ids += self._redis.add(STREAM, [{"visit": f"more {sent}"}])
            sent += 1

    def stop(self):
        self._over.set()
        self._thread.join(30)
        return self.ids


@contextmanager
def monitor(admin, file):
    """Keep everything that Redis is asked in a file."""
    lab = settings.current_lab()
    address = admin.get_raw("/api/v1/namespaces/prompt-redis/pods/prompt-redis-0")["status"]["podIP"]
    with file.open("wb") as out:
        argv = [*processes.enter_node(lab), "redis-cli", "-h", address, "MONITOR"]
        password = state.ensure_secret(lab, "redis-password").reveal()
        running = subprocess.Popen(argv, stdout=out, env={**os.environ, "REDISCLI_AUTH": password})
        try:
            until(lambda: b"OK" in file.read_bytes(), 20, "the monitor's OK")
            yield
        finally:
            running.terminate()
            running.wait()


def acknowledged(file):
    """Return how often each event was acknowledged."""
    groups = ACKNOWLEDGED.findall(file.read_text(errors="replace"))
    return Counter(id_.strip('"') for group in groups for id_ in group.split())


def uids(admin):
    """Return the UIDs of KEDA's Deployments, and of what a redeploy keeps."""
    deployments = {
        deployment["metadata"]["name"]: deployment["metadata"]["uid"] for deployment in admin.list(DEPLOYMENTS, "keda")
    }
    return SimpleNamespace(deployments=deployments, kept=[admin.get(*what)["metadata"]["uid"] for what in KEPT])


@pytest.fixture(scope="module")
def replaced(deployed, admin, endpoints, tmp_path_factory):
    """A KEDA in order that was replaced, once, over running workers and while events came: what was seen of that."""
    systems = Systems(load_environment(ROOT / "environments" / "local.yaml", endpoints))
    file = tmp_path_factory.mktemp("replaced") / "monitor"
    with monitor(admin, file), JobWatcher.at_work(lambda: admin, [INSTRUMENT]) as job_watcher:
        producer = Producer(systems.redis)
        until(lambda: sum(kind == "Pod" for kind, _ in active_workers(admin)) >= 5, what="five running workers")
        workers, before = set(active_workers(admin).values()), uids(admin)
        done = subprocess.run(replace_it("--json"), cwd=ROOT, capture_output=True, text=True, timeout=300)
        ids = producer.stop()
        assert done.returncode == 0, done.stderr
        after, lost = uids(admin), job_watcher.lost()
        until(lambda: set(ids) <= set(acknowledged(file)), 120, "the acknowledgement of every event")
        ended = until(lambda: (g := systems.redis.group_info(STREAM, GROUP)).lag == 0 and g.pending == 0, 60, "the end")
    assert ended
    systems.close()
    document = json.loads(done.stdout)
    return SimpleNamespace(
        document=document, before=before, after=after, workers=workers, lost=lost, ids=ids, taken=acknowledged(file)
    )


@pytest.fixture
def five_workers(deployed, systems, admin):
    """Five workers or more are in mid-work, and watched: events for a minute are on the stream, and their pods run.

    Yields the UIDs of their Jobs and pods, and the job watcher. KEDA removes the oldest ones that have ended: these are not lost.
    """
    with JobWatcher.at_work(lambda: admin, [INSTRUMENT]) as job_watcher:
        yield SimpleNamespace(uids=begin_work(systems, admin), job_watcher=job_watcher)


def begin_work(systems, admin):
    """Send events until five workers or more are in mid-work; return the UIDs of all."""
    systems.redis.add(STREAM, [{"visit": str(n)} for n in range(AT_FIRST)])
    until(lambda: sum(kind == "Pod" for kind, _ in active_workers(admin)) >= 5, what="five running workers")
    return set(active_workers(admin).values())


@pytest.mark.viewpoint
def test_the_first_redeploy_verifies_scaling(deployed):
    """From no KEDA at all to events that became Jobs and were acknowledged; the output says so."""
    match = re.search(r"smoke test: (\d+) events sent, (\d+) Jobs made", deployed.stdout)
    assert match and int(match[1]) >= 6 and int(match[2]) >= 5  # more where KEDA breaks off: docs/decisions/0003
    assert f"{match[1]} acknowledged, lag 0" in deployed.stdout
    assert "recovery time" in deployed.stdout


def test_a_redeploy_over_running_workers_keeps_every_job_and_pod(replaced):
    """Same UIDs before and after, no deletionTimestamp, though KEDA itself was replaced."""
    before, after = replaced.before.deployments, replaced.after.deployments
    assert set(before) == set(after) and not set(before.values()) & set(after.values()), "KEDA was not replaced"
    assert len(replaced.workers) >= 10
    assert [replaced.lost[uid] for uid in replaced.workers if uid in replaced.lost] == []


def test_every_event_of_a_redeploy_is_acknowledged_exactly_once(replaced, capsys):
    """Some a second throughout, also while KEDA is away. Lost and duplicated are counted."""
    ids, taken = replaced.ids, replaced.taken
    lost, duplicated = [id_ for id_ in ids if not taken[id_]], [id_ for id_ in ids if taken[id_] > 1]
    with capsys.disabled():
        sys.stdout.write(f"\n{len(ids)} events during a redeploy: {len(lost)} lost, {len(duplicated)} duplicated\n")
    assert len(ids) > AT_FIRST + 5 * A_SECOND and (lost, duplicated) == ([], [])


def test_a_redeploy_keeps_crds_scaled_jobs_namespace_and_certificates(replaced):
    """What is kept has the same UID afterwards."""
    assert replaced.document["mode"] == "reinstall" and replaced.after.kept == replaced.before.kept


def test_a_redis_that_was_restarted_is_counted_again(deployed, systems, admin):
    """F16: its lag is lost or an old one, the check is red; after the redeploy it is what waits, and all is worked off."""
    old = admin.get(PODS, "prompt-redis-0", "prompt-redis")["metadata"]["uid"]
    admin.delete(PODS, "prompt-redis-0", "prompt-redis")
    until(lambda: _is_ready(admin.find(PODS, "prompt-redis-0", "prompt-redis"), old), what="a new Redis pod")
    systems.redis.add(STREAM, [{"visit": str(n)} for n in range(60)])
    assert not systems.redis.backlog(STREAM, GROUP).is_right
    code, document = run_json("check-deps", "--env", ENV, "--only", "redis")
    assert code == 1 and [r["id"] for r in document["results"] if r["verdict"] == "fail"] == [
        "redis/lag-matches-backlog"
    ]
    code, document = run_json("redeploy", "--env", ENV)
    acted = {step["id"]: step for step in document["steps"]}
    assert code == 0 and acted["restore/count-lag"]["acted"] and "lag" in acted["verify/lag-right"]["detail"]
    until(
        lambda: (backlog := systems.redis.backlog(STREAM, GROUP)).is_right and not backlog.waiting,
        120,
        "all worked off",
    )


def _is_ready(pod, old_uid):
    conditions = {
        condition["type"]: condition["status"] for condition in (pod or {}).get("status", {}).get("conditions") or []
    }
    return pod and pod["metadata"]["uid"] != old_uid and conditions.get("Ready") == "True"


@pytest.mark.desk_first
def test_a_redeploy_that_is_stopped_in_three_stages_is_finished_by_resume(deployed, admin):
    """SIGKILL while it removes, Ctrl-C while it installs, SIGKILL while it verifies: resume goes on each time, and does not take
    the lock for somebody else's. Ctrl-C ends with 130 and a hint. Beside one that is at work another is refused (F47): it
    would remove the smoke test's objects from under it. The last one ends green."""
    resume = ("resume", "--env", ENV)
    assert stopped(replace_it(), "remove/deployments", signal.SIGKILL)[0] == -signal.SIGKILL
    code, output = stopped(command(*resume), "install/apply-parts", signal.SIGINT)
    assert code == 130 and "resume" in output, output
    assert stopped(command(*resume), "verify/smoke", signal.SIGKILL)[0] == -signal.SIGKILL
    argv = command(*resume, "--json")
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        until(lambda: begun("verify/smoke", times=2), 120, "the begin of another smoke test")
        running.send_signal(signal.SIGSTOP)  # or it may end before the other one has looked
        done = run_task(*resume)
        running.send_signal(signal.SIGCONT)
        out, err = running.communicate(timeout=240)
    assert done.returncode == 2 and f"still at work, in process {running.pid}" in done.stderr, done.stderr
    assert running.returncode == 0, err
    smoke = json.loads(out)["smoke"]
    assert smoke["acknowledged_count"] == smoke["events_count"] > 0
    until(lambda: not admin.list(SCALED_JOBS, "prompt-keda-smoke"), 60, "the end of what the killed smoke test left")


def stopped(argv, stage, number):
    """Run a task until it begins a stage, and send it a signal; return its exit code and what it said."""
    with subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as running:
        until(lambda: begun(stage), 120, f"the begin of {stage}")
        running.send_signal(number)
        _, output = running.communicate(timeout=60)
    return running.returncode, output


def begun(stage, times=1):
    """Return the newest unfinished run of this stack once it has begun a stage so often."""
    uid = state.endpoints()["kube_system_uid"]  # other stacks of this user have runs of the same name

    def here(plan):
        return plan["inputs"]["environment"]["kubernetes"]["identity"]["kube_system_uid"] == uid

    folder = unfinished_run(runs_folder(), ENV, here)
    entries = JournalFile(folder).entries() if folder else ()
    return sum(entry["step"] == stage and entry["event"] == "begin" for entry in entries) >= times and folder


def test_a_deleted_namespace_that_is_stuck_comes_back_and_no_other_one_stays_stuck(deployed, admin):
    """F9: with the metrics Service gone no namespace can be deleted; that is red, and nothing else. Then `kubectl delete
    namespace keda`: the redeploy frees both, KEDA comes back with new certificates, and all is trusted again."""
    admin.delete(SERVICES, "keda-operator-metrics-apiserver", "keda")
    admin.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "stuck"}})
    until(lambda: _is_unavailable(admin), 60, "an unavailable APIService")
    admin.delete(NAMESPACES, "stuck")
    code, document = run_json("check-deps", "--env", ENV, "--only", "cluster")
    red = {result["id"] for result in document["results"] if result["verdict"] == "fail"}
    assert code == 1 and red == {"cluster/external-metrics-available"}
    before = admin.get(SECRETS, "kedaorg-certs", "keda")["data"]["ca.crt"]
    admin.delete(NAMESPACES, "keda")
    until(lambda: not admin.list(DEPLOYMENTS, "keda"), 60, "a namespace that is stuck with nothing in it")
    done = run_task("redeploy", "--env", ENV)
    assert done.returncode == 0, done.stderr
    assert admin.get(SECRETS, "kedaorg-certs", "keda")["data"]["ca.crt"] != before
    code, document = run_json("check-deps", "--env", ENV, "--only", "keda,cluster")
    assert code == 0, [result for result in document["results"] if result["verdict"] != "ok"]
    until(lambda: admin.find(NAMESPACES, "stuck") is None, 120, "the end of the stuck namespace")


def _is_unavailable(admin):
    api_service = admin.get(API_SERVICES, "v1beta1.external.metrics.k8s.io")
    conditions = {condition["type"]: condition["status"] for condition in api_service["status"]["conditions"]}
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


def assert_none_lost(workers):
    """All of these Jobs and pods live on, or have ended by themselves."""
    lost = workers.job_watcher.lost()
    assert [lost[uid] for uid in workers.uids if uid in lost] == []


def test_a_scaled_job_changes_and_comes_back_over_its_running_jobs_and_loses_none(five_workers, systems, admin, shared):
    """F1: another spec with the strategy default is applied paused, its Jobs are annotated, and all live on. F2: deleted with its
    Jobs orphaned it comes back paused, its Jobs are annotated, and all live on."""
    changed = changed_environment(shared, manifest=[("maxReplicaCount: 20", "maxReplicaCount: 19")])
    before = admin.get(SCALED_JOBS, INSTRUMENT, INSTRUMENT)["metadata"]
    after = redeployed_over(five_workers, admin, changed, 19)
    assert after["generation"] > before["generation"] and after["uid"] == before["uid"]
    begin_work(systems, admin)
    admin.delete(SCALED_JOBS, INSTRUMENT, INSTRUMENT, propagation="Orphan")
    until(lambda: admin.find(SCALED_JOBS, INSTRUMENT, INSTRUMENT) is None, 60, "the end of the ScaledJob")
    five_workers.uids = set(active_workers(admin).values())
    assert five_workers.uids, "no Job survived the orphaning: the test itself is wrong"
    assert redeployed_over(five_workers, admin, ENV, 20)["uid"] != before["uid"]


def redeployed_over(workers, admin, environment, count):
    """Redeploy; return the metadata of the ScaledJob, which is as the environment says and not paused."""
    done = run_task("redeploy", "--env", environment)
    assert done.returncode == 0, done.stderr
    assert_none_lost(workers)
    after = admin.get(SCALED_JOBS, INSTRUMENT, INSTRUMENT)
    assert after["spec"]["maxReplicaCount"] == count and after["spec"]["rollout"]["strategy"] == "default"
    assert "autoscaling.keda.sh/paused" not in (after["metadata"].get("annotations") or {})
    return after["metadata"]


@at_the_stack_only  # who edits is the stack's administrator
def test_a_value_that_kubectl_edit_has_changed_is_taken_over_and_no_job_is_lost(deployed, systems, admin):
    """To apply over it is a conflict: every redeploy was refused. The plan says who has edited which field; it is put back
    paused, the running Jobs are annotated, and all live on (F1)."""
    editor = "sed -i 's/maxReplicaCount: 20$/maxReplicaCount: 17/; s/pollingInterval: 2$/pollingInterval: 3/'"
    edit = ("kubectl", "-n", INSTRUMENT, "edit", "scaledjobs.keda.sh", INSTRUMENT)
    done = run_task("lab.exec", "--", "env", f"KUBE_EDITOR={editor}", *edit)
    assert done.returncode == 0, done.stderr
    assert admin.get(SCALED_JOBS, INSTRUMENT, INSTRUMENT)["spec"]["maxReplicaCount"] == 17, done.stdout
    line = f"takes over spec.maxReplicaCount from kubectl-edit, spec.pollingInterval from kubectl-edit of ScaledJob {INSTRUMENT}/"
    assert line in run_task("plan", "--env", ENV).stdout.replace("\n", " ")
    # KEDA ends the Jobs of before at the edit: what they had, or are given while they go, nobody acknowledges
    with JobWatcher.at_work(lambda: admin, [INSTRUMENT]) as job_watcher:
        workers = SimpleNamespace(uids=begin_work(systems, admin), job_watcher=job_watcher)
        redeployed_over(workers, admin, ENV, 20)
    assert admin.get(SCALED_JOBS, INSTRUMENT, INSTRUMENT)["spec"]["pollingInterval"] == 2
    until(lambda: (systems.redis.group_info(STREAM, GROUP).lag or 0) == 0, 60, "workers that have taken all events")
    forget_what_is_pending(systems.redis._redis)


def test_a_vault_that_is_sealed_is_seen_before_anything_is_removed(deployed, endpoints, admin):
    """The preflight: exit code 3, it could not tell; KEDA is not touched."""
    uid = admin.get(DEPLOYMENTS, "keda-operator", "keda")["metadata"]["uid"]
    with sealed(endpoints):
        done = run_task("redeploy", "--env", ENV)
    assert done.returncode in (2, 3) and "sealed" in done.stderr, done.stderr
    assert admin.get(DEPLOYMENTS, "keda-operator", "keda")["metadata"]["uid"] == uid
