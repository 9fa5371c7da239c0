"""Faults that cut one link between KEDA and the end of a worker: rights, nodes, runtimes, reading; and a forgotten edit."""

from __future__ import annotations

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import CLUSTER_ROLES, NODES, SCALED_JOBS, Resource
from prompt_keda.lab.faults import scaled_jobs, scaling
from prompt_keda.lab.faults.fault import Fault, InChaos, Stage

RUNTIMES = Resource("node.k8s.io/v1", "RuntimeClass", "runtimeclasses", False)
OPERATOR_ROLE, EDITOR = "keda-operator", "kubectl-edit"
FEWER = 3
"""So many less than the manifest's maximum: what somebody edits in an incident, and forgets."""


def may_only_look(stage: Stage) -> None:
    """Let KEDA's operator only look at Jobs."""
    live = stage.kube.get(CLUSTER_ROLES, OPERATOR_ROLE)
    looks = {"verbs": ["get", "list", "watch"]}
    rules = [{**rule, **looks} if "jobs" in (rule.get("resources") or []) else rule for rule in live["rules"]]
    stage.kube.patch(CLUSTER_ROLES, OPERATOR_ROLE, None, {"rules": rules})


def may_work(stage: Stage) -> None:
    """Restore its ClusterRole."""
    stage.kube.apply(stage.keda_object("ClusterRole", OPERATOR_ROLE), force=True)


def taint(stage: Stage) -> None:
    """Keep every node for others; what runs there stays."""
    _taint(stage, [{"key": "example.com/theirs", "value": "true", "effect": "NoSchedule"}])


def untaint(stage: Stage) -> None:
    """Take the taint away."""
    _taint(stage, None)


def _taint(stage: Stage, taints: list[Object] | None) -> None:
    for node in stage.kube.list(NODES):
        stage.kube.patch(NODES, node["metadata"]["name"], None, {"spec": {"taints": taints}})


def want_other_runtime(stage: Stage) -> None:
    """Let new workers want a runtime class whose handler no node has."""
    head = {"apiVersion": RUNTIMES.api_version, "kind": RUNTIMES.kind}
    stage.kube.apply({**head, "metadata": {"name": scaling.MARK_NAME}, "handler": scaling.NOBODY})
    scaling.edit_workers(stage, pod={"runtimeClassName": scaling.MARK_NAME})
    scaling.until_cut(stage)


def want_own_runtime(stage: Stage) -> None:
    """Let them want none, and delete the class."""
    scaling.restore_workers(stage, pod={"runtimeClassName": None})
    stage.kube.delete(RUNTIMES, scaling.MARK_NAME)


def deny_reading(stage: Stage) -> None:
    """Deny XREADGROUP to the workers' login: they run, and ask again and again."""
    stage.redis.run(("ACL", "SETUSER", "default", "-xreadgroup"))


def allow_reading(stage: Stage) -> None:
    """Allow it again."""
    stage.redis.run(("ACL", "SETUSER", "default", "+xreadgroup"))


def edit_maximum(stage: Stage) -> None:
    """Lower every ScaledJob's maximum as `kubectl edit` does, paused, so that no Job is lost."""
    scaled_jobs.pause(stage)
    for instrument in stage.environment.instruments:
        path = SCALED_JOBS.path(instrument.namespace, instrument.scaled_job)
        body = {"spec": {"maxReplicaCount": instrument.max_jobs - FEWER}}
        query, kind = {"fieldManager": EDITOR}, "application/merge-patch+json"
        stage.kube.request("PATCH", path, query=query, body=body, content_type=kind)
    scaled_jobs.annotate(stage)
    scaled_jobs.unpause(stage)


FAULTS: tuple[Fault, ...] = (
    Fault(
        "links/operator-without-rights",
        "",
        "KEDA's operator may only look at Jobs",
        scaling.and_cut(may_only_look),
        scaling.and_at_work(may_work),
        {"scaling/works": "fail"},
        "no Job was made",
        stops_scaling=True,
        chaos=InChaos(inject=may_only_look, revert=may_work),
    ),
    Fault(
        "links/nodes-tainted",
        "",
        "every node is kept for others",
        scaling.and_cut(taint),
        scaling.and_at_work(untaint),
        {
            "capacity/maximum-fits": "warn",
            "capacity/burst-absorbed": "fail",
            "cluster/nodes-have-room": "warn",
            "cluster/pods-start": "warn",
            "scaling/works": "fail",
        },
        "nodes that take them",
        runbook="no-room",
        stops_scaling=True,
        chaos=InChaos(is_repaired=False, inject=taint, revert=untaint),
    ),
    Fault(
        "links/runtime-unknown",
        "",
        "new workers want a runtime that no node has",
        want_other_runtime,
        want_own_runtime,
        {"cluster/pods-start": "fail", "scaling/works": "fail", "keda/specs-as-wanted": "fail"},
        "no runtime for",
        stops_scaling=True,
    ),
    Fault(
        "links/reading-denied",
        "",
        "an ACL denies workers to read",
        deny_reading,
        allow_reading,
        {"redis/accepts-writes": "fail"},
        "XREADGROUP refused",
        stops_scaling=True,
        chaos=InChaos(is_repaired=False),
    ),
    Fault(
        "keda/maximum-edited",
        "",
        "somebody has lowered the ScaledJob's maximum by kubectl edit",
        edit_maximum,
        scaled_jobs.restore,
        {"keda/specs-as-wanted": "fail", "keda/limits-as-configured": "warn"},
        "set by kubectl-edit",
    ),
)
