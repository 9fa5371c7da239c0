"""The nodes: are they ready, do they report, and is there room for more workers?"""

from __future__ import annotations

from datetime import timedelta

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.conditions import conditions
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import LEASES, NODES, SCALED_JOBS
from prompt_keda.clients.systems import Systems
from prompt_keda.components.capacity.host_room import as_stated, ground_of, room_left
from prompt_keda.components.cluster.clock import age
from prompt_keda.components.cluster.vcluster import is_made_up
from prompt_keda.components.scaled_jobs.looks import of_every_instrument
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.errors import Refused
from prompt_keda.core.outcomes import all_of, fail, ok, skipped, unknown, warn, worst_of
from prompt_keda.environment.model import Instrument

NO_NODE = "no node is shown: a vCluster shows only those that its pods run on"
NO_NODE_FIX = "Ask the cluster's owners whether there is one; in a new vCluster, look again once a pod runs."
NODE_LEASES = "kube-node-lease"
SILENT = timedelta(seconds=40)
"""A kubelet's Lease lasts 40 s and is renewed every 10 s (KubeletConfiguration, nodeLeaseDurationSeconds)."""


@check("cluster/nodes-ready", "Nodes are Ready", needs=("cluster/api-answers",), runbook="cluster-degraded")
def nodes_ready(systems: Systems) -> Outcome:
    """Look at the condition Ready of every node.

    Cause: A kubelet or its machine is down; no pod starts there. UNKNOWN when no node is shown, as in a new
    vCluster. SKIPPED when a vCluster's syncer has made them up: it writes Ready once, and never looks again. Where the
    environment names its host, that one's nodes of the same names are looked at.
    """
    _, nodes = _real(systems)
    if not nodes:
        return unknown(NO_NODE, NO_NODE_FIX)
    if any(map(is_made_up, nodes)):
        return skipped(
            f"the vCluster's syncer has made up {len(nodes)} nodes, and Ready with them: its host's are not seen"
        )
    bad = _not_ready(nodes)
    outcome, fix = fail if len(bad) == len(nodes) else warn, "Nothing begins there. Ask the cluster's owners."
    outcomes = [outcome(f"{name}: {why}", fix) for name, why in bad.items()]
    return worst_of(outcomes) if outcomes else ok(f"{len(nodes)} nodes ready")


def _real(systems: Systems) -> tuple[Kube, list[Object]]:
    """Return the nodes that pods are on, and the API server that knows them: those that a syncer has made up bear the names of its
    host's, where the environment names that. Raises as `Kube.list` does."""
    nodes, host = systems.kube.list(NODES), systems.host
    if host is None or not any(map(is_made_up, nodes)):
        return systems.kube, nodes
    names = {node["metadata"]["name"] for node in nodes}
    return host, [node for node in host.list(NODES) if node["metadata"]["name"] in names]


def nodes_lost(systems: Systems) -> set[str]:
    """Return the names of the nodes that are not ready. Raises as `Kube.list` does."""
    try:
        _, nodes = _real(systems)
    except Refused:  # of the host: cluster/nodes-ready tells that
        nodes = systems.kube.list(NODES)
    return set(_not_ready(nodes))


def _not_ready(nodes: list[Object]) -> dict[str, str]:
    reasons = {}
    for node in nodes:
        ready = conditions(node).get("Ready", {})
        if ready.get("status") != "True":
            reasons[node["metadata"]["name"]] = str(ready.get("message", "no condition Ready"))
    return reasons


@check(
    "cluster/nodes-report", "Every node renews its Lease", needs=("cluster/nodes-ready",), runbook="cluster-degraded"
)
def nodes_report(systems: Systems) -> Outcome:
    """Look at the Lease that each kubelet renews every 10 s.

    Cause: WARN: a kubelet or its machine hangs; what runs there runs on, but nothing begins or stops. SKIPPED where
    no node keeps a Lease, as in a vCluster, whose syncer speaks for the nodes. UNKNOWN: the Leases may not be read.

    Fix: The result names the node. Some seconds later the cluster itself counts it as lost, and cluster/nodes-ready
    says so.
    """
    fix = "Its kubelet or machine hangs; the cluster counts it as lost some seconds later. Ask the cluster's owners."
    kube, known = _real(systems)
    nodes = [node["metadata"]["name"] for node in known]
    if not nodes:
        return unknown(NO_NODE, NO_NODE_FIX)
    try:
        node_leases = list(kube.each(LEASES, NODE_LEASES))
    except Refused as error:
        return unknown(f"the nodes' Leases may not be seen: {error.detail}", error.fix)
    leases = {lease["metadata"]["name"]: lease["spec"].get("renewTime") for lease in node_leases}
    if not leases:
        return skipped(f"no node keeps a Lease in {NODE_LEASES}")

    def look(node: str) -> Outcome:
        if not leases.get(node):
            return warn(f"{node} keeps no Lease", fix)
        silent = age(systems, leases[node])
        if silent > SILENT:
            return warn(f"{node} was last heard of {silent.total_seconds():.0f} s ago", fix)
        return ok(node)

    return all_of(((node, node) for node in nodes), look, f"{len(nodes)} nodes heard of within {SILENT.seconds} s")


@check(
    "cluster/nodes-have-room",
    "The nodes have room for more workers",
    needs=("cluster/nodes-ready", "keda/limits-as-configured"),
    runbook="no-room",
)
def nodes_have_room(systems: Systems) -> Outcome:
    """What the nodes have, less what the pods on them ask for (cpu, memory, number of pods), is compared with what the
    live ScaledJob's workers ask for: as many more as the instrument always has (min_jobs).

    Cause: Too few nodes, nodes that are cordoned or tainted, or other pods that ask for much. Affinities are not
    looked at. In a vCluster the nodes and pods of its host count, where `kubernetes.host` may list them; else the room is
    what `capacity.host_workers_count` states, less the workers that are there; UNKNOWN without it
    ([decision 0010](decisions/0010-room-that-cannot-be-seen.md)).

    Fix: The result names what is short.
    """
    ground = ground_of(systems)
    if ground is None:
        return _host_has_room(systems)
    if not ground.nodes:
        return unknown(NO_NODE, NO_NODE_FIX)
    free = ground.free

    def look(instrument: Instrument) -> Outcome:
        live = systems.kube.find(SCALED_JOBS, instrument.scaled_job, instrument.namespace)
        if live is None:
            return unknown(
                f"ScaledJob {instrument.scaled_job} is missing: what a worker asks for is not known",
                "./run redeploy applies it.",
            )
        worker = ground.worker_there(instrument.namespace, live["spec"]["jobTargetRef"]["template"]["spec"])
        wanted = max(1, instrument.min_jobs)
        room = free.room(worker)
        if room.workers_count < wanted:
            message = f"room for {room.workers_count} of {wanted} more workers of {instrument.name}; too little of: {room.scarce}"
            return warn(message, "Add nodes, or stop what is not needed; workers wait until others end.")
        free.place(worker, wanted)
        return ok(f"{instrument.name}: {wanted} more workers fit on the nodes{ground.where}")

    return of_every_instrument(systems, look)


def _host_has_room(systems: Systems) -> Outcome:
    fix = "Ask the vCluster's owners for more; workers wait until others end."
    wanted = sum(max(1, instrument.min_jobs) for instrument in systems.environment.instruments)
    if not wanted:
        return worst_of([])
    left = room_left(systems)
    message = f"room for {left} more workers ({as_stated(systems)}), {wanted} are always wanted"
    return ok(message) if left >= wanted else warn(message, fix)
