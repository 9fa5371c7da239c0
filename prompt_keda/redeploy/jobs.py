"""The Jobs of ScaledJobs: which are active, which KEDA would delete, and whether all of them live on."""

from __future__ import annotations

from typing import Any

from prompt_keda.clients.kube import Kube
from prompt_keda.clients.kube_resources import JOBS, PODS, SCALED_JOBS
from prompt_keda.model.job_object import has_condition, is_finished
from prompt_keda.model.redeploy_plan import JobRecord

Object = dict[str, Any]
LABEL = "scaledjob.keda.sh/name"
GENERATION = "scaledjob.keda.sh/generation"


def active_jobs(kube: Kube) -> list[Object]:
    """List the Jobs of all ScaledJobs that are not finished."""
    return [job for job in kube.list(JOBS, label_selector=LABEL) if not is_finished(job)]


def ledger(kube: Kube) -> tuple[JobRecord, ...]:
    """Record every active Job of a ScaledJob, and every pod of one that is not finished."""
    records = [_record("Job", job) for job in active_jobs(kube)]
    uids = {record.uid for record in records}
    for pod in kube.list(PODS, label_selector="batch.kubernetes.io/job-name"):
        owners = {one["uid"] for one in pod["metadata"].get("ownerReferences", [])}
        if owners & uids and pod.get("status", {}).get("phase") in ("Pending", "Running"):
            records.append(_record("Pod", pod))
    return tuple(records)


def lost(kube: Kube, before: tuple[JobRecord, ...]) -> list[str]:
    """Say of each recorded Job and pod that did not survive what became of it. Empty: none was lost.

    A Job that is gone counts as lost: KEDA's history limits keep finished ones for longer than a redeploy takes. A
    pod may be gone only with a Job that finished.
    """
    jobs = {job["metadata"]["uid"]: job for job in kube.list(JOBS, label_selector=LABEL)}
    pods = {pod["metadata"]["uid"]: pod for pod in kube.list(PODS, label_selector="batch.kubernetes.io/job-name")}
    said = []
    for record in before:
        live = (jobs if record.kind == "Job" else pods).get(record.uid)
        what = f"{record.kind} {record.namespace}/{record.name}"
        if live is None:
            said.append(f"{what} is gone")
        elif "deletionTimestamp" in live["metadata"]:
            said.append(f"{what} is being deleted")
        elif record.kind == "Job" and has_condition(live, "Failed"):
            said.append(f"{what} failed")
    return said


def keeps_older_jobs(spec: Object) -> bool:
    """Tell whether KEDA leaves Jobs of another generation alone under this ScaledJob's spec.

    The deprecated ``rolloutStrategy`` wins over ``rollout.strategy`` where it is set (KEDA 2.16.1,
    scaledjob_controller.go, deletePreviousVersionScaleJobs).
    """
    strategy = spec.get("rolloutStrategy") or (spec.get("rollout") or {}).get("strategy")
    return bool(strategy == "gradual")


def at_risk(kube: Kube) -> tuple[JobRecord, ...]:
    """Record the active Jobs that KEDA's operator deletes when it next reconciles their ScaledJob.

    It finds Jobs by label, and unless the rollout strategy is ``gradual`` it deletes those whose generation annotation
    is missing or is not the ScaledJob's generation (failure modes F2 and F3, seen).
    """
    scaled = {_key(one): one for one in kube.list(SCALED_JOBS)}
    found = []
    for job in active_jobs(kube):
        record = _record("Job", job)
        owner = scaled.get((record.namespace, record.scaled_job))
        if owner is None or keeps_older_jobs(owner["spec"]):
            continue
        if record.generation != str(owner["metadata"]["generation"]):
            found.append(record)
    return tuple(found)


def stamp(kube: Kube, record: JobRecord, generation: int) -> None:
    """Write a generation on a Job, so that KEDA keeps it. Idempotent: yes."""
    body = {"metadata": {"annotations": {GENERATION: str(generation)}}}
    kube.patch(JOBS, record.name, record.namespace, body)


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def _record(kind: str, obj: Object) -> JobRecord:
    metadata = obj["metadata"]
    return JobRecord(
        kind=kind,
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        scaled_job=metadata.get("labels", {}).get(LABEL, ""),
        generation=metadata.get("annotations", {}).get(GENERATION),
    )
