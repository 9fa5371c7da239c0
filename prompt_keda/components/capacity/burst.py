"""Capacity: is one visit's burst taken up in time, and is there room for it?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import DEPLOYMENTS, LIMIT_RANGES, NODES, RESOURCE_QUOTAS, SCALED_JOBS
from prompt_keda.clients.systems import Systems
from prompt_keda.components.capacity import prediction as capacity
from prompt_keda.components.capacity import quotas
from prompt_keda.components.capacity.host_room import CORRECT, Ground, as_stated, ground_of, room_left, stated_workers
from prompt_keda.components.capacity.pod_room import takes
from prompt_keda.components.capacity.prediction import Limit, Prediction
from prompt_keda.components.cluster.nodes import NO_NODE_FIX
from prompt_keda.components.cluster.vcluster import in_a_vcluster, is_made_up, only_inside
from prompt_keda.components.images.places import containers_images
from prompt_keda.components.keda.names import OPERATOR
from prompt_keda.components.scaled_jobs.objects import setting
from prompt_keda.core.check import Outcome, Verdict, check
from prompt_keda.core.errors import BadAnswer, Unfilled
from prompt_keda.core.outcomes import all_of, fail, ok, unknown, warn, worst_of
from prompt_keda.environment.model import ClientLimit, Instrument

KEDA_LIMIT = Limit(20, 30)
"""KEDA 2.16.1's own, where its Deployment sets none (its cmd/operator/main.go)."""
SYNCER_SHOWS = "cluster/pods-start has the syncer's words once it keeps a pod out"


@check(
    "capacity/burst-absorbed",
    "One visit's burst is absorbed in time",
    needs=("cluster/api-answers", "keda/scaled-jobs-present", "keda/parts-ready"),
    runbook="no-room",
)
def burst_absorbed(systems: Systems) -> Outcome:
    """Predict when the last worker of one visit runs, and look whether the nodes have room for it: what they can give,
    less what pods there ask for. WARN above `capacity.target` (20 s); FAIL without room for one visit. In a
    vCluster the nodes and pods of its host count, where `kubernetes.host` may list them; else the room is what
    `capacity.host_workers_count` states, less the workers that are there ([decision
    0010](decisions/0010-room-that-cannot-be-seen.md)). Without it, or with workers that require nodes by affinity,
    the room is UNKNOWN; the prediction is said all the same. On nodes that a vCluster's syncer has made up no pull is counted:
    they list no images.

    Cause: A limit on requests, which is named with what a higher one gives; a pollingInterval that is too long; an
    image that is not on the nodes; nodes that are full, cordoned or tainted.

    Fix: The result names it. After a limit was raised, say so in the environment under `capacity`.
    """
    keda = keda_limit(systems)
    ground = ground_of(systems)
    nodes = ground.nodes if ground else systems.kube.list(NODES)

    def look(instrument: Instrument, live: Object) -> Outcome:
        worker = ground.worker_there(instrument.namespace, _worker(live)) if ground else _worker(live)
        time = _time(
            predicted(systems, instrument.burst_count, live, keda, nodes, worker),
            systems.environment.capacity.target.total_seconds(),
        )
        place = _room(instrument, worker, ground) if ground else _stated_room(systems, instrument)
        if place.verdict is Verdict.UNKNOWN:  # it must not hide how long it takes
            return unknown(f"{time.observed}; {place.observed}", time.fix or place.fix)
        return worst_of([time, place])

    return _of_every_scaled_job(systems, look)


def predicted(
    systems: Systems, jobs_count: int, live: Object, keda: Limit, nodes: list[Object], worker: Object | None = None
) -> Prediction:
    """Predict how long it takes until so many workers of a ScaledJob run.

    Parameters
    ----------
    live
        The ScaledJob.
    keda
        What `keda_limit` gave.
    nodes
        All nodes of where its pods come.
    worker
        What its pods' spec is there; None: as in the ScaledJob.
    """
    settings = systems.environment.capacity
    worker = worker or _worker(live)
    images = list(containers_images(worker))  # init containers are pulled and run before
    hosts = [node for node in nodes if takes(node, worker)]
    is_hidden = any(map(is_made_up, hosts))  # such a node lists no image, whatever its host has
    there = is_hidden or (hosts and all(capacity.has_image(node, image) for node in hosts for image in images))
    pull = timedelta() if there else settings.image_pull
    each = settings.pod_start_each
    return capacity.predict(
        jobs_count,
        keda=keda,
        controller_manager=_limit(settings.controller_manager),
        scheduler=_limit(settings.scheduler),
        syncer=_limit(settings.syncer) if settings.syncer else None,
        starts=Limit(len(hosts) / each.total_seconds(), 0) if hosts and each else None,
        before_s=float(setting(live["spec"], "pollingInterval")),
        after_s=(settings.pod_start + pull).total_seconds(),
    )


def _time(prediction: Prediction, target_s: float) -> Outcome:
    message = f"{prediction.jobs_count} events: the last worker runs after {prediction.seconds:.0f} s"
    if prediction.seconds <= target_s:
        return ok(message)
    bound = prediction.binding.seconds(prediction.jobs_count)
    message += f" of {target_s:.0f} s, {prediction.before_s:.0f} s of them until KEDA polls, {prediction.after_s:.0f} s for the pod"
    if bound == 0:
        return warn(message, "Poll more often (pollingInterval), or have the image on the nodes beforehand.")
    at = (
        f"{prediction.binding.limit.qps:g} pods a second"
        if prediction.binding.name == capacity.NODES
        else prediction.binding.limit
    )
    message += f"; {prediction.binding.name} at {at} binds with {bound:.0f} s"
    relief = prediction.relieved(target_s)
    if prediction.binding.name == capacity.NODES:
        return warn(message, "Let the workers have more nodes, or nodes with more cores.")
    if not relief:
        return warn(message, f"Ask the cluster's owners to raise the limit of {prediction.binding.name}.")
    return warn(f"{message}, at {relief[0]}: {relief[1]:.0f} s in all", _raise(prediction.binding.name, relief[0]))


def _raise(name: str, limit: Limit) -> str:
    if name == capacity.SYNCER:
        return "That limit is built into vCluster: ask the cluster's owners."
    flags = f"--kube-api-qps={limit.qps:g} --kube-api-burst={limit.burst}"
    whose = "" if name == OPERATOR else ", which belongs to the cluster's owners"
    return f"Give {name}{whose}, {flags}; then say so in the environment under capacity."


def _room(instrument: Instrument, worker: Object, ground: Ground) -> Outcome:
    if not ground.nodes:
        return unknown("no node is shown: whether there is room is not known", NO_NODE_FIX)
    room = ground.free.room(worker)
    message = f"room for {room.workers_count} more workers on {room.nodes_count} nodes{ground.where}"
    if room.workers_count >= instrument.burst_count:
        return _as_far_as_seen(worker, message)
    problem = f"{instrument.name}: {message}, one visit wants {instrument.burst_count}; too little of: {room.scarce}"
    return fail(problem, "Free the nodes of what else runs there, or ask the cluster's owners for more.")


def _stated_room(systems: Systems, instrument: Instrument) -> Outcome:
    try:
        left = room_left(systems)
    except Unfilled as error:
        return unknown(error.what, error.fix)
    message = f"room for {left} more workers ({as_stated(systems)})"
    if left >= instrument.burst_count:
        return ok(message)
    return fail(
        f"{instrument.name}: {message}, one visit wants {instrument.burst_count}", "Ask the vCluster's owners for more."
    )


@check(
    "capacity/maximum-fits",
    "The nodes hold as many workers as may run",
    needs=("cluster/api-answers", "keda/scaled-jobs-present"),
    runbook="no-room",
)
def maximum_fits(systems: Systems) -> Outcome:
    """Compare `max_jobs` workers with what the nodes could give if nothing else ran there. In a vCluster it is what others leave
    of its host's nodes, where `kubernetes.host` may list these and the pods; else the `max_jobs` of all instruments are compared
    with `capacity.host_workers_count`; UNKNOWN without it.

    Cause: Fewer or smaller nodes than max_jobs was chosen for.
    """
    ground = ground_of(systems, at_most=True)
    if ground is None:
        return _host_fits(systems)
    if not ground.nodes:
        return unknown("no node is shown: whether there is room is not known", NO_NODE_FIX)

    def look(instrument: Instrument, live: Object) -> Outcome:
        worker = ground.worker_there(instrument.namespace, _worker(live))
        room = ground.free.room(worker)
        message = f"{instrument.name}: {room.nodes_count} nodes{ground.where} hold {room.workers_count} workers"
        if room.workers_count >= instrument.max_jobs:
            return _as_far_as_seen(worker, f"{message}, {instrument.max_jobs} may run")
        fix = "Ask the cluster's owners for more, or name a smaller max_jobs."
        return warn(f"{message} at most, {instrument.max_jobs} may run; too little of: {room.scarce}", fix)

    return _of_every_scaled_job(systems, look)


def _host_fits(systems: Systems) -> Outcome:
    wanted = sum(instrument.max_jobs for instrument in systems.environment.instruments)
    if not wanted:
        return worst_of([])
    stated = stated_workers(systems)
    message = f"the host keeps room for {stated} workers ({as_stated(systems)}), {wanted} may run"
    if stated >= wanted:
        return ok(message)
    return warn(message, "Ask the vCluster's owners for more, or name a smaller max_jobs.")


def _as_far_as_seen(worker: Object, message: str) -> Outcome:
    affinity = (worker.get("affinity") or {}).get("nodeAffinity") or {}
    if affinity.get("requiredDuringSchedulingIgnoredDuringExecution"):
        fix = "Count the room on the nodes that their nodeAffinity allows; a nodeSelector would be looked at."
        return unknown(f"{message}, but the workers require nodes by affinity, which is not looked at", fix)
    return ok(message)


@check(
    "capacity/quota-allows",
    "No quota keeps workers out",
    needs=("cluster/api-answers", "keda/scaled-jobs-present"),
    runbook="no-room",
)
def quota_allows(systems: Systems) -> Outcome:
    """Compare the ResourceQuotas of each instrument's namespace with as many workers as one visit wants (FAIL) and as
    may run (WARN); hold a worker against its LimitRanges. Finished Jobs that KEDA keeps count in
    `count/jobs.batch`; a quota on cpu or memory that one of the containers does not name keeps all workers out,
    unless a LimitRange gives a default. In a vCluster the quotas of its namespace on the host count as well; SKIPPED where the
    environment names no host, and none inside keeps workers out.

    Cause: A quota or LimitRange that was made for something else, or for fewer workers.
    """

    def look(instrument: Instrument, live: Object) -> Outcome:
        in_namespace = systems.kube.list(RESOURCE_QUOTAS, instrument.namespace)
        ranges = systems.kube.list(LIMIT_RANGES, instrument.namespace)
        outcomes = [quotas.of_quota(quota, ranges, instrument, live) for quota in in_namespace]
        outcomes += [quotas.of_range(limits, ranges, _worker(live)) for limits in ranges]
        settings, host = systems.environment.kubernetes.host, systems.host
        if host and settings:
            above = host.list(RESOURCE_QUOTAS, settings.namespace)
            outcomes += [quotas.of_quota(quota, ranges, instrument, live) for quota in above]
            return (
                worst_of(outcomes)
                if outcomes
                else ok(f"no quota in {instrument.namespace}, nor in {settings.namespace} of the host")
            )
        inside = worst_of(outcomes) if outcomes else ok(f"no quota in {instrument.namespace}")
        if inside.verdict is Verdict.OK and in_a_vcluster(systems):
            return only_inside(inside, f"its host's quota is not seen: {SYNCER_SHOWS}")
        return inside

    return _of_every_scaled_job(systems, look)


def _of_every_scaled_job(systems: Systems, look: Callable[[Instrument, Object], Outcome]) -> Outcome:
    """Look at each instrument; without its ScaledJob nobody knows what a worker asks for."""

    def look_at(instrument: Instrument) -> Outcome:
        live = systems.kube.find(SCALED_JOBS, instrument.scaled_job, instrument.namespace)
        if live is None:
            message = f"ScaledJob {instrument.namespace}/{instrument.scaled_job} is missing: what its workers ask for is not known"
            return unknown(message, "./run redeploy applies it.")
        try:
            return look(instrument, live)
        except ValueError as error:
            raise BadAnswer(
                "Kubernetes", systems.kube.address, f"an amount cannot be read: {error}", CORRECT
            ) from error

    return all_of(((instrument.name, instrument) for instrument in systems.environment.instruments), look_at)


def _worker(scaled_job: Object) -> Object:
    pod_spec: Object = scaled_job["spec"]["jobTargetRef"]["template"]["spec"]
    return pod_spec


def _limit(given: ClientLimit) -> Limit:
    return Limit(given.qps, given.burst)


def keda_limit(systems: Systems) -> Limit:
    """Return the limit that the operator's Deployment sets, flag by flag."""
    deployment = systems.kube.get(DEPLOYMENTS, OPERATOR, systems.environment.keda.namespace)
    given: dict[str, str] = {}
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        for argument in [*(container.get("command") or []), *(container.get("args") or [])]:
            name, _, value = argument.removeprefix("-").removeprefix("-").partition("=")
            given[name] = value
    try:
        qps = float(given.get("kube-api-qps", KEDA_LIMIT.qps))
        return Limit(qps or KEDA_LIMIT.qps, int(given.get("kube-api-burst", KEDA_LIMIT.burst)) or KEDA_LIMIT.burst)
    except ValueError as error:
        raise BadAnswer(
            "Kubernetes", systems.kube.address, f"{OPERATOR}: its limit cannot be read: {error}", CORRECT
        ) from error
