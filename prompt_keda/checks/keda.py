"""KEDA itself: CRDs, parts, certificates, ScaledJobs and their Jobs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from prompt_keda.checks.keda_certificates import certificates_agree
from prompt_keda.checks.outcomes import all_of, fail, ok, unknown, warn
from prompt_keda.clients.kube_resources import (
    CRDS,
    DEPLOYMENTS,
    JOBS,
    LEASES,
    SCALED_JOBS,
)
from prompt_keda.clients.registry import parse_image
from prompt_keda.clients.systems import Systems
from prompt_keda.model.check import Check, Outcome
from prompt_keda.model.environment import Instrument
from prompt_keda.model.job_object import is_finished, keeps_older_jobs

Object = dict[str, Any]
API = "cluster/api-answers"
PARTS = ("keda-operator", "keda-operator-metrics-apiserver", "keda-admission-webhooks")
"""The Deployments of the public chart 2.16.1."""
KINDS = ("scaledjobs.keda.sh", "triggerauthentications.keda.sh")
TRIGGER = "redis-streams"
LEASE_S = 15
"""The operator renews its Lease well within 15 s (controller-runtime's default)."""


def crds_established(systems: Systems) -> Outcome:
    """Are KEDA's two kinds for Prompt Processing served?"""
    fix = "./run redeploy applies them."

    def look(name: str) -> Outcome:
        found = systems.kube.find(CRDS, name)
        if found is None:
            return fail(f"{name} is absent", fix)
        if "deletionTimestamp" in found["metadata"]:
            return fail(f"{name} is being deleted", fix)
        established = _conditions(found).get("Established", {}).get("status")
        return ok(name) if established == "True" else fail(f"{name} is not served", fix)

    return all_of(((name, name) for name in KINDS), look, "scaledjobs and triggerauthentications are served")


def parts_ready(systems: Systems) -> Outcome:
    """Has every Deployment of KEDA an available pod?"""
    fix = "./run redeploy replaces them."

    def look(name: str) -> Outcome:
        found = systems.kube.find(DEPLOYMENTS, name, systems.environment.keda.namespace)
        if found is None:
            return fail(f"{name} is absent", fix)
        available = found.get("status", {}).get("availableReplicas", 0)
        if available < max(1, found["spec"].get("replicas", 1)):
            return fail(f"{name} has {available} available pods", fix)
        return ok(name)

    return all_of(((name, name) for name in PARTS), look, f"{len(PARTS)} of {len(PARTS)} ready")


def one_version(systems: Systems) -> Outcome:
    """Are all parts of the environment's version, by their labels and by their images' tags? A digest tells none."""
    wanted = systems.environment.keda.version
    parts = [
        one
        for one in systems.kube.list(DEPLOYMENTS, systems.environment.keda.namespace)
        if one["metadata"]["name"] in PARTS
    ]
    if not parts:
        return unknown("no part of KEDA stands, so nothing has a version")

    def look(one: Object) -> Outcome:
        label = (one["metadata"].get("labels") or {}).get("app.kubernetes.io/version")
        tags = [parse_image(container["image"]).tag for container in one["spec"]["template"]["spec"]["containers"]]
        said = [f"label {label}", *(f"image tag {tag}" for tag in tags if tag)]
        if {label, *filter(None, tags)} == {wanted}:
            return ok(wanted)
        return warn(f"{one['metadata']['name']}: {', '.join(said)}", f"The environment wants {wanted}.")

    return all_of(((one["metadata"]["name"], one) for one in parts), look, wanted)


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


def scaled_jobs_ready(systems: Systems) -> Outcome:
    """Is every instrument's ScaledJob there and Ready?"""
    fix = "Check Redis first; then annotate it autoscaling.keda.sh/paused=true and remove that: KEDA looks again."

    def look(one: Instrument, live: Object) -> Outcome:
        ready = _conditions(live).get("Ready", {"status": "Unknown"})
        if ready["status"] == "Unknown":
            return unknown(f"{one.scaled_job}: KEDA has not looked at it yet")
        return ok(one.scaled_job) if ready["status"] == "True" else fail(f"{one.scaled_job}: {_words(ready)}", fix)

    return _of_every_scaled_job(systems, look, f"{len(systems.environment.instruments)} Ready")


def none_paused(systems: Systems) -> Outcome:
    """Is one paused, and by whom?"""
    fix = "kubectl annotate scaledjob NAME autoscaling.keda.sh/paused- when it may go on."

    def look(one: Instrument, live: Object) -> Outcome:
        annotations = live["metadata"].get("annotations") or {}
        marks = [value for key, value in annotations.items() if key.startswith("autoscaling.keda.sh/paused")]
        if all(value == "false" for value in marks):
            return ok(one.scaled_job)
        run = annotations.get("prompt-keda.lsst.io/run")
        return warn(f"{one.scaled_job} is paused {f'by run {run}' if run else '(not by this toolkit)'}", fix)

    return _of_every_scaled_job(systems, look, "none is paused")


def no_max_run_time(systems: Systems) -> Outcome:
    """A maximum run time kills workers in mid-visit; it is left out on purpose."""

    def look(one: Instrument, live: Object) -> Outcome:
        if live["spec"]["jobTargetRef"].get("activeDeadlineSeconds") is None:
            return ok(one.scaled_job)
        return fail(f"{one.scaled_job} has activeDeadlineSeconds", "Remove it where the ScaledJob comes from.")

    return _of_every_scaled_job(systems, look, "none has a maximum run time")


def jobs_carry_their_generation(systems: Systems) -> Outcome:
    """Would KEDA delete running Jobs when it next reconciles (failure modes F2 and F3)?"""

    def look(one: Instrument, live: Object) -> Outcome:
        if keeps_older_jobs(live["spec"]):
            return ok(one.scaled_job)
        risky, wanted = [], str(live["metadata"]["generation"])
        for job in systems.kube.list(JOBS, one.namespace, f"scaledjob.keda.sh/name={one.scaled_job}"):
            mark = (job["metadata"].get("annotations") or {}).get("scaledjob.keda.sh/generation")
            if not is_finished(job) and mark != wanted:
                risky.append(job["metadata"]["name"])
        if not risky:
            return ok(one.scaled_job)
        said = f"{len(risky)} running Jobs at risk when KEDA restarts: {', '.join(risky[:3])}"
        return warn(f"{one.scaled_job}: {said}", "./run redeploy stamps them.")

    return _of_every_scaled_job(systems, look, "every running Job carries its ScaledJob's generation")


def triggers_sensible(systems: Systems) -> Outcome:
    """Does each trigger point to its instrument's stream and group (failure modes F19 and F23)?"""
    fix = "Correct the ScaledJob's source."

    def look(one: Instrument, live: Object) -> Outcome:
        triggers = _lag_triggers(live)
        if not triggers:
            return fail(f"{one.scaled_job} has no trigger of type {TRIGGER}", fix)
        wanted = (("stream", one.stream), ("consumerGroup", one.consumer_group))
        other = [
            f"{one.scaled_job}: {key} is {given.get(key)}, expected {value}"
            for given in triggers
            for key, value in wanted
            if given.get(key) != value
        ]
        return fail("; ".join(other), fix) if other else ok(one.scaled_job)

    return _of_every_scaled_job(systems, look, "each trigger reads its instrument's stream and group")


def triggers_scale_on_lag(systems: Systems) -> Outcome:
    """Is lag what each trigger counts (failure mode F23)? Without lagCount KEDA counts pending entries or the length.

    pendingEntriesCount beside lagCount, as the public chart has it, is ignored by KEDA and does no harm.
    """
    fix = "Name lagCount in the ScaledJob's source."

    def look(one: Instrument, live: Object) -> Outcome:
        triggers = live["spec"].get("triggers") or []
        odd = [f"a trigger of type {given.get('type')}" for given in triggers if given.get("type") != TRIGGER]
        if not triggers:
            return warn(f"{one.scaled_job} has no trigger", fix)
        if odd:
            return warn(f"{one.scaled_job} has {', '.join(odd)}", fix)
        if all("lagCount" in given for given in _lag_triggers(live)):
            return ok(one.scaled_job)
        return warn(f"{one.scaled_job} does not count lag", fix)

    return _of_every_scaled_job(systems, look, "every trigger counts lag")


def sizes_as_named(systems: Systems) -> Outcome:
    """Has each ScaledJob the environment's limits, polling interval and thresholds?"""
    fix = "Correct the ScaledJob's source, or the environment."

    def look(one: Instrument, live: Object) -> Outcome:
        other = [
            f"{key} is {seen if seen is not None else 'not set'}, the environment says {wanted}"
            for key, seen, wanted in _sizes(one, live["spec"], next(iter(_lag_triggers(live)), {}))
            if str(seen) != wanted  # a trigger's values are texts
        ]
        return warn(f"{one.scaled_job}: {', '.join(other)}", fix) if other else ok(one.scaled_job)

    return _of_every_scaled_job(systems, look, "every ScaledJob is as the environment says")


def _sizes(wanted: Instrument, spec: Object, trigger: Object) -> list[tuple[str, Any, str]]:
    """Give each size's key, the live value and the environment's.

    Where a ScaledJob says nothing, KEDA takes 0, 100 and 30 (2.16.1, apis/keda/v1alpha1, scaledjob_types.go and
    withtriggers_types.go).
    """
    return [
        ("minReplicaCount", spec.get("minReplicaCount", 0), str(wanted.min_jobs)),
        ("maxReplicaCount", spec.get("maxReplicaCount", 100), str(wanted.max_jobs)),
        ("pollingInterval", spec.get("pollingInterval", 30), f"{wanted.polling_interval.total_seconds():g}"),
        ("lagCount", trigger.get("lagCount"), str(wanted.lag_count)),
        ("activationLagCount", trigger.get("activationLagCount"), str(wanted.activation_lag_count)),
    ]


def _of_every_scaled_job(systems: Systems, look: Callable[[Instrument, Object], Outcome], good: str) -> Outcome:
    """Look at each instrument's ScaledJob; an absent one is FAIL, and hides none of the others."""

    def look_at(one: Instrument) -> Outcome:
        live = systems.kube.find(SCALED_JOBS, one.scaled_job, one.namespace)
        if live is None:
            return fail(f"ScaledJob {one.namespace}/{one.scaled_job} is absent", "./run redeploy applies it.")
        return look(one, live)

    return all_of(((one.scaled_job, one) for one in systems.environment.instruments), look_at, good)


def _conditions(found: Object) -> dict[str, Object]:
    return {one["type"]: one for one in found.get("status", {}).get("conditions") or []}


def _words(condition: Object) -> str:
    return str(condition.get("message") or condition.get("reason") or "it gives no reason")


def _lag_triggers(live: Object) -> list[Object]:
    """Give what the triggers that read a stream say; others (cron) have neither stream nor lag."""
    triggers = live["spec"].get("triggers") or []
    return [one.get("metadata") or {} for one in triggers if one.get("type") == TRIGGER]


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
    Check(
        "keda/sizes-as-named", "every ScaledJob has the sizes that are named", sizes_as_named, (_CRDS,), runbook=_KEDA
    ),
    Check("keda/triggers-sensible", "every trigger reads the right stream", triggers_sensible, (_CRDS,), runbook=_KEDA),
)
