"""Which mode fits what stands, and what it removes. Without a cluster."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.components.keda import install
from prompt_keda.components.keda.names import CERTIFICATES
from prompt_keda.components.run import Context
from prompt_keda.components.scaled_jobs.objects import PAUSED
from prompt_keda.core.errors import Refusal
from prompt_keda.core.marks import RUN_ANNOTATION
from prompt_keda.core.places import TASKS
from prompt_keda.delivery.manifests import load_instrument_manifest
from prompt_keda.redeploy import dry_runs, inventory, modes, planner, restore, snapshot
from prompt_keda.redeploy.modes import RedeployOptions
from tests.unit.world import METRICS, SCALED_JOB, SPACE, World, keda_manifests, made_certificates

OPERATOR, CRD = "keda-operator", "scaledjobs.keda.sh"
LONG_AGO = (datetime.now(UTC) - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
GOING = {"deletionTimestamp": LONG_AGO}
SCHEMA = {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "required": ["new"]}}}}


class Standing:
    """A cluster on which KEDA stands as a redeploy leaves it."""

    def __init__(self):
        self.world = World()
        self.kube = kube = self.world.kube
        environment = self.world.systems.environment
        (instrument,) = environment.instruments
        own = load_instrument_manifest(instrument.manifest, {"worker_image": "w"})
        self.keda = json.loads(Path(keda_manifests()[0]).read_text())
        self.context = Context(self.world.systems, self.keda, {instrument.name: own}, run_id="run")
        for resource, name, where in (
            *((kinds.DEPLOYMENTS, obj["metadata"]["name"], "keda") for obj in self.keda if obj["kind"] == "Deployment"),
            (kinds.API_SERVICES, METRICS, None),
            (kinds.VALIDATING_WEBHOOKS, "keda-admission", None),
            (kinds.SECRETS, CERTIFICATES, "keda"),
        ):
            kube.delete(resource, name, where)
        kube.create(kinds.SECRETS, made_certificates("keda"), "keda")
        for obj in (*install.crds(self.context), *install.parts(self.context)):
            kube.apply(obj)
        for obj in kube.list(kinds.DEPLOYMENTS, "keda"):
            self.put(kinds.DEPLOYMENTS, obj["metadata"]["name"], "keda", status={"availableReplicas": 1})

    def put(self, resource, name, namespace=None, **fields):
        self.kube.patch(resource, name, namespace, fields)

    def look(self):
        return inventory.look(self.context)

    def plan(self, mode="auto"):
        return planner.make_plan(self.context, RedeployOptions(mode))

    def removed(self, mode="auto"):
        return sorted((obj.kind, obj.name) for obj in self.plan(mode).decisions.deletions)


@pytest.fixture
def standing():
    return Standing()


def nothing(standing):
    pass


def operator_gone(standing):
    standing.kube.delete(kinds.DEPLOYMENTS, OPERATOR, "keda")


def all_gone(standing):
    for obj in (*install.parts(standing.context), *install.crds(standing.context)):
        resource = standing.kube.resource_of(obj)
        standing.kube.delete(resource, obj["metadata"]["name"], obj["metadata"].get("namespace"))


def namespace_going(standing):
    standing.put(kinds.NAMESPACES, "keda", metadata=GOING)


def crd_going(standing):
    standing.put(kinds.CRDS, CRD, metadata=GOING)


def scaled_job_going(standing):
    standing.put(kinds.SCALED_JOBS, SCALED_JOB, SPACE, metadata=GOING)


def older(standing):
    labels = {"app.kubernetes.io/version": "2.15.0"}
    standing.put(kinds.DEPLOYMENTS, OPERATOR, "keda", metadata={"labels": labels})


@pytest.mark.parametrize(
    ("inject", "mode", "message"),
    [
        (nothing, "repair", "nothing is removed"),
        (operator_gone, "repair", "missing: Deployment keda/keda-operator"),
        (all_gone, "cold", "nothing of KEDA stands here"),
        (namespace_going, "reinstall", "being deleted: namespace keda"),
        (crd_going, "reinstall", f"being deleted: CRD {CRD}"),
        (scaled_job_going, "reinstall", f"being deleted: ScaledJob {SPACE}/{SCALED_JOB}"),
        (older, "upgrade", "KEDA 2.15.0 stands"),
    ],
)
def test_auto_takes_the_mode_that_removes_least(standing, inject, mode, message):
    """And says why."""
    inject(standing)
    plan = standing.plan()
    assert plan.mode == mode and message in plan.reason


@pytest.mark.parametrize(
    ("inject", "asked", "fits"),
    [
        (nothing, "cold", "repair"),
        (nothing, "upgrade", "repair"),
        (all_gone, "repair", "cold"),
        (all_gone, "purge", "cold"),
        (crd_going, "repair", "reinstall"),
        (older, "repair", "upgrade"),
        (older, "reinstall", "upgrade"),
    ],
)
def test_a_mode_that_does_not_fit_is_refused(standing, inject, asked, fits):
    """And the one that fits is named."""
    inject(standing)
    with pytest.raises(Refusal) as caught:
        standing.plan(asked)
    assert caught.value.fix == f"Take mode {fits}."


@pytest.mark.parametrize("words", [{"mode": "x"}, {"mode": "auto", "backlog": "x"}, {"mode": "auto", "give_up": "j1"}])
def test_words_that_are_not_known_are_refused(words):
    """Before anything is looked at."""
    with pytest.raises(Refusal):
        RedeployOptions.parse(**words)


def test_wishes_are_read():
    """In any order, and with spaces."""
    assert RedeployOptions.parse("purge", "skip", "n/b, n/a") == RedeployOptions("purge", "$", ("n/a", "n/b"))
    assert RedeployOptions.parse("auto", "replay").group_start == "0"


WHOLE = [
    ("APIService", METRICS),
    ("Deployment", "keda-admission-webhooks"),
    ("Deployment", OPERATOR),
    ("Deployment", "keda-operator-metrics-apiserver"),
    ("Lease", "operator.keda.sh"),
    ("ValidatingWebhookConfiguration", "keda-admission"),
]


def other_bundle(standing):
    standing.put(kinds.API_SERVICES, METRICS, spec={"caBundle": "b3RoZXI="})


def other_spec(standing):
    standing.put(kinds.DEPLOYMENTS, OPERATOR, "keda", spec={"template": {"spec": {"containers": []}}})


def other_rules(standing):
    role = {"apiVersion": kinds.CLUSTER_ROLES.api_version, "kind": "ClusterRole", "metadata": {"name": OPERATOR}}
    standing.kube.apply({**role, "rules": "theirs"}, force=True, field_manager="somebody")


def no_certificates(standing):
    standing.kube.delete(kinds.SECRETS, CERTIFICATES, "keda")


def operator_pod(standing, ready):
    metadata = {"labels": {"app": OPERATOR}, "creationTimestamp": LONG_AGO}
    status = {
        "phase": "Running",
        "containerStatuses": [{"ready": ready, "state": {"running": {"startedAt": LONG_AGO}}}],
    }
    standing.put(kinds.PODS, f"{OPERATOR}-1", "keda", metadata=metadata, status=status)


def idle(standing):
    """The operator's pod has not been ready for minutes."""
    standing.put(kinds.DEPLOYMENTS, OPERATOR, "keda", status={"availableReplicas": 0})
    operator_pod(standing, ready=False)


def silent(standing):
    """The operator's pod is ready, and its Lease is old."""
    operator_pod(standing, ready=True)
    standing.put(kinds.LEASES, "operator.keda.sh", "keda", spec={"renewTime": LONG_AGO})


def unwanted(standing):
    labels = {"app.kubernetes.io/part-of": "keda-operator"}
    standing.kube.create(kinds.DEPLOYMENTS, {"metadata": {"name": "old", "labels": labels}, "spec": {}}, "keda")


def another_keda(standing):
    labels = {"app.kubernetes.io/part-of": "keda-operator"}
    standing.kube.create(kinds.NAMESPACES, {"metadata": {"name": "other"}})
    standing.kube.create(kinds.DEPLOYMENTS, {"metadata": {"name": "theirs", "labels": labels}, "spec": {}}, "other")


LEASE = ("Lease", "operator.keda.sh")


@pytest.mark.parametrize(
    ("inject", "removed"),
    [
        (nothing, []),
        (operator_gone, [LEASE]),
        (other_bundle, [("APIService", METRICS)]),
        (other_spec, [("Deployment", OPERATOR), LEASE]),
        (other_rules, [("ClusterRole", OPERATOR)]),
        (no_certificates, WHOLE),
        (idle, [LEASE, ("Pod", f"{OPERATOR}-1")]),
        (silent, [LEASE, ("Pod", f"{OPERATOR}-1")]),
        (unwanted, [("Deployment", "old"), LEASE]),
        (another_keda, [("Deployment", "theirs")]),
    ],
)
def test_a_repair_removes_only_what_is_wrong(standing, inject, removed):
    """What can be applied over is not removed."""
    inject(standing)
    assert standing.removed() == removed and standing.plan().mode == "repair"


def test_a_scaled_job_that_a_working_operator_lets_go_is_not_stuck(standing):
    """Nor is what a smoke test has just removed."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    standing.put(kinds.SCALED_JOBS, SCALED_JOB, SPACE, metadata={"deletionTimestamp": now})
    smoke = standing.context.environment.smoke.namespace
    standing.kube.create(kinds.NAMESPACES, {"metadata": {"name": smoke}})
    standing.kube.create(kinds.SCALED_JOBS, {"metadata": {"name": "smoke", **GOING}}, smoke)
    assert standing.plan().mode == "repair"
    standing.put(kinds.DEPLOYMENTS, OPERATOR, "keda", spec={"replicas": 0}, status={"availableReplicas": 0})
    assert standing.plan().mode == "reinstall", "nobody removes its finalizer"


def test_a_pod_that_only_starts_is_left_alone(standing):
    """KEDA's readiness probes begin after 20 s."""
    idle(standing)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    standing.put(kinds.PODS, f"{OPERATOR}-1", "keda", metadata={"creationTimestamp": now})
    assert standing.removed() == []


def test_a_reinstall_replaces_all_parts_and_a_purge_the_crds_as_well(standing):
    """CRDs stay in every other mode."""
    assert standing.removed("reinstall") == WHOLE
    more = [("CustomResourceDefinition", CRD), ("CustomResourceDefinition", "triggerauthentications.keda.sh")]
    assert standing.removed("purge") == sorted([*WHOLE, *more])


EDITED = {"maxReplicaCount": 7, "pollingInterval": 9}


@pytest.mark.parametrize("edited", [{"maxReplicaCount": 7}, EDITED])
def test_a_scaled_job_that_somebody_has_edited_is_taken_over_and_the_plan_says_it(standing, edited):
    """`kubectl edit`: every redeploy was refused, and by hand it is applied unpaused: KEDA ends its Jobs (F1)."""
    (wanted,) = (obj for obj in standing.context.instrument_objects["LSSTCam"] if obj["kind"] == "ScaledJob")
    standing.kube.delete(kinds.SCALED_JOBS, SCALED_JOB, SPACE)
    standing.kube.apply(wanted)
    standing.put(kinds.SCALED_JOBS, SCALED_JOB, SPACE, metadata={"generation": 2})
    spec = {**wanted["spec"], **edited}
    standing.kube.apply({**wanted, "spec": spec}, force=True, field_manager="kubectl-edit")
    assert "409" in dry_runs.try_apply(standing.context, wanted), "the test itself is wrong"
    plan = standing.plan()
    assert plan.decisions.takes_over == (f"ScaledJob {SPACE}/{SCALED_JOB}",)
    fields = ", ".join(f"spec.{name} from kubectl-edit" for name in edited)
    assert plan.notes == (planner.TAKES_OVER.format(f"{fields} of ScaledJob {SPACE}/{SCALED_JOB}"),)
    assert dry_runs.try_apply(standing.context, wanted) is None
    restore.apply_scaled_jobs(standing.context)
    live = standing.kube.get(kinds.SCALED_JOBS, SCALED_JOB, SPACE)
    assert {name: live["spec"][name] for name in edited} == {name: wanted["spec"][name] for name in edited}
    assert live["metadata"]["annotations"][PAUSED] == "true", "else KEDA ends its Jobs"
    assert standing.plan().decisions.takes_over == ()


def test_a_secret_that_somebody_has_edited_is_taken_over(standing):
    """It was refused; Vault has the value."""
    sync = standing.context.environment.secrets[0]
    wanted = install.wanted_secret(standing.context, sync)
    standing.kube.delete(kinds.SECRETS, sync.name, sync.namespace)
    edited = {**wanted, "data": dict.fromkeys(wanted["data"], "dGhlaXJz")}
    standing.kube.apply(edited, field_manager="kubectl-edit")
    plan = standing.plan()
    assert plan.decisions.takes_over == (f"Secret {sync.namespace}/{sync.name}",)
    assert "dGhlaXJz" not in str(plan.to_json()) and dry_runs.try_apply(standing.context, wanted) is None
    install.apply_secrets(standing.context)
    assert standing.kube.get(kinds.SECRETS, sync.name, sync.namespace)["data"] == wanted["data"]


def test_what_others_own_and_have_as_it_should_be_is_no_conflict(standing):
    """It is not applied; a label that somebody has changed stopped every redeploy."""
    (wanted,) = (obj for obj in standing.context.instrument_objects["LSSTCam"] if obj["kind"] == "ScaledJob")
    standing.kube.delete(kinds.SCALED_JOBS, SCALED_JOB, SPACE)
    wanted["metadata"]["labels"] = {"team": "ours"}
    standing.kube.apply(wanted)
    standing.put(kinds.SCALED_JOBS, SCALED_JOB, SPACE, metadata={"generation": 2})
    theirs = {**wanted, "metadata": {**wanted["metadata"], "labels": {"team": "theirs"}}}
    standing.kube.apply(theirs, force=True, field_manager="kubectl-label")
    assert standing.plan().decisions.takes_over == ()
    assert dry_runs.try_apply(standing.context, wanted) is None


def test_a_crd_whose_fields_are_anothers_is_taken_over_and_not_removed(standing):
    """Removing it would take its ScaledJobs with it."""
    crd = install.crds(standing.context)[0]
    standing.kube.apply({**crd, "spec": {**crd["spec"], "scope": "Cluster"}}, force=True, field_manager="helm")
    plan = standing.plan()
    assert plan.decisions.takes_over == (f"CustomResourceDefinition {CRD}",) and standing.removed() == []
    install.apply_crds(standing.context)
    assert standing.kube.get(kinds.CRDS, CRD)["spec"]["scope"] == "Namespaced"


def test_what_no_source_brings_comes_back_from_the_snapshot(standing):
    """The instrument's own objects come from its manifests."""
    spec = {"spec": {"jobTargetRef": {}, "triggers": []}}
    annotations = {RUN_ANNOTATION: "old", PAUSED: "true", "kept": "yes"}
    metadata = {"name": "another", "annotations": annotations, "finalizers": ["finalizer.keda.sh"]}
    standing.kube.create(kinds.SCALED_JOBS, {"metadata": metadata, **spec}, SPACE)
    assert standing.plan().decisions.saved == ()
    plan = standing.plan("purge")
    assert plan.decisions.saved == (f"ScaledJob {SPACE}/another",)
    (saved,) = standing.context.saved
    assert saved["metadata"] == {"name": "another", "namespace": SPACE, "annotations": {"kept": "yes"}}
    assert saved["spec"] == spec["spec"] and saved["kind"] == "ScaledJob"
    again = planner.plan_again(standing.context, "purge", plan.decisions, standing.context.objects)
    assert again.digest == plan.digest and standing.context.saved == (saved,)


def test_no_secret_is_in_a_snapshot(standing):
    """Not even KEDA's own."""
    standing.plan()
    assert {obj["kind"] for obj in snapshot.objects(standing.look())} >= {"ScaledJob", "Deployment"}
    assert "tls.key" not in json.dumps(standing.context.objects)


def test_a_pause_that_the_source_does_not_want_is_taken_away(standing):
    """The plan names it, and the digest covers it."""
    before = standing.plan()
    standing.put(kinds.SCALED_JOBS, SCALED_JOB, SPACE, metadata={"annotations": {PAUSED: "true"}})
    plan = standing.plan()
    assert plan.decisions.unpauses == (f"{SPACE}/{SCALED_JOB}",) and plan.digest != before.digest


def test_a_pause_in_the_source_is_refused(standing):
    """That is the place to change it."""
    for own in standing.context.instrument_objects.values():
        for obj in own:
            obj["metadata"].setdefault("annotations", {})[PAUSED] = "true"
    with pytest.raises(Refusal, match="itself pauses ScaledJob"):
        standing.plan()


def test_a_source_under_which_no_worker_comes_is_refused(standing):
    """KEDA would take it, and the redeploy would end with Jobs that have no pod."""
    for own in standing.context.instrument_objects.values():
        for obj in own:
            if obj["kind"] == "ScaledJob":
                obj["spec"]["jobTargetRef"]["suspend"] = True
    with pytest.raises(Refusal, match="born suspended"):
        standing.plan()


@pytest.mark.parametrize("spec", [{"maxReplicaCount": "20"}, {"jobTargetRef": "none"}, {"jobTargetRef": []}])
def test_a_source_that_the_crd_refuses_is_left_to_the_preflight(standing, spec):
    """It names the field; the plan itself does not end in an unexpected error."""
    for own in standing.context.instrument_objects.values():
        for obj in own:
            if obj["kind"] == "ScaledJob":
                obj["spec"] |= spec
    assert standing.plan().mode


def test_an_upgrade_is_refused_while_a_scaled_job_does_not_fit_the_new_crd(standing):
    """KEDA 2.20 rejects a strategy that 2.16 takes; the ScaledJob is named."""
    older(standing)
    assert standing.plan().mode == "upgrade"
    for crd in install.crds(standing.context):
        crd["spec"]["versions"][0]["schema"] = SCHEMA
    standing.context.instrument_objects = {}
    with pytest.raises(Refusal, match=f"ScaledJob {SPACE}/{SCALED_JOB} does not fit KEDA"):
        standing.plan()


def test_the_same_state_gives_the_same_digest(standing):
    """Reasons and ages may differ."""
    silent(standing)
    first = standing.plan()
    assert first.decisions.deletions
    assert standing.plan().digest == first.digest
    assert all(obj.why for obj in first.decisions.deletions)


def test_what_cannot_be_read_is_not_taken_for_absent(standing):
    """A denied list ends the planning."""
    standing.kube.denied.add(("get", "deployments"))
    with pytest.raises(Exception, match="403"):
        standing.plan()


def test_modes_are_those_of_the_command_line():
    """The help names them all."""
    tasks = TASKS.read_text()
    assert "auto, cold, repair, reinstall, upgrade or purge" in tasks
    assert set(modes.MODES) == {"auto", "cold", "repair", "reinstall", "upgrade", "purge"}
