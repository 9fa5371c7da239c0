"""What a ScaledJob's spec says that keeps workers from coming, shortens their work, or hides that they fail.

Every rule is one that the API server and KEDA accept silently. What has a check of its own stands there: the run time,
the history limits, the triggers, the sizes that the environment names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prompt_keda.clients.kube.objects import Object
from prompt_keda.components.scaled_jobs.objects import BUILT_IN_CONTROLLER, setting

BUILT_IN_SCHEDULER = "default-scheduler"
SHORT_TTL_S, SHORT_GRACE_S = 600, 30
UNSET_POLICY = "OnFailure"
"""What KEDA 2.16.1 writes into a Job where the ScaledJob names no restartPolicy (pkg/scaling/executor/scale_jobs.go)."""
DEDUCTION = "customScalingQueueLengthDeduction"
HOST = ("hostNetwork", "hostPID", "hostIPC")


def stops(spec: Object) -> Iterator[str]:
    """Yield why no worker comes or begins, in words.

    Parameters
    ----------
    spec
        Of a ScaledJob.
    """
    target, pod = _parts(spec)
    if target.get("suspend") is True:
        yield "jobTargetRef.suspend is true: every Job is born suspended, and has no pod"
    if target.get("parallelism") == 0:
        yield "jobTargetRef.parallelism is 0: its Jobs make no pod"
    if target.get("completions") == 0:
        yield "jobTargetRef.completions is 0: its Jobs are complete before a pod is made"
    if target.get("managedBy", BUILT_IN_CONTROLLER) != BUILT_IN_CONTROLLER:
        yield "jobTargetRef.managedBy names another controller than the cluster's: that one has to make the pods"
    if setting(spec, "maxReplicaCount") < 1:
        yield f"maxReplicaCount is {spec['maxReplicaCount']}: no Job is ever made"
    strategy = spec.get("scalingStrategy") or {}
    if _is_custom(strategy) and strategy.get(DEDUCTION) is None:
        yield f"scalingStrategy is custom without {DEDUCTION}: KEDA's operator crashes at that, for all ScaledJobs"
    if pod.get("schedulingGates"):
        yield "its pods have schedulingGates: they wait until somebody opens them"
    if pod.get("restartPolicy", UNSET_POLICY) not in ("Never", "OnFailure"):
        yield "restartPolicy is neither Never nor OnFailure: the API server takes no such Job"


def misreads(spec: Object, wanted: Mapping[str, str]) -> Iterator[str]:
    """Yield what workers read that is not what KEDA scales on.

    Parameters
    ----------
    wanted
        Name of a variable → the value that the environment's instrument has for it.
    """
    _, pod = _parts(spec)
    for container in pod.get("containers") or []:
        for variable in container.get("env") or []:
            name, value = variable.get("name"), variable.get("value")
            if name in wanted and value is not None and value != wanted[name]:
                yield f"{container.get('name')}: {name} is {value}, and the instrument's is {wanted[name]}"


def oddities(spec: Object) -> Iterator[str]:
    """Yield what changes how many workers come, how long they live, what they may reach, or who sees them fail."""
    target, pod = _parts(spec)
    for field in ("parallelism", "completions"):
        if (target.get(field) or 1) > 1:
            yield f"jobTargetRef.{field} is {target[field]}: each Job is several pods, and KEDA counts Jobs"
    if setting(spec, "minReplicaCount") > setting(spec, "maxReplicaCount"):
        yield "minReplicaCount is more than maxReplicaCount"
    yield from _of_strategy(spec.get("scalingStrategy") or {})
    ttl = target.get("ttlSecondsAfterFinished")
    if ttl is not None and ttl < SHORT_TTL_S:
        yield f"ttlSecondsAfterFinished is {ttl}: a Job that failed is gone before anybody sees why"
    for field in ("podFailurePolicy", "successPolicy"):
        if target.get(field):
            yield f"jobTargetRef.{field} decides which failures are reported"
    if pod and pod.get("restartPolicy", UNSET_POLICY) == "OnFailure":
        policy = "OnFailure" if "restartPolicy" in pod else "not set, which KEDA takes for OnFailure"
        yield f"restartPolicy is {policy}: a worker that fails begins again in its pod, and no Job shows it"
    grace = pod.get("terminationGracePeriodSeconds")
    if grace is not None and grace < SHORT_GRACE_S:
        yield f"terminationGracePeriodSeconds is {grace}: a worker that has to go cannot finish its visit"
    if pod.get("schedulerName", BUILT_IN_SCHEDULER) != BUILT_IN_SCHEDULER:
        yield "schedulerName is another one: without that scheduler no pod gets a node"
    if pod.get("nodeName"):
        yield "nodeName is set: all workers go to one node, whatever room it has"
    yield from _of_the_host(pod)


def _of_strategy(strategy: Object) -> Iterator[str]:
    name = strategy.get("strategy", "default")
    if name not in ("accurate", "eager") and not _is_custom(strategy):
        lacks = " without a number in customScalingRunningJobPercentage" if name == "custom" else ""
        text = name if name == "default" else f"{name}{lacks}, which KEDA takes for default"
        yield f"scalingStrategy is {text}: each Job that runs takes one off the lag, so too few come (eager does not)"
    if _is_custom(strategy) and strategy.get(DEDUCTION):
        yield f"{DEDUCTION} is {strategy[DEDUCTION]}: so many events get no worker"


def _is_custom(strategy: Object) -> bool:
    """Whether KEDA takes the strategy custom: without a number it falls back to default (2.16.1, NewScalingStrategy)."""
    try:
        float(strategy.get("customScalingRunningJobPercentage") or "")
    except ValueError:
        return False
    return strategy.get("strategy") == "custom"


def _of_the_host(pod: Object) -> Iterator[str]:
    reached = [field for field in HOST if pod.get(field)]
    reached += ["hostPath" for volume in pod.get("volumes") or [] if volume.get("hostPath")]
    containers = [*(pod.get("initContainers") or []), *(pod.get("containers") or [])]
    reached += ["privileged" for container in containers if (container.get("securityContext") or {}).get("privileged")]
    if reached:
        yield f"workers reach into their node: {', '.join(dict.fromkeys(reached))}"


def _parts(spec: Object) -> tuple[Object, Object]:
    target = spec.get("jobTargetRef") or {}
    return target, (target.get("template") or {}).get("spec") or {}
