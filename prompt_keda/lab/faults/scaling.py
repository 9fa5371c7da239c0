"""Faults that cut the chain from an event to a Job that ended well, by causes that few checks know.

None ends a running Job. Each waits until too few workers have run for a while: the symptom is red then.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from prompt_keda.clients.kube.conditions import has_condition
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import CLAIMS, JOBS, PODS, RESOURCE_QUOTAS, SCALED_JOBS, Resource
from prompt_keda.components.scaled_jobs import running_jobs
from prompt_keda.components.scaling.chain import MANY
from prompt_keda.core.waiting import until
from prompt_keda.lab.faults import scaled_jobs
from prompt_keda.lab.faults.fault import Fault, FaultAction, InChaos, Stage
from prompt_keda.lab.node import PAUSE_IMAGE

ADMISSION = "admissionregistration.k8s.io/v1"
POLICIES = Resource(ADMISSION, "ValidatingAdmissionPolicy", "validatingadmissionpolicies", False)
BINDINGS = Resource(ADMISSION, "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", False)
POLICY, NOBODY, ROUNDS = "no-jobs", "nobody", "WORKER_RESTART_FREQ"
MARK, MARK_NAME = "prompt-keda.test/of-a-fault", "of-a-fault"
"""On the Jobs of a fault, and the name of what it makes."""
END_S = 180
"""Idle workers end after 30 s; those that take events after ten of them."""
CUT_S = 35
"""Some polls, and what the start of a worker may take: the checks of pods and Jobs wait for 30 s."""
LASTS_S = 10
"""Who runs for longer is a worker that stays. On a busy machine the kubelet reports an end some seconds later."""
_ACKNOWLEDGE = """
for _, pending in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1000)) do
  redis.call('XACK', KEYS[1], ARGV[1], pending[1])
end
return 1
"""


def deny_jobs(stage: Stage) -> None:
    """Let an admission policy refuse every new Job of the instruments."""
    deny(stage, "batch", "jobs")


def deny(stage: Stage, group: str, resource: str) -> None:
    """Let an admission policy deny that a resource is made in the instruments' namespaces."""
    spaces = sorted({instrument.namespace for instrument in stage.environment.instruments})
    rule = {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]}
    expression = f"!(request.namespace in {spaces!r})"
    spec: Object = {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [rule]}}
    spec["validations"] = [{"expression": expression, "message": "Jobs need a label"}]
    stage.kube.apply(_object(POLICIES, spec))
    stage.kube.apply(_object(BINDINGS, {"policyName": POLICY, "validationActions": ["Deny"]}))


def _object(resource: Resource, spec: Object) -> Object:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": POLICY},
        "spec": spec,
    }


def remove_policy(stage: Stage) -> None:
    """Delete the policy. Idempotent: yes."""
    stage.kube.delete(BINDINGS, POLICY)
    stage.kube.delete(POLICIES, POLICY)


def delete_stuck_jobs(stage: Stage, mark: str = "") -> None:
    """Delete the Jobs none of whose pods has begun to run, as people would: KEDA counts them as running.

    Parameters
    ----------
    mark
        Only those whose pods have this label; empty: all.
    """
    jobs = running_jobs.active_jobs(stage.kube)
    ran = {
        owner["uid"]
        for pod in stage.kube.list(PODS)
        if (pod.get("status") or {}).get("phase") != "Pending"
        for owner in pod["metadata"].get("ownerReferences") or []
    }
    for job in jobs:
        labels = job["spec"]["template"]["metadata"].get("labels") or {}
        if job["metadata"]["uid"] not in ran and (not mark or mark in labels):
            stage.kube.delete(JOBS, job["metadata"]["name"], job["metadata"]["namespace"])


def until_cut(stage: Stage) -> None:
    """Wait until fewer workers than the minimum have run for a while."""
    since = [time.monotonic()]

    def is_cut() -> bool:
        if _is_at_work(stage):
            since[0] = time.monotonic()
        return time.monotonic() - since[0] > CUT_S

    until(is_cut, "workers that end, and none that follow", END_S)


def until_at_work(stage: Stage) -> None:
    """Wait until the minimum of workers runs."""
    until(lambda: _is_at_work(stage), "workers that run")


def and_cut(act: FaultAction) -> FaultAction:
    """Return an act that also waits until workers lack."""

    def cut(stage: Stage) -> None:
        act(stage)
        until_cut(stage)

    return cut


def and_at_work(act: FaultAction) -> FaultAction:
    """Return an act that also waits until workers run again."""

    def restore(stage: Stage) -> None:
        act(stage)
        until_at_work(stage)

    return restore


def _is_at_work(stage: Stage) -> bool:
    return all(
        _running_count(stage, instrument.namespace) >= instrument.min_jobs
        for instrument in stage.environment.instruments
    )


def _running_count(stage: Stage, namespace: str) -> int:
    """Count the pods whose container runs, and has done so for more than a moment."""
    statuses = [pod["status"].get("containerStatuses") or [{}] for pod in stage.kube.list(PODS, namespace)]
    starts = [
        status["state"]["running"]["startedAt"] for status, *_ in statuses if "running" in status.get("state", {})
    ]
    now = datetime.now(UTC)
    return sum((now - datetime.fromisoformat(start)).total_seconds() > LASTS_S for start in starts)


def edit_workers(stage: Stage, *, pod: Object | None = None, job: Object | None = None) -> None:
    """Change what new workers are, by their pod's or their Job's spec, and wait until the old ones have ended."""
    template = {"metadata": {"labels": {MARK: "true"}}, "spec": pod or {}}
    scaled_jobs.edit(stage, lambda spec: {"jobTargetRef": {**(job or {}), "template": template}})
    scaled_jobs.unpause(stage)


def restore_workers(stage: Stage, *, pod: Object | None = None, job: Object | None = None) -> None:
    """Take the fields away that no manifest has, and the Jobs of the fault that cannot run; wait for workers.

    Parameters
    ----------
    pod, job
        Fields of the pod's and of the Job's spec; None as a value takes one away.
    """
    template = {"metadata": {"labels": {MARK: None}}, "spec": pod or {}}
    scaled_jobs.edit(stage, lambda spec: {"jobTargetRef": {**(job or {}), "template": template}})
    delete_stuck_jobs(stage, MARK)
    scaled_jobs.restore(stage)
    until_at_work(stage)


def want_other_scheduler(stage: Stage) -> None:
    """Let new workers ask for a scheduler that nobody runs."""
    edit_workers(stage, pod={"schedulerName": NOBODY})
    until_cut(stage)


def want_own_scheduler(stage: Stage) -> None:
    """Let them ask for none."""
    restore_workers(stage, pod={"schedulerName": None})


def want_priority(stage: Stage) -> None:
    """Let new workers name a priority class that is gone: the API server refuses their pods."""
    edit_workers(stage, pod={"priorityClassName": NOBODY})
    until_cut(stage)


def want_no_priority(stage: Stage) -> None:
    """Let them name none."""
    restore_workers(stage, pod={"priorityClassName": None})


def mount_nothing(stage: Stage) -> None:
    """Let new workers mount a ConfigMap that is missing."""
    _add_volume(stage, {"configMap": {"name": NOBODY}})


def mount_unbound(stage: Stage) -> None:
    """Let new workers mount a claim of a storage class that nobody serves."""
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": NOBODY,
        "resources": {"requests": {"storage": "1Mi"}},
    }
    for instrument in stage.environment.instruments:
        metadata = {"name": MARK_NAME, "namespace": instrument.namespace}
        stage.kube.apply({"apiVersion": "v1", "kind": CLAIMS.kind, "metadata": metadata, "spec": spec})
    _add_volume(stage, {"persistentVolumeClaim": {"claimName": MARK_NAME}})


def _add_volume(stage: Stage, source: Object) -> None:
    mount = {"name": MARK_NAME, "mountPath": f"/{MARK_NAME}"}  # the kubelet leaves a volume alone that nobody mounts
    pod = _own_pod(stage)
    containers = [{**container, "volumeMounts": [*container["volumeMounts"], mount]} for container in pod["containers"]]
    volumes = [*pod["volumes"], {"name": MARK_NAME, **source}]
    edit_workers(stage, pod={"volumes": volumes, "containers": containers})
    until_cut(stage)


def unmount(stage: Stage) -> None:
    """Take that volume away, and its claim."""
    restore_workers(stage, pod=_own_pod(stage))
    for instrument in stage.environment.instruments:
        stage.kube.delete(CLAIMS, MARK_NAME, instrument.namespace)


def _own_pod(stage: Stage) -> Object:
    """Return the volumes and containers that workers have without the fault; on the local stack all have the same."""
    (instrument, *_) = stage.environment.instruments
    live = stage.kube.get(SCALED_JOBS, instrument.scaled_job, instrument.namespace)
    pod = live["spec"]["jobTargetRef"]["template"]["spec"]
    return {
        "volumes": _without_mark(pod.get("volumes")),
        "containers": [
            {**container, "volumeMounts": _without_mark(container.get("volumeMounts"))}
            for container in pod["containers"]
        ],
    }


def _without_mark(named: list[Object] | None) -> list[Object]:
    return [mount for mount in named or [] if mount["name"] != MARK_NAME]


def suspend(stage: Stage) -> None:
    """Let every new Job be born suspended: it gets no pod, and KEDA counts it."""
    edit_workers(stage, job={"suspend": True})
    until_cut(stage)


def resume(stage: Stage) -> None:
    """Let new Jobs run again; those that never did are deleted."""
    restore_workers(stage, job={"suspend": None})


def end_at_once(stage: Stage) -> None:
    """Let new workers end as soon as they begin, and well: they want no round of events."""
    (instrument, *_) = stage.environment.instruments
    live = stage.kube.get(SCALED_JOBS, instrument.scaled_job, instrument.namespace)
    containers = live["spec"]["jobTargetRef"]["template"]["spec"]["containers"]
    edit_workers(stage, pod={"containers": [_without_rounds(container) for container in containers]})
    until_cut(stage)


def _without_rounds(container: Object) -> Object:
    env = [
        {**variable, "value": "0"} if variable["name"] == ROUNDS else variable
        for variable in container.get("env") or []
    ]
    return {**container, "env": env}


def work_on(stage: Stage) -> None:
    """Let them take events again."""
    restore_workers(stage)


def count_jobs(stage: Stage) -> None:
    """Let a ResourceQuota count Jobs, of which more than enough are kept: no new one is let in."""
    for instrument in stage.environment.instruments:
        metadata = {"namespace": instrument.namespace, "name": MARK_NAME}
        spec = {"hard": {"count/jobs.batch": "1"}}
        stage.kube.apply({"apiVersion": "v1", "kind": RESOURCE_QUOTAS.kind, "metadata": metadata, "spec": spec})


def count_no_jobs(stage: Stage) -> None:
    """Take the quota away."""
    for instrument in stage.environment.instruments:
        stage.kube.delete(RESOURCE_QUOTAS, MARK_NAME, instrument.namespace)


def deny_acknowledging(stage: Stage) -> None:
    """Deny XACK to the workers' login, and let them read three events: none is acknowledged for more than a minute."""
    stage.redis.run(("ACL", "SETUSER", "default", "-xack"))
    for instrument in stage.environment.instruments:
        if _unacknowledged_count(stage) < MANY:
            stage.redis.add(instrument.stream, [{"visit": MARK_NAME}] * MANY)
    until(lambda: _unacknowledged_count(stage) >= MANY, "events that nobody acknowledges", 2 * END_S)


def _unacknowledged_count(stage: Stage) -> int:
    pairs = [(instrument.stream, instrument.consumer_group) for instrument in stage.environment.instruments]
    redis_state = stage.redis.observe(pairs)
    return min(redis_state.old_pending(*pair).count for pair in pairs)


def allow_acknowledging(stage: Stage) -> None:
    """Allow it again, and acknowledge what workers have read meanwhile, as whoever has worked it off by hand does."""
    stage.redis.run(("ACL", "SETUSER", "default", "+xack"))
    for instrument in stage.environment.instruments:
        stage.redis.run(("EVAL", _ACKNOWLEDGE, 1, instrument.stream, instrument.consumer_group))


def fail_beside(stage: Stage) -> None:
    """Let a Job beside the workers fail, as the public chart's init Job may."""
    for instrument in stage.environment.instruments:
        container = {"name": "init", "image": PAUSE_IMAGE, "imagePullPolicy": "Never", "command": ["/no-such-program"]}
        pod = {"restartPolicy": "Never", "containers": [container]}
        metadata = {"namespace": instrument.namespace, "name": MARK_NAME}
        spec = {"backoffLimit": 0, "activeDeadlineSeconds": 5, "template": {"spec": pod}}
        if stage.kube.find(JOBS, MARK_NAME, instrument.namespace) is None:
            job = {"apiVersion": JOBS.api_version, "kind": JOBS.kind, "metadata": metadata, "spec": spec}
            stage.kube.create(JOBS, job, instrument.namespace)
        until(
            lambda place=instrument.namespace: has_condition(stage.kube.get(JOBS, MARK_NAME, place), "Failed"),  # type: ignore[misc]
            "a Job that failed",
        )


def take_beside_away(stage: Stage) -> None:
    """Delete it."""
    for instrument in stage.environment.instruments:
        stage.kube.delete(JOBS, MARK_NAME, instrument.namespace)


FAULTS: tuple[Fault, ...] = (
    Fault(
        "scaling/jobs-refused",
        "",
        "an admission policy refuses KEDA's Jobs",
        and_cut(deny_jobs),
        and_at_work(remove_policy),
        {"scaling/works": "fail"},
        "no Job was made",
        stops_scaling=True,
        chaos=InChaos(is_repaired=False, writes=POLICY, inject=deny_jobs, revert=remove_policy),
    ),
    Fault(
        "scaling/jobs-suspended",
        "",
        "the ScaledJob's Jobs are born suspended, and KEDA counts them",
        suspend,
        resume,
        {"scaling/works": "fail", "keda/specs-as-wanted": "fail", "keda/specs-linted": "fail"},
        "Jobs are suspended",
        runbook="scaled-job-wrong",
        stops_scaling=True,
    ),
    Fault(
        "scaling/jobs-counted",
        "",
        "a ResourceQuota counts Jobs, and lets no new one in",
        and_cut(count_jobs),
        and_at_work(count_no_jobs),
        {"capacity/quota-allows": "fail", "scaling/works": "fail"},
        "(count/jobs.batch), one visit wants 2",
        stops_scaling=True,
        chaos=InChaos(is_repaired=False, inject=count_jobs, revert=count_no_jobs),
    ),
    Fault(
        "scaling/no-scheduler",
        "",
        "new workers ask for a scheduler that nobody runs",
        want_other_scheduler,
        want_own_scheduler,
        {
            "cluster/pods-start": "fail",
            "scaling/works": "fail",
            "keda/specs-as-wanted": "fail",
            "keda/specs-linted": "warn",
        },
        "has neither a node nor a word of the scheduler",
        stops_scaling=True,
    ),
    Fault(
        "scaling/no-priority-class",
        "",
        "new workers name a priority class that is gone",
        want_priority,
        want_no_priority,
        {"capacity/pods-admitted": "fail", "scaling/works": "fail", "keda/specs-as-wanted": "fail"},
        "its pods are refused, or go at once",
        runbook="scaled-job-wrong",
        stops_scaling=True,
    ),
    Fault(
        "scaling/no-config-map",
        "",
        "new workers mount a ConfigMap that is not there",
        mount_nothing,
        unmount,
        {"cluster/pods-start": "fail", "scaling/works": "fail", "keda/specs-as-wanted": "warn"},
        "and no container has begun: FailedMount",
        stops_scaling=True,
    ),
    Fault(
        "scaling/claim-unbound",
        "",
        "new workers mount a claim that no volume answers",
        mount_unbound,
        unmount,
        {"cluster/pods-start": "fail", "scaling/works": "fail", "keda/specs-as-wanted": "warn"},
        "PersistentVolumeClaim",
        stops_scaling=True,
    ),
    Fault(
        "scaling/workers-end-at-once",
        "",
        "new workers end well as soon as they begin",
        end_at_once,
        work_on,
        {"scaling/works": "fail", "keda/specs-as-wanted": "warn"},
        "workers of the last minute ended at once",
        stops_scaling=True,
    ),
    Fault(
        "scaling/nothing-acknowledged",
        "",
        "workers read events, and may not acknowledge them",
        deny_acknowledging,
        allow_acknowledging,
        {"redis/pending-acknowledged": "warn", "redis/accepts-writes": "fail", "scaling/works": "fail"},
        "events were given out and not acknowledged",
        runbook="redis-gone",
        stops_scaling=True,
    ),
    Fault(
        "cluster/init-job-failed",
        "",
        "a Job beside the workers, such as the chart's init Job, has failed",
        fail_beside,
        take_beside_away,
        {"cluster/other-jobs-succeed": "warn"},
        "has failed (",
    ),
)
