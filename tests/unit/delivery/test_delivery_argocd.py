"""Argo CD delivers too: marks, who keeps still, who goes on, and what it says. On the double; the stack has a real one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from prompt_keda.clients.kube.resources import APPLICATIONS, CONFIG_MAPS, JOBS, NAMESPACES, SCALED_JOBS
from prompt_keda.components.run import Context
from prompt_keda.core.errors import BadAnswer, StepBroken
from prompt_keda.core.plan import State
from prompt_keda.delivery import argocd
from prompt_keda.delivery.argocd import ENABLED_WAS, REFRESH, SUSPENDED_BY, ArgoCdDelivery
from prompt_keda.environment.model import ArgoCdSettings
from prompt_keda.redeploy import finalize
from tests.contracts.fakes.kube import FakeKube

KEY = "argocd.argoproj.io/instance"
WORKERS = "prompt-keda-lsstcam"
LSSTCAM = SimpleNamespace(application=WORKERS, namespace=WORKERS, scaled_job=WORKERS)
ROLE = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "keda-operator"}}
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "keda-operator", "namespace": "keda"}}
CRD = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "x"}}


def delivery(tracking="label", kube=None, instruments=(LSSTCAM,)):
    settings = ArgoCdSettings(tracking=tracking)
    environment = SimpleNamespace(argocd=settings, instruments=instruments, keda=SimpleNamespace(namespace="keda"))
    return ArgoCdDelivery(SimpleNamespace(environment=environment, kube=kube or FakeKube()))


def with_application(automated=None, name="keda", **more):
    kube = FakeKube()
    kube.create(NAMESPACES, {"metadata": {"name": "argocd"}})
    spec = {"syncPolicy": {"automated": automated}} if automated is not None else {"syncPolicy": {}}
    kube.create(APPLICATIONS, {"metadata": {"name": name}, "spec": spec, **more}, "argocd")
    return kube, delivery(kube=kube)


def live(kube, name="keda"):
    return kube.get(APPLICATIONS, name, "argocd")


def change(kube, **body):
    kube.patch(APPLICATIONS, "keda", "argocd", body)


@pytest.mark.parametrize(
    ("tracking", "labels", "annotations"),
    [
        ("label", {KEY: "keda"}, None),
        ("annotation", None, {argocd.TRACKING_ID: "keda:/Service:keda/keda-operator"}),
        ("annotation+label", {KEY: "keda"}, {argocd.TRACKING_ID: "keda:/Service:keda/keda-operator"}),
    ],
)
def test_what_is_applied_bears_the_marks_of_its_application(tracking, labels, annotations):
    """Else Argo CD says OutOfSync; the object that is given is not changed."""
    metadata = delivery(tracking).marked(SERVICE)["metadata"]
    assert metadata.get("labels") == labels and metadata.get("annotations") == annotations
    assert set(SERVICE["metadata"]) == {"name", "namespace"}


def test_a_cluster_wide_object_is_tracked_by_its_applications_namespace():
    """As Argo CD writes it (seen in its cache of rendered manifests)."""
    expected = "keda:rbac.authorization.k8s.io/ClusterRole:keda/keda-operator"
    assert delivery("annotation").marked(ROLE)["metadata"]["annotations"] == {argocd.TRACKING_ID: expected}


def test_crds_and_what_no_application_delivers_get_no_mark():
    """Argo CD marks no CRD; an instrument without an Application is somebody else's."""
    assert delivery().marked(CRD) is CRD
    alone = SimpleNamespace(application=None, namespace="n")
    assert delivery().marked(SERVICE, alone) is SERVICE


def test_an_orphaned_job_loses_the_marks_that_it_has():
    """KEDA copies them from the ScaledJob; without an owner the Job would be pruned with the next sync."""
    job = {"metadata": {"name": "j", "labels": {KEY: "prompt-keda-lsstcam", "scaledjob.keda.sh/name": "x"}}}
    assert delivery("annotation+label").marks_of_a_job(job) == {"labels": {KEY: None}}
    assert delivery().marks_of_a_job({"metadata": {"name": "j"}}) == {}


@pytest.mark.parametrize(("automated", "was"), [({}, "null"), ({"prune": True}, "null"), ({"enabled": True}, "true")])
def test_automation_is_suspended_for_a_run_and_put_back_as_it_was(automated, was):
    """An empty ``automated`` is one that is switched on."""
    kube, made = with_application(automated)
    assert made.suspension("run-1").state is State.TODO
    made.suspend("run-1")
    assert live(kube)["spec"]["syncPolicy"]["automated"]["enabled"] is False
    assert live(kube)["metadata"]["annotations"] == {SUSPENDED_BY: "run-1", ENABLED_WAS: was}
    assert made.suspension("run-1").state is State.DONE
    assert made.resumption("run-1").state is State.TODO
    made.resume("run-1")
    assert live(kube)["spec"]["syncPolicy"]["automated"] == automated
    assert not live(kube)["metadata"].get("annotations") and made.resumption("run-1").state is State.DONE


def test_a_plan_has_no_run_and_resumes_nothing():
    """An Application that nobody has suspended bears no run either."""
    assert with_application({})[1].resumption("").state is State.DONE


@pytest.mark.parametrize("automated", [None, {"enabled": False}])
def test_what_does_not_sync_by_itself_is_left_alone(automated):
    """Who has switched it off, switches it on."""
    kube, made = with_application(automated)
    before = live(kube)
    assert made.suspension("run-1").state is State.DONE
    made.suspend("run-1")
    made.resume("run-1")
    assert live(kube) == before


def test_the_suspension_of_a_run_that_died_is_taken_over_and_put_back():
    """Its begin is remembered, not what the other run had made of it."""
    kube, made = with_application({"enabled": True})
    made.suspend("run-1")
    assert made.suspension("run-2").state is State.TODO
    made.suspend("run-2")
    made.resume("run-1")
    assert live(kube)["spec"]["syncPolicy"]["automated"] == {"enabled": False}
    made.resume("run-2")
    assert live(kube)["spec"]["syncPolicy"]["automated"] == {"enabled": True}


def test_automation_that_was_taken_away_meanwhile_is_not_brought_back():
    """A patch of a key below would: an empty ``automated`` is one that is switched on."""
    kube, made = with_application({})
    made.suspend("run-1")
    change(kube, spec={"syncPolicy": {"automated": None}})
    made.resume("run-1")
    assert "automated" not in live(kube)["spec"]["syncPolicy"]
    assert made.resumption("run-1").state is State.DONE


@pytest.mark.parametrize("busy", [{"operation": {"sync": {}}}, {"status": {"operationState": {"phase": "Running"}}}])
def test_a_sync_that_runs_is_waited_for(busy):
    """Whether it has begun or is about to."""
    _, made = with_application(None, **busy)
    assert made.suspension("run-1").state is State.WORKING


def test_a_sync_that_is_waited_for_is_reported_with_what_it_waits_for_itself():
    """A sync window holds it back for hours, and nobody has to wait for that."""
    state = {"phase": "Running", "message": "Sync operation blocked by sync window"}
    _, made = with_application(None, operation={"sync": {}}, status={"operationState": state})
    assert (
        "keda since a moment ago (Sync operation blocked by sync window; it has begun nothing"
        in made.suspension("run-1").detail
    )


@pytest.mark.parametrize(("minutes", "state"), [(5, State.WORKING), (15, State.DONE)])
def test_a_state_that_was_left_is_not_waited_for(minutes, state):
    """It says that a sync runs, and the operation is gone: nobody runs it, unless it was taken away a moment ago."""
    began = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()
    _, made = with_application(None, status={"operationState": {"phase": "Running", "startedAt": began}})
    assert made.suspension("run-1").state is state


GOING = {"metadata": {"deletionTimestamp": "2026-11-29T00:00:00Z"}}


def syncing():
    """A sync of the workers runs, whose ScaledJob stands."""
    kube, made = with_application(name=WORKERS, operation={"sync": {}}, status={"operationState": {"phase": "Running"}})
    kube.create(NAMESPACES, {"metadata": {"name": WORKERS}})
    kube.create(SCALED_JOBS, {"metadata": {"name": WORKERS}, "spec": {}}, WORKERS)
    return kube, made


def test_a_sync_that_waits_for_this_run_is_not_waited_for():
    """It has deleted a ScaledJob whose operator is away: only a redeploy lets that go, and both would wait forever."""
    kube, made = syncing()
    assert made.suspension("run-1").state is State.WORKING
    kube.patch(SCALED_JOBS, WORKERS, WORKERS, GOING)
    assert made.suspension("run-1").state is State.DONE


def test_what_a_sync_is_about_to_make_anew_is_left_to_it():
    """It would remove one that somebody else makes meanwhile, with the Jobs of that."""
    kube, made = syncing()
    assert not made.is_bringing(LSSTCAM)
    kube.patch(SCALED_JOBS, WORKERS, WORKERS, GOING)
    assert made.is_bringing(LSSTCAM)
    kube.delete(SCALED_JOBS, WORKERS, WORKERS)
    assert made.is_bringing(LSSTCAM)
    kube.patch(
        APPLICATIONS, WORKERS, "argocd", {"operation": None, "status": {"operationState": {"phase": "Succeeded"}}}
    )
    assert not made.is_bringing(LSSTCAM)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, []),
        ({"application.resourceTrackingMethod": "label", "application.instanceLabelKey": KEY}, []),
        ({}, ["argocd.tracking is label, and argocd-cm says annotation: correct the environment"]),
        (
            {"application.resourceTrackingMethod": "label"},
            [f"argocd.label_key is {KEY}, and argocd-cm says app.kubernetes.io/instance: correct the environment"],
        ),
    ],
)
def test_nothing_is_applied_with_marks_that_argo_cd_does_not_look_for(data, words):
    """Its next sync would touch every object. Without an argocd-cm the environment is taken at its word."""
    kube, made = with_application()
    if data is not None:
        kube.create(CONFIG_MAPS, {"metadata": {"name": "argocd-cm"}, "data": data}, "argocd")
    assert list(made.obstacles()) == words


def test_an_argo_cd_that_cannot_suspend_is_reported():
    """Before 3.1 the CRD does not keep ``enabled``, and the API server drops it silently."""
    kube, made = with_application({})
    original = kube.patch

    def forgetful(kind, name, namespace, body, **options):
        body.get("spec", {}).get("syncPolicy", {}).get("automated", {}).pop("enabled", None)
        return original(kind, name, namespace, body, **options)

    kube.patch = forgetful
    with pytest.raises(StepBroken, match=r"knows no automated\.enabled"):
        made.suspend("run-1")


def test_a_change_in_between_is_looked_at_again():
    """The controller writes into the same object all the time."""
    kube, made = with_application({})
    original, refused = kube.patch, []

    def once(kind, name, namespace, body, **options):
        if not refused:
            refused.append(body)
            raise BadAnswer("Kubernetes", "x", "409 on PATCH x: the object has been modified")
        return original(kind, name, namespace, body, **options)

    kube.patch = once
    made.suspend("run-1")
    assert refused and made.suspension("run-1").state is State.DONE


def test_without_argo_cd_there_is_nobody_to_wait_for():
    """It is applied all the same: when Argo CD comes, it finds what it wants."""
    made = delivery()
    assert made.suspension("run-1").state is State.DONE
    made.suspend("run-1")
    made.agree({})
    assert made.agreement().state is State.DONE and "none of its Applications is there" in made.agreement().detail


def looked(kube, **status):
    change(kube, metadata={"annotations": {REFRESH: None}}, status=status)


def test_argo_cd_is_asked_and_what_it_says_counts():
    """Nothing it said before the question does."""
    kube, made = with_application(None, status={"sync": {"status": "Synced"}})
    assert made.agreement().state is State.TODO
    made.agree({})
    assert live(kube)["metadata"]["annotations"] == {REFRESH: "normal"}
    assert made.agreement().state is State.WORKING
    looked(kube, sync={"status": "Synced"})
    assert (made.agreement().state, made.agreement().detail) == (State.DONE, "keda Synced")


def test_what_it_wants_otherwise_is_red_and_named():
    """With the object and the Application."""
    kube, made = with_application()
    made.agree({})
    differing = {"kind": "Deployment", "namespace": "keda", "name": "keda-operator", "status": "OutOfSync"}
    looked(kube, sync={"status": "OutOfSync"}, resources=[differing, {**differing, "status": "Synced"}])
    differences = made.agreement()
    assert differences.state is State.BROKEN and differences.detail.endswith(
        "wants otherwise: Deployment/keda/keda-operator (keda)"
    )


def test_what_it_cannot_tell_holds_nothing_up(monkeypatch):
    """Its repo-server is away, or its controller: KEDA is back all the same, and the words say that nobody has confirmed it."""
    kube, made = with_application()
    made.agree({})
    monkeypatch.setattr(argocd, "ANSWERS_WITHIN_S", 0.0)
    assert made.agreement().state is State.DONE and "not confirmed: Argo CD has not looked" in made.agreement().detail
    looked(kube, sync={"status": "Unknown"}, conditions=[{"type": "ComparisonError", "message": "no\nrepo-server"}])
    assert made.agreement().state is State.DONE and "not confirmed: keda: no repo-server" in made.agreement().detail


def test_the_rights_are_by_name():
    """Who may patch an Application may do all that Argo CD may: no more of them than needed."""
    assert {(right.verb, right.name) for right in delivery().rights()} == {
        *((verb, name) for verb in ("get", "patch") for name in ("keda", WORKERS)),
        ("get", "argocd-cm"),
    }


def test_who_else_has_applied_an_object_is_named():
    """A status that a controller applies, and an update, keep no field of what is wanted."""
    entries = [
        {"manager": "argocd-controller", "operation": "Apply"},
        {"manager": "prompt-keda", "operation": "Apply"},
        {"manager": "kubelet", "operation": "Apply", "subresource": "status"},
        {"manager": "kubectl-edit", "operation": "Update"},
    ]
    assert delivery().others({"metadata": {"managedFields": entries}}) == ["prompt-keda"]


def test_a_job_without_an_owner_loses_its_marks_before_anybody_prunes_it():
    """Only running ones of a ScaledJob, and only those without an owner: Argo CD counts no other."""
    marked = {KEY: "prompt-keda-lsstcam", "scaledjob.keda.sh/name": "prompt-keda-lsstcam"}
    kube = FakeKube()
    kube.create(NAMESPACES, {"metadata": {"name": "n"}})
    owner = [{"uid": "1", "kind": "ScaledJob", "name": "prompt-keda-lsstcam"}]
    for name, owners in (("loose", None), ("owned", owner)):
        metadata = {"name": name, "labels": marked, "ownerReferences": owners}
        kube.create(JOBS, {"metadata": metadata, "status": {"active": 1}}, "n")
    made = delivery(kube=kube)
    context = Context(made._systems, [], {}, made)
    assert [job["metadata"]["name"] for job in finalize.prunable(context)] == ["loose"]
    assert finalize.orphan_inspect(context).detail == "1 Jobs without an owner would be pruned by who else delivers"
    finalize.orphan_jobs(context)
    assert finalize.orphan_inspect(context).state is State.DONE
    assert KEY in kube.get(JOBS, "owned", "n")["metadata"]["labels"]
    assert set(kube.get(JOBS, "loose", "n")["metadata"]["labels"]) == {"scaledjob.keda.sh/name"}


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ({"sync": {"status": "Synced", "revision": "abc"}}, "Application keda is Synced with git at abc"),
        ({"sync": {"status": "OutOfSync", "revision": "abc"}}, ""),
        ({"sync": {"status": "Synced"}, "conditions": [{"type": "ComparisonError", "message": "x"}]}, ""),
        ({"sync": {"status": "Synced"}, "reconciledAt": "2020-01-01T00:00:00Z"}, ""),
    ],
)
def test_a_rendering_may_be_behind_git(status, says):
    """Only what Argo CD has seen lately, and as git has it, says that what stands is right."""
    now = datetime.now(UTC).isoformat()
    kube, made = with_application(None, status={"reconciledAt": now, **status})
    kube.server_time = lambda: datetime.now(UTC)
    assert made.agrees_with_what_stands() == says
