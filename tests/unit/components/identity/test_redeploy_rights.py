"""The rights that a redeploy needs are those that its steps ask for: they are run on the double, and compared both ways."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.components.identity.redeploy_rights import redeploy_rights
from prompt_keda.components.keda import install
from prompt_keda.components.keda.names import CERTIFICATES, FINALIZER
from prompt_keda.components.run import Context
from prompt_keda.components.scaled_jobs import running_jobs, unpause
from prompt_keda.components.scaled_jobs.objects import is_paused
from prompt_keda.components.smoke import smoke_test
from prompt_keda.core.errors import DeadlinePassed, PromptKedaError
from prompt_keda.core.rights import Right
from prompt_keda.delivery.manifests import load_instrument_manifest
from prompt_keda.records import lock
from prompt_keda.records.record import RunFolder
from prompt_keda.redeploy import cluster_copy, finalize, guard, planner, remove, restore, verify
from prompt_keda.redeploy.copied_journal import copied_journal_of
from prompt_keda.redeploy.modes import RedeployOptions
from tests.contracts.fakes.recorder import Recorder
from tests.unit.world import SCALED_JOB, SPACE, World, conditions, keda_manifests, now

NOT_ASKED_HERE = {
    Right("list", "", "events"): "asked when a Job of the start is gone",
    Right("get", "", "pods", "keda", "", "log"): "asked when a part of KEDA crashes",
    Right("list", "discovery.k8s.io", "endpointslices", "prompt-redis"): "the double of Redis needs no port-forward",
    Right("get", "", "pods", "prompt-redis", "", "portforward"): "the same",
    Right("create", "", "pods", "prompt-redis", "", "portforward"): "the same",
    Right("get", "", "secrets", "prompt-keda-smoke", "pull-secret"): "the preflight tries each Secret",
    Right("get", "", "namespaces", "", "prompt-keda-smoke"): "the preflight tries what it applies",
}


class Watched:
    """Stands for a watch: notes what it is on, and never waits."""

    def __init__(self, kube, targets):
        kube.note_watch(targets)

    def wait(self, timeout_s):
        return True

    def close(self):
        pass


@pytest.fixture
def recorded(monkeypatch):
    """Return the rights that every step of a redeploy asks for, with KEDA there and without, and what is derived."""
    for module in (finalize, install, verify, remove, smoke_test):
        monkeypatch.setattr(module, "Watch", Watched)
    monkeypatch.setattr(unpause, "LIMIT", timedelta(0))  # no controller settles anything here
    asked = set()
    for mode in ("reinstall", "cold", "repair"):
        world = World()
        recorder = world.systems._made["kube"] = Recorder(world.kube)
        redeploy(world, mode)
        asked |= recorder.asked
    return asked, derived(world.systems.environment)


def manifests(environment):
    (instrument,) = environment.instruments
    own = load_instrument_manifest(instrument.manifest, {"worker_image": "w"})
    return json.loads(Path(keda_manifests()[0]).read_text()), {instrument.name: own}


def derived(environment):
    return redeploy_rights(environment, *manifests(environment))


def redeploy(world, mode):
    """Run the steps' looks and acts one after the other; nothing waits for what only controllers do."""
    kube, environment = world.systems.kube, world.systems.environment
    kube.delete(kinds.SECRETS, CERTIFICATES, "keda")
    labels = {"app.kubernetes.io/part-of": "keda-operator"}
    world.change(kinds.DEPLOYMENTS, "keda-operator", "keda", metadata={"labels": labels})
    world.change(kinds.JOBS, "j1", SPACE, metadata={"annotations": None})  # one that KEDA's restart would delete
    if mode == "repair":
        not_at_work(world)
    if mode == "cold":
        world.remove(kinds.SCALED_JOBS, SCALED_JOB, SPACE)
        world.remove(kinds.TRIGGER_AUTHENTICATIONS, "prompt-redis", SPACE)
    keda_reconciles(world)
    context = Context(world.systems, *manifests(environment), run_id="run")
    context.before = running_jobs.ledger(kube, context.environment.smoke.namespace)
    planner.make_plan(context, RedeployOptions("auto" if mode == "cold" else mode))
    steps = [right for right in planner.STEPS if right.id not in ("preflight/prerequisites", "verify/smoke")]
    for step in steps:
        if step.id == "verify/loops-poll":
            leads(world)
        for look in (step.inspect, step.act, step.inspect):
            with suppress(PromptKedaError):  # a lock that is lost, a kind that is not there yet
                look(context)
            keda_reconciles(world)
        if step.watch is not None:
            step.watch(context)
    smoke_part(context)
    copy_into_the_cluster(context)
    guard.release_lease(context)
    wait_for_a_lock(kube)


def copy_into_the_cluster(context):
    """Copy the run into the cluster: make it, change it, end it, and tidy up what is old."""
    with TemporaryDirectory() as folder:
        run = RunFolder.create(Path(folder) / "runs", "local")
        run.write_json("plan.json", planner.make_plan(context, RedeployOptions()).to_json())
        run.write_json("snapshot.json", {"jobs": [], "streams": {}, "objects": []})
        journal = copied_journal_of(context, run)
        journal.append("run", "begin")
        journal._copy._kube.create(kinds.CONFIG_MAPS, old_copy(), lock.STATE_NAMESPACE)
        journal.append("run", "done")
        journal.finish({"mode": "cold", "timings": {}})
        with mock.patch.object(cluster_copy, "KEPT", 1):
            journal.close()


def old_copy():
    labels = {cluster_copy.ENVIRONMENT: "local", cluster_copy.RUN: "old", cluster_copy.STATE: cluster_copy.GREEN}
    return {"metadata": {"name": "old", "labels": labels, "creationTimestamp": "2000-01-01T00:00:00Z"}}


def wait_for_a_lock(kube):
    """Take the lock of somebody else, just before it expires."""
    spec = {"holderIdentity": "r u@h 1", "leaseDurationSeconds": 60, "renewTime": now(seconds=59.95)}
    kube.create(kinds.LEASES, {"metadata": {"name": lock.LEASE}, "spec": spec}, lock.STATE_NAMESPACE)
    late = lock.Lock(kube, "run", "me@here")
    late.take()
    late.release()


def not_at_work(world):
    """Let the operator's pod be one that a repair removes."""
    world.change(kinds.DEPLOYMENTS, "keda-operator", "keda", status={"availableReplicas": 0})
    status = {"phase": "Running", "containerStatuses": [{"ready": False, "state": {"running": {"startedAt": "t"}}}]}
    metadata = {"labels": {"app": "keda-operator"}, "creationTimestamp": "2026-01-01T00:00:00Z"}
    world.change(kinds.PODS, "keda-operator-1", "keda", metadata=metadata, status=status)


def leads(world):
    """Let the operator that was installed hold the Lease."""
    if world.kube.find(kinds.PODS, "keda-operator-1", "keda") is None:
        world.put_part_pod("keda-operator")
    if world.kube.find(kinds.LEASES, "operator.keda.sh", "keda") is None:
        world.put(kinds.LEASES, "operator.keda.sh", "keda", spec={"holderIdentity": "keda-operator-1_u"})


def keda_reconciles(world):
    """Do what KEDA does with the ScaledJob: it has a generation, a finalizer, and is seen paused if it is."""
    live = world.kube.find(kinds.SCALED_JOBS, SCALED_JOB, SPACE)
    if live is not None:
        paused = conditions(Paused="True" if is_paused(live) else "False")
        metadata = {"finalizers": [FINALIZER], "generation": 2}
        world.change(kinds.SCALED_JOBS, SCALED_JOB, SPACE, metadata=metadata, status=paused)


def smoke_part(context):
    test = smoke_test._Smoke(context.systems, 1, context.observer, "run", lambda: None)
    test.end = 0
    with suppress(DeadlinePassed, PromptKedaError):
        test.run()
    test._jobs_made(1)
    test._pods_ran()
    test._is_ready()
    metadata = {"name": "j", "labels": {"scaledjob.keda.sh/name": "left"}}
    context.systems.kube._kube.create(kinds.JOBS, {"metadata": metadata}, test.namespace)
    test.place.remove("left")


def test_a_redeploy_asks_for_no_right_that_is_not_derived(recorded):
    """Otherwise an identity would be told that it may redeploy, and be stopped half-way."""
    asked, rights = recorded
    assert sorted(needed for needed in asked if not any(right.covers(needed) for right in rights)) == []


def test_no_right_is_derived_that_no_step_asks_for(recorded):
    """Otherwise somebody would be told that they may not do what they may."""
    asked, rights = recorded
    idle = [right for right in rights if not any(right.covers(other) for other in asked)]
    assert [other for other in idle if other not in NOT_ASKED_HERE] == []


def test_the_derivation_follows_the_manifests():
    """Another object in the manifests is another right."""
    environment = World().systems.environment
    keda, own = manifests(environment)
    extra = {"apiVersion": "policy/v1", "kind": "NetworkPolicy", "metadata": {"name": "n", "namespace": "keda"}}
    more = set(redeploy_rights(environment, [*keda, extra], own)) - set(redeploy_rights(environment, keda, own))
    names = {str(right) for right in more}
    assert names == {
        "get networkpolicies n in keda",
        "create networkpolicies in keda",
        "patch networkpolicies n in keda",
    }


def test_restore_is_one_of_the_stages():
    """The stages whose steps are run here are all that there are."""
    stages = {right.id.partition("/")[0] for right in planner.STEPS}
    assert stages == {"preflight", "guard", "remove", "finalize", "install", "restore", "verify"} and restore.STEPS
