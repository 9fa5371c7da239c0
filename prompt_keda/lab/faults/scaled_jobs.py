"""Faults of ScaledJobs and of their Jobs. None ends a running Job: what is edited is paused, and Jobs are annotated after."""

from __future__ import annotations

from collections.abc import Callable

from prompt_keda.clients.kube.conditions import conditions, has_condition
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import JOBS, SCALED_JOBS
from prompt_keda.components.scaled_jobs import running_jobs
from prompt_keda.components.scaled_jobs.objects import GENERATION, PAUSED, SCALED_JOB_LABEL
from prompt_keda.core.errors import DeadlinePassed
from prompt_keda.core.waiting import until
from prompt_keda.delivery.manifests import load_instrument_manifest
from prompt_keda.lab.faults import keda_parts
from prompt_keda.lab.faults.fault import Fault, Stage

QUICK_S = 10


def mark_paused(stage: Stage, value: str | None) -> None:
    """Write KEDA's pause into every ScaledJob, or take it away (None), and wait for nothing."""
    for instrument in stage.environment.instruments:
        body = {"metadata": {"annotations": {PAUSED: value}}}
        stage.kube.patch(SCALED_JOBS, instrument.scaled_job, instrument.namespace, body)


def pause(stage: Stage) -> None:
    """Pause every ScaledJob, and wait until KEDA says so."""
    mark_paused(stage, "true")
    until(lambda: all(has_condition(scaled_job, "Paused") for scaled_job in _live(stage)), "paused ScaledJobs")


def unpause(stage: Stage) -> None:
    """Unpause them, and wait until KEDA says so.

    What it writes of a pause that is lifted in that moment may stay for good (seen): then a reconcile is forced.
    """
    mark_paused(stage, None)
    try:
        until(
            lambda: not any(has_condition(scaled_job, "Paused") for scaled_job in _live(stage)),
            "unpaused ScaledJobs",
            QUICK_S,
        )
    except DeadlinePassed:
        pause(stage)
        mark_paused(stage, None)
        until(
            lambda: not any(has_condition(scaled_job, "Paused") for scaled_job in _live(stage)), "unpaused ScaledJobs"
        )


def edit(stage: Stage, change: Callable[[Object], Object]) -> None:
    """Change every ScaledJob while it is paused: KEDA then deletes no Job. It stays paused.

    Parameters
    ----------
    change
        What is given its spec, and gives what of that becomes another.
    """
    pause(stage)
    for instrument, live in zip(stage.environment.instruments, _live(stage), strict=True):
        stage.kube.patch(SCALED_JOBS, instrument.scaled_job, instrument.namespace, {"spec": change(live["spec"])})
    annotate(stage)


def edit_workers(stage: Stage, change: Callable[[Object], Object]) -> None:
    """Change the spec of every ScaledJob's pods as `edit` does."""

    def of_pods(spec: Object) -> Object:
        return {"jobTargetRef": {"template": {"spec": change(spec["jobTargetRef"]["template"]["spec"])}}}

    edit(stage, of_pods)


def restore(stage: Stage) -> None:
    """Apply every ScaledJob as its manifest has it, paused, let its Jobs carry its generation, and unpause it."""
    for instrument in stage.environment.instruments:
        assert instrument.manifest
        for wanted in load_instrument_manifest(instrument.manifest, stage.endpoints):
            if wanted["kind"] == SCALED_JOBS.kind:
                wanted["metadata"].setdefault("annotations", {})[PAUSED] = "true"
            stage.kube.apply(wanted, force=True)
    until(
        lambda: all(
            running_jobs.is_settled(scaled_job) and has_condition(scaled_job, "Paused") for scaled_job in _live(stage)
        ),
        "settled ScaledJobs",
    )
    annotate(stage)
    unpause(stage)


def until_ready(stage: Stage) -> None:
    """Wait until KEDA calls every ScaledJob Ready."""
    until(lambda: readiness(stage) == {"True"}, "ScaledJobs that are Ready")


def readiness(stage: Stage) -> set[str]:
    """Return what the ScaledJobs say of themselves: the statuses of their conditions Ready."""
    every = [conditions(scaled_job) for scaled_job in _live(stage)]
    return {states["Ready"]["status"] for states in every if "Ready" in states}


def _live(stage: Stage) -> list[Object]:
    return [
        stage.kube.get(SCALED_JOBS, instrument.scaled_job, instrument.namespace)
        for instrument in stage.environment.instruments
    ]


def annotate(stage: Stage) -> None:
    """Let every running Job carry the generation that its ScaledJob has now."""
    generations = {scaled_job["metadata"]["name"]: scaled_job["metadata"]["generation"] for scaled_job in _live(stage)}
    for job in running_jobs.active_jobs(stage.kube):
        wanted = generations.get(job["metadata"]["labels"][SCALED_JOB_LABEL])
        if wanted is not None:
            mark(stage, job, {"annotations": {GENERATION: str(wanted)}})


def mark(stage: Stage, job: Object, metadata: Object) -> None:
    """Change labels or annotations of a Job."""
    stage.kube.patch(JOBS, job["metadata"]["name"], job["metadata"]["namespace"], {"metadata": metadata})


def limit_run_time(stage: Stage) -> None:
    """Give every ScaledJob a maximum run time."""
    edit(stage, lambda spec: {"jobTargetRef": {"activeDeadlineSeconds": 900}})


def lift_run_time(stage: Stage) -> None:
    """Take it away, also from the Jobs that were made meanwhile."""
    edit(stage, lambda spec: {"jobTargetRef": {"activeDeadlineSeconds": None}})
    restore(stage)
    lift_limits(stage)


def lift_limits(stage: Stage) -> None:
    """Take the maximum run time from every running Job."""
    for job in running_jobs.active_jobs(stage.kube):
        limit_job(stage, job, None)


def limit_job(stage: Stage, job: Object, seconds: int | None) -> None:
    """Give a Job a maximum run time in seconds, or None."""
    place = job["metadata"]["namespace"]
    stage.kube.patch(JOBS, job["metadata"]["name"], place, {"spec": {"activeDeadlineSeconds": seconds}})


def keep_no_failed_job(stage: Stage) -> None:
    """Let KEDA keep no Job that failed."""
    edit(stage, lambda spec: {"failedJobsHistoryLimit": 0})


def count_pending(stage: Stage) -> None:
    """Take lagCount out of every trigger: KEDA then counts pending entries."""
    _edit_triggers(stage, lambda trigger: {key: value for key, value in trigger.items() if "lag" not in key.lower()})


def read_another_stream(stage: Stage) -> None:
    """Let every trigger read another stream."""
    _edit_triggers(stage, lambda trigger: {**trigger, "stream": "instrument:other"})


def refuse_trigger(stage: Stage) -> None:
    """Take activationLagCount out of every trigger: KEDA refuses it."""
    _edit_triggers(stage, lambda trigger: {key: value for key, value in trigger.items() if key != "activationLagCount"})


def _edit_triggers(stage: Stage, change: Callable[[Object], Object]) -> None:
    edit(
        stage,
        lambda spec: {
            "triggers": [{**trigger, "metadata": change(trigger["metadata"])} for trigger in spec["triggers"]]
        },
    )


def delete(stage: Stage) -> None:
    """Delete every ScaledJob, and leave its Jobs running."""
    for instrument in stage.environment.instruments:
        stage.kube.delete(SCALED_JOBS, instrument.scaled_job, instrument.namespace, propagation="Orphan")
    places = [(instrument.scaled_job, instrument.namespace) for instrument in stage.environment.instruments]
    until(lambda: not any(stage.kube.find(SCALED_JOBS, *place) for place in places), "deleted ScaledJobs")


def delete_without_operator(stage: Stage) -> None:
    """Take the operator away, then delete every ScaledJob: its finalizer holds it.

    Its Jobs run on, and go with it once the finalizer does: whoever removes that has to orphan them first.
    """
    keda_parts.remove_operator(stage)
    for instrument in stage.environment.instruments:
        stage.kube.delete(SCALED_JOBS, instrument.scaled_job, instrument.namespace)


def remove_finalizer_and_restore(stage: Stage) -> None:
    """Orphan the Jobs, bring the operator back, which removes the ScaledJobs' finalizers, and apply them again."""
    for job in running_jobs.active_jobs(stage.kube) if _held(stage) else ():
        mark(stage, job, {"ownerReferences": None})
    keda_parts.restore_operator(stage)
    until(lambda: not _held(stage), "ScaledJobs that are gone")
    restore(stage)


def _held(stage: Stage) -> list[Object]:
    return [scaled_job for scaled_job in stage.kube.list(SCALED_JOBS) if "deletionTimestamp" in scaled_job["metadata"]]


FAULTS: tuple[Fault, ...] = (
    Fault(
        "keda/paused",
        "",
        "somebody has paused the ScaledJob",
        pause,
        unpause,
        {"keda/none-paused": "warn"},
        "paused",
        stops_scaling=True,
    ),
    Fault(
        "keda/max-run-time",
        "",
        "the ScaledJob has a maximum run time (paused, so that no Job is lost)",
        limit_run_time,
        lift_run_time,
        {"keda/no-max-run-time": "fail", "keda/specs-as-wanted": "fail", "keda/none-paused": "warn"},
        "has activeDeadlineSeconds",
        stops_scaling=True,
    ),
    Fault(
        "keda/no-history",
        "F48",
        "KEDA keeps no Job that failed (paused, so that no Job is lost)",
        keep_no_failed_job,
        restore,
        {"keda/history-limits-sensible": "warn", "keda/specs-as-wanted": "warn", "keda/none-paused": "warn"},
        "failedJobsHistoryLimit is 0",
        stops_scaling=True,
    ),
    Fault(
        "keda/another-stream",
        "",
        "the trigger reads another stream (paused, so that no Job is lost)",
        read_another_stream,
        restore,
        {"keda/triggers-sensible": "fail", "keda/specs-as-wanted": "fail", "keda/none-paused": "warn"},
        "stream is",
        stops_scaling=True,
    ),
    Fault(
        "keda/pending-counted",
        "F23",
        "the trigger counts pending entries, not lag (paused, so that no Job is lost)",
        count_pending,
        restore,
        {
            "keda/triggers-scale-on-lag": "warn",
            "keda/limits-as-configured": "warn",
            "keda/specs-as-wanted": "fail",
            "keda/none-paused": "warn",
        },
        "does not count lag",
        stops_scaling=True,
    ),
    Fault(
        "keda/trigger-refused",
        "F19",
        "the trigger lacks activationLagCount (paused, so that no Job is lost)",
        refuse_trigger,
        restore,
        {
            "keda/triggers-activate": "fail",
            "keda/limits-as-configured": "warn",
            "keda/specs-as-wanted": "fail",
            "keda/none-paused": "warn",
        },
        "which KEDA refuses",
        stops_scaling=True,
    ),
    Fault(
        "keda/scaled-job-deleted",
        "F7",
        "the ScaledJob is gone, its Jobs run on",
        delete,
        restore,
        {"keda/scaled-jobs-present": "fail"},
        "is missing",
        stops_scaling=True,
    ),
    Fault(
        "keda/deletion-stuck",
        "F5",
        "the ScaledJob was deleted while the operator was gone",
        delete_without_operator,
        remove_finalizer_and_restore,
        {"keda/finalizers-not-stuck": "fail", "keda/lease-fresh": "fail", "keda/parts-ready": "fail"},
        "held by finalizer.keda.sh",
        stops_scaling=True,
    ),
)
