"""The checks of KEDA's parts: each is seen red for its reason, and green where nothing is wrong."""

from __future__ import annotations

from datetime import timedelta

import pytest

from prompt_keda.clients.kube import resources as kinds
from tests.unit.faults import (
    both,
    broken_verdict,
    change,
    clock,
    denied,
    environment,
    fails_for,
    keda_runs,
    remove,
    turns_red,
    without_parts,
)
from tests.unit.world import (
    HOST,
    KEDA_IMAGE,
    METRICS,
    OPERATOR,
    PART,
    SCALED_JOB,
    SPACE,
    conditions,
    now,
)


def certificates(**how):
    return lambda world: world.put_certificates(**how)


def lease(**spec):
    return change(kinds.LEASES, "operator.keda.sh", "keda", spec=spec)


def part(**status):
    """Let the operator's container have another status."""
    made = {"name": "keda-operator", "imageID": KEDA_IMAGE, **PART, **status}
    return change(kinds.PODS, OPERATOR, "keda", status={"containerStatuses": [made]})


def ended(reason="Error", **ago):
    return {"terminated": {"reason": reason, "exitCode": 1, "finishedAt": now(**ago)}}


def foreign(name="keda-operator", namespace=SPACE, image="ghcr.io/kedacore/keda:2.15.0", labels=None):
    """Let another KEDA's operator stand somewhere."""
    pod = {"spec": {"containers": [{"image": image}]}}
    return lambda world: world.put(kinds.DEPLOYMENTS, name, namespace, labels, spec={"template": pod})


def erring(*counts, polling=timedelta(milliseconds=1)):
    """Let KEDA count errors, more each time that it is asked."""

    def apply(world):
        instrument = world.systems.environment.instruments[0].model_copy(update={"polling_interval": polling})
        environment(instruments=(instrument,))(world)
        left = list(counts)

        def page(*where):
            count = left.pop(0) if len(left) > 1 else left[0]
            return f'keda_scaled_job_errors_total{{namespace="{SPACE}",scaledJob="{SCALED_JOB}"}} {count}'

        world.kube.page = page

    return apply


ONLY_ONE = "keda/single-operator"
STAY_UP = "keda/parts-not-restarting"
CERTIFICATES = "keda/certificates-agree"
OF_INSTRUMENTS = [
    "keda/scale-loops-run",
    "keda/no-scaler-errors",
]
RED = [
    *((check, environment(instruments=()), "unknown", "names none") for check in OF_INSTRUMENTS),
    ("keda/crds-established", remove(kinds.CRDS, "scaledjobs.keda.sh"), "fail", "missing"),
    (
        "keda/crds-established",
        change(kinds.CRDS, "scaledjobs.keda.sh", status=conditions(Established="False")),
        "fail",
        "is not served",
    ),
    ("keda/parts-ready", remove(kinds.DEPLOYMENTS, "keda-operator", "keda"), "fail", "keda-operator is missing"),
    (
        "keda/parts-ready",
        change(kinds.DEPLOYMENTS, "keda-operator", "keda", status={"availableReplicas": 0}),
        "fail",
        "0 available",
    ),
    (
        "keda/one-version",
        change(
            kinds.DEPLOYMENTS, "keda-operator", "keda", metadata={"labels": {"app.kubernetes.io/version": "2.15.0"}}
        ),
        "warn",
        "2.15.0",
    ),
    (
        "keda/parts-ready",
        change(
            kinds.DEPLOYMENTS, "keda-operator", "keda", metadata={"generation": 3}, status={"observedGeneration": 2}
        ),
        "warn",
        "keda-operator was changed, and the Deployment controller has not seen that",
    ),
    (
        "keda/parts-ready",
        change(kinds.DEPLOYMENTS, "keda-operator", "keda", status={"replicas": 2, "updatedReplicas": 1}),
        "warn",
        "keda-operator: a pod of an older form still works",
    ),
    ("keda/one-version", without_parts, "unknown", "no part of KEDA stands"),
    *(("keda/lease-fresh", lease(**{key: None}), "fail", "nobody holds") for key in ("holderIdentity", "renewTime")),
    (
        "keda/lease-fresh",
        both(clock(minutes=10), lease(renewTime=now(minutes=-8))),
        "fail",
        "every status of KEDA is stale",
    ),
    (CERTIFICATES, both(clock(days=2), certificates(ends_days=1)), "fail", "expired on 20"),
    ("keda/lease-fresh", lease(holderIdentity="gone-1_u"), "warn", "held by gone-1, and there is no such pod"),
    ("keda/lease-fresh", remove(kinds.LEASES, "operator.keda.sh", "keda"), "fail", "no Lease"),
    (
        "keda/lease-fresh",
        change(kinds.LEASES, "operator.keda.sh", "keda", spec={"renewTime": now(minutes=2)}),
        "fail",
        "stale",
    ),
    ("keda/certificates-agree", remove(kinds.SECRETS, "kedaorg-certs", "keda"), "fail", "missing"),
    (
        "keda/certificates-agree",
        remove(kinds.VALIDATING_WEBHOOKS, "keda-admission"),
        "fail",
        "keda-admission is missing",
    ),
    ("keda/certificates-agree", remove(kinds.API_SERVICES, METRICS), "fail", "APIService is missing"),
    (
        "keda/certificates-agree",
        change(kinds.API_SERVICES, METRICS, spec={"caBundle": "b3RoZXI="}),
        "fail",
        "APIService trusts another CA",
    ),
    (
        "keda/crds-established",
        lambda world: [
            remove(kinds.CRDS, "triggerauthentications.keda.sh")(world),
            fails_for("kube", "find", "scaledjobs.keda.sh")(world),
        ],
        "fail",
        "triggerauthentications.keda.sh is missing",
    ),
    ("keda/parts-ready", fails_for("kube", "find", "keda-operator"), "unknown", "keda-operator: "),
    (CERTIFICATES, certificates(begins_days=-9, ends_days=-1), "fail", "expired on 20"),
    (CERTIFICATES, certificates(begins_days=1), "fail", "valid only from 20"),
    (CERTIFICATES, certificates(ends_days=89), "warn", "expire on 20"),
    (CERTIFICATES, certificates(signed_by_its_ca=False), "fail", "not signed by its CA"),
    (CERTIFICATES, change(kinds.SECRETS, "kedaorg-certs", "keda", data={"tls.crt": "Q0E="}), "fail", "not signed"),
    (CERTIFICATES, change(kinds.SECRETS, "kedaorg-certs", "keda", data={"tls.crt": None}), "fail", "incomplete"),
    (CERTIFICATES, change(kinds.VALIDATING_WEBHOOKS, "keda-admission", webhooks=[]), "fail", "has no webhook"),
    (
        CERTIFICATES,
        change(kinds.VALIDATING_WEBHOOKS, "keda-admission", webhooks=[{"clientConfig": {"caBundle": "b3RoZXI="}}]),
        "fail",
        "webhook configuration trusts another CA",
    ),
    (
        CERTIFICATES,
        both(remove(kinds.VALIDATING_WEBHOOKS, "keda-admission"), fails_for("kube", "find", METRICS)),
        "fail",
        "keda-admission is missing",
    ),
    ("keda/one-version", keda_runs(f"{HOST}/keda:2.15.0"), "warn", "keda-operator: label 2.16.1, image tag 2.15.0"),
    (STAY_UP, part(restartCount=2, lastState=ended(minutes=5)), "warn", "restarted 2 times, last "),
    (STAY_UP, part(restartCount=1, lastState=ended("OOMKilled", minutes=5)), "fail", "ran out of memory"),
    (
        STAY_UP,
        part(restartCount=9, lastState=ended(hours=2), state={"waiting": {"reason": "CrashLoopBackOff"}}),
        "fail",
        "does not stay up: 9 restarts, last: Error (exit 1)",
    ),
    (
        "keda/crds-of-version",
        change(kinds.CRDS, "scaledjobs.keda.sh", metadata={"labels": {"app.kubernetes.io/version": "2.15.0"}}),
        "warn",
        "is of version 2.15.0",
    ),
    (
        "keda/crds-of-version",
        change(kinds.CRDS, "scaledjobs.keda.sh", metadata={"labels": {"app.kubernetes.io/version": None}}),
        "unknown",
        "says no version",
    ),
    (ONLY_ONE, foreign(), "fail", f"another KEDA operator: Deployment {SPACE}/keda-operator"),
    (
        ONLY_ONE,
        foreign("mine", image="a.test/own:1", labels={"app.kubernetes.io/name": "keda-operator"}),
        "fail",
        "mine",
    ),
    (
        ONLY_ONE,
        lambda world: world.put(kinds.LEASES, "operator.keda.sh", SPACE, spec={"renewTime": now()}),
        "fail",
        f"holds a Lease in {SPACE}",
    ),
    (ONLY_ONE, change(kinds.API_SERVICES, METRICS, spec={"service": {"namespace": "other"}}), "fail", "leads to other"),
    (
        ONLY_ONE,
        change(
            kinds.VALIDATING_WEBHOOKS,
            "keda-admission",
            webhooks=[{"clientConfig": {"service": {"namespace": "other"}}}],
        ),
        "fail",
        "webhooks of keda-admission lead to other",
    ),
    (ONLY_ONE, denied("list", "deployments"), "unknown", "Deployments of all namespaces may not be seen"),
    ("keda/scale-loops-run", lambda world: world.put_metrics(names=()), "warn", "runs no loop for it"),
    (
        "keda/scale-loops-run",
        change(kinds.LEASES, "operator.keda.sh", "keda", spec={"holderIdentity": "gone-1_u"}),
        "unknown",
        "the Lease's holder gone-1 is no pod",
    ),
    ("keda/scale-loops-run", denied("get", "pods/portforward"), "unknown", "metrics may not be read"),
    ("keda/no-scaler-errors", erring(3, 5), "warn", "5 errors since the operator's start, 2 of them just now"),
    ("keda/no-scaler-errors", erring(3, polling=timedelta(minutes=1)), "warn", "whether they go on is not seen"),
    ("keda/no-scaler-errors", lambda world: world.kube.pages.clear(), "unknown", "the connection broke"),
]


test_a_check_turns_red_for_its_reason = turns_red(RED)


@pytest.mark.parametrize(
    ("check", "fault", "message"),
    [
        (STAY_UP, part(restartCount=1, lastState=ended(minutes=1)), "1 restarts of 3 containers"),
        ("keda/no-scaler-errors", erring(3), "3 errors since the operator's start, none just now"),
        ("keda/crds-of-version", lambda world: None, "owned by no Helm release"),
    ],
)
def test_what_is_reported_and_no_more_is_green(check, fault, message):
    """One restart, CRDs of no release, errors of before."""
    outcome = broken_verdict(check, fault)
    assert outcome.verdict.value == "ok" and message in f"{outcome.observed} {outcome.detail}", outcome


def test_a_clock_that_is_wrong_here_makes_no_lease_stale():
    """The cluster's stamps are held against the cluster's clock."""
    outcome = broken_verdict("keda/lease-fresh", both(clock(minutes=-10), lease(renewTime=now(minutes=10))))
    assert outcome.verdict.value == "ok", outcome
