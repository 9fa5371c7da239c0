"""Every way in which KEDA can be gone: `redeploy` ends green, and twenty running workers live on."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from subprocess import PIPE, STDOUT
from tempfile import TemporaryDirectory

import pytest

from prompt_keda.clients.kube.resources import (
    API_SERVICES,
    CLUSTER_ROLES,
    CRDS,
    DEPLOYMENTS,
    JOBS,
    LEASES,
    NAMESPACES,
    PODS,
    SCALED_JOBS,
    SECRETS,
    SERVICES,
    TRIGGER_AUTHENTICATIONS,
    VALIDATING_WEBHOOKS,
)
from prompt_keda.components.scaled_jobs.objects import PAUSED
from prompt_keda.environment.loading import load_environment
from prompt_keda.lab import helm as deliveries
from prompt_keda.lab import settings, state
from prompt_keda.lab.faults import vcluster as syncer_faults
from prompt_keda.lab.faults.fault import Stage
from prompt_keda.redeploy.planner import STEPS

from . import keda_versions
from .automatic_sync import automatic_sync
from .conftest import (
    CLUSTER,
    ENV,
    IN_VCLUSTER,
    INSTRUMENT,
    ROOT,
    active_workers,
    at_the_stack_only,
    changed_environment,
    command,
    forget_what_is_pending,
    run_json,
    run_task,
    until,
    work_time,
)
from .helm import RELEASE, begin_helm, chart, helm
from .other_machine import other_state_folder
from .survivors import Survivors

pytestmark = at_the_stack_only  # states are made by the stack's own user
COUNT, ACTIVATION = 20, 1
"""The maximum and the activation of the local ScaledJob."""
BY_GIT = ENV in ("argocd", "helm")
"""Whether the workers come from a repository that something else delivers from."""
LONG_WORK = work_time(3600)
STREAM, GROUP = "instrument:lsstcam", "lsstcam_consumer_group"
OPERATOR, WEBHOOKS = "keda-operator", "keda-admission-webhooks"
METRICS_SERVICE = "keda-operator-metrics-apiserver"
METRICS, WEBHOOK = "v1beta1.external.metrics.k8s.io", "keda-admission"
CRD = "scaledjobs.keda.sh"
OLDER, NEWER = "2.15.1", "2.20.2"
OTHERS = "keda,redis,cluster"
"""The categories that a redeploy answers for."""


@pytest.fixture(scope="module")
def long_work(tmp_path_factory):
    """The environment with workers that work for an hour on each event: they outlast this module."""
    lab = settings.current_lab()
    if not BY_GIT:
        yield changed_environment(tmp_path_factory.mktemp("long"), manifest=LONG_WORK)
        return
    deliveries.change_workers(lab, "workTime: 5", "workTime: 3600")
    yield ENV
    deliveries.change_workers(lab, "workTime: 3600", "workTime: 5")
    assert run_task("redeploy", "--env", ENV).returncode == 0  # what stands is what git has again


class Twenty:
    """Twenty workers in mid-work, watched."""

    def __init__(self, admin, streams, environment):
        self.admin, self.streams, self.environment = admin, streams, environment
        self.watched = None

    def redeploy(self, *more):
        return run_json("redeploy", "--env", self.environment, *more)

    def begin(self):
        """Have twenty of them, new ones if some were lost."""
        if self.watched is None or self.watched.lost:
            code, document = self.redeploy()
            assert code == 0, document.get("error")
            self.end()
            workers = until(self._all_run, 300, f"{COUNT} running workers")
            self.watched = Survivors(self.admin, INSTRUMENT, workers)

    def _all_run(self):
        """Return the workers once twenty run. More events are sent as needed: one that was stopped may have taken some.

        One that waits alone starts none: KEDA's activation has to be exceeded (F19).
        """
        workers = active_workers(self.admin)
        missing = COUNT - sum(kind == "Job" for kind, _ in workers)
        if missing > 0 and self.streams().group_info(STREAM, GROUP).lag <= ACTIVATION:
            self.streams().add(STREAM, [{"visit": str(n)} for n in range(missing + 1)])
        return workers if sum(kind == "Pod" for kind, _ in workers) >= COUNT else None

    def end(self):
        """Remove their finalizers."""
        if self.watched is not None:
            self.watched.close()
        self.watched = None
        old = self._uids()
        self.admin.request("DELETE", JOBS.path(INSTRUMENT), body={"propagationPolicy": "Background"})
        until(lambda: not old & self._uids(), 120, "the end of the workers that there were")

    def _uids(self):
        return {obj["metadata"]["uid"] for kind in (JOBS, PODS) for obj in self.admin.list(kind, INSTRUMENT)}


@pytest.fixture(scope="module")
def twenty_forever(deployed, admin, long_work, endpoints):
    """Twenty workers for the whole module; then the environment as it was."""
    from prompt_keda.clients.systems import Systems

    systems = Systems(load_environment(CLUSTER, endpoints))

    def streams():
        systems.forget_redis()
        return systems.redis

    made = Twenty(admin, streams, long_work)
    yield made
    done = run_task("redeploy", "--env", ENV)
    made.end()
    forget_what_is_pending(streams()._redis)
    systems.close()
    assert done.returncode == 0, done.stderr


@pytest.fixture
def twenty(twenty_forever):
    """Twenty running workers, none lost before."""
    twenty_forever.begin()
    return twenty_forever


def gone(admin, resource, name, namespace=None):
    until(lambda: admin.find(resource, name, namespace) is None, 120, f"the end of {name}")


def scale(admin, name, count):
    admin.patch(DEPLOYMENTS, name, "keda", {"spec": {"replicas": count}})
    until(lambda: len(admin.list(PODS, "keda", f"app={name}")) == count, 90, f"{count} pods of {name}")


def orphan_jobs(admin):
    for job in admin.list(JOBS, INSTRUMENT):
        admin.patch(JOBS, job["metadata"]["name"], INSTRUMENT, {"metadata": {"ownerReferences": None}})


def nothing_there(twenty):
    """No CRD, no namespace, no role of KEDA; the Jobs were orphaned before."""
    admin = twenty.admin
    orphan_jobs(admin)
    admin.delete(SCALED_JOBS, INSTRUMENT, INSTRUMENT, propagation="Orphan")
    admin.delete(TRIGGER_AUTHENTICATIONS, "prompt-redis", INSTRUMENT)
    gone(admin, SCALED_JOBS, INSTRUMENT, INSTRUMENT)
    admin.delete(API_SERVICES, METRICS)
    admin.delete(VALIDATING_WEBHOOKS, WEBHOOK)
    for crd in admin.list(CRDS, label_selector="app.kubernetes.io/part-of=keda-operator"):
        admin.delete(CRDS, crd["metadata"]["name"])
        gone(admin, CRDS, crd["metadata"]["name"])
    admin.delete(NAMESPACES, "keda")
    gone(admin, NAMESPACES, "keda")


def namespace_deleted(twenty):
    """Namespace keda is deleted."""
    twenty.admin.delete(API_SERVICES, METRICS)
    twenty.admin.delete(NAMESPACES, "keda")
    gone(twenty.admin, NAMESPACES, "keda")


def namespace_stuck(twenty):
    """Namespace keda is stuck, because its APIService answers no more (F9)."""
    twenty.admin.delete(NAMESPACES, "keda")
    until(lambda: not twenty.admin.list(DEPLOYMENTS, "keda"), 90, "a namespace with nothing in it")


def operator_deleted(twenty):
    """The operator's Deployment is deleted."""
    twenty.admin.delete(DEPLOYMENTS, OPERATOR, "keda", propagation="Foreground")
    gone(twenty.admin, DEPLOYMENTS, OPERATOR, "keda")


def removal_hung(twenty):
    """A removal hangs: the operator went first, then the CRDs, and ScaledJobs wait for finalizers (F5)."""
    scale(twenty.admin, OPERATOR, 0)
    for name in (CRD, "triggerauthentications.keda.sh"):
        twenty.admin.delete(CRDS, name)
    until(lambda: _dies(twenty.admin, SCALED_JOBS, INSTRUMENT, INSTRUMENT), 60, "a ScaledJob being deleted")


def finalizer_stuck(twenty):
    """A ScaledJob was deleted while no operator was there (F5)."""
    scale(twenty.admin, OPERATOR, 0)
    twenty.admin.delete(SCALED_JOBS, INSTRUMENT, INSTRUMENT)
    until(lambda: _dies(twenty.admin, SCALED_JOBS, INSTRUMENT, INSTRUMENT), 60, "a ScaledJob being deleted")


def _dies(admin, resource, name, namespace=None):
    return "deletionTimestamp" in (admin.find(resource, name, namespace) or {"metadata": {}})["metadata"]


def api_service_stale(twenty):
    """The Service of the metrics APIService is gone."""
    twenty.admin.delete(SERVICES, METRICS_SERVICE, "keda")


def certificates_corrupt(twenty):
    """KEDA's certificates are garbage."""
    garbage = base64.b64encode(b"garbage").decode()
    twenty.admin.patch(SECRETS, "kedaorg-certs", "keda", {"data": {"tls.crt": garbage, "ca.crt": garbage}})


def ca_bundle_corrupt(twenty):
    """The APIService trusts another authority."""
    other = base64.b64encode(b"another authority").decode()
    twenty.admin.patch(API_SERVICES, METRICS, None, {"spec": {"caBundle": other}})


def webhook_fails(twenty):
    """The webhooks have no backend and the policy Fail (F12)."""
    scale(twenty.admin, WEBHOOKS, 0)
    hooks = twenty.admin.get(VALIDATING_WEBHOOKS, WEBHOOK)["webhooks"]
    changed = [{**hook, "failurePolicy": "Fail"} for hook in hooks]
    twenty.admin.patch(VALIDATING_WEBHOOKS, WEBHOOK, None, {"webhooks": changed})


def redis_empty(twenty):
    """Redis is empty (F28)."""
    twenty.streams()._redis.execute_command("FLUSHALL")


def group_missing_with_a_backlog(twenty):
    """The consumer group is gone, and events wait (F17)."""
    streams = twenty.streams()
    streams.add(STREAM, [{"visit": f"late {n}"} for n in range(5)])
    streams._redis.execute_command("XGROUP", "DESTROY", STREAM, GROUP)


def duplicate_operator(twenty):
    """A second operator runs in another namespace."""
    admin = twenty.admin
    operator = admin.get(DEPLOYMENTS, OPERATOR, "keda")
    metadata = {"name": "another-keda", "namespace": "default", "labels": operator["metadata"]["labels"]}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": operator["spec"]}
    admin.create(DEPLOYMENTS, body, "default")


def scaled_job_gone(twenty):
    """The ScaledJob was deleted, its Jobs orphaned (F2)."""
    twenty.admin.delete(SCALED_JOBS, INSTRUMENT, INSTRUMENT, propagation="Orphan")
    gone(twenty.admin, SCALED_JOBS, INSTRUMENT, INSTRUMENT)


def paused_and_forgotten(twenty):
    """The ScaledJob is paused, and was forgotten."""
    twenty.admin.patch(SCALED_JOBS, INSTRUMENT, INSTRUMENT, {"metadata": {"annotations": {PAUSED: "true"}}})


def rights_taken(twenty):
    """The operator's role is empty, and the fields are somebody else's."""
    twenty.admin.patch(CLUSTER_ROLES, OPERATOR, None, {"rules": []})


def wrong_image(twenty):
    """The operator's Deployment names an image that is not there."""
    operator = twenty.admin.get(DEPLOYMENTS, OPERATOR, "keda")
    containers = operator["spec"]["template"]["spec"]["containers"]
    changed = [
        {**container, "image": f"{container['image'].partition('@')[0].rpartition(':')[0]}:0.0.0"}
        for container in containers
    ]
    twenty.admin.patch(DEPLOYMENTS, OPERATOR, "keda", {"spec": {"template": {"spec": {"containers": changed}}}})


def lease_of_a_ghost(twenty):
    """The operator's Lease is held by nobody, far into the future."""
    scale(twenty.admin, OPERATOR, 0)
    spec = {"holderIdentity": "ghost", "renewTime": "2099-01-01T00:00:00.000000Z", "leaseDurationSeconds": 15}
    twenty.admin.patch(LEASES, "operator.keda.sh", "keda", {"spec": spec})


def owned_by_helm(twenty):
    """KEDA's objects become a release's, as the public chart delivers them."""
    with TemporaryDirectory() as folder:
        made = chart(Path(folder))
        done = helm("upgrade", "--install", RELEASE, str(made), "--take-ownership")
    assert done.returncode == 0, done.stderr


def helm_uninstall_hung(twenty):
    """`helm uninstall` hung and was killed: the release is uninstalling, CRDs wait for finalizers (F5)."""
    owned_by_helm(twenty)
    scale(twenty.admin, OPERATOR, 0)
    uninstall = begin_helm("uninstall", RELEASE, "--wait", "--timeout", "120s")
    until(lambda: _dies(twenty.admin, CRDS, CRD), 60, "a CRD being deleted")
    uninstall.kill()
    uninstall.wait()
    statuses = [secret["metadata"]["labels"]["status"] for secret in twenty.admin.list(SECRETS, "keda", "owner=helm")]
    assert "uninstalling" in statuses and "deployed" not in statuses


def helm_upgrade_killed(twenty):
    """A Helm upgrade was killed: its revision is pending."""
    owned_by_helm(twenty)
    (live,) = [
        secret for secret in twenty.admin.list(SECRETS, "keda", "owner=helm") if "deployed" in str(secret["metadata"])
    ]
    metadata = {"name": f"sh.helm.release.v1.{RELEASE}.v9", "labels": {**live["metadata"]["labels"]}}
    metadata["labels"] |= {"status": "pending-upgrade", "version": "9"}
    twenty.admin.create(SECRETS, {"metadata": metadata, "type": live["type"], "data": live["data"]}, "keda")


STATES = [
    (helm_upgrade_killed, "repair"),
    (helm_uninstall_hung, "reinstall"),
    (operator_deleted, "repair"),
    (scaled_job_gone, "repair"),
    (paused_and_forgotten, "repair"),
    (api_service_stale, "repair"),
    (certificates_corrupt, "repair"),
    (ca_bundle_corrupt, "repair"),
    (webhook_fails, "repair"),
    (redis_empty, "repair"),
    (group_missing_with_a_backlog, "repair"),
    (duplicate_operator, "repair"),
    (rights_taken, "repair"),
    (wrong_image, "repair"),
    (lease_of_a_ghost, "repair"),
    (namespace_deleted, "repair"),
    (namespace_stuck, "reinstall"),
    (finalizer_stuck, "reinstall"),
    (removal_hung, "reinstall"),
    (nothing_there, "cold"),
]
BY_HELM = (helm_upgrade_killed, helm_uninstall_hung)
SAMPLE = (webhook_fails, removal_hung)
"""Those of every test run, one a mode that acts on what stands; the others are exhaustive. That a ScaledJob that is gone comes back
over its orphaned Jobs is in every test run as well: tests/stack/test_redeploy.py."""


PAGE = ROOT / "docs" / ("recovery-vcluster.md" if IN_VCLUSTER else "recovery.md")
PLACE = "in a vCluster on the local stack" if IN_VCLUSTER else "on the local stack"
HEAD = f"""# From every broken state
Made by tests/stack/test_recovery.py {PLACE}, on 2 cores beside other work: each state is made while 20 workers are
in mid-work, then `redeploy` brings KEDA back. A watch follows the workers' Jobs and pods throughout. Afterwards the checks of
keda, redis and cluster are green, and a second run writes nothing but its lock, its record and its smoke test.

| state | mode | recovery | workers lost of 20 |
|---|---|---|---|
"""


@pytest.fixture(scope="module")
def rows():
    """Rows of the page. Written at the end if PROMPT_KEDA_WRITE_RECOVERY is set: those of states that did not run stay."""
    rows_ = {}
    yield rows_
    if os.environ.get("PROMPT_KEDA_WRITE_RECOVERY"):
        kept = PAGE.read_text().splitlines() if PAGE.exists() else []
        lines = [
            rows_.get(state) or next((row for row in kept if row.startswith(_start(state))), "") for state, _ in STATES
        ]
        PAGE.write_text(HEAD + "".join(f"{row}\n" for row in lines if row))


def _start(state):
    return f"| {state.__doc__.removesuffix('.')} |"


def _marked(state, mode):
    marks = [] if state in SAMPLE else [pytest.mark.exhaustive]
    return pytest.param(state, mode, id=state.__name__, marks=marks)


@pytest.mark.parametrize(("state", "mode"), [_marked(*state) for state in STATES])
def test_it_ends_green_and_no_worker_is_lost(twenty, state, mode, rows):
    """In the mode that fits; the same UIDs throughout; and a second run writes nothing."""
    if state in BY_HELM and ENV == "argocd":
        pytest.skip("where Argo CD delivers there is no release: whoever makes one takes KEDA away from it")
    state(twenty)
    assert not twenty.watched.lost, f"the fault itself lost workers: {twenty.watched.lost}"
    code, document = twenty.redeploy()
    assert code == 0, document.get("error")
    assert document["mode"] == mode
    assert not twenty.watched.lost
    code, checked = run_json("check-deps", "--env", twenty.environment, "--only", OTHERS)
    assert code == 0, [
        (result["id"], result["observed"]) for result in checked["results"] if result["verdict"] not in ("ok", "warn")
    ]
    if state in BY_HELM:
        owned_by_helm(twenty)
    code, again = twenty.redeploy()
    assert code == 0 and again["mode"] == "repair"
    written = {step["id"] for step in again["steps"] if step["acted"]}
    asked = {"verify/delivery-agrees"} if ENV == "argocd" else set()
    assert written == {"guard/hold-lease", "verify/smoke"} | asked
    assert not twenty.watched.lost
    rows[state] = f"{_start(state)} {mode} | {document['timings']['recovery']:.0f} s | 0 |"


def of_another_version(twenty):
    """An older KEDA, which somebody has installed with another tool: its own CRDs, and parts that say they are of it."""
    for crd in keda_versions.crds(OLDER):
        query = {"fieldManager": "another-tool", "force": "true"}
        path = CRDS.path(None, crd["metadata"]["name"])
        twenty.admin.request("PATCH", path, query=query, body=crd, content_type="application/apply-patch+yaml")
    labels = {"metadata": {"labels": {"app.kubernetes.io/version": OLDER}}}
    for deployment in twenty.admin.list(DEPLOYMENTS, "keda"):
        twenty.admin.patch(DEPLOYMENTS, deployment["metadata"]["name"], "keda", labels)


def much_is_wrong(twenty):
    scaled_job_gone(twenty)
    certificates_corrupt(twenty)
    redis_empty(twenty)


@pytest.mark.exhaustive
def test_an_upgrade_changes_crds_that_another_tool_has_applied(twenty):
    """From KEDA 2.15's own CRDs to the environment's; no worker is lost, and the fields are taken over by name."""
    of_another_version(twenty)
    code, document = run_json("plan", "--env", twenty.environment)
    assert code == 0 and document["plan"]["mode"] == "upgrade"
    assert f"CustomResourceDefinition {CRD}" in document["plan"]["decisions"]["takes_over"]
    code, document = twenty.redeploy()
    assert code == 0, document.get("error")
    labels = twenty.admin.get(CRDS, CRD)["metadata"]["labels"]
    assert document["mode"] == "upgrade" and labels["app.kubernetes.io/version"] != OLDER
    assert not twenty.watched.lost


@pytest.mark.exhaustive
def test_an_upgrade_that_the_scaled_jobs_do_not_fit_is_refused(twenty, tmp_path):
    """KEDA 2.20 knows no rollout strategy `default`: exit code 2, and nothing is replaced."""
    before = {deployment["metadata"]["uid"] for deployment in twenty.admin.list(DEPLOYMENTS, "keda")}
    objects = json.loads(Path(state.endpoints()["keda_manifests"]).read_text())
    data = json.dumps(keda_versions.manifests(objects, NEWER)).encode()
    (tmp_path / "keda.json").write_bytes(data)
    changes = (
        ("version: 2.16.1", f"version: {NEWER}"),
        ("source: ${lab:keda_manifests}", f"source: {tmp_path / 'keda.json'}"),
        ("sha256: ${lab:keda_manifests_sha256}", f"sha256: {hashlib.sha256(data).hexdigest()}"),
    )
    newer = changed_environment(tmp_path, environment=changes, manifest=LONG_WORK)
    code, document = run_json("redeploy", "--env", newer)
    assert code == 2 and "strategy" in document["error"]["what"], document["error"]
    assert {deployment["metadata"]["uid"] for deployment in twenty.admin.list(DEPLOYMENTS, "keda")} == before


@pytest.mark.exhaustive
def test_what_went_with_its_crd_is_reported(twenty):
    """An operator that works finishes the deletion, and the Jobs go: nobody can bring them back, and the report says so."""
    twenty.end()  # other tests may have cut these loose
    twenty.begin()
    twenty.admin.delete(CRDS, CRD)
    gone(twenty.admin, CRDS, CRD)
    until(lambda: len(twenty.watched.lost) >= COUNT, 120, "the end of the workers")
    code, document = twenty.redeploy()
    assert code == 0, document.get("error")
    assert any(CRD in note and "lost" in note for note in document["notes"])
    assert document["mode"] == "repair"


KILLED = [
    (much_is_wrong, "repair"),
    (removal_hung, "reinstall"),
    (of_another_version, "upgrade"),
    (nothing_there, "cold"),
    (paused_and_forgotten, "purge"),
]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("state", "mode"), KILLED, ids=lambda value: value if isinstance(value, str) else None)
def test_a_run_that_is_killed_at_every_boundary_of_its_journal_ends_green(twenty, state, mode, tmp_path):
    """SIGKILL after each entry, one after the other; each time it is resumed. The same ledger, and no worker lost.

    Where Argo CD delivers it syncs by itself before and afterwards. Once it is suspended another state folder goes on.
    """
    with automatic_sync(twenty.admin) if ENV == "argocd" else nullcontext():
        _killed_at_every_boundary(twenty, state, mode, tmp_path)


def _killed_at_every_boundary(twenty, state, mode, folder):
    state(twenty)
    boundaries, elsewhere = folder / "boundaries", other_state_folder(folder / "elsewhere")
    command = [sys.executable, "-m", "tests.stack.killed_at", twenty.environment, mode, str(boundaries)]
    env, kills = dict(os.environ), 0
    while (
        done := subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=env)
    ).returncode == -signal.SIGKILL:
        kills += 1
        if ENV == "argocd" and "guard/suspend-delivery" in boundaries.read_text():
            env["XDG_STATE_HOME"] = str(elsewhere)
    assert done.returncode == 0, f"after {kills} kills, {boundaries.read_text()}: {done.stderr}"
    steps = {line.split()[0] for line in boundaries.read_text().splitlines()}
    assert steps == {step.id for step in STEPS} and kills >= len(steps)
    assert not twenty.watched.lost
    code, checked = run_json("check-deps", "--env", twenty.environment, "--only", OTHERS)
    assert code == 0, [
        (result["id"], result["observed"]) for result in checked["results"] if result["verdict"] not in ("ok", "warn")
    ]


@pytest.mark.exhaustive
@pytest.mark.skipif(not IN_VCLUSTER, reason="only a vCluster has a syncer")
@pytest.mark.parametrize("is_killed", [False, True], ids=["it goes on", "it is killed as well"])
def test_a_reinstall_goes_on_across_a_syncer_that_is_killed(twenty, is_killed):
    """Its API server goes away in the middle. The run waits for it, or ends, and then resume goes on; no worker is lost."""
    stage = Stage(load_environment(CLUSTER, state.endpoints()))
    reinstall = command("redeploy", "--env", twenty.environment, "--mode", "reinstall")
    with subprocess.Popen(reinstall, cwd=ROOT, stdout=PIPE, stderr=STDOUT) as run:
        until(lambda: not twenty.admin.list(DEPLOYMENTS, "keda"), 120, "the removal of KEDA's parts")
        syncer_faults.kill_syncer(stage)
        if is_killed:
            run.kill()
        output, _ = run.communicate()
    if run.returncode:
        assert is_killed or "resume goes on from here" in output.decode(), output.decode()
        syncer_faults.wait_until_back(stage)
        code, document = run_json("resume", "--env", twenty.environment)
        assert code == 0, document.get("error")
    assert not twenty.watched.lost
    assert set(twenty.watched.wanted) <= set(active_workers(twenty.admin).values())
