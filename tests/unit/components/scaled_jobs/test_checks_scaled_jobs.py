"""The checks of ScaledJobs: each is seen red for its reason, and green where nothing is wrong."""

from __future__ import annotations

import json

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.environment.model import FillIn
from tests.unit.faults import (
    broken_verdict,
    change,
    environment,
    fails_for,
    latiss,
    remove,
    scaled_job,
    turns_red,
    without_manifests,
)
from tests.unit.world import (
    SCALED_JOB,
    SCHEMA,
    SPACE,
    TRIGGER,
    World,
    conditions,
    keda_manifests,
)


def triggers(changes, kind="redis-streams"):
    metadata = {key: value for key, value in (TRIGGER | changes).items() if value}
    return scaled_job(spec={"triggers": [{"type": kind, "metadata": metadata}]})


def paused(value, **annotations):
    return scaled_job(metadata={"annotations": {"autoscaling.keda.sh/paused": value, **annotations}})


def schema(changes):
    """Let the CRD's schema of a ScaledJob's spec have other properties."""
    spec = SCHEMA["properties"]["spec"]
    return {**SCHEMA, "properties": {"spec": {**spec, "properties": {**spec["properties"], **changes}}}}


def next_keda(made):
    """Let the environment's manifests have another schema."""

    def apply(world):
        path, sha256 = keda_manifests(json.dumps(made))
        keda = world.systems.environment.keda
        pinned = keda.manifests.model_copy(update={"source": path, "sha256": sha256})
        environment(keda=keda.model_copy(update={"manifests": pinned}))(world)

    return apply


def pod(**fields):
    return scaled_job(spec={"jobTargetRef": {"template": {"spec": fields}}})


def container(**fields):
    """Let the workers' container have other fields, and all others as before."""

    def apply(world):
        spec = world.kube.get(kinds.SCALED_JOBS, SCALED_JOB, SPACE)["spec"]["jobTargetRef"]["template"]["spec"]
        pod(containers=[{**spec["containers"][0], **fields}])(world)

    return apply


SPECS, LINT = "keda/specs-as-wanted", "keda/specs-linted"
HALF = {"strategy": "custom", "customScalingRunningJobPercentage": "0.5"}
CUSTOM = {**HALF, "customScalingQueueLengthDeduction": 3}
NO_DEFAULT = schema({"rollout": {"type": "object", "properties": {"strategy": {"enum": ["gradual", "immediate"]}}}})
HOOKED = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["argocd.argoproj.io/hook-finalizer"]}
HANGS = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["finalizer.keda.sh"]}
VALID, VALID_NEXT = "keda/scaled-jobs-valid", "keda/scaled-jobs-valid-for-redeploy"
ACTIVATE = "keda/triggers-activate"
UNSEEN = conditions(Ready="Unknown")
OF_INSTRUMENTS = [
    "keda/scaled-jobs-ready",
    "keda/none-paused",
    "keda/no-max-run-time",
    "keda/triggers-scale-on-lag",
    "keda/triggers-sensible",
    "keda/limits-as-configured",
    "keda/scaled-jobs-present",
    "keda/finalizers-not-stuck",
    "keda/history-limits-sensible",
    "keda/triggers-activate",
    "keda/scaled-jobs-valid",
    "keda/scaled-jobs-valid-for-redeploy",
    SPECS,
    LINT,
]
RED = [
    *((check, environment(instruments=()), "unknown", "names none") for check in OF_INSTRUMENTS),
    ("keda/scaled-jobs-ready", scaled_job(status=conditions(Ready="False")), "fail", "why"),
    ("keda/scaled-jobs-ready", scaled_job(status={"conditions": None}), "unknown", "not looked"),
    ("keda/scaled-jobs-ready", remove(kinds.SCALED_JOBS, SCALED_JOB, SPACE), "fail", "missing"),
    *(
        ("keda/none-paused", paused(value), "warn", "not by this toolkit")
        for value in ("true", "1", "T", "", "no", "FaLSE")
    ),
    ("keda/none-paused", paused("true", **{"prompt-keda.lsst.io/run": "r1"}), "warn", "is paused by run r1"),
    (
        "keda/none-paused",
        scaled_job(status=conditions(Paused="True")),
        "warn",
        "condition Paused is True: KEDA would not stop",
    ),
    (
        "keda/no-max-run-time",
        scaled_job(spec={"jobTargetRef": {"activeDeadlineSeconds": 900}}),
        "fail",
        "activeDeadline",
    ),
    ("keda/triggers-scale-on-lag", triggers({"lagCount": None}), "warn", "does not count lag"),
    ("keda/triggers-scale-on-lag", triggers({}, "kafka"), "warn", "type kafka"),
    (
        "keda/triggers-sensible",
        triggers({"stream": "instrument:latiss"}),
        "fail",
        "instrument:latiss",
    ),
    ("keda/triggers-scale-on-lag", scaled_job(spec={"triggers": []}), "warn", "has no trigger"),
    ("keda/triggers-sensible", scaled_job(spec={"triggers": []}), "fail", "no trigger of type redis-streams"),
    # what cannot be seen hides nothing that is broken
    (
        "keda/scaled-jobs-ready",
        latiss(scaled_job(status=UNSEEN), status=conditions(Ready="False")),
        "fail",
        "prompt-keda-latiss: why",
    ),
    ("keda/scaled-jobs-ready", latiss(status=UNSEEN), "unknown", "prompt-keda-latiss: KEDA has not looked"),
    (
        "keda/scaled-jobs-ready",
        latiss(fails_for("kube", "find", SCALED_JOB), status=conditions(Ready="False")),
        "fail",
        "prompt-keda-latiss: why",
    ),
    ("keda/scaled-jobs-ready", latiss(fails_for("kube", "find", SCALED_JOB)), "unknown", "no answer in time"),
    (
        "keda/none-paused",
        latiss(paused("true"), fails_for("kube", "find", "prompt-keda-latiss")),
        "unknown",
        "no answer in time",
    ),
    (
        "keda/no-max-run-time",
        latiss(remove(kinds.SCALED_JOBS, SCALED_JOB, SPACE), spec={"jobTargetRef": {"activeDeadlineSeconds": 9}}),
        "fail",
        "is missing; prompt-keda-latiss has activeDeadlineSeconds",
    ),
    (
        "keda/limits-as-configured",
        scaled_job(spec={"maxReplicaCount": 10}),
        "warn",
        "maxReplicaCount is 10, the environment says 20",
    ),
    ("keda/limits-as-configured", scaled_job(spec={"maxReplicaCount": None}), "warn", "maxReplicaCount is 100, "),
    (
        "keda/limits-as-configured",
        scaled_job(spec={"minReplicaCount": 0}),
        "warn",
        "minReplicaCount is 0, the environment says 3",
    ),
    (
        "keda/limits-as-configured",
        scaled_job(spec={"pollingInterval": 30}),
        "warn",
        "pollingInterval is 30, the environment says 2",
    ),
    ("keda/limits-as-configured", triggers({"lagCount": "5"}), "warn", "lagCount is 5, the environment says 1"),
    ("keda/limits-as-configured", triggers({"activationLagCount": None}), "warn", "activationLagCount is not set"),
    (
        SPECS,
        scaled_job(spec={"jobTargetRef": {"suspend": True}}),
        "fail",
        "spec.jobTargetRef.suspend is true, which its",
    ),
    (
        SPECS,
        scaled_job(spec={"maxReplicaCount": 5}),
        "fail",
        "spec.maxReplicaCount is 5: that decides how many workers",
    ),
    (SPECS, scaled_job(spec={"pollingInterval": None}), "fail", "spec.pollingInterval is not set"),
    (
        SPECS,
        scaled_job(spec={"jobTargetRef": {"backoffLimit": 0}}),
        "fail",
        "spec.jobTargetRef.backoffLimit is 0, which",
    ),
    (SPECS, pod(nodeSelector={"gpu": "yes"}), "fail", "spec.jobTargetRef.template.spec.nodeSelector, which its source"),
    (SPECS, container(image="other.test/worker:1"), "warn", "containers[prompt-service].image is another one"),
    (SPECS, container(env=[{"name": "A", "value": "hidden"}]), "warn", "containers[prompt-service].env, which its"),
    (SPECS, pod(serviceAccountName="other"), "warn", "that decides what they run and may read"),
    (SPECS, scaled_job(spec={"failedJobsHistoryLimit": 0}), "warn", "that decides who sees them fail"),
    (SPECS, latiss(spec={"jobTargetRef": {"suspend": True}}), "fail", "prompt-keda-latiss: spec.jobTargetRef.suspend"),
    (LINT, scaled_job(spec={"jobTargetRef": {"suspend": True}}), "fail", "every Job is born suspended"),
    (LINT, scaled_job(spec={"jobTargetRef": {"parallelism": 0}}), "fail", "its Jobs make no pod"),
    (LINT, scaled_job(spec={"jobTargetRef": {"completions": 0}}), "fail", "complete before a pod is made"),
    (LINT, scaled_job(spec={"jobTargetRef": {"managedBy": "kueue.x-k8s.io/multikueue"}}), "fail", "another controller"),
    (LINT, scaled_job(spec={"maxReplicaCount": 0}), "fail", "maxReplicaCount is 0: no Job is ever made"),
    (LINT, pod(schedulingGates=[{"name": "wait"}]), "fail", "schedulingGates"),
    (LINT, pod(restartPolicy="Always"), "fail", "restartPolicy is neither Never nor OnFailure"),
    (LINT, pod(restartPolicy=None), "warn", "restartPolicy is not set, which KEDA takes for OnFailure"),
    (
        LINT,
        container(env=[{"name": "REDIS_STREAM_NAME", "value": "instrument:x"}]),
        "fail",
        "REDIS_STREAM_NAME is instr",
    ),
    (LINT, scaled_job(spec={"jobTargetRef": {"parallelism": 2}}), "warn", "each Job is several pods"),
    (LINT, scaled_job(spec={"minReplicaCount": 30}), "warn", "minReplicaCount is more than maxReplicaCount"),
    (LINT, scaled_job(spec={"scalingStrategy": None}), "warn", "scalingStrategy is default"),
    (LINT, scaled_job(spec={"scalingStrategy": CUSTOM}), "warn", "customScalingQueueLengthDeduction is 3"),
    (LINT, scaled_job(spec={"scalingStrategy": HALF}), "fail", "KEDA's operator crashes at that, for all ScaledJobs"),
    (LINT, scaled_job(spec={"scalingStrategy": {"strategy": "custom"}}), "warn", "is custom without a number in"),
    (LINT, scaled_job(spec={"scalingStrategy": {"strategy": "Eager"}}), "warn", "scalingStrategy is Eager, which KEDA"),
    (LINT, scaled_job(spec={"jobTargetRef": {"ttlSecondsAfterFinished": 0}}), "warn", "gone before anybody sees why"),
    (
        LINT,
        scaled_job(spec={"jobTargetRef": {"podFailurePolicy": {"rules": [{}]}}}),
        "warn",
        "podFailurePolicy decides",
    ),
    (LINT, pod(restartPolicy="OnFailure"), "warn", "no Job shows it"),
    (LINT, pod(terminationGracePeriodSeconds=1), "warn", "cannot finish its visit"),
    (LINT, pod(schedulerName="mine"), "warn", "schedulerName is another one"),
    (LINT, pod(nodeName="n1"), "warn", "nodeName is set"),
    (LINT, pod(hostNetwork=True, volumes=[{"hostPath": {"path": "/"}}]), "warn", "their node: hostNetwork, hostPath"),
    (LINT, container(securityContext={"privileged": True}), "warn", "privileged"),
    (VALID, scaled_job(spec={"triggers": None}), "fail", "spec lacks triggers"),
    (VALID, scaled_job(spec={"maxReplicaCount": "20"}), "fail", "spec.maxReplicaCount is no integer"),
    (VALID, scaled_job(spec={"maxReplicas": 20}), "warn", "KEDA knows no spec.maxReplicas"),
    (VALID, change(kinds.CRDS, "scaledjobs.keda.sh", spec={"versions": []}), "unknown", "has no schema of v1alpha1"),
    (VALID_NEXT, next_keda(NO_DEFAULT), "fail", "spec.rollout.strategy does not fit enum"),
    (VALID_NEXT, without_manifests, "unknown", "not on this machine"),
    ("keda/scaled-jobs-present", remove(kinds.SCALED_JOBS, SCALED_JOB, SPACE), "fail", "is missing"),
    ("keda/finalizers-not-stuck", scaled_job(metadata=HANGS), "fail", "held by finalizer.keda.sh"),
    ("keda/finalizers-not-stuck", scaled_job(metadata=HOOKED), "fail", "held by argocd.argoproj.io/hook-finalizer"),
    (
        "keda/history-limits-sensible",
        scaled_job(spec={"failedJobsHistoryLimit": 0}),
        "warn",
        "failedJobsHistoryLimit is 0",
    ),
    (ACTIVATE, triggers({"activationLagCount": "0"}), "fail", "activationLagCount is missing or 0"),
    (ACTIVATE, triggers({"activationLagCount": None}), "fail", "activationLagCount is missing or 0"),
    (ACTIVATE, triggers({"lagCount": "many"}), "fail", "lagCount is many, which is not a number"),
    (
        ACTIVATE,
        scaled_job(spec={"triggers": [{"type": "redis-streams", "metadata": TRIGGER, "metricType": "Value"}]}),
        "fail",
        "metricType is set",
    ),
    (
        ACTIVATE,
        scaled_job(spec={"triggers": [{"type": "redis-streams", "metadata": TRIGGER, "useCachedMetrics": True}]}),
        "warn",
        "useCachedMetrics",
    ),
    (
        ACTIVATE,
        scaled_job(spec={"triggers": [{"type": "redis-streams", "metadata": TRIGGER}] * 2}),
        "warn",
        "2 triggers, and one is expected",
    ),
    (
        "keda/no-max-run-time",
        scaled_job(spec={"jobTargetRef": {"template": {"spec": {"activeDeadlineSeconds": 900}}}}),
        "fail",
        "activeDeadlineSeconds",
    ),
    (
        "keda/scaled-jobs-ready",
        scaled_job(status={"conditions": [{"type": "Ready", "status": "Unknown", "reason": "PartialTriggerError"}]}),
        "fail",
        "PartialTriggerError",
    ),
]


test_a_check_turns_red_for_its_reason = turns_red(RED)


@pytest.mark.parametrize(
    ("check", "fault", "message"),
    [
        (ACTIVATE, triggers({"activationLagCount": "2"}), "from a lag of 3 on"),
        (VALID, scaled_job(status={"conditions": [], "unknown": 1}), "2 as KEDA's CRD wants them"),
    ],
)
def test_what_is_reported_and_no_more_is_green(check, fault, message):
    """A lag to begin at, and fields that KEDA's CRD does not know in the status."""
    outcome = broken_verdict(check, fault)
    assert outcome.verdict.value == "ok" and message in f"{outcome.observed} {outcome.detail}", outcome


@pytest.mark.parametrize(
    "fault",
    [
        scaled_job(spec={"jobTargetRef": {"template": {"metadata": {"creationTimestamp": None}}}}),
        scaled_job(spec={"jobTargetRef": {"suspend": False}, "rollout": {"strategy": "default"}}),
        pod(securityContext={}, volumes=[]),
        scaled_job(spec={"jobTargetRef": {"ttlSecondsAfterFinished": None}}),
    ],
)
def test_what_says_no_more_than_nothing_is_no_difference(fault):
    """KEDA itself writes a creationTimestamp of null when it sets its finalizer; empty values count as missing."""
    assert broken_verdict(SPECS, fault).verdict.value == broken_verdict(LINT, fault).verdict.value == "ok"


def test_what_the_api_server_fills_in_by_itself_is_no_difference():
    """By the defaults in the CRD's schema, on both sides."""
    world = World()
    with_default = schema({"successfulJobsHistoryLimit": {"type": "integer", "default": 7}})
    version = {"name": "v1alpha1", "schema": {"openAPIV3Schema": with_default}}
    world.change(kinds.CRDS, "scaledjobs.keda.sh", spec={"versions": [version]})
    scaled_job(spec={"successfulJobsHistoryLimit": 7})(world)
    assert world.verdict(SPECS).verdict.value == "ok", world.verdict(SPECS)
    scaled_job(spec={"successfulJobsHistoryLimit": 8})(world)
    assert "successfulJobsHistoryLimit is 8" in world.verdict(SPECS).observed


def test_who_has_set_a_field_is_reported_and_no_text_of_it():
    """By its managedFields; a value that is a text may be a password."""
    world = World()
    owned = {"f:spec": {"f:jobTargetRef": {"f:suspend": {}, "f:template": {"f:spec": {"f:serviceAccountName": {}}}}}}
    fields = [{"manager": "kubectl-patch", "operation": "Update", "fieldsV1": owned}]
    scaled_job(metadata={"managedFields": fields}, spec={"jobTargetRef": {"suspend": True}})(world)
    pod(serviceAccountName="hidden-one")(world)
    observed = world.verdict(SPECS).observed
    assert "suspend is true, which its source does not have (set by kubectl-patch)" in observed
    assert "hidden-one" not in observed and "serviceAccountName, which" in observed


def test_what_others_deliver_has_no_source_here():
    """Their ScaledJobs are read for what stops work all the same."""
    world = World()
    others = [instrument.model_copy(update={"manifest": None}) for instrument in world.systems.environment.instruments]
    environment(instruments=tuple(others))(world)
    scaled_job(spec={"jobTargetRef": {"suspend": True}})(world)
    assert [world.verdict(check).verdict.value for check in (SPECS, LINT)] == ["skipped", "fail"]


def test_manifests_that_are_to_be_filled_in_are_no_next_keda():
    """The check is then left out, with its reason, and makes nothing red."""
    world = World()
    keda = world.systems.environment.keda
    unfilled = keda.manifests.model_copy(update={"source": FillIn("FILL-IN: the rendered chart")})
    environment(keda=keda.model_copy(update={"manifests": unfilled}))(world)
    assert world.verdict(VALID_NEXT).verdict.value == "skipped"


@pytest.mark.parametrize(
    "annotations",
    [
        *({"autoscaling.keda.sh/paused": value} for value in ("0", "f", "F", "false", "False", "FALSE")),
        {"autoscaling.keda.sh/paused-replicas": "0"},
        {"prompt-keda.lsst.io/run": "r1"},
    ],
)
def test_what_keda_does_not_take_for_paused_is_green(annotations):
    """Go's words for false, and what KEDA reads in ScaledObjects only."""
    outcome = broken_verdict("keda/none-paused", scaled_job(metadata={"annotations": annotations}))
    assert outcome.verdict.value == "ok", outcome


@pytest.mark.parametrize(
    ("check", "fault"),
    [
        ("keda/none-paused", paused("true")),
        ("keda/scaled-jobs-ready", scaled_job(status=conditions(Ready="False"))),
        ("keda/scale-loops-run", lambda world: world.put_metrics(names=())),
    ],
)
def test_no_advice_lets_keda_delete_jobs(check, fault):
    """KEDA deletes the Jobs of another generation when it reconciles: whoever makes it look, looks at them first."""
    assert "keda/jobs-carry-their-generation is green" in broken_verdict(check, fault).fix
