"""KEDA itself: CRDs, parts, certificates, ScaledJobs and their Jobs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prompt_keda.checks.outcomes import all_or_fail, fail, ok, unknown, warn
from prompt_keda.clients.kube_resources import (
    API_SERVICES,
    CRDS,
    DEPLOYMENTS,
    JOBS,
    LEASES,
    SCALED_JOBS,
    SECRETS,
    VALIDATING_WEBHOOKS,
)
from prompt_keda.clients.systems import Systems
from prompt_keda.errors import Missing
from prompt_keda.model.check import Check, Outcome
from prompt_keda.model.job_object import is_finished, keeps_older_jobs

API = "cluster/api-answers"
PARTS = ("keda-operator", "keda-operator-metrics-apiserver", "keda-admission-webhooks")
"""The Deployments of the public chart 2.16.1."""
LEASE_S = 15
"""The operator renews its Lease well within 15 s (controller-runtime's default)."""


def crds_established(systems: Systems) -> Outcome:
    """Are KEDA's two kinds for Prompt Processing served?"""
    bad = []
    for name in ("scaledjobs.keda.sh", "triggerauthentications.keda.sh"):
        found = systems.kube.find(CRDS, name)
        conditions = {one["type"]: one["status"] for one in (found or {}).get("status", {}).get("conditions") or []}
        if found is None:
            bad.append(f"{name} is absent")
        elif "deletionTimestamp" in found["metadata"]:
            bad.append(f"{name} is being deleted")
        elif conditions.get("Established") != "True":
            bad.append(f"{name} is not served")
    return all_or_fail(bad, "scaledjobs and triggerauthentications are served", "./run redeploy applies them.")


def parts_ready(systems: Systems) -> Outcome:
    """Has every Deployment of KEDA an available pod?"""
    bad = []
    for name in PARTS:
        found = systems.kube.find(DEPLOYMENTS, name, systems.environment.keda.namespace)
        if found is None:
            bad.append(f"{name} is absent")
        elif found.get("status", {}).get("availableReplicas", 0) < max(1, found["spec"].get("replicas", 1)):
            bad.append(f"{name} has {found.get('status', {}).get('availableReplicas', 0)} available pods")
    return all_or_fail(bad, f"{len(PARTS)} of {len(PARTS)} ready", "./run redeploy replaces them.")


def one_version(systems: Systems) -> Outcome:
    """Are all parts of the environment's version?"""
    wanted, found = systems.environment.keda.version, {}
    for one in systems.kube.list(DEPLOYMENTS, systems.environment.keda.namespace):
        if one["metadata"]["name"] in PARTS:
            found[one["metadata"]["name"]] = one["metadata"].get("labels", {}).get("app.kubernetes.io/version")
    if not found:
        return unknown("no part of KEDA stands, so nothing has a version")
    other = [f"{name} is {version}" for name, version in found.items() if version != wanted]
    return warn("; ".join(other), f"The environment wants {wanted}.") if other else ok(wanted)


def lease_fresh(systems: Systems) -> Outcome:
    """Does the operator renew its Lease? If not, the ScaledJobs' Ready is only a memory (failure mode F15)."""
    lease = systems.kube.find(LEASES, "operator.keda.sh", systems.environment.keda.namespace)
    if lease is None:
        return fail("the operator has no Lease", "No operator works; look at its pod.")
    renewed = datetime.fromisoformat(lease["spec"]["renewTime"].replace("Z", "+00:00"))
    age_s = (datetime.now(UTC) - renewed).total_seconds()
    if age_s > 2 * LEASE_S:
        return fail(f"last renewed {age_s:.0f} s ago: every status of KEDA is stale", "./run redeploy, or restart it.")
    return ok(f"renewed {max(0.0, age_s):.0f} s ago")


def certificates_agree(systems: Systems) -> Outcome:
    """Do APIService and webhook trust the CA that KEDA's certificates are signed by (failure mode F10)?"""
    secret = systems.kube.find(SECRETS, "kedaorg-certs", systems.environment.keda.namespace)
    if secret is None or not (secret.get("data") or {}).get("ca.crt"):
        return fail("the Secret kedaorg-certs is absent or empty", "./run redeploy makes it.")
    ca, bad = secret["data"]["ca.crt"], []
    service = systems.kube.find(API_SERVICES, "v1beta1.external.metrics.k8s.io")
    if service is None:
        bad.append("the APIService is absent")
    elif service["spec"].get("caBundle") != ca:
        bad.append("the APIService trusts another CA")
    hooks = systems.kube.find(VALIDATING_WEBHOOKS, "keda-admission")
    if hooks is None:
        bad.append("the webhook configuration keda-admission is absent")
    elif any(one["clientConfig"].get("caBundle") != ca for one in hooks["webhooks"]):
        bad.append("the webhook configuration trusts another CA")
    return all_or_fail(bad, "APIService and webhooks trust KEDA's CA", "./run redeploy corrects the bundles.")


def scaled_jobs_ready(systems: Systems) -> Outcome:
    """Is every instrument's ScaledJob there and Ready?"""
    bad = []
    for name, live in _scaled_jobs(systems).items():
        conditions = {one["type"]: one for one in live.get("status", {}).get("conditions") or []}
        ready = conditions.get("Ready", {"status": "Unknown", "message": "KEDA has not looked yet"})
        if ready["status"] == "Unknown":
            return unknown(f"{name}: KEDA has not looked at it yet")
        if ready["status"] != "True":
            bad.append(f"{name}: {ready.get('message', '')}")
    fix = "Check Redis first; then annotate it autoscaling.keda.sh/paused=true and remove that: KEDA looks again."
    return all_or_fail(bad, f"{len(systems.environment.instruments)} Ready", fix)


def none_paused(systems: Systems) -> Outcome:
    """Is one paused, and by whom?"""
    paused = []
    for name, live in _scaled_jobs(systems).items():
        annotations = live["metadata"].get("annotations") or {}
        marks = [key for key in annotations if key.startswith("autoscaling.keda.sh/paused")]
        if marks and annotations[marks[0]] != "false":
            run = annotations.get("prompt-keda.lsst.io/run")
            paused.append(f"{name} ({'by run ' + run if run else 'not by this toolkit'})")
    fix = "kubectl annotate scaledjob NAME autoscaling.keda.sh/paused- when it may go on."
    return warn(f"paused: {', '.join(paused)}", fix) if paused else ok("none is paused")


def no_max_run_time(systems: Systems) -> Outcome:
    """A maximum run time kills workers in mid-visit; it is left out on purpose."""
    bad = [
        f"{name} has activeDeadlineSeconds"
        for name, live in _scaled_jobs(systems).items()
        if live["spec"]["jobTargetRef"].get("activeDeadlineSeconds") is not None
    ]
    return all_or_fail(bad, "none has a maximum run time", "Remove it where the ScaledJob comes from.")


def jobs_carry_their_generation(systems: Systems) -> Outcome:
    """Would KEDA delete running Jobs when it next reconciles (failure modes F2 and F3)?"""
    risky = []
    for name, live in _scaled_jobs(systems).items():
        if keeps_older_jobs(live["spec"]):
            continue
        namespace, wanted = live["metadata"]["namespace"], str(live["metadata"]["generation"])
        for job in systems.kube.list(JOBS, namespace, f"scaledjob.keda.sh/name={name}"):
            mark = (job["metadata"].get("annotations") or {}).get("scaledjob.keda.sh/generation")
            if not is_finished(job) and mark != wanted:
                risky.append(job["metadata"]["name"])
    if risky:
        return warn(
            f"{len(risky)} running Jobs at risk when KEDA restarts: {', '.join(risky[:3])}",
            "./run redeploy stamps them.",
        )
    return ok("every running Job carries its ScaledJob's generation")


def triggers_sensible(systems: Systems) -> Outcome:
    """Does each trigger point to its instrument's stream and group (failure modes F19 and F23)?"""
    bad = []
    for one in systems.environment.instruments:
        live = systems.kube.get(SCALED_JOBS, one.scaled_job, one.namespace)
        trigger = live["spec"]["triggers"][0]["metadata"]
        for key, wanted in (("stream", one.stream), ("consumerGroup", one.consumer_group)):
            if trigger.get(key) != wanted:
                bad.append(f"{one.scaled_job}: {key} is {trigger.get(key)}, expected {wanted}")
    return all_or_fail(bad, "each trigger reads its instrument's stream and group", "Correct the ScaledJob's source.")


def triggers_scale_on_lag(systems: Systems) -> Outcome:
    """Is lag what each trigger counts (failure mode F23)? Without lagCount KEDA counts pending entries or the length.

    pendingEntriesCount beside lagCount, as the public chart has it, is ignored by KEDA and does no harm.
    """
    bad = []
    for name, live in _scaled_jobs(systems).items():
        for one in live["spec"]["triggers"]:
            given = one.get("metadata") or {}
            if one.get("type") != "redis-streams":
                bad.append(f"{name} has a trigger of type {one.get('type')}")
            elif "lagCount" not in given:
                bad.append(f"{name} does not count lag")
    fix = "Name lagCount in the ScaledJob's source."
    return warn("; ".join(bad), fix) if bad else ok("every trigger counts lag")


def _scaled_jobs(systems: Systems) -> dict[str, dict[str, Any]]:
    found = {}
    for one in systems.environment.instruments:
        live = systems.kube.find(SCALED_JOBS, one.scaled_job, one.namespace)
        if live is None:
            where, fix = systems.kube.address, "./run redeploy applies it."
            raise Missing("Kubernetes", where, f"ScaledJob {one.namespace}/{one.scaled_job} is absent", fix)
        found[one.scaled_job] = live
    return found


_CRDS = "keda/crds-established"
_KEDA = "keda-gone"
CHECKS: tuple[Check[Systems], ...] = (
    Check(_CRDS, "KEDA's CRDs are served", crds_established, (API,), runbook=_KEDA),
    Check("keda/parts-ready", "every part of KEDA is ready", parts_ready, (API,), runbook=_KEDA),
    Check("keda/one-version", "every part has the environment's version", one_version, (API,), runbook=_KEDA),
    Check("keda/lease-fresh", "the operator renews its Lease", lease_fresh, (API,), runbook=_KEDA),
    Check("keda/certificates-agree", "KEDA's certificates are trusted", certificates_agree, (API,), runbook=_KEDA),
    Check(
        "keda/scaled-jobs-ready",
        "every ScaledJob is Ready",
        scaled_jobs_ready,
        (_CRDS, "keda/lease-fresh", "redis/answers"),
        runbook=_KEDA,
    ),
    Check("keda/none-paused", "no ScaledJob is paused", none_paused, (_CRDS,), runbook=_KEDA),
    Check("keda/no-max-run-time", "no ScaledJob has a maximum run time", no_max_run_time, (_CRDS,), runbook=_KEDA),
    Check(
        "keda/jobs-carry-their-generation",
        "no running Job is at risk from KEDA's restart",
        jobs_carry_their_generation,
        (_CRDS,),
        runbook=_KEDA,
    ),
    Check("keda/triggers-scale-on-lag", "every trigger counts lag", triggers_scale_on_lag, (_CRDS,), runbook=_KEDA),
    Check("keda/triggers-sensible", "every trigger reads the right stream", triggers_sensible, (_CRDS,), runbook=_KEDA),
)
