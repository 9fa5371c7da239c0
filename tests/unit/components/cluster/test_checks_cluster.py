"""The checks of the cluster: each is seen red for its reason, and green where nothing is wrong."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.components.cluster.vcluster import FAKE_NODE
from prompt_keda.core.errors import BadAnswer, LoggedOut, Refused
from prompt_keda.environment.model import ClientLimit
from tests.unit.faults import (
    HOUR,
    attribute,
    both,
    broken_verdict,
    change,
    clock,
    denied,
    environment,
    job,
    known,
    remove,
    scaled_job,
    turns_red,
)
from tests.unit.world import METRICS, SCALED_JOB, SPACE, WORKER_IMAGE, conditions, now


def many_nodes(count):
    """Let so many nodes not be ready."""

    def apply(world):
        world.remove(kinds.NODES, "n1")
        for number in range(count):
            world.put(kinds.NODES, f"m{number}", status=conditions(Ready="False"))

    return apply


def raises(kind):
    def ask():
        raise kind("Kubernetes", "https://fake.test", "403 on GET /readyz: forbidden")

    return ask


def without_pods(world):
    for pod in world.kube.list(kinds.PODS):
        world.remove(kinds.PODS, pod["metadata"]["name"], pod["metadata"]["namespace"])


def pod(name="p1", namespace=SPACE, node=None, begun=False, **status):
    return lambda world: world.put_pod(name, namespace, node, begun, **status)


def waits(reason):
    return {"name": "worker", "state": {"waiting": {"reason": reason, "message": "why"}}}


def ready(name):
    return {"name": name, "state": {"terminated": {"reason": "Completed"}}}


def leaving(name, namespace, seconds):
    """Let a pod be one that should have stopped some seconds ago."""

    def apply(world):
        world.change(kinds.PODS, name, namespace, metadata={"deletionTimestamp": now(seconds=seconds)})

    return apply


def asks(cpu="10m", memory="16Mi", **pod_fields):
    """Let a worker of the live ScaledJob ask for room."""
    container = {"image": WORKER_IMAGE, "resources": {"requests": {"cpu": cpu, "memory": memory}}}
    template = {"spec": {"containers": [container], **pod_fields}}
    return scaled_job(spec={"jobTargetRef": {"template": template}})


def node(**spec):
    return change(kinds.NODES, "n1", spec=spec)


def terminating(name, seconds, *messages):
    def apply(world):
        world.put(kinds.NAMESPACES, name) if world.kube.find(kinds.NAMESPACES, name) is None else None
        conditions = [
            {"type": "NamespaceContentRemaining", "status": "True", "message": message} for message in messages
        ]
        deleted = {"deletionTimestamp": now(seconds=seconds)}
        world.change(
            kinds.NAMESPACES, name, metadata=deleted, status={"phase": "Terminating", "conditions": conditions}
        )

    return apply


def nothing_ready_behind(name, namespace):
    endpoints = [{"conditions": {"ready": False}}]
    return change(kinds.ENDPOINT_SLICES, name, namespace, endpoints=endpoints)


def with_policy(policy, *faults):
    """Let KEDA's webhook have another failurePolicy, and inject the faults."""
    client = {"service": {"name": "webhooks", "namespace": "keda"}}
    hooks = [{"name": "vscaledjob.keda.sh", "clientConfig": client, "failurePolicy": policy}]
    return both(change(kinds.VALIDATING_WEBHOOKS, "keda-admission", webhooks=hooks), *faults)


API, TAKEN_UP = "cluster/api-answers", "cluster/jobs-reconciled"
DENIED = 'binding rejected: pods "w" is forbidden: ValidatingAdmissionPolicy denied request: Jobs need a label'
GOING, REPORT, ROOM = "cluster/pods-start", "cluster/nodes-report", "cluster/nodes-have-room"
STUCK, DNS, HOOKS = "cluster/namespaces-not-stuck", "cluster/dns-answers", "cluster/webhooks-reachable"
OTHER_APIS, TAINT = "cluster/api-services-available", {"key": "gpu", "value": "1", "effect": "NoSchedule"}
SYNCER = ClientLimit(qps=40, burst=80)
IN_A_VCLUSTER = known(syncer=SYNCER, host_workers_count=3)
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: cpu"}
UNBOUND = {**UNSCHEDULABLE, "message": "0/1 nodes: pod has unbound immediate PersistentVolumeClaims"}


def not_made(message, reason="FailedMount"):
    """Let a pod stand on its node for a minute, and the kubelet warn of it."""

    def apply(world):
        pod(node="n1", containerStatuses=[waits("ContainerCreating")])(world)
        (name,) = [pod["metadata"]["name"] for pod in world.kube.list(kinds.PODS, SPACE)]
        about = {"kind": "Pod", "name": name, "uid": world.kube.get(kinds.PODS, name, SPACE)["metadata"]["uid"]}
        condition = {"reason": reason, "message": message, "type": "Warning", "lastTimestamp": now(seconds=3)}
        world.put(kinds.EVENTS, "e1", SPACE, involvedObject=about, **condition)

    return apply


@pytest.mark.parametrize(
    ("message", "reason", "fix"),
    [
        ('configmap "no" not found', "FailedMount", "get configmap,secret,pvc"),
        ("references non-existent secret key: no", "FailedMount", "get configmap,secret,pvc"),
        ("cannot set up the network", "FailedCreatePodSandBox", "network plugin of node n1"),
        ('persistentvolumeclaim "no" not found', "FailedScheduling", "Look at the claim"),
        ("image cannot be read", "Failed", "its pull secret"),
        ("something new", "News", "describe pod"),
    ],
)
def test_the_fix_of_a_pod_that_does_not_start_is_of_its_kind(message, reason, fix):
    """Nobody makes room for a volume that is missing."""
    assert fix in broken_verdict(GOING, not_made(message, reason)).fix


@pytest.mark.parametrize(
    ("message", "fix"),
    [
        ("0/1 nodes are available: 1 Insufficient cpu", "Make room"),
        ("had untolerated taint(s)", "tolerations"),
        ("didn't match Pod's node affinity/selector", "nodeSelector"),
        (UNBOUND["message"], "Look at the claim"),
    ],
)
def test_the_fix_of_a_pod_without_a_node_is_of_its_kind(message, fix):
    """As the scheduler says why."""
    assert fix in broken_verdict(GOING, pod(conditions=[{**UNSCHEDULABLE, "message": message}])).fix


def beside(*ends, cron=None, suspended=False):
    """Let Jobs beside the workers have ended, one after the other, and a CronJob stand."""

    def apply(world):
        for number, end in enumerate(ends):
            condition = {"type": end, "status": "True", "reason": "BackoffLimitExceeded", "message": "m"}
            world.put(kinds.JOBS, f"init-{number}", SPACE, status={"conditions": [condition]})
            owners = [{"kind": "CronJob", "name": cron, "uid": cron}] if cron else []
            made = {"creationTimestamp": now(minutes=9 - number), "ownerReferences": owners}
            world.change(kinds.JOBS, f"init-{number}", SPACE, metadata=made)
        world.put(kinds.CRON_JOBS, "cron", SPACE, spec={"suspend": suspended})

    return apply


def test_a_cron_job_whose_newest_job_ended_well_is_green():
    """That an older one failed is no news."""
    assert broken_verdict(BESIDE, beside("Failed", "Complete", cron="c")).verdict.value == "ok"


def started_late(*spans):
    """Let pods have been started a minute ago, so many seconds after each was made; those of before long ago."""

    def fault(world):
        for number, span in enumerate(spans):
            world.put_pod(f"late-{number}", SPACE, "n1", seconds=60 + span, startTime=now(seconds=60))

    return fault


BESIDE = "cluster/other-jobs-succeed"
RED = [
    (BESIDE, environment(instruments=()), "unknown", "names none"),
    (BESIDE, beside("Failed", "Complete"), "warn", "Job init-0 has failed (BackoffLimitExceeded, m)"),
    (BESIDE, beside("Complete", "Failed", cron="c"), "warn", "Job init-1 has failed"),
    (BESIDE, beside(suspended=True), "warn", "CronJob cron is suspended"),
    (API, attribute("kube", not_ready=lambda: ("etcd", "etcd-readiness")), "fail", "not ready: etcd, etcd-readiness"),
    (API, attribute("kube", not_ready=lambda: ("informer-sync",)), "warn", "not ready: informer-sync"),
    (API, attribute("kube", not_ready=raises(LoggedOut)), "fail", "403 on GET"),
    ("cluster/version-accepted", attribute("kube", version=lambda: "v1.20.0"), "warn", "v1.20.0"),
    (
        "cluster/pods-synced-in-time",
        both(change(kinds.NODES, "n1", metadata={"labels": {FAKE_NODE: "true"}}), started_late(60, 12, 40)),
        "warn",
        "3 pods started on the host, the median 40 s after",
    ),
    (
        "cluster/vcluster-named",
        change(kinds.NODES, "n1", metadata={"labels": {FAKE_NODE: "true"}}),
        "warn",
        "does not name",
    ),
    (
        "cluster/workers-outlive-the-store",
        change(kinds.NODES, "n1", metadata={"labels": {FAKE_NODE: "true"}}),
        "warn",
        "nobody has decided that",
    ),
    ("cluster/clocks-agree", attribute("kube", server_time=lambda: datetime.now(UTC) + HOUR), "warn", "ahead of"),
    ("cluster/nodes-ready", change(kinds.NODES, "n1", status=conditions(Ready="False")), "fail", "why"),
    ("cluster/nodes-ready", remove(kinds.NODES, "n1"), "unknown", "no node is shown"),
    ("cluster/nodes-ready", denied("list", "nodes"), "fail", "cannot list"),
    ("cluster/nodes-ready", many_nodes(7), "fail", "(and 2 more)"),
    ("cluster/keda-namespace-present", remove(kinds.NAMESPACES, "keda"), "fail", "missing"),
    ("cluster/external-metrics-available", remove(kinds.API_SERVICES, METRICS), "fail", "missing"),
    ("cluster/external-metrics-available", remove(kinds.SERVICES, "metrics", "keda"), "fail", "is gone"),
    (
        "cluster/external-metrics-available",
        change(kinds.API_SERVICES, METRICS, status=conditions(Available="False")),
        "fail",
        "not available: why",
    ),
    (
        "cluster/external-metrics-available",
        change(kinds.API_SERVICES, METRICS, status=conditions(Available="Unknown")),
        "unknown",
        "whether it is available is not known",
    ),
    (REPORT, change(kinds.LEASES, "n1", "kube-node-lease", spec={"renewTime": now(seconds=45)}), "warn", "n1 was last"),
    (REPORT, change(kinds.LEASES, "n1", "kube-node-lease", spec={"renewTime": None}), "warn", "n1 keeps no Lease"),
    (REPORT, clock(minutes=2), "warn", "n1 was last heard of 1"),
    (STUCK, both(clock(minutes=10), terminating("a", 1)), "warn", "a is Terminating"),
    (REPORT, remove(kinds.LEASES, "n1", "kube-node-lease"), "skipped", "no node keeps a Lease"),
    (REPORT, remove(kinds.NODES, "n1"), "unknown", "no node is shown"),
    (REPORT, denied("list", "leases"), "unknown", "may not be seen: 403"),
    (ROOM, asks(cpu="1500m"), "warn", "room for 2 of 3 more workers of LSSTCam; too little of: cpu"),
    (ROOM, asks(memory="9Gi"), "warn", "room for 0 of 3 more workers of LSSTCam; too little of: memory"),
    (ROOM, change(kinds.NODES, "n1", status={"allocatable": {"pods": "3"}}), "warn", "too little of: pods"),
    (ROOM, both(asks(cpu="1"), pod(node="n1", requests={"cpu": "2"})), "warn", "room for 2 of 3"),
    (ROOM, node(unschedulable=True), "warn", "too little of: nodes that take them"),
    (ROOM, node(taints=[TAINT]), "warn", "too little of: nodes that take them"),
    (ROOM, asks(nodeSelector={"disk": "fast"}), "warn", "too little of: nodes that take them"),
    (ROOM, remove(kinds.NODES, "n1"), "unknown", "no node is shown"),
    (ROOM, known(syncer=SYNCER), "unknown", "a vCluster shows neither all nodes nor what others use of them"),
    (
        ROOM,
        known(syncer=SYNCER, host_workers_count=2),
        "warn",
        "room for 2 more workers (as the environment states; not",
    ),
    (ROOM, both(IN_A_VCLUSTER, pod()), "warn", "room for 2 more workers (as the environment states; not seen), 3 are"),
    (ROOM, both(IN_A_VCLUSTER, environment(instruments=())), "unknown", "names none"),
    (ROOM, remove(kinds.SCALED_JOBS, SCALED_JOB, SPACE), "unknown", "is missing"),
    (GOING, pod(), "fail", "s and has neither a node nor a word of the scheduler"),
    (GOING, pod(conditions=[UNSCHEDULABLE]), "warn", "says the scheduler: Unschedulable: 0/1 nodes: cpu"),
    (GOING, pod(conditions=[{**UNSCHEDULABLE, "message": DENIED}]), "fail", "binding rejected: "),
    (GOING, pod(node="n1"), "fail", "s, and no container is begun"),
    (
        GOING,
        pod(node="n1", containerStatuses=[waits("ImagePullBackOff")]),
        "fail",
        "worker cannot start: ImagePullBackOff: w",
    ),
    (
        GOING,
        pod(node="n1", initContainerStatuses=[ready("init")], containerStatuses=[waits("CreateContainerConfigError")]),
        "fail",
        "cannot start: CreateContainerConfigError: why",
    ),
    (GOING, not_made('MountVolume.SetUp failed: configmap "no" not found'), "fail", 'configmap "no" not found'),
    (GOING, both(not_made("m"), denied("list", "events")), "fail", "no container has begun; why cannot be read: "),
    (GOING, pod(node="n1", seconds=130, containerStatuses=[waits("ContainerCreating")]), "warn", "nobody warns"),
    (GOING, pod(conditions=[UNBOUND]), "fail", "unbound immediate PersistentVolumeClaims"),
    (GOING, leaving("keda-operator-1", "keda", 90_050), "fail", "should have stopped 900"),
    (GOING, leaving("keda-operator-1", "keda", 50), "fail", "keda-operator-1 should have stopped "),
    (GOING, without_pods, "unknown", "no pod at all"),
    (GOING, change(kinds.NODES, "n1", status=conditions(Ready="Unknown")), "skipped", "on nodes that are not ready"),
    (TAKEN_UP, job(), "fail", f"Job {SPACE}/late has had no pod for "),
    (TAKEN_UP, both(job(), job("later", 35)), "fail", "s, nor have 1 more, and no controller has looked at it: contr"),
    (TAKEN_UP, both(job(), job("begun", begun=300)), "fail", "controller manager suspect"),
    (TAKEN_UP, both(job(), job("begun", begun=1)), "warn", "it takes up others, and is behind"),
    (TAKEN_UP, denied("list", "jobs"), "fail", "cannot list"),
    (DNS, nothing_ready_behind("kube-dns", "kube-system"), "fail", "nothing ready is behind the Service kube-system/"),
    (DNS, remove(kinds.ENDPOINT_SLICES, "kube-dns", "kube-system"), "fail", "nothing ready is behind the Service"),
    (DNS, remove(kinds.SERVICES, "kube-dns", "kube-system"), "unknown", "no Service of the cluster's DNS"),
    (STUCK, terminating("a", 90, "1 configmap remains"), "warn", "s: 1 configmap remains"),
    (STUCK, terminating(SPACE, 90), "fail", "s: its conditions give no reason"),
    (STUCK, both(terminating("a", 90), terminating(SPACE, 90)), "fail", SPACE),
    (
        OTHER_APIS,
        change(kinds.API_SERVICES, "v1beta1.metrics.k8s.io", status=conditions(Available="False")),
        "fail",
        "v1beta1.metrics.k8s.io by kube-system/metrics-server is not available: why",
    ),
    (OTHER_APIS, change(kinds.API_SERVICES, "v1beta1.metrics.k8s.io", status=None), "unknown", "does not say yet"),
    (HOOKS, nothing_ready_behind("webhooks", "keda"), "warn", "admitted unseen, failurePolicy is Ignore"),
    (
        HOOKS,
        with_policy("Fail", nothing_ready_behind("webhooks", "keda")),
        "fail",
        "no ScaledJob can be applied, failurePolicy is Fail",
    ),
    (HOOKS, remove(kinds.VALIDATING_WEBHOOKS, "keda-admission"), "fail", "is missing"),
]


test_a_check_turns_red_for_its_reason = turns_red(RED)


@pytest.mark.parametrize(
    ("check", "fault"),
    [
        (GOING, pod(seconds=20)),
        (GOING, pod(node="n1", seconds=20)),
        (GOING, pod(phase="Failed")),
        (GOING, pod(node="n1", seconds=20, containerStatuses=[waits("ErrImagePull")])),
        (GOING, pod(node="n1", containerStatuses=[waits("ContainerCreating")])),
        (GOING, both(pod(node="n2"), lambda world: world.put(kinds.NODES, "n2", status=conditions(Ready="Unknown")))),
        (GOING, both(pod(), leaving("p1", SPACE, 20))),
        (API, attribute("kube", not_ready=raises(Refused))),
        (API, attribute("kube", not_ready=raises(BadAnswer))),
        (TAKEN_UP, job(seconds=20)),
        (TAKEN_UP, job(spec={"suspend": True})),
        (TAKEN_UP, job(spec={"parallelism": 0})),
        (TAKEN_UP, job(spec={"managedBy": "kueue.x-k8s.io/multikueue"})),
        (TAKEN_UP, job(resumed=20)),
        (TAKEN_UP, job(going=True)),
        (TAKEN_UP, job(begun=300)),
        (TAKEN_UP, job(conditions=[{"type": "Failed", "status": "True"}])),
        (STUCK, terminating("a", 40)),
        (STUCK, both(clock(minutes=-10), terminating("a", 90))),
        (STUCK, terminating("keda", 90)),
        (OTHER_APIS, change(kinds.API_SERVICES, METRICS, status=conditions(Available="False"))),
        (ROOM, both(asks(cpu="1"), pod(node="n1", requests={"cpu": "2"}, phase="Succeeded"))),
        (ROOM, both(IN_A_VCLUSTER, remove(kinds.NODES, "n1"), pod(phase="Failed"))),
        (ROOM, both(node(taints=[TAINT]), asks(tolerations=[{"key": "gpu", "operator": "Exists"}]))),
        (DNS, change(kinds.ENDPOINT_SLICES, "kube-dns", "kube-system", endpoints=[{"conditions": {}}])),
    ],
)
def test_what_is_not_yet_broken_or_another_checks_is_green(check, fault):
    """Pods and namespaces get their time; what another check tells is told once."""
    outcome = broken_verdict(check, fault)
    assert outcome.verdict.value == "ok", outcome
