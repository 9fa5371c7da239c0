"""Faults of ScaledJobs' Jobs. None ends a running Job: they are marked, and a ScaledJob that is edited is paused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prompt_keda.clients.kube.conditions import has_condition
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import JOBS, PODS, SCALED_JOBS
from prompt_keda.components.scaled_jobs import running_jobs
from prompt_keda.components.scaled_jobs.objects import GENERATION, SCALED_JOB_LABEL
from prompt_keda.core.waiting import until
from prompt_keda.delivery.argocd import HOOK
from prompt_keda.lab.faults import scaled_jobs
from prompt_keda.lab.faults.fault import Fault, Stage

GROUP, NOBODY = "REDIS_STREAM_CONSUMER_GROUP", "nobody"
MOST_FAILED = 5
"""So many Jobs fail before anybody looks."""
DAY_S = 86400
YOUNG = timedelta(seconds=15)


def until_workers_stay(stage: Stage) -> None:
    """Wait until all but one of the idle workers will run on for a while."""
    until(lambda: _workers_stay(stage), "workers that stay for a while")


def _workers_stay(stage: Stage) -> bool:
    """Idle workers end after 30 s. Are all but one of every instrument's younger than half of that?"""
    for instrument in stage.environment.instruments:
        pods = [pod["status"] for pod in stage.kube.list(PODS, instrument.namespace)]
        started = [datetime.fromisoformat(pod["startTime"]) for pod in pods if pod["phase"] == "Running"]
        young = [at for at in started if datetime.now(UTC) - at < YOUNG]
        if len(started) < instrument.min_jobs or len(young) < len(started) - 1:
            return False
    return True


def strip_generation(stage: Stage) -> None:
    """Take the generation from every running Job."""
    until_workers_stay(stage)
    for job in running_jobs.active_jobs(stage.kube):
        scaled_jobs.mark(stage, job, {"annotations": {GENERATION: None}})


def strip_label(stage: Stage) -> None:
    """Take the label from every running Job: KEDA no longer counts it, and makes others."""
    until_workers_stay(stage)
    for job in running_jobs.active_jobs(stage.kube):
        scaled_jobs.mark(stage, job, {"labels": {SCALED_JOB_LABEL: None}})


def put_label(stage: Stage) -> None:
    """Put it back, by the Jobs' owners."""
    for instrument in stage.environment.instruments:
        for job in stage.kube.list(JOBS, instrument.namespace):
            owners = [ref["name"] for ref in job["metadata"].get("ownerReferences") or []]
            if instrument.scaled_job in owners:
                scaled_jobs.mark(stage, job, {"labels": {SCALED_JOB_LABEL: instrument.scaled_job}})


def limit(stage: Stage) -> None:
    """Let every running Job end after a day."""
    until_workers_stay(stage)
    for job in running_jobs.active_jobs(stage.kube):
        scaled_jobs.limit_job(stage, job, DAY_S)


def let_workers_fail(stage: Stage) -> None:
    """Let new workers ask for a consumer group that is missing, and wait until they have failed."""
    scaled_jobs.edit_workers(stage, lambda pod: {"containers": [_misled(container) for container in pod["containers"]]})
    scaled_jobs.unpause(stage)
    until(lambda: len(_failed(stage)) >= MOST_FAILED, f"{MOST_FAILED} Jobs that failed")


def _misled(container: Object) -> Object:
    env = container.get("env") or []
    return {
        **container,
        "env": [{**variable, "value": NOBODY} if variable["name"] == GROUP else variable for variable in env],
    }


def let_workers_work(stage: Stage) -> None:
    """Apply every ScaledJob as it was, and take the Jobs that failed away."""
    scaled_jobs.restore(stage)
    until(
        lambda: not [job for job in running_jobs.active_jobs(stage.kube) if _is_misled(job)],
        "the end of the failing Jobs",
    )
    for job in _failed(stage):
        stage.kube.delete(JOBS, job["metadata"]["name"], job["metadata"]["namespace"])


def _is_misled(job: Object) -> bool:
    containers = job["spec"]["template"]["spec"]["containers"]
    return {"name": GROUP, "value": NOBODY} in [
        variable for container in containers for variable in container.get("env") or []
    ]


def _failed(stage: Stage) -> list[Object]:
    jobs = stage.kube.list(JOBS, label_selector=SCALED_JOB_LABEL)
    return [job for job in jobs if has_condition(job, "Failed") and _is_misled(job)]


def mark_as_hook(stage: Stage) -> None:
    """Let every ScaledJob be a hook of Argo CD, as the public chart has it: a sync would recreate it."""
    _annotate(stage, "PostSync")


def mark_as_none(stage: Stage) -> None:
    """Take the mark away."""
    _annotate(stage, None)


def _annotate(stage: Stage, value: str | None) -> None:
    for instrument in stage.environment.instruments:
        stage.kube.patch(
            SCALED_JOBS, instrument.scaled_job, instrument.namespace, {"metadata": {"annotations": {HOOK: value}}}
        )


FAULTS: tuple[Fault, ...] = (
    Fault(
        "keda/jobs-without-generation",
        "F3",
        "running Jobs lack their generation",
        strip_generation,
        scaled_jobs.annotate,
        {"keda/jobs-carry-their-generation": "warn"},
        "at risk",
    ),
    Fault(
        "keda/jobs-without-label",
        "F26",
        "running Jobs lack the label by which KEDA counts them",
        strip_label,
        put_label,
        {"keda/jobs-are-counted": "warn"},
        "are not counted",
    ),
    Fault(
        "keda/jobs-limited",
        "",
        "running Jobs are ended after a day",
        limit,
        scaled_jobs.lift_limits,
        {"keda/no-job-has-a-limit": "fail"},
        "running Jobs have a maximum run time",
    ),
    Fault(
        "keda/jobs-fail",
        "F17",
        "new workers ask for a consumer group that is not there, and fail",
        let_workers_fail,
        let_workers_work,
        {"keda/jobs-do-not-fail": "warn", "keda/specs-linted": "fail", "keda/specs-as-wanted": "warn"},
        "BackoffLimitExceeded",
        runbook="scaled-job-wrong",
        stops_scaling=True,
    ),
    Fault(
        "keda/hook",
        "F6",
        "the ScaledJob is a hook of Argo CD, and Jobs of it run",
        mark_as_hook,
        mark_as_none,
        {"keda/rollout-keeps-jobs": "warn"},
        "so a sync deletes its",
    ),
)
