"""What the objects of Jobs and ScaledJobs say of themselves."""

from __future__ import annotations

from typing import Any

from prompt_keda.clients.kube.conditions import has_condition
from prompt_keda.clients.kube.objects import Object

SCALED_JOB_LABEL = "scaledjob.keda.sh/name"
"""On each Job that KEDA has made: which ScaledJob it belongs to. KEDA counts by it."""
GENERATION = "scaledjob.keda.sh/generation"
"""The annotation that KEDA's rollout compares."""
PAUSED = "autoscaling.keda.sh/paused"
BUILT_IN_CONTROLLER = "kubernetes.io/job-controller"
"""The value of a Job's ``spec.managedBy`` for Kubernetes' own controller, as if there were none."""
DEFAULTS = {"minReplicaCount": 0, "maxReplicaCount": 100, "pollingInterval": 30}
"""What KEDA takes where a ScaledJob says nothing (2.16.1, apis/keda/v1alpha1, scaledjob_types.go, withtriggers_types.go)."""
NOT_PAUSED = ("0", "f", "F", "false", "False", "FALSE")
"""What Go's strconv.ParseBool takes for false; anything else pauses."""


def setting(spec: Object, key: str) -> Any:
    """Return one of a ScaledJob's `DEFAULTS`, as its spec has it, or else KEDA."""
    return spec.get(key, DEFAULTS[key])


def is_finished(job: Object) -> bool:
    """Return whether a Job is Complete or Failed."""
    return has_condition(job, "Complete", "Failed")


def is_suspended(job: Object) -> bool:
    """Return whether a Job is suspended: it has no pod and gets none, though it is not finished and KEDA counts it."""
    return bool((job.get("spec") or {}).get("suspend"))


def is_running(job: Object) -> bool:
    """Return whether a Job is at work or may be soon: neither finished nor suspended."""
    return not is_finished(job) and not is_suspended(job)


def keeps_older_jobs(spec: Object) -> bool:
    """Return whether KEDA leaves Jobs of another generation alone under this ScaledJob's spec.

    The deprecated ``rolloutStrategy`` wins over ``rollout.strategy`` where it is set (KEDA 2.16.1,
    scaledjob_controller.go, deletePreviousVersionScaleJobs).
    """
    strategy = spec.get("rolloutStrategy") or (spec.get("rollout") or {}).get("strategy")
    return bool(strategy == "gradual")


def is_paused(scaled_job: Object) -> bool:
    """Return whether KEDA is to leave a ScaledJob and its Jobs alone (KEDA 2.16.1, scaledjob_controller.go, checkIfPaused).

    A value that is no truth value pauses too. ``autoscaling.keda.sh/paused-replicas`` is read in ScaledObjects only.
    """
    value = (scaled_job["metadata"].get("annotations") or {}).get(PAUSED)
    return value is not None and value not in NOT_PAUSED


def is_taken_for_paused(scaled_job: Object) -> bool:
    """Return whether KEDA's status says that a ScaledJob is paused, which it is not."""
    return not is_paused(scaled_job) and has_condition(scaled_job, "Paused")


def limit_of_pod(spec: Object) -> int | None:
    """Return the maximum run time that a Job's spec, or a ScaledJob's jobTargetRef, gives its pods; None if none."""
    limit_s: int | None = ((spec.get("template") or {}).get("spec") or {}).get("activeDeadlineSeconds")
    return limit_s
