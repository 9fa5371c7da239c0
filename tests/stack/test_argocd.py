"""Where Argo CD delivers: its faults are seen, a redeploy works through them, and Argo CD agrees at its end.

It needs a stack of its own: PROMPT_KEDA_LAB=argo ./run lab.up --with argocd. Elsewhere it is skipped. That KEDA comes back from
every broken state with twenty running workers is tests/stack/test_recovery.py, run with PROMPT_KEDA_TEST_ENV=argocd.
"""

from __future__ import annotations

import pytest

from prompt_keda.clients.kube.resources import (
    API_SERVICES,
    APP_PROJECTS,
    APPLICATIONS,
    CRDS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    SCALED_JOBS,
    SERVICES,
)
from prompt_keda.components.keda.names import API_SERVICE as METRICS
from prompt_keda.core.plan import State
from prompt_keda.delivery.argocd import SUSPENDED_BY, ArgoCdDelivery
from prompt_keda.lab import argocd
from prompt_keda.lab.faults import argocd as faults

from .conftest import INSTRUMENT, at_the_stack_only, run_json, until

pytestmark = [pytest.mark.exhaustive, at_the_stack_only]
ARGOCD = "argocd"
OF_ARGO_CD = [fault for fault in faults.FAULTS if all(id_.startswith(ARGOCD) for id_ in fault.expected_checks)]
"""Those that Argo CD's own checks see. What self-heal fights for is detected by KEDA's: its drill follows them."""
REPAIRED = ("argocd/others-have-applied", "argocd/suspended-by-a-dead-run")
"""A redeploy repairs these by itself. The others are somebody else's to repair: git, the environment, who runs Argo CD."""


@pytest.fixture(scope="module")
def stage(argocd_stage):
    return argocd_stage


def red_checks():
    _, document = run_json("check-deps", "--env", ARGOCD, "--only", ARGOCD)
    return {result["id"]: result for result in document["results"] if result["verdict"] not in ("ok", "skipped")}


def until_green():
    until(lambda: not red_checks(), 90, "Argo CD's checks green")


def redeploy(*more):
    code, document = run_json("redeploy", "--env", ARGOCD, *more)
    return code, document, {step["id"]: step for step in document.get("steps", [])}


def marks(kube):
    """What a full sync would change if it changed anything: UIDs, generations, and the pods of KEDA."""
    objects = [kube.get(SCALED_JOBS, INSTRUMENT, INSTRUMENT), *kube.list(DEPLOYMENTS, "keda"), *kube.list(PODS, "keda")]
    return {obj["metadata"]["name"]: (obj["metadata"]["uid"], obj["metadata"].get("generation")) for obj in objects}


@pytest.mark.parametrize("fault", OF_ARGO_CD, ids=[fault.id for fault in OF_ARGO_CD])
def test_a_fault_is_detected_by_its_check_and_is_gone_again(stage, fault):
    """Exactly the verdicts that it names, with its words; green once it is reverted."""
    until_green()
    try:
        fault.inject(stage)
        until(lambda: set(red_checks()) == set(fault.expected_checks), 30, fault.id)
        red = red_checks()
        assert {id_: result["verdict"] for id_, result in red.items()} == dict(fault.expected_checks)
        assert fault.cause in red[next(iter(fault.expected_checks))]["observed"]
        assert red[next(iter(fault.expected_checks))]["fix"]
    finally:
        fault.revert(stage)
    until_green()


@pytest.mark.parametrize("mode", ["repair", "reinstall"])
def test_argo_cd_agrees_and_its_next_sync_changes_nothing(stage, mode):
    """Synced after the redeploy; then a full sync of KEDA and a sync without hooks of the workers touch no object."""
    code, document, steps = redeploy("--mode", mode)
    assert code == 0, document.get("error")
    assert "keda Synced" in steps["verify/delivery-agrees"]["detail"]
    before = marks(stage.kube)
    argocd.require(argocd.sync(stage.kube, "keda"))
    argocd.require(argocd.sync(stage.kube, INSTRUMENT, strategy="apply"))
    assert marks(stage.kube) == before


@pytest.mark.parametrize("automated", [{}, {"enabled": True, "selfHeal": True, "prune": True}])
def test_automatic_sync_is_suspended_meanwhile_and_put_back(stage, automated):
    """Self-heal brings nothing back while KEDA is removed; afterwards it is as it was."""
    for name in argocd.APPLICATIONS:
        stage.kube.patch(APPLICATIONS, name, argocd.NAMESPACE, {"spec": {"syncPolicy": {"automated": automated}}})
    try:
        code, document, steps = redeploy("--mode", "reinstall")
        assert code == 0, document.get("error")
        assert steps["guard/suspend-delivery"]["acted"] and steps["restore/resume-delivery"]["acted"]
        for name in argocd.APPLICATIONS:
            live = stage.kube.get(APPLICATIONS, name, argocd.NAMESPACE)
            assert live["spec"]["syncPolicy"]["automated"] == automated
            assert SUSPENDED_BY not in (live["metadata"].get("annotations") or {})
    finally:
        faults.without_automation(stage)


def test_without_argo_cd_keda_comes_back_and_it_agrees_later(stage):
    """Its controller is frozen: the redeploy says that nobody has confirmed it. Once it reconciles again it is Synced."""
    faults.begin_sync_that_waits(stage)
    stage.kube.patch(APPLICATIONS, "keda", argocd.NAMESPACE, {"operation": None})
    try:
        code, document, steps = redeploy("--mode", "reinstall")
        assert code == 0, document.get("error")
        assert "not confirmed: Argo CD has not looked" in steps["verify/delivery-agrees"]["detail"]
    finally:
        faults.end_sync_that_waits(stage)
    until(lambda: argocd.verdict(argocd.refresh(stage.kube, "keda"))[0] == "Synced", 90, "keda Synced")


def ports(kube):
    return {port["name"]: port["port"] for port in kube.get(SERVICES, "keda-operator", "keda")["spec"]["ports"]}


def appliers(kube):
    entries = kube.get(SERVICES, "keda-operator", "keda")["metadata"]["managedFields"]
    return {entry["manager"] for entry in entries if entry["operation"] == "Apply"}


def test_a_service_that_blocks_argo_cds_next_sync_is_made_anew(stage):
    """Its port has the right name and a wrong number: a sync fails at it, and the redeploy does not."""
    before = ports(stage.kube)
    faults.block_the_next_sync(stage)
    try:
        assert argocd.sync(stage.kube, "keda")["phase"] == "Failed"
        code, document, _ = redeploy()
        assert code == 0, document.get("error")
        assert ports(stage.kube) == before and appliers(stage.kube) == {"argocd-controller"}
    finally:
        faults.unblock(stage)
    until_green()


def test_a_port_that_somebody_has_added_is_taken_away(stage):
    """Applying takes away only what the same manager has applied; and they own nothing of it any more."""
    before = ports(stage.kube)
    head = {**SERVICES.head, "metadata": {"name": "keda-operator", "namespace": "keda"}}
    added = {"ports": [{"name": "extra", "port": 9667, "targetPort": 9666}]}
    stage.kube.apply({**head, "spec": added}, field_manager="somebody")
    try:
        code, document, _ = redeploy()
        assert code == 0, document.get("error")
        assert ports(stage.kube) == before and appliers(stage.kube) == {"argocd-controller"}
    finally:
        stage.kube.apply(head, force=True, field_manager="somebody")
    until_green()


def test_a_label_that_git_has_dropped_goes_where_argo_cd_applies_client_side(stage):
    """It compares with what it last applied by itself, and owns it by an update: the label would stay, and OutOfSync."""
    options = stage.kube.get(APPLICATIONS, "keda", argocd.NAMESPACE)["spec"]["syncPolicy"]["syncOptions"]

    def labels():
        return stage.kube.get(DEPLOYMENTS, "keda-operator", "keda")["spec"]["template"]["metadata"]["labels"]

    stage.kube.patch(APPLICATIONS, "keda", argocd.NAMESPACE, {"spec": {"syncPolicy": {"syncOptions": None}}})
    try:
        faults.move_git_on(stage)
        operator = {"group": "apps", "kind": "Deployment", "name": "keda-operator"}
        argocd.require(argocd.sync(stage.kube, "keda", [operator]))  # the CRDs are too long for kubectl's annotation
        assert labels()["moved"] == "on"
        faults.move_git_back(stage)
        code, document, steps = redeploy()
        assert code == 0, document.get("error")
        assert "keda Synced" in steps["verify/delivery-agrees"]["detail"]
        assert "moved" not in labels()
        code, document, steps = redeploy()
        assert code == 0 and not steps["install/apply-parts"]["acted"], document.get("error")
    finally:
        faults.move_git_back(stage)
        stage.kube.patch(APPLICATIONS, "keda", argocd.NAMESPACE, {"spec": {"syncPolicy": {"syncOptions": options}}})
    until_green()


def test_an_empty_cluster_that_argo_cd_comes_to_later_is_synced(stage):
    """As after a rebuild: redeploy first, then the app of apps, with which `phalanx environment install` begins."""
    kube = stage.kube
    for name in argocd.APPLICATIONS:
        kube.patch(APPLICATIONS, name, argocd.NAMESPACE, {"metadata": {"finalizers": None}})
        kube.delete(APPLICATIONS, name, argocd.NAMESPACE)
    kube.delete(SCALED_JOBS, INSTRUMENT, INSTRUMENT)
    until(lambda: kube.find(SCALED_JOBS, INSTRUMENT, INSTRUMENT) is None, what="the end of the ScaledJob")
    for crd in kube.list(CRDS, label_selector="app.kubernetes.io/part-of=keda-operator"):
        kube.delete(CRDS, crd["metadata"]["name"])
    kube.delete(API_SERVICES, METRICS)
    for name in ("keda", INSTRUMENT):
        kube.delete(NAMESPACES, name)
    until(
        lambda: not {"keda", INSTRUMENT} & {namespace["metadata"]["name"] for namespace in kube.list(NAMESPACES)},
        120,
        "no namespace",
    )
    code, document, steps = redeploy("--mode", "cold")
    assert code == 0, document.get("error")
    assert "none of its Applications is there" in steps["verify/delivery-agrees"]["detail"]
    before = marks(kube)
    argocd.require(argocd.sync(kube, argocd.PARENT))
    for name in argocd.APPLICATIONS:
        until(
            lambda name=name: argocd.verdict(argocd.refresh(kube, name)) == ("Synced", "Healthy"), 90, f"{name} Synced"
        )
    argocd.require(argocd.sync(kube, "keda"))
    assert marks(kube) == before
    until_green()


def test_a_sync_that_a_window_holds_back_can_be_taken_away(stage):
    """As the runbook says: Argo CD does not end it before the window opens."""
    delivery = ArgoCdDelivery(stage)
    project = stage.kube.get(APPLICATIONS, "keda", argocd.NAMESPACE)["spec"]["project"]
    window = {"kind": "deny", "schedule": "* * * * *", "duration": "1h", "applications": ["*"]}
    stage.kube.patch(APP_PROJECTS, project, argocd.NAMESPACE, {"spec": {"syncWindows": [window]}})
    try:
        argocd.begin_sync(stage.kube, "keda", [{"group": "", "kind": "ServiceAccount", "name": "keda-operator"}])
        until(lambda: "it has begun nothing" in delivery.suspension("run").detail, what="a sync that is held back")
        taken_away = {"operation": None, "status": {"operationState": None}}
        stage.kube.patch(APPLICATIONS, "keda", argocd.NAMESPACE, taken_away)
        until(lambda: delivery.suspension("run").state is State.DONE, what="no sync")
        argocd.refresh(stage.kube, "keda")
        assert delivery.suspension("run").state is State.DONE
    finally:
        stage.kube.patch(APP_PROJECTS, project, argocd.NAMESPACE, {"spec": {"syncWindows": None}})
    until_green()
