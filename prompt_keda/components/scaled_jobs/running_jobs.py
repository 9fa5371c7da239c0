"""The Jobs of ScaledJobs: which are active, which KEDA would delete, and whether all of them live on."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.conditions import has_condition
from prompt_keda.clients.kube.objects import Object, is_going
from prompt_keda.clients.kube.resources import EVENTS, JOBS, PODS, SCALED_JOBS
from prompt_keda.components import finalizers
from prompt_keda.components.keda.names import FINALIZER
from prompt_keda.components.scaled_jobs.objects import (
    GENERATION,
    PAUSED,
    SCALED_JOB_LABEL,
    is_finished,
    is_running,
    keeps_older_jobs,
)
from prompt_keda.core.decisions import JobRecord
from prompt_keda.core.errors import Missing
from prompt_keda.core.marks import RUN_ANNOTATION

POD_LABEL = "batch.kubernetes.io/job-name"
ENDED = ("Completed", "BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy")
"""Reasons of the Job controller's events for a Job that is Complete or Failed (Kubernetes, pkg/controller/job)."""


def active_jobs(kube: Kube) -> list[Object]:
    """List the Jobs of all ScaledJobs that are not finished, suspended ones too: what may run is protected."""
    return [job for job in kube.each(JOBS, label_selector=SCALED_JOB_LABEL) if not is_finished(job)]


def ledger(kube: Kube, smoke_namespace: str) -> tuple[JobRecord, ...]:
    """Record every running Job of a ScaledJob, and every pod of one; and which of them go already. A suspended Job does not run.

    Left out are those of a smoke test: each removes its own, also that of a redeploy that ends while this one begins.
    """
    jobs = (job for job in active_jobs(kube) if job["metadata"]["namespace"] != smoke_namespace)
    active = {job["metadata"]["uid"]: job for job in jobs if is_running(job)}
    records = [replace(record("Job", job), was_going=is_going(job)) for job in active.values()]
    for pod in kube.each(PODS, label_selector=POD_LABEL):
        owners = active.keys() & {reference["uid"] for reference in pod["metadata"].get("ownerReferences", [])}
        if owners and pod.get("status", {}).get("phase") in ("Pending", "Running"):
            uid = owners.pop()
            goes = is_going(pod) or (is_going(active[uid]) and "orphan" not in finalizers.names_of(active[uid]))
            records.append(replace(record("Pod", pod, uid), was_going=goes))
    return tuple(records)


def going(before: tuple[JobRecord, ...]) -> list[str]:
    """Return what was being deleted before the run, in words: whoever deleted it has ended it, and not this run."""
    return [f"{record.kind} {record.namespace}/{record.name}" for record in before if record.was_going]


def lost(kube: Kube, before: tuple[JobRecord, ...]) -> list[str]:
    """Return of each recorded Job and pod that did not survive what became of it. Empty: none was lost.

    What ended by itself is not lost, and may be gone: KEDA's history limits remove finished Jobs, with their pods. Once
    a Job is gone, the Job controller's event says that it had ended, and the kubelet's that a pod was stopped (the API
    server keeps events for an hour). What nobody saw end counts as lost. What was being deleted before is nobody's loss
    here. Raises as `Kube.list` does.
    """
    before = tuple(record for record in before if not record.was_going)
    live = {job["metadata"]["uid"]: job for job in kube.each(JOBS, label_selector=SCALED_JOB_LABEL)}
    live |= {pod["metadata"]["uid"]: pod for pod in kube.each(PODS, label_selector=POD_LABEL)}
    doubtful = [record for record in before if record.uid not in live or is_going(live[record.uid])]
    if not doubtful:
        return []
    ended = {uid for uid, obj in live.items() if is_finished(obj)} | _uids(kube, "Job", ENDED)
    stopped = _uids(kube, "Pod", ("Killing",))
    return [
        f"{record.kind} {record.namespace}/{record.name} is {'being deleted' if record.uid in live else 'gone'}"
        for record in doubtful
        if record.uid in stopped or (record.job_uid or record.uid) not in ended
    ]


def failed(kube: Kube, before: tuple[JobRecord, ...]) -> list[str]:
    """Return the names of the recorded Jobs that have failed since, for people to look at: their visits are at risk."""
    recorded = {record.uid for record in before}
    jobs = [job for job in kube.each(JOBS, label_selector=SCALED_JOB_LABEL) if job["metadata"]["uid"] in recorded]
    return [job["metadata"]["name"] for job in jobs if has_condition(job, "Failed")]


def _uids(kube: Kube, kind: str, reasons: tuple[str, ...]) -> set[str]:
    """Return the UIDs of the objects of a kind that events with one of these reasons name."""
    return {
        event["involvedObject"]["uid"]
        for reason in reasons
        for event in kube.each(EVENTS, field_selector=f"involvedObject.kind={kind},reason={reason}")
    }


def at_risk(
    kube: Kube, scaled: Mapping[tuple[str, str], Object] | None = None, finished_too: bool = False
) -> tuple[JobRecord, ...]:
    """Record the Jobs that KEDA's operator deletes when it next reconciles their ScaledJob.

    It finds Jobs by label, and unless the rollout strategy is ``gradual`` it deletes those whose generation annotation
    is missing or is not the ScaledJob's generation (failure modes F2 and F3, seen).

    Parameters
    ----------
    scaled
        What `owners` gave; None: ask now.
    finished_too
        Also those that have ended: KEDA deletes them as it does others, and the logs of their pods go with them.
    """
    scaled = owners(kube) if scaled is None else scaled
    records = []
    for job in kube.each(JOBS, label_selector=SCALED_JOB_LABEL) if finished_too else active_jobs(kube):
        job_record = record("Job", job)
        owner = scaled.get((job_record.namespace, job_record.scaled_job))
        if owner is not None and would_be_deleted(job, owner):
            records.append(job_record)
    return tuple(records)


def would_be_deleted(job: Object, scaled_job: Object) -> bool:
    """Return whether KEDA's operator deletes a Job when it next reconciles its ScaledJob: the one look of check and repair."""
    generation = (job["metadata"].get("annotations") or {}).get(GENERATION)
    return not keeps_older_jobs(scaled_job["spec"]) and generation != str(scaled_job["metadata"]["generation"])


def owners(kube: Kube) -> dict[tuple[str, str], Object]:
    """Return every ScaledJob by namespace and name, but those being deleted.

    KEDA only lets these finish: it makes, deletes and annotates no Job for them (2.16.1, scaledjob_controller.go, Reconcile).
    """
    return {_key(live): live for live in kube.list(SCALED_JOBS) if "deletionTimestamp" not in live["metadata"]}


def pause_marks(run_id: str) -> dict[str, str]:
    """Return the annotations that pause a ScaledJob, and say which run did it."""
    return {PAUSED: "true", RUN_ANNOTATION: run_id}


def is_settled(scaled_job: Object) -> bool:
    """Return whether KEDA has seen a ScaledJob once: until then its first reconcile may give it another generation (seen)."""
    return FINALIZER in (scaled_job["metadata"].get("finalizers") or [])


def annotate(kube: Kube, record: JobRecord, generation: int) -> None:
    """Write a generation on a Job, so that KEDA keeps it; one that has been tidied away is fine. Idempotent: yes."""
    body = {"metadata": {"annotations": {GENERATION: str(generation)}}}
    with suppress(Missing):
        kube.patch(JOBS, record.name, record.namespace, body)


def is_of(job: Object, scaled_job: Object) -> bool:
    """Return whether a Job is one of a ScaledJob's, by the label by which KEDA finds it."""
    return (job["metadata"]["namespace"], job["metadata"]["labels"][SCALED_JOB_LABEL]) == _key(scaled_job)


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def record(kind: str, obj: Object, job_uid: str = "") -> JobRecord:
    """Record a Job, or a pod with the UID of its Job."""
    metadata = obj["metadata"]
    return JobRecord(
        kind=kind,
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        scaled_job=metadata.get("labels", {}).get(SCALED_JOB_LABEL, ""),
        generation=metadata.get("annotations", {}).get(GENERATION),
        job_uid=job_uid,
    )
