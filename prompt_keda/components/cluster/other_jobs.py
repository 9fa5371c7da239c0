"""Jobs and CronJobs beside the workers: the public chart has an init Job and a CronJob, and workers need what they make."""

from __future__ import annotations

from collections.abc import Iterator

from prompt_keda.clients.kube.conditions import conditions
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import CRON_JOBS, JOBS
from prompt_keda.clients.systems import Systems
from prompt_keda.components.scaled_jobs.objects import SCALED_JOB_LABEL
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.outcomes import all_of, ok, warn


@check(
    "cluster/other-jobs-succeed",
    "The Jobs and CronJobs beside the workers do their work",
    needs=("cluster/api-answers",),
    runbook="workers-fail",
)
def other_jobs_succeed(systems: Systems) -> Outcome:
    """Look at the Jobs in the instruments' namespaces that no ScaledJob has made, and at the CronJobs there. Of a
    CronJob's Jobs the newest counts.

    Cause: WARN: such a Job has failed, as the chart's init Job, which prepares what workers need; or a CronJob is
    suspended, so that what it makes grows old.

    Fix: `kubectl -n NAMESPACE logs job/NAME`; then let it be recreated, and resume the CronJob.
    """
    spaces = sorted({instrument.namespace for instrument in systems.environment.instruments})

    def look(space: str) -> Outcome:
        problems = [*_failed(systems, space), *_suspended(systems, space)]
        if not problems:
            return ok(space)
        fix = f"What they say: kubectl -n {space} logs job/NAME. Then let it be recreated, and resume the CronJob."
        return warn(f"{space}: {'; '.join(problems)}", fix)

    return all_of(((space, space) for space in spaces), look, "none has failed, none is suspended")


def _failed(systems: Systems, space: str) -> Iterator[str]:
    newest: dict[str, Object] = {}
    for job in systems.kube.each(JOBS, space):
        if SCALED_JOB_LABEL not in (job["metadata"].get("labels") or {}) and not _is_of_scaled_job(job):
            key = _cron_job(job) or job["metadata"]["uid"]
            if key not in newest or _made(newest[key]) < _made(job):
                newest[key] = job
    for job in newest.values():
        failed = conditions(job).get("Failed", {})
        if failed.get("status") == "True":
            why = f"{failed.get('reason', 'no reason')}, {failed.get('message', 'no message')}"
            yield f"Job {job['metadata']['name']} has failed ({why})"


def _suspended(systems: Systems, space: str) -> Iterator[str]:
    for cron_job in systems.kube.each(CRON_JOBS, space):
        if (cron_job.get("spec") or {}).get("suspend"):
            yield f"CronJob {cron_job['metadata']['name']} is suspended"


def _is_of_scaled_job(job: Object) -> bool:
    return any(owner["kind"] == "ScaledJob" for owner in job["metadata"].get("ownerReferences") or [])


def _cron_job(job: Object) -> str:
    """Return the UID of the CronJob that has made a Job; empty if none has."""
    owners = job["metadata"].get("ownerReferences") or []
    return next((str(owner["uid"]) for owner in owners if owner["kind"] == "CronJob"), "")


def _made(job: Object) -> str:
    return str(job["metadata"]["creationTimestamp"])
