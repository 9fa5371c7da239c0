"""Causes that no check knows: objects of Kubernetes and Redis that stop one link of the chain, made from a seed.

Left out, because they stop nothing on this stack or would not be honest there: a NetworkPolicy (its network enforces none), a
conversion of the CRD (it has one version, which is stored), a clock that jumps (all its processes share this machine's; what a
jump leaves in a stream is in test_scaling_works.py), and a worker that never acknowledges: Redis denies XACK instead, so that
none can.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from prompt_keda.clients.kube.resources import (
    CLUSTER_ROLES,
    JOBS,
    LIMIT_RANGES,
    NAMESPACES,
    NODES,
    PODS,
    RESOURCE_QUOTAS,
    SCALED_JOBS,
    SECRETS,
    Resource,
)
from prompt_keda.components.compare import merge_patch
from prompt_keda.core.errors import ClientError
from prompt_keda.core.waiting import until
from prompt_keda.lab.faults import admission, scaled_jobs

ADMISSION = "admissionregistration.k8s.io/v1"
POLICIES = Resource(ADMISSION, "ValidatingAdmissionPolicy", "validatingadmissionpolicies", False)
BINDINGS = Resource(ADMISSION, "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", False)
MUTATING = Resource(ADMISSION, "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", False)
RUNTIMES = Resource("node.k8s.io/v1", "RuntimeClass", "runtimeclasses", False)
NAME = "unknown-cause"


@dataclass
class Cause:
    """One cause.

    Parameters
    ----------
    words
        What somebody has done.
    inject, revert
        What is given the stage; the second can be called whatever became of the first.
    """

    words: str
    inject: object
    revert: object
    kept: dict = field(default_factory=dict, repr=False)


class Always:
    """Chooses always the same."""

    def __init__(self, choice):
        self.choice = lambda _: choice


def drawn(seed, count):
    """Return so many different kinds of causes, with what else there is to choose drawn as well."""
    chance = random.Random(seed)
    return [make(chance) for make in chance.sample(KINDS, count)]


def _place(stage):
    (instrument,) = stage.environment.instruments
    return instrument.namespace, instrument.scaled_job


def _object(resource, spec=None, namespace=None, **more):
    metadata = {"name": NAME, **({"namespace": namespace} if namespace else {})}
    body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **more}
    return body if spec is None else {**body, "spec": spec}


POD = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "c"}]}
TRIED = {
    "jobs": (JOBS, {"spec": {"template": {"spec": POD}}}),
    "pods": (PODS, {"spec": POD}),
}


def _until_denied(stage, resource):
    """Wait until the API server has taken up what denies: seconds pass until then, in which KEDA makes all its Jobs."""
    until(lambda: _tried(stage, resource) is None, f"{resource} that are denied", 20)


def _tried(stage, resource):
    """Make an object as a dry run, and return it; None: it is denied."""
    space, _ = _place(stage)
    try:
        if resource == "pods/binding":
            pod = next(stage.kube.each(PODS, space))["metadata"]["name"]
            body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": {"name": "nowhere"}}
            return stage.kube.request("POST", f"{PODS.path(space, pod)}/binding", query={"dryRun": "All"}, body=body)
        kind, body = TRIED[resource]
        head = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": NAME, "namespace": space}}
        return stage.kube.create(kind, {**head, **body}, space, dry_run=True)
    except ClientError as error:
        is_taken_up = any(word in error.detail for word in ("is missing", "failed calling webhook", "exceeded quota"))
        return None if is_taken_up else {}


def policy(chance):
    """A ValidatingAdmissionPolicy for what somebody in the chain writes."""
    resource, group = chance.choice([("jobs", "batch"), ("pods", ""), ("pods/binding", "")])
    label = chance.choice(["team", "cost-centre", "owner"])

    def inject(stage):
        space, _ = _place(stage)
        rule = {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]}
        check = {"expression": f"request.namespace != '{space}'", "message": f"label {label} is missing"}
        spec = {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [rule]}, "validations": [check]}
        stage.kube.apply(_object(POLICIES, spec))
        stage.kube.apply(_object(BINDINGS, {"policyName": NAME, "validationActions": ["Deny"]}))
        _until_denied(stage, resource)

    def revert(stage):
        stage.kube.delete(BINDINGS, NAME)
        stage.kube.delete(POLICIES, NAME)

    return Cause(f"a policy denies {resource}", inject, revert)


def dead_webhook(chance):
    """A webhook that nobody serves, and that has to agree to what somebody in the chain makes."""
    resource, group = chance.choice([("jobs", "batch"), ("pods", "")])

    def inject(stage):
        rule = {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]}
        hook = {
            "name": "theirs.prompt-keda.test",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "timeoutSeconds": chance.choice([1, 5]),
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": _place(stage)[0]}},
            "rules": [rule],
            "clientConfig": {"url": f"https://127.0.0.1:{admission.CLOSED_PORT}/"},
        }
        stage.kube.apply(_object(MUTATING, webhooks=[hook]))

    return Cause(
        f"a webhook for {resource} that nobody serves", inject, lambda stage: stage.kube.delete(MUTATING, NAME)
    )


def rewriting_webhook(chance):
    """A webhook that rewrites Jobs, so that their pods come to nothing."""
    pod = "/spec/template/spec"
    words, path, value = chance.choice(
        [
            ("a scheduler that nobody runs", f"{pod}/schedulerName", "theirs"),
            ("nodes that there are not", f"{pod}/nodeSelector", {"pool": "theirs"}),
            ("more than a node has", f"{pod}/containers/0/resources", {"requests": {"cpu": "900"}}),
            ("no pod", "/spec/parallelism", 0),
            ("a suspension", "/spec/suspend", True),
        ]
    )

    def is_rewritten(stage):
        made = _tried(stage, "jobs")
        for step in path.strip("/").split("/"):
            made = (made or [None])[int(step)] if step.isdigit() else (made or {}).get(step)
        return made == value

    def inject(stage):
        admission.start_webhook(stage, [{"op": "add", "path": path, "value": value}])
        until(lambda: is_rewritten(stage), "a Job that is rewritten", 20)

    return Cause(f"a webhook gives Jobs {words}", inject, admission.stop_webhook)


def quota(chance):
    """A ResourceQuota that is used up."""
    hard = chance.choice([{"pods": "1"}, {"requests.cpu": "1m"}, {"limits.memory": "1Mi"}, {"count/jobs.batch": "1"}])
    return _of_namespace(RESOURCE_QUOTAS, f"a quota of {', '.join(hard)}", {"hard": hard})


def limit_range(chance):
    """A LimitRange that no worker keeps."""
    limit = chance.choice(
        [
            {"type": "Container", "max": {"memory": "8Mi"}},
            {"type": "Container", "min": {"cpu": "500m"}},
            {"type": "Container", "maxLimitRequestRatio": {"memory": "2"}},
            {"type": "Pod", "max": {"memory": "8Mi"}},
        ]
    )
    return _of_namespace(LIMIT_RANGES, f"a limit range: {limit}", {"limits": [limit]})


def _of_namespace(resource, words, spec):
    return Cause(
        words,
        lambda stage: stage.kube.apply(_object(resource, spec, _place(stage)[0])),
        lambda stage: stage.kube.delete(resource, NAME, _place(stage)[0]),
    )


def taint(chance):
    """A taint of the only node, or a cordon."""
    key = chance.choice(["maintenance", "dedicated"])
    cordon = chance.choice([True, False])

    def change(stage, taints, is_cordoned):
        for node in stage.kube.list(NODES):
            spec = {"taints": taints, "unschedulable": is_cordoned}
            stage.kube.patch(NODES, node["metadata"]["name"], None, {"spec": spec})

    taints = [] if cordon else [{"key": key, "value": "theirs", "effect": "NoSchedule"}]
    return Cause(
        "the node is cordoned" if cordon else f"the node is tainted: {key}",
        lambda stage: change(stage, taints, cordon),
        lambda stage: change(stage, None, None),
    )


def rights(chance):
    """KEDA's operator loses a right."""
    verbs = chance.choice([["get", "list", "watch"], ["get", "list", "watch", "delete", "patch", "update"]])

    def inject(stage):
        live = stage.kube.get(CLUSTER_ROLES, "keda-operator")
        rules = [{**rule, "verbs": verbs} if "jobs" in rule["resources"] else rule for rule in live["rules"]]
        stage.kube.patch(CLUSTER_ROLES, "keda-operator", None, {"rules": rules})

    def revert(stage):
        stage.kube.apply(stage.keda_object("ClusterRole", "keda-operator"), force=True)

    return Cause("KEDA may make no Jobs", inject, revert)


def secret(chance):
    """A Secret with another value, or without its key."""
    value = chance.choice(["dGhlaXJz", None])
    cause = Cause("the Secret has another value" if value else "the Secret has lost its key", None, None)
    where = ("prompt-redis-auth", "redis-password")

    def inject(stage):
        space, _ = _place(stage)
        cause.kept["data"] = stage.kube.get(SECRETS, where[0], space)["data"]
        stage.kube.patch(SECRETS, where[0], space, {"data": {where[1]: value}})

    def revert(stage):
        if data := cause.kept.get("data"):
            stage.kube.patch(SECRETS, where[0], _place(stage)[0], {"data": data})

    cause.inject, cause.revert = inject, revert
    return cause


def access_rule(chance):
    """A rule in Redis that denies workers a command."""
    denied = chance.choice(["xreadgroup", "xack"])
    return Cause(
        f"Redis denies {denied}",
        lambda stage: stage.redis.run(("ACL", "SETUSER", "default", f"-{denied}")),
        lambda stage: stage.redis.run(("ACL", "SETUSER", "default", f"+{denied}")),
    )


def pod_security(chance):
    """The namespace's pods are held to a standard that workers do not keep."""
    label = "pod-security.kubernetes.io/enforce"
    return Cause(
        "the namespace is restricted",
        lambda stage: stage.kube.patch(
            NAMESPACES, _place(stage)[0], None, {"metadata": {"labels": {label: "restricted"}}}
        ),
        lambda stage: stage.kube.patch(NAMESPACES, _place(stage)[0], None, {"metadata": {"labels": {label: None}}}),
    )


def edit(chance):
    """The ScaledJob's pods are given what is not there."""
    words, pod = chance.choice(
        [
            ("a scheduler that nobody runs", {"schedulerName": "theirs"}),
            ("a priority class that is gone", {"priorityClassName": "theirs"}),
            ("a runtime class that is gone", {"runtimeClassName": "theirs"}),
            ("nodes that there are not", {"nodeSelector": {"pool": "theirs"}}),
            ("a gate that nobody opens", {"schedulingGates": [{"name": "example.com/theirs"}]}),
            ("an account that is gone", {"serviceAccountName": "theirs"}),
        ]
    )
    return _edited(f"workers want {words}", lambda stage, containers: pod)


def other_image(chance):
    """The workers' image is one that ends well, or does not begin."""
    arguments = chance.choice([["--version"], ["--no-such-option"]])

    def change(stage, containers):
        redis = next(stage.kube.each(PODS, *stage.redis_pods))["spec"]["containers"][0]["image"]
        return {"containers": [{**container, "image": redis, "args": arguments} for container in containers]}

    return _edited(f"workers are another program: {arguments[0]}", change)


def dead_runtime(chance):
    """A runtime class whose handler no node has."""
    handler = chance.choice(["kata", "gvisor"])
    edited = _edited(f"workers want the runtime {handler}", lambda stage, containers: {"runtimeClassName": NAME})
    begin, end = edited.inject, edited.revert

    def inject(stage):
        stage.kube.apply(_object(RUNTIMES, handler=handler))
        begin(stage)

    def revert(stage):
        end(stage)
        stage.kube.delete(RUNTIMES, NAME)

    edited.inject, edited.revert = inject, revert
    return edited


def _edited(words, change):
    cause = Cause(words, None, None)

    def inject(stage):
        space, name = _place(stage)
        spec = cause.kept["spec"] = stage.kube.get(SCALED_JOBS, name, space)["spec"]
        pod = change(stage, spec["jobTargetRef"]["template"]["spec"]["containers"])
        scaled_jobs.edit(stage, lambda spec: {"jobTargetRef": {"template": {"spec": pod}}})
        scaled_jobs.unpause(stage)

    def revert(stage):
        if wanted := cause.kept.get("spec"):
            scaled_jobs.edit(stage, lambda spec: merge_patch(wanted, spec))
            scaled_jobs.restore(stage)

    cause.inject, cause.revert = inject, revert
    return cause


KINDS = [
    policy,
    dead_webhook,
    rewriting_webhook,
    quota,
    limit_range,
    taint,
    rights,
    secret,
    access_rule,
    pod_security,
    edit,
    other_image,
    dead_runtime,
]


def acknowledge_all(stage):
    """Acknowledge what a cause has left pending, so that the next one is seen by itself."""
    (instrument,) = stage.environment.instruments
    left = stage.redis.pending_ids(instrument.stream, instrument.consumer_group)
    if left:
        stage.redis.run(("XACK", instrument.stream, instrument.consumer_group, *left))


def running_count(stage):
    """Return how many workers run."""
    space, _ = _place(stage)
    return [pod["status"]["phase"] for pod in stage.kube.list(PODS, space)].count("Running")


def until_few_work(stage):
    """Wait until no more workers run than are kept: those of a burst take what comes for most of a minute, whatever is cut."""
    (instrument,) = stage.environment.instruments
    until(lambda: running_count(stage) <= instrument.min_jobs, "workers that end", 120)


def until_none_waits(stage):
    """Wait until every event was read."""
    (instrument,) = stage.environment.instruments
    pair = (instrument.stream, instrument.consumer_group)
    until(lambda: stage.redis.backlog(*pair).waiting == 0, "no backlog", 180)
