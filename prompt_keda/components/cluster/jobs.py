"""Jobs that nobody makes a pod for: a Job controller that stands still (failure mode F30), or pods that are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from prompt_keda.clients.kube.conditions import conditions
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import JOBS
from prompt_keda.clients.systems import Systems
from prompt_keda.components.cluster.clock import age
from prompt_keda.components.cluster.pods import PATIENCE
from prompt_keda.components.scaled_jobs.objects import BUILT_IN_CONTROLLER, is_finished
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.outcomes import all_of, fail, ok, warn

COUNTS = ("active", "succeeded", "failed", "terminating")
"""Fields of a Job's status, each a number of pods (Kubernetes, batch/v1 JobStatus); missing is 0."""


@check(
    "cluster/jobs-reconciled",
    "The Job controller takes up every Job",
    needs=("cluster/api-answers",),
    runbook="cluster-degraded",
)
def jobs_reconciled(systems: Systems) -> Outcome:
    """Look for Jobs of the instruments that for 30 s no controller has looked at: they have no start time. Left out
    are suspended ones, those that want no pod, and those of another controller (`managedBy`).

    Cause: FAIL: the controller manager stands still, though the API server answers (F30): KEDA makes Jobs, and
    nothing runs. WARN: it takes up others, and is behind, as in a burst of hundreds.

    Fix: The result names the oldest such Job.
    """

    def look(space: str) -> Outcome:
        unfinished = list(_unfinished(systems, space))
        late = [job for job in unfinished if not _began(job) and _waits(systems, job) > PATIENCE]
        if not late:
            return ok(f"{len(unfinished)} Jobs")
        message = f"{_describe(systems, late)}, and no controller has looked at it"
        if any(_began(job) and _waits(systems, job) <= PATIENCE for job in unfinished):
            return warn(f"{message}: it takes up others, and is behind", "Wait: a burst of hundreds takes it a minute.")
        fix = "Look at the controller manager; in a vCluster, at its control plane: the API server alone answers."
        return fail(f"{message}: controller manager suspect", fix)

    return _of_each_namespace(systems, look, "all Jobs are taken up")


@check("capacity/pods-admitted", "No Job's pods are refused", needs=("capacity/quota-allows",), runbook="no-room")
def pods_admitted(systems: Systems) -> Outcome:
    """Look for Jobs of the instruments that were taken up, and for 30 s have had no pod at all.

    Cause: Pod Security, an admission webhook or a policy refuses the pods, or something deletes them at once. Where
    a quota keeps them out, capacity/quota-allows says so, and this is SKIPPED.

    Fix: The result names the oldest such Job: its events say who refuses.
    """

    def look(space: str) -> Outcome:
        unfinished = list(_unfinished(systems, space))
        late = [job for job in unfinished if _began(job) and not _has_pods(job) and _waits(systems, job) > PATIENCE]
        if not late:
            return ok(f"{len(unfinished)} Jobs")
        name = _oldest(systems, late)["metadata"]["name"]
        fix = f"Its events say what refuses its pods: kubectl -n {space} describe job {name}"
        return fail(f"{_describe(systems, late)}: its pods are refused, or go at once", fix)

    return _of_each_namespace(systems, look, "every Job that was taken up has or had a pod")


def _of_each_namespace(systems: Systems, look: Callable[[str], Outcome], good: str) -> Outcome:
    spaces = sorted({instrument.namespace for instrument in systems.environment.instruments})
    return all_of(((space, space) for space in spaces), look, good)


def _unfinished(systems: Systems, space: str) -> Iterator[Object]:
    """Yield the Jobs that want a pod of Kubernetes' own controller."""
    for job in systems.kube.each(JOBS, space):
        spec = job.get("spec", {})
        is_over = is_finished(job) or "deletionTimestamp" in job["metadata"]
        is_idle = spec.get("suspend") or spec.get("parallelism") == 0
        if not is_over and not is_idle and spec.get("managedBy", BUILT_IN_CONTROLLER) == BUILT_IN_CONTROLLER:
            yield job


def _began(job: Object) -> bool:
    return "startTime" in job.get("status", {})


def _has_pods(job: Object) -> bool:
    """Return whether it has or had pods; those that have just ended are not yet counted."""
    status = job.get("status", {})
    uncounted = status.get("uncountedTerminatedPods") or {}
    return any(status.get(key) for key in COUNTS) or any(uncounted.values())


def _waits(systems: Systems, job: Object) -> timedelta:
    """Return how long it may have had a pod: since it was made, taken up, or resumed."""
    resumed = conditions(job).get("Suspended", {}).get("lastTransitionTime")
    stamps = (job["metadata"]["creationTimestamp"], job.get("status", {}).get("startTime"), resumed)
    return min(age(systems, stamp) for stamp in stamps if stamp)


def _oldest(systems: Systems, late: list[Object]) -> Object:
    return max(late, key=lambda job: _waits(systems, job))


def _describe(systems: Systems, late: list[Object]) -> str:
    first = _oldest(systems, late)
    others = f", nor have {len(late) - 1} more" if len(late) > 1 else ""
    metadata, waited = first["metadata"], _waits(systems, first).total_seconds()
    return f"Job {metadata['namespace']}/{metadata['name']} has had no pod for {waited:.0f} s{others}"
