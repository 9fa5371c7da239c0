"""ScaledJobs: are they there, Ready, not paused, and sized and triggered as the environment says?"""

from __future__ import annotations

from typing import Any

from prompt_keda.clients.kube.conditions import conditions
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.systems import Systems
from prompt_keda.components import finalizers
from prompt_keda.components.event_source.redis_streams import TRIGGER
from prompt_keda.components.scaled_jobs.looks import FORCE_RECONCILE, lag_triggers, of_every_scaled_job
from prompt_keda.components.scaled_jobs.objects import PAUSED, is_paused, is_taken_for_paused, limit_of_pod, setting
from prompt_keda.core.check import Outcome, Verdict, check
from prompt_keda.core.marks import RUN_ANNOTATION
from prompt_keda.core.outcomes import fail, ok, unknown, warn
from prompt_keda.environment.model import Instrument

DEFAULT_HISTORY = 100
"""What KEDA 2.16.1 takes where a ScaledJob names no history limit (pkg/scaling/executor/scale_jobs.go)."""


@check(
    "keda/scaled-jobs-present",
    "Every ScaledJob exists",
    needs=("keda/crds-established",),
    runbook="scaled-job-wrong",
)
def scaled_jobs_present(systems: Systems) -> Outcome:
    """Ask the cluster itself: Argo CD leaves hooks out of its sync status (F7).

    Cause: It was deleted by hand or by a sync, or never applied. Its Jobs may still run.

    Fix: `./run redeploy` applies it.
    """
    return of_every_scaled_job(
        systems,
        lambda instrument, live: ok(f"{instrument.namespace}/{instrument.scaled_job}"),
        f"{len(systems.environment.instruments)} there",
    )


@check(
    "keda/scaled-jobs-ready",
    "Every ScaledJob is Ready",
    needs=("keda/scaled-jobs-present", "keda/lease-fresh", "redis/info-allowed"),
    runbook="keda-does-not-scale",
)
def scaled_jobs_ready(systems: Systems) -> Outcome:
    """Is every instrument's ScaledJob there and Ready?

    Cause: Redis was away, or the trigger invalid, when KEDA looked; it tries again only after up to 1000 s (F21).
    """
    good = f"{len(systems.environment.instruments)} Ready"
    return of_every_scaled_job(systems, lambda instrument, live: ready_standing(live), good)


def ready_standing(scaled_job: Object) -> Outcome:
    """Return what KEDA says of a ScaledJob: the one look of check, repair and verification."""
    name, ready = scaled_job["metadata"]["name"], conditions(scaled_job).get("Ready", {"status": "Unknown"})
    has_seen_fail = ready.get("reason") == "PartialTriggerError"  # KEDA 2.16.1 says Unknown then
    if ready["status"] == "True" and not has_seen_fail:
        return ok(name)
    if ready["status"] == "Unknown" and not has_seen_fail:
        return unknown(f"{name}: KEDA has not looked at it yet")
    return fail(f"{name}: {ready.get('message') or ready.get('reason') or 'it gives no reason'}", FORCE_RECONCILE)


@check("keda/none-paused", "No ScaledJob is paused", needs=("keda/scaled-jobs-present",), runbook="keda-paused")
def none_paused(systems: Systems) -> Outcome:
    """Is one paused, and by whom?

    Cause: Somebody paused it, or a run of this toolkit was killed while it had. Any value of
    `autoscaling.keda.sh/paused` pauses but Go's words for false; `paused-replicas` does nothing in a ScaledJob. Or
    a pause was lifted within milliseconds, and KEDA's condition Paused stayed True: KEDA works on, and would not
    stop at the next pause.

    Notes
    -----
    KEDA 2.16.1's condition Paused may stay True after a pause was lifted (seen): its scale loop writes an old
    copy of all conditions back (scaled_jobs/unpause.py). KEDA works on, and does not stop at the next pause (checkIfPaused).
    """
    fix = f"When it may go on, and keda/jobs-carry-their-generation is green: kubectl annotate scaledjob NAME {PAUSED}-"

    def look(instrument: Instrument, live: Object) -> Outcome:
        run = (live["metadata"].get("annotations") or {}).get(RUN_ANNOTATION)
        if is_paused(live) and run:
            mine = "Unless it runs: ./run redeploy or ./run resume annotates its Jobs, then unpauses it."
            return warn(f"{instrument.scaled_job} is paused by run {run}", mine)
        if is_paused(live):
            return warn(f"{instrument.scaled_job} is paused (not by this toolkit)", fix)
        if is_taken_for_paused(live):
            message = f"{instrument.scaled_job} is unpaused, and KEDA's condition Paused is True: KEDA would not stop at a pause"
            return warn(message, FORCE_RECONCILE)
        return ok(instrument.scaled_job)

    return of_every_scaled_job(systems, look, "none is paused")


@check(
    "keda/finalizers-not-stuck",
    "No ScaledJob hangs in its deletion",
    needs=("keda/scaled-jobs-present",),
    runbook="namespace-stuck",
)
def finalizers_not_stuck(systems: Systems) -> Outcome:
    """Has a ScaledJob in an instrument's namespace a deletionTimestamp (F5)?

    Cause: It was deleted while no operator was there to remove the finalizer, or it carries somebody else's finalizer
    (Argo CD's, Flux's): the fix names who takes that away.

    Fix: `./run redeploy` orphans its Jobs first. Remove no finalizer, and start no operator: the garbage collector then
    ends its Jobs. What others hold comes last ([decision 0013](decisions/0013-finalizers.md)).
    """
    fix = "Remove no finalizer, and start no operator: both end its Jobs. ./run redeploy orphans them first."

    def look(instrument: Instrument, live: Object) -> Outcome:
        metadata = live["metadata"]
        if "deletionTimestamp" not in metadata:
            return ok(instrument.scaled_job)
        by = ", ".join(metadata.get("finalizers") or []) or "nothing that it names"
        others = "; ".join(f"{name}: {finalizers.who_takes_away(name)}" for name in finalizers.foreign(live))
        then = f" That does not let it go: {others}." if others else ""
        return fail(
            f"{instrument.scaled_job} is being deleted since {metadata['deletionTimestamp']}, held by {by}", fix + then
        )

    return of_every_scaled_job(systems, look, "none is being deleted")


@check(
    "keda/history-limits-sensible",
    "Every ScaledJob keeps finished Jobs",
    needs=("keda/scaled-jobs-present",),
    runbook="scaled-job-wrong",
)
def history_limits_sensible(systems: Systems) -> Outcome:
    """Are both history limits at least 1 (F48)?

    Cause: A limit of 0: a Job that fails is gone before anybody sees why.

    Fix: Set both to 5 or more in the ScaledJob's source.
    """
    keys = ("successfulJobsHistoryLimit", "failedJobsHistoryLimit")

    def look(instrument: Instrument, live: Object) -> Outcome:
        none = [key for key in keys if live["spec"].get(key, DEFAULT_HISTORY) < 1]
        if none:
            return warn(
                f"{instrument.scaled_job}: {' and '.join(none)} is 0, so no such Job is kept", "Set it to 5 or more."
            )
        return ok(instrument.scaled_job)

    return of_every_scaled_job(systems, look, "each keeps finished Jobs")


@check(
    "keda/no-max-run-time",
    "No ScaledJob limits how long its Jobs run",
    needs=("keda/scaled-jobs-present",),
    runbook="scaled-job-wrong",
)
def no_max_run_time(systems: Systems) -> Outcome:
    """A maximum run time kills workers in mid-visit; it is left out on purpose.

    Cause: `activeDeadlineSeconds` was set; it kills workers in mid-visit.
    """

    def look(instrument: Instrument, live: Object) -> Outcome:
        target = live["spec"]["jobTargetRef"]
        if target.get("activeDeadlineSeconds") is None and limit_of_pod(target) is None:
            return ok(instrument.scaled_job)
        return fail(f"{instrument.scaled_job} has activeDeadlineSeconds", "Remove it where the ScaledJob comes from.")

    return of_every_scaled_job(systems, look, "none has a maximum run time")


@check(
    "keda/triggers-sensible",
    "Every trigger reads its instrument's stream",
    needs=("keda/scaled-jobs-present",),
    runbook="scaled-job-wrong",
)
def triggers_sensible(systems: Systems) -> Outcome:
    """Is there a redis-streams trigger, and does each trigger point to its instrument's stream and group (failure
    modes F19 and F23)?

    Cause: The ScaledJob reads another stream or group than the environment says.
    """
    fix = "Correct the ScaledJob's source."

    def look(instrument: Instrument, live: Object) -> Outcome:
        triggers = lag_triggers(live)
        if not triggers:
            return fail(f"{instrument.scaled_job} has no trigger of type {TRIGGER}", fix)
        wanted = (("stream", instrument.stream), ("consumerGroup", instrument.consumer_group))
        other = [
            f"{instrument.scaled_job}: {key} is {trigger.get(key)}, expected {value}"
            for trigger in triggers
            for key, value in wanted
            if trigger.get(key) != value
        ]
        return fail("; ".join(other), fix) if other else ok(instrument.scaled_job)

    return of_every_scaled_job(systems, look, "each trigger reads its instrument's stream and group")


@check(
    "keda/triggers-scale-on-lag",
    "Every trigger scales on lag",
    needs=("keda/scaled-jobs-present",),
    runbook="scaled-job-wrong",
)
def triggers_scale_on_lag(systems: Systems) -> Outcome:
    """Without `lagCount` KEDA counts pending entries or the stream's length (F23).

    Cause: The ScaledJob was written for another scaler, or for older workers.

    Notes
    -----
    pendingEntriesCount beside lagCount, as the public chart has it, is ignored by KEDA and does no harm.
    """
    fix = "Name lagCount in the ScaledJob's source."

    def look(instrument: Instrument, live: Object) -> Outcome:
        triggers = live["spec"].get("triggers") or []
        odd = [f"a trigger of type {trigger.get('type')}" for trigger in triggers if trigger.get("type") != TRIGGER]
        if not triggers:
            return warn(f"{instrument.scaled_job} has no trigger", fix)
        if odd:
            return warn(f"{instrument.scaled_job} has {', '.join(odd)}", fix)
        if all("lagCount" in trigger for trigger in lag_triggers(live)):
            return ok(instrument.scaled_job)
        return warn(f"{instrument.scaled_job} does not count lag", fix)

    return of_every_scaled_job(systems, look, "every trigger counts lag")


@check(
    "keda/limits-as-configured",
    "Every ScaledJob has the configured limits",
    needs=("keda/scaled-jobs-present",),
    runbook="scaled-job-wrong",
)
def limits_as_configured(systems: Systems) -> Outcome:
    """Compare minReplicaCount, maxReplicaCount, pollingInterval, lagCount and activationLagCount with the
    environment's min_jobs, max_jobs, polling_interval, lag_count and activation_lag_count.

    Cause: The ScaledJob was changed at its source, or by hand, and the environment was not. A smaller maximum means
    fewer workers than the night needs.

    Fix: The result names both values.
    """
    fix = "Correct the ScaledJob's source, or the environment."

    def look(instrument: Instrument, live: Object) -> Outcome:
        other = [
            f"{key} is {value if value is not None else 'not set'}, the environment says {wanted}"
            for key, value, wanted in _sizes(instrument, live["spec"], next(iter(lag_triggers(live)), {}))
            if str(value) != wanted  # a trigger's values are texts
        ]
        return warn(f"{instrument.scaled_job}: {', '.join(other)}", fix) if other else ok(instrument.scaled_job)

    return of_every_scaled_job(systems, look, "every ScaledJob is as the environment says")


def _sizes(wanted: Instrument, spec: Object, trigger: Object) -> list[tuple[str, Any, str]]:
    """Return each size's key, the live value and the environment's."""
    return [
        ("minReplicaCount", setting(spec, "minReplicaCount"), str(wanted.min_jobs)),
        ("maxReplicaCount", setting(spec, "maxReplicaCount"), str(wanted.max_jobs)),
        ("pollingInterval", setting(spec, "pollingInterval"), f"{wanted.polling_interval.total_seconds():g}"),
        ("lagCount", trigger.get("lagCount"), str(wanted.lag_count)),
        ("activationLagCount", trigger.get("activationLagCount"), str(wanted.activation_lag_count)),
    ]


@check(
    "keda/triggers-activate",
    "Every trigger can activate",
    needs=("keda/scaled-jobs-present",),
    runbook="scaled-job-wrong",
)
def triggers_activate(systems: Systems) -> Outcome:
    """Has each ScaledJob one trigger that KEDA takes, and from which lag on does it make Jobs? KEDA is active only
    when the lag is above `activationLagCount`, and that is shown (F19).

    Cause: `activationLagCount` is missing or 0, or `metricType` is set: KEDA refuses both. WARN: more than one
    trigger, or `useCachedMetrics`, which KEDA ignores.

    Fix: Correct the trigger in the ScaledJob's source.

    Notes
    -----
    KEDA 2.16.1 refuses activationLagCount 0 beside lagCount (redis_streams_scaler.go) and metricType in a ScaledJob
    (scaledjob_controller.go), and is active only when the lag is above activationLagCount.
    """
    fix = "Correct the trigger in the ScaledJob's source."
    starts: set[int] = set()

    def look(instrument: Instrument, live: Object) -> Outcome:
        triggers = live["spec"].get("triggers") or []
        wrong = [refusal for trigger in triggers for refusal in _refused(trigger)]
        if wrong:
            return fail(f"{instrument.scaled_job}: {'; '.join(wrong)}", fix)
        starts.update(
            int(trigger["activationLagCount"]) + 1 for trigger in lag_triggers(live) if trigger.get("lagCount")
        )
        odd = [f"{len(triggers)} triggers, and one is expected"] if len(triggers) != 1 else []
        if any(trigger.get("useCachedMetrics") for trigger in triggers):
            odd.append("useCachedMetrics, which KEDA ignores in a ScaledJob")
        return warn(f"{instrument.scaled_job}: {'; '.join(odd)}", fix) if odd else ok(instrument.scaled_job)

    outcome = of_every_scaled_job(systems, look, "")
    lags = " or ".join(map(str, sorted(starts)))
    return ok(f"Jobs beyond the minimum are made from a lag of {lags} on") if outcome.verdict is Verdict.OK else outcome


def _refused(trigger: Object) -> list[str]:
    """Return what KEDA refuses in a trigger."""
    problems = ["metricType is set, which KEDA refuses in a ScaledJob"] if trigger.get("metricType") else []
    metadata = trigger.get("metadata") or {}
    if trigger.get("type") != TRIGGER:
        return problems
    numbers = {key: metadata[key] for key in ("lagCount", "activationLagCount") if metadata.get(key) is not None}
    problems += [f"{key} is {value}, which is not a number" for key, value in numbers.items() if not value.isdecimal()]
    if "lagCount" in numbers and not problems and int(numbers.get("activationLagCount", "0")) < 1:
        problems.append("activationLagCount is missing or 0, which KEDA refuses beside lagCount")
    return problems
