"""The checks of capacity: each is seen red for its reason, and green where nothing is wrong."""

from __future__ import annotations

from datetime import timedelta

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.environment.model import ClientLimit, FillIn
from tests.unit.faults import (
    both,
    broken_verdict,
    change,
    denied,
    environment,
    job,
    known,
    remove,
    scaled_job,
    turns_red,
)
from tests.unit.world import KEDA_IMAGE, SCALED_JOB, SPACE

ABSORBED, FITS, QUOTA = "capacity/burst-absorbed", "capacity/maximum-fits", "capacity/quota-allows"
ADMITTED = "capacity/pods-admitted"


def visit(events):
    """Let one visit bring so many events, and ten of them be in flight."""

    def apply(world):
        first = world.systems.environment.instruments[0]
        sizes = {"visit_events": events, "max_jobs": 10 * events}
        environment(instruments=(first.model_copy(update=sizes),))(world)

    return apply


def big_node(**changes):
    """Return a node with room for a whole visit of production; ``changes`` are to its spec."""
    status = {"allocatable": {"cpu": "64", "memory": "512Gi", "pods": "2000"}}
    return change(kinds.NODES, "n1", status=status, spec=changes)


def neighbour(cpu, node="n1", phase="Running"):
    """Put a pod on the node that asks for so much."""
    spec = {"nodeName": node, "containers": [{"resources": {"requests": {"cpu": cpu}}}]}
    return lambda world: world.put(kinds.PODS, "neighbour", SPACE, spec=spec, status={"phase": phase})


def keda_flag(*arguments):
    container = {"image": KEDA_IMAGE, "args": list(arguments)}
    return change(kinds.DEPLOYMENTS, "keda-operator", "keda", spec={"template": {"spec": {"containers": [container]}}})


def worker_asks(**spec):
    return scaled_job(spec={"jobTargetRef": {"template": {"spec": spec}}})


def starts_first(image):
    """Let a worker have an init container with another image."""
    return worker_asks(initContainers=[{"name": "init", "image": image}])


def two_containers(world):
    """Let a worker have a second container, which names nothing."""
    asked = {"requests": {"cpu": "10m"}, "limits": {"memory": "64Mi"}}
    worker_asks(containers=[{"name": "prompt-service", "resources": asked}, {"name": "other"}])(world)


def starting(memory):
    """Let a worker have an init container with such a limit, and a container that may have less."""
    few = {"limits": {"memory": "1Mi"}}
    many = {"name": "i", "resources": {"limits": {"memory": memory}}}
    return worker_asks(initContainers=[many], containers=[{"name": "prompt-service", "resources": few}])


def quota(hard, **spec):
    return lambda world: world.put(kinds.RESOURCE_QUOTAS, "q", SPACE, spec={"hard": hard, **spec})


def limit_range(**limits):
    return lambda world: world.put(kinds.LIMIT_RANGES, "r", SPACE, spec={"limits": [limits]})


VISIT = both(visit(172), big_node())
AFFINITY = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}
SYNCER = ClientLimit(qps=40, burst=80)
IN_A_VCLUSTER = known(syncer=SYNCER, host_workers_count=2)
WORKER = neighbour("10m", node="elsewhere", phase="Pending")
NO_GPU = {"key": "gpu", "effect": "NoSchedule"}
OF_INSTRUMENTS = [
    "capacity/burst-absorbed",
    "capacity/maximum-fits",
    "capacity/quota-allows",
]
RED = [
    *((check, environment(instruments=()), "unknown", "names none") for check in OF_INSTRUMENTS),
    (ABSORBED, VISIT, "warn", "after 23 s of 20 s, 2 s of them until KEDA polls, 2 s for the pod"),
    (ABSORBED, VISIT, "warn", "kube-controller-manager at 20/30 binds with 19 s, at 50/100: 11 s in all"),
    (
        ABSORBED,
        both(VISIT, known(controller_manager=ClientLimit(qps=300, burst=600)), keda_flag("--kube-api-qps=5")),
        "warn",
        "keda-operator at 5/30 binds with 28 s, at 50/100: 5 s in all",
    ),
    (ABSORBED, scaled_job(spec={"pollingInterval": 30}), "warn", "after 32 s of 20 s, 30 s of them until KEDA polls"),
    (
        ABSORBED,
        both(change(kinds.NODES, "n1", status={"images": []}), known(image_pull=timedelta(seconds=90))),
        "warn",
        "92 s for the pod",
    ),
    (
        ABSORBED,
        both(known(image_pull=timedelta(seconds=90)), starts_first("a.test/init:1")),
        "warn",
        "92 s for the pod",
    ),
    (
        ABSORBED,
        both(VISIT, known(pod_start_each=timedelta(milliseconds=250))),
        "warn",
        "2 s for the pod; the pods' start on the nodes at 4 pods a second binds with 43 s",
    ),
    (ABSORBED, neighbour("3985m"), "fail", "room for 1 more workers on 1 nodes, one visit wants 2; too little of: cpu"),
    (ABSORBED, both(VISIT, neighbour("63500m")), "fail", "room for 50 more workers"),
    (
        ABSORBED,
        big_node(unschedulable=True),
        "fail",
        "room for 0 more workers on 0 nodes, one visit wants 2; too little of: nodes that take them",
    ),
    (ABSORBED, big_node(taints=[NO_GPU]), "fail", "room for 0 more workers on 0 nodes"),
    (ABSORBED, worker_asks(nodeSelector={"node": "big"}), "fail", "room for 0 more workers on 0 nodes"),
    (ABSORBED, remove(kinds.NODES, "n1"), "unknown", "no node is shown"),
    (ABSORBED, known(syncer=SYNCER), "unknown", "after 4 s; the environment does not say capacity.host_workers_count"),
    (ABSORBED, known(syncer=SYNCER, host_workers_count=FillIn("FILL-IN: x")), "unknown", "after 4 s; the environment"),
    (ABSORBED, both(IN_A_VCLUSTER, WORKER), "fail", "LSSTCam: room for 1 more workers (as the environment states; not"),
    (
        FITS,
        both(IN_A_VCLUSTER, visit(3)),
        "warn",
        "the host keeps room for 2 workers (as the environment states; not seen), 30",
    ),
    (FITS, both(IN_A_VCLUSTER, environment(instruments=())), "unknown", "names none"),
    (ABSORBED, both(known(syncer=SYNCER), visit(172)), "unknown", "20/30 binds with 19 s"),
    (ABSORBED, known(syncer=ClientLimit(qps=1, burst=1), pod_start=timedelta(seconds=30)), "unknown", "syncer at 1/1"),
    (ABSORBED, worker_asks(affinity=AFFINITY), "unknown", "require nodes by affinity"),
    (ABSORBED, remove(kinds.SCALED_JOBS, SCALED_JOB, SPACE), "unknown", "is missing: what its workers ask for"),
    (ABSORBED, keda_flag("--kube-api-qps=many"), "unknown", "its limit cannot be read"),
    (ABSORBED, denied("list", "pods"), "fail", "cannot list resource 'pods'"),
    (FITS, visit(40), "warn", "1 nodes hold 110 workers at most, 400 may run; too little of: pods"),
    (FITS, remove(kinds.NODES, "n1"), "unknown", "no node is shown"),
    (FITS, known(syncer=SYNCER), "unknown", "a vCluster"),
    (FITS, worker_asks(affinity=AFFINITY), "unknown", "by affinity"),
    (FITS, worker_asks(containers=[{"resources": {"requests": {"cpu": "much"}}}]), "unknown", "'much' is no quantity"),
    (ADMITTED, job(begun=35), "fail", f"Job {SPACE}/late has had no pod for 3"),
    (
        ADMITTED,
        both(job(begun=300), job("later", begun=40)),
        "fail",
        "s, nor have 1 more: its pods are refused, or go at once",
    ),
    (ADMITTED, denied("list", "jobs"), "fail", "cannot list"),
    (QUOTA, quota({"pods": "1"}), "fail", "lets 1 workers of LSSTCam in (pods), one visit wants 2"),
    (
        QUOTA,
        quota({"requests.cpu": "50m", "pods": "30"}),
        "warn",
        "lets 5 workers of LSSTCam in (requests.cpu), 20 may",
    ),
    (QUOTA, quota({"count/jobs.batch": "205"}), "warn", "lets 5 workers of LSSTCam in (count/jobs.batch)"),
    (QUOTA, quota({"limits.cpu": "100"}), "fail", "counts limits.cpu, which container prompt-service does not name"),
    (
        QUOTA,
        both(quota({"limits.memory": "9Gi"}), two_containers),
        "fail",
        "counts limits.memory, which container other",
    ),
    (
        QUOTA,
        both(quota({"limits.memory": "1Gi"}), two_containers, limit_range(type="Container", default={"memory": "1Gi"})),
        "fail",
        "lets 0 workers of LSSTCam in (limits.memory)",
    ),
    (QUOTA, quota({"pods": "1"}, scopes=["PriorityClass"]), "unknown", "is for some pods only"),
    (QUOTA, limit_range(type="Container", max={"memory": "32Mi"}), "fail", "more memory than 32Mi"),
    (QUOTA, limit_range(type="Pod", min={"cpu": "1"}), "fail", "less cpu than 1"),
    (QUOTA, limit_range(type="Pod", max={"cpu": "1"}), "fail", "no limit of cpu, 1 is the most"),
    (QUOTA, limit_range(type="Pod", min={"ephemeral-storage": "1"}), "fail", "no request of ephemeral-storage"),
    (QUOTA, limit_range(type="Pod", maxLimitRequestRatio={"memory": "3"}), "fail", "more than 3 times its request"),
    (
        QUOTA,
        both(starting("64Mi"), limit_range(type="Container", max={"memory": "32Mi"})),
        "fail",
        "more memory than 32Mi",
    ),
]


test_a_check_turns_red_for_its_reason = turns_red(RED)


@pytest.mark.parametrize(
    "fault",
    [
        job(),
        job(begun=20),
        job(begun=300, active=1),
        job(begun=300, failed=1),
        job(begun=300, uncountedTerminatedPods={"succeeded": ["u1"]}),
        job(begun=300, spec={"parallelism": 0}),
        job(begun=300, resumed=10),
        job(begun=300, conditions=[{"type": "Complete", "status": "True"}]),
    ],
)
def test_a_job_that_may_have_its_pod_is_none_whose_pods_are_refused(fault):
    """Nobody has taken it up, it is young, it wants none, or its pods have just ended."""
    assert broken_verdict(ADMITTED, fault).verdict.value == "ok"


@pytest.mark.parametrize(
    ("check", "fault", "message"),
    [
        (ABSORBED, neighbour("3985m", phase="Succeeded"), "room for 107 more workers"),
        (ABSORBED, neighbour("3985m", node="n2"), "room for 107 more workers"),
        (ABSORBED, both(big_node(taints=[NO_GPU]), worker_asks(tolerations=[{"operator": "Exists"}])), "room for"),
        (ABSORBED, both(VISIT, keda_flag("--kube-api-qps=-1"), known(controller_manager=SYNCER)), "after 12 s"),
        (ABSORBED, IN_A_VCLUSTER, "after 4 s; room for 2 more workers (as the environment states; not seen)"),
        (ABSORBED, both(IN_A_VCLUSTER, neighbour("9", phase="Succeeded")), "room for 2 more workers"),
        (
            FITS,
            known(syncer=SYNCER, host_workers_count=20),
            "room for 20 workers (as the environment states; not seen)",
        ),
        (FITS, both(visit(172), big_node()), "1 nodes hold 2000 workers, 1720 may run"),
        (QUOTA, quota({"pods": "30", "services": "0"}), "lets 20 workers in"),
        (QUOTA, quota({"pods": "1"}, scopes=["BestEffort"]), "is not about workers"),
        (QUOTA, both(quota({"limits.cpu": "9"}), limit_range(type="Container", default={"cpu": "10m"})), "lets"),
        (QUOTA, quota({"requests.ephemeral-storage": "9"}), "lets 20 workers in"),
        (QUOTA, limit_range(type="Pod", maxLimitRequestRatio={"memory": "4"}), "lets workers in"),
        (QUOTA, lambda world: None, "no quota in prompt-keda-lsstcam"),
    ],
)
def test_what_leaves_room_is_green(check, fault, message):
    """Pods that have ended or stand elsewhere, taints that are tolerated, quotas that are wide enough or not meant."""
    outcome = broken_verdict(check, fault)
    assert (outcome.verdict.value, message in outcome.observed) == ("ok", True), outcome
