"""Faults of capacity."""

from __future__ import annotations

from decimal import Decimal

from prompt_keda.clients.kube.resources import NAMESPACES, NODES, PODS, RESOURCE_QUOTAS
from prompt_keda.components.capacity.pod_room import Free, amounts
from prompt_keda.core.waiting import until
from prompt_keda.lab.faults import jobs, podless, scaled_jobs
from prompt_keda.lab.faults.fault import Fault, Stage
from prompt_keda.lab.node import PAUSE_IMAGE

QUOTA, GREEDY, PLACE = "no-more-pods", "greedy", "default"
POD_SECURITY = "pod-security.kubernetes.io/enforce"
LEFT_CPU = Decimal("0.005")
"""Less than one worker of the local stack asks for."""


def forbid_pods(stage: Stage) -> None:
    """Let one pod be in each instrument's namespace; those that are there stay."""
    for instrument in stage.environment.instruments:
        metadata = {"namespace": instrument.namespace, "name": QUOTA}
        spec = {"hard": {"pods": "1"}}
        stage.kube.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": spec})


def allow_pods(stage: Stage) -> None:
    """Take the quota away."""
    for instrument in stage.environment.instruments:
        stage.kube.delete(RESOURCE_QUOTAS, QUOTA, instrument.namespace)


def refuse_pods(stage: Stage) -> None:
    """Let Pod Security refuse new pods in each instrument's namespace, and a Job wait for its pod for too long."""
    _enforce(stage, "restricted")
    podless.wait_for_one(stage)


def admit_pods(stage: Stage) -> None:
    """Let them in again, and take the Job away."""
    _enforce(stage, None)
    podless.take_away(stage)


def _enforce(stage: Stage, level: str | None) -> None:
    for instrument in stage.environment.instruments:
        stage.kube.patch(NAMESPACES, instrument.namespace, None, {"metadata": {"labels": {POD_SECURITY: level}}})


def fill_node(stage: Stage) -> None:
    """Let one pod ask for all the CPU that is left, but for too little for a worker."""
    jobs.until_workers_stay(stage)  # an end of theirs would leave room
    (node,) = stage.kube.list(NODES)
    name = node["metadata"]["name"]
    free = Free([node], stage.kube.each(PODS)).of(name)["cpu"] - LEFT_CPU
    container = {
        "name": "pause",
        "image": PAUSE_IMAGE,
        "imagePullPolicy": "Never",
        "resources": {"requests": {"cpu": f"{free * 1000:.0f}m"}},
    }
    spec = {"nodeName": name, "terminationGracePeriodSeconds": 0, "containers": [container]}
    metadata = {"namespace": PLACE, "name": GREEDY}
    if stage.kube.find(PODS, GREEDY, PLACE) is None:
        stage.kube.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, PLACE)
    until(lambda: stage.kube.get(PODS, GREEDY, PLACE)["status"]["phase"] == "Running", "the pod that fills the node")


def empty_node(stage: Stage) -> None:
    """Take that pod away."""
    stage.kube.delete(PODS, GREEDY, PLACE)
    until(lambda: stage.kube.find(PODS, GREEDY, PLACE) is None, "the pod that fills the node gone")


def want_much(stage: Stage) -> None:
    """Let every worker (its ScaledJob is paused) ask for a tenth of the node."""
    (node,) = stage.kube.list(NODES)
    cpu = f"{amounts(node['status']['allocatable'])['cpu'] * 100:.0f}m"
    asked = {"resources": {"requests": {"cpu": cpu}}}
    scaled_jobs.edit_workers(
        stage, lambda pod: {"containers": [{**container, **asked} for container in pod["containers"]]}
    )


FAULTS: tuple[Fault, ...] = (
    Fault(
        "capacity/quota",
        "",
        "a ResourceQuota lets no more workers in",
        forbid_pods,
        allow_pods,
        {"capacity/quota-allows": "fail"},
        "lets 1 workers of LSSTCam in (pods), one visit wants 2",
        stops_scaling=True,
    ),
    Fault(
        "capacity/pods-refused",
        "",
        "Pod Security refuses the workers' pods",
        refuse_pods,
        admit_pods,
        {"capacity/pods-admitted": "fail"},
        "its pods are refused, or go at once",
        stops_scaling=True,
    ),
    Fault(
        "capacity/node-full",
        "",
        "something else asks for nearly all CPU of the node",
        fill_node,
        empty_node,
        {"capacity/burst-absorbed": "fail", "cluster/nodes-have-room": "warn"},
        "one visit wants 2; too little of: cpu",
        stops_scaling=True,
    ),
    Fault(
        "capacity/maximum-too-large",
        "",
        "workers ask for so much that the node holds ten (paused, so that no Job is lost)",
        want_much,
        scaled_jobs.restore,
        {"capacity/maximum-fits": "warn", "keda/specs-as-wanted": "warn", "keda/none-paused": "warn"},
        "nodes hold 10 workers at most",
        runbook="scaled-job-wrong",
        stops_scaling=True,
    ),
)
