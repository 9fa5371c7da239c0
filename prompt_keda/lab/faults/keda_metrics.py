"""Faults that only the operator's own metrics show: all else says Ready."""

from __future__ import annotations

import shlex

from prompt_keda.clients.kube.resources import CLUSTER_ROLES, DEPLOYMENTS, LEASES
from prompt_keda.components.keda.names import LEASE, OPERATOR
from prompt_keda.core.waiting import until
from prompt_keda.lab import processes, users_engine
from prompt_keda.lab.commands import run
from prompt_keda.lab.faults import scaled_jobs
from prompt_keda.lab.faults.fault import Fault, Stage
from prompt_keda.lab.faults.keda_parts import until_fresh

WATCHED, ELSEWHERE = "WATCH_NAMESPACE", "default"
CHAIN, NOTE = "FORWARD", "prompt-keda-fault"
STATUS = "scaledjobs/status"
METRICS_PORT, ERRORS = 8080, "keda_scaled_job_errors_total"


def watch_elsewhere(stage: Stage) -> None:
    """Let the operator watch one namespace, in which no ScaledJob is."""
    _watch(stage, ELSEWHERE)


def watch_all(stage: Stage) -> None:
    """Let it watch all."""
    _watch(stage, "")


def _watch(stage: Stage, namespace: str) -> None:
    """Set the namespace that it watches, and wait until its new pod has the Lease."""
    place = stage.environment.keda.namespace
    (live,) = stage.kube.get(DEPLOYMENTS, OPERATOR, place)["spec"]["template"]["spec"]["containers"]
    env = [{**variable, "value": namespace} if variable["name"] == WATCHED else variable for variable in live["env"]]
    body = {"spec": {"template": {"spec": {"containers": [{**live, "env": env}]}}}}
    stage.kube.patch(DEPLOYMENTS, OPERATOR, place, body)
    until(lambda: _works_alone(stage, namespace), "a new operator")
    until_fresh(stage)


def _works_alone(stage: Stage, namespace: str) -> bool:
    """Return whether the only pod of the operator watches this namespace, is ready, and holds the Lease."""
    place = stage.environment.keda.namespace
    pods = stage.keda_pods(OPERATOR)
    holder = str(stage.kube.get(LEASES, LEASE, place)["spec"].get("holderIdentity"))
    if len(pods) != 1 or not holder.startswith(pods[0]["metadata"]["name"]):
        return False
    env = {variable["name"]: variable.get("value", "") for variable in pods[0]["spec"]["containers"][0]["env"]}
    ready = [status.get("ready") for status in pods[0]["status"].get("containerStatuses") or []]
    return env[WATCHED] == namespace and ready == [True]


def part_from_redis(stage: Stage) -> None:
    """Let no packet of the operator's reach Redis, as a network policy does, and wait until KEDA says so."""
    _block(stage)
    until(lambda: scaled_jobs.readiness(stage) != {"True"}, "a ScaledJob that is not Ready")


def join_redis(stage: Stage) -> None:
    """Let them through."""
    for rule in _iptables(stage, "-S", CHAIN).splitlines():
        if NOTE in rule:
            _iptables(stage, "-D", *shlex.split(rule)[1:])
    scaled_jobs.until_ready(stage)


def part_silently(stage: Stage) -> None:
    """Take the operator's right to say how its ScaledJobs are, then its way to Redis, and wait until it has erred."""
    _may_write_status(stage, False)
    before = _errors(stage)
    _block(stage)
    until(lambda: _errors(stage) > before, "an error of KEDA's")


def join_visibly(stage: Stage) -> None:
    """Give both back."""
    _may_write_status(stage, True)
    join_redis(stage)


def _block(stage: Stage) -> None:
    for pod in stage.keda_pods(OPERATOR):
        packets = ["-s", pod["status"]["podIP"], "-p", "tcp", "--dport", str(stage.environment.redis.port)]
        _iptables(stage, "-I", CHAIN, *packets, "-m", "comment", "--comment", NOTE, "-j", "DROP")


def _iptables(stage: Stage, *arguments: str) -> str:
    """Return what the iptables of the node says, by which kube-proxy works; natively that is this machine's."""
    enter = users_engine.in_node(stage.lab) if stage.lab.is_users else processes.enter_node(stage.lab)
    return run([*enter, "iptables", "-w", *arguments])


def _errors(stage: Stage) -> float:
    """Return how often the operator says that it has erred."""
    place = stage.environment.keda.namespace
    (pod,) = stage.keda_pods(OPERATOR)
    page = stage.kube.page(place, pod["metadata"]["name"], METRICS_PORT, "/metrics")
    return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(f"{ERRORS}{{"))


def _may_write_status(stage: Stage, may: bool) -> None:
    """Let the operator's role have the right to write statuses of ScaledJobs, or not."""
    rules = stage.keda_object(CLUSTER_ROLES.kind, OPERATOR)["rules"]
    kept = [{**rule, "resources": [name for name in rule["resources"] if may or name != STATUS]} for rule in rules]
    stage.kube.patch(CLUSTER_ROLES, OPERATOR, None, {"rules": kept})


FAULTS: tuple[Fault, ...] = (
    Fault(
        "keda/watches-elsewhere",
        "F15",
        "the operator watches another namespace, and the ScaledJob still says Ready",
        watch_elsewhere,
        watch_all,
        {"keda/scale-loops-run": "warn"},
        "so its Ready is stale",
        stops_scaling=True,
    ),
    Fault(
        "keda/parted-from-redis",
        "F21",
        "KEDA cannot reach Redis, others can",
        part_from_redis,
        join_redis,
        {"keda/scaled-jobs-ready": "fail"},
        "Some triggers defined in ScaledJob are not working correctly",
        stops_scaling=True,
    ),
    Fault(
        "keda/errors-untold",
        "F15",
        "KEDA cannot reach Redis, and may not write that into the ScaledJob: it still says Ready",
        part_silently,
        join_visibly,
        {"keda/no-scaler-errors": "warn"},
        "errors since the operator's start, ",
        stops_scaling=True,
    ),
)
