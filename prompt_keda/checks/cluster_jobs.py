"""Jobs that nobody makes a pod for: a Job controller that stands still, or whose pods are refused (failure mode F30)."""

from __future__ import annotations

from typing import Any

from prompt_keda.checks.cluster_pods import PATIENCE
from prompt_keda.checks.outcomes import all_of, fail, ok
from prompt_keda.checks.server_clock import age
from prompt_keda.clients.kube_resources import JOBS
from prompt_keda.clients.systems import Systems
from prompt_keda.model.check import Outcome
from prompt_keda.model.job_object import is_finished

Object = dict[str, Any]
COUNTS = ("active", "succeeded", "failed", "terminating")
"""Fields of a Job's status, each a number of pods (Kubernetes, batch/v1 JobStatus); absent is 0."""


def jobs_get_pods(systems: Systems) -> Outcome:
    """Is there a Job of an instrument that for half a minute has had no pod at all, though none keeps it from one?"""
    spaces = sorted({one.namespace for one in systems.environment.instruments})
    seen = [(space, list(systems.kube.each(JOBS, space))) for space in spaces]
    count = sum(len(found) for _, found in seen)
    return all_of(seen, lambda found: _look(systems, found), f"{count} Jobs, none waits for its pod")


def _look(systems: Systems, found: list[Object]) -> Outcome:
    waiting = [one for one in found if _waits(systems, one)]
    if not waiting:
        return ok("none waits")
    oldest = min(waiting, key=lambda one: str(one["metadata"]["creationTimestamp"]))
    metadata = oldest["metadata"]
    name, since = f"{metadata['namespace']}/{metadata['name']}", age(systems, metadata["creationTimestamp"])
    others = f", nor have {len(waiting) - 1} more" if len(waiting) > 1 else ""
    said = f"Job {name} is there for {since.total_seconds():.0f} s and has no pod{others}"
    if "startTime" not in oldest.get("status", {}):
        fix = "Look at the controller manager; in a vCluster, at its control plane: the API server alone answers."
        return fail(f"{said}. No controller has looked at it: controller manager suspect", fix)
    fix = f"Its events say what refuses its pods: kubectl -n {metadata['namespace']} describe job {metadata['name']}"
    return fail(f"{said}. Its pods are refused, or go at once", fix)


def _waits(systems: Systems, job: Object) -> bool:
    status, metadata = job.get("status", {}), job["metadata"]
    is_over = is_finished(job) or "deletionTimestamp" in metadata
    if is_over or job.get("spec", {}).get("suspend") or any(status.get(one) for one in COUNTS):
        return False
    return age(systems, status.get("startTime") or metadata["creationTimestamp"]) > PATIENCE
