"""The checks of Argo CD: each is green in a world as it should be, and turns red for its reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.components.argocd.applications import HOOK_FINALIZER
from prompt_keda.components.catalogue import ALL_CHECKS
from prompt_keda.delivery.argocd import SUSPENDED_BY
from tests.unit.faults import broken_verdict as look
from tests.unit.faults import change, delivered_by_argo_cd, remove, scaled_job, turns_red
from tests.unit.world import now

PRESENT, RUNS, AUTOMATION, TRACKING, AGREES, FINALIZER, PERMITS = (
    f"argocd/{name}"
    for name in (
        *("applications-present", "no-sync-runs", "automation-as-meant", "tracking-right", "agrees"),
        *("no-finalizer-left", "project-permits"),
    )
)


def broken(*faults):
    def apply(world):
        for inject in (delivered_by_argo_cd, *faults):
            inject(world)

    return apply


def application(**fields):
    return change(kinds.APPLICATIONS, "keda", "argocd", **fields)


def settings(**data):
    return change(kinds.CONFIG_MAPS, "argocd-cm", "argocd", data=data)


def operation(**state):
    running = {"operation": {"sync": {}}} if state["phase"] in ("Running", "Terminating") else {}
    return application(status={"operationState": state}, **running)


def project(**spec):
    return change(kinds.APP_PROJECTS, "support", "argocd", spec=spec)


def window(kind="deny", hours=0, **fields):
    """Let a window of the project open each day at an hour that is so many hours from now, for two hours."""
    schedule = f"{NOW.minute} {(NOW + timedelta(hours=hours)).hour} * * *"
    window = {"kind": kind, "schedule": schedule, "duration": "2h", "applications": ["*"], **fields}
    return project(syncWindows=[window])


NOW = datetime.now(UTC) - timedelta(minutes=5)
BY_ITSELF = application(spec={"syncPolicy": {"automated": {}}})
OTHERS, NOT_KEDA = {"server": "*", "namespace": "*"}, {"server": "*", "namespace": "!keda"}
ROLES = [{"group": "rbac.authorization.k8s.io", "kind": "ClusterRole*"}]
LEFT = application(status={"operationState": {"phase": "Running", "startedAt": "2026-01-01T00:00:00Z"}})
DRIFT = {"kind": "Deployment", "namespace": "keda", "name": "keda-operator", "status": "OutOfSync"}
DENIED = [{"type": "ComparisonError", "message": "failed to list refs"}]
RED = [
    (PRESENT, broken(remove(kinds.APPLICATIONS, "keda", "argocd")), "warn", "missing: keda"),
    (PRESENT, broken(application(metadata={"deletionTimestamp": now()})), "fail", "being deleted: keda"),
    (RUNS, broken(application(operation={"sync": {}})), "warn", "a sync of keda runs: it has just begun"),
    (RUNS, broken(operation(phase="Running", startedAt=now(minutes=5), message="w")), "warn", "a sync of keda runs: w"),
    (RUNS, broken(operation(phase="Terminating", startedAt=now(hours=2))), "fail", "a sync of keda has run since"),
    (RUNS, broken(LEFT), "warn", "the state of a sync of keda was left: it runs since 2026-01-01T00:00:00Z"),
    (
        AUTOMATION,
        broken(application(metadata={"annotations": {SUSPENDED_BY: "run-1"}})),
        "warn",
        "keda is suspended by run run-1",
    ),
    (TRACKING, broken(settings(**{"application.resourceTrackingMethod": "annotation"})), "fail", "says annotation"),
    (TRACKING, broken(settings(**{"application.instanceLabelKey": None})), "fail", "says app.kubernetes.io/instance"),
    (TRACKING, broken(settings(**{"application.resourceTrackingMethod": None})), "fail", "argocd-cm says annotation"),
    (TRACKING, broken(remove(kinds.CONFIG_MAPS, "argocd-cm", "argocd")), "warn", "taken at its word"),
    (AGREES, broken(application(status={"resources": [DRIFT]})), "warn", "OutOfSync: Deployment/keda/keda-operator"),
    (AGREES, broken(application(status={"conditions": DENIED})), "warn", "it cannot compare: failed to list refs"),
    (AGREES, broken(operation(phase="Failed", message="no")), "warn", "its last sync has failed: no"),
    (AGREES, broken(application(status={"reconciledAt": now(hours=1)})), "warn", "Argo CD looked last at"),
    (AGREES, broken(application(status={"reconciledAt": None})), "warn", "has never looked at it"),
    (PERMITS, broken(remove(kinds.APP_PROJECTS, "support", "argocd")), "fail", "there is no project support"),
    (PERMITS, broken(project(clusterResourceWhitelist=[])), "fail", "not permit ClusterRole.rbac.authorization.k8s.io"),
    (PERMITS, broken(project(clusterResourceBlacklist=ROLES)), "fail", "does not permit ClusterRole.rbac"),
    (PERMITS, broken(project(destinations=[])), "fail", "does not permit its destination, namespace keda"),
    (PERMITS, broken(project(destinations=[OTHERS, NOT_KEDA])), "fail", "does not permit its destination"),
    (PERMITS, broken(window()), "warn", "keda: project support denies all syncs now: deny window"),
    (PERMITS, broken(window(hours=3)), "warn", "denies all syncs from "),
    (PERMITS, broken(window("allow", hours=-6)), "warn", "denies all syncs now: allow window"),
    (PERMITS, broken(window(manualSync=True), BY_ITSELF), "warn", "denies automatic syncs now"),
    (PERMITS, broken(window(schedule="@daily")), "warn", "its schedule is not understood"),
    (PERMITS, broken(window(duration="a day")), "warn", "its duration is not understood"),
    (PERMITS, broken(window(timeZone="Mars/Olympus")), "warn", "knows no such time zone"),
    (FINALIZER, broken(scaled_job(metadata={"finalizers": [HOOK_FINALIZER]})), "warn", f"{HOOK_FINALIZER} is on"),
]
test_a_check_turns_red_for_its_reason = turns_red(RED)


@pytest.mark.parametrize("check", [check.id for check in ALL_CHECKS if check.category == "argocd"])
def test_it_is_green_where_argo_cd_delivers_and_left_out_elsewhere(check):
    """It has a row above, too."""
    assert look(check, delivered_by_argo_cd).verdict.value == "ok"
    assert look(check, lambda world: None).verdict.value == "skipped"
    assert check in {row[0] for row in RED}


@pytest.mark.parametrize(
    "fault",
    [
        window(hours=9),
        window("allow", duration="12h"),
        window(manualSync=True),
        window(applications=["prompt-*"], clusters=["https://elsewhere.test"]),
        window(useAndOperator=True, namespaces=["other"]),
        project(
            destinations=[{"name": "in-cluster", "namespace": "k{eda,afka}"}, {"server": "*", "namespace": "!other"}]
        ),
        project(clusterResourceWhitelist=[{"group": "*", "kind": "ClusterRole", "name": "keda-*"}]),
    ],
)
def test_a_project_that_denies_nothing_is_green(fault):
    """Windows that are far or of others, and that let through who asks where nothing syncs by itself; globs as Argo CD has."""
    assert look(PERMITS, broken(fault)).verdict.value == "ok"
