"""The one verdict above all others: do events become work?"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import LEASES, NODES, PODS
from prompt_keda.clients.systems import Systems
from prompt_keda.components.capacity.burst import keda_limit, predicted
from prompt_keda.components.cluster.clock import age
from prompt_keda.components.cluster.events import events_of, last_seen, words_of
from prompt_keda.components.keda.names import LEASE
from prompt_keda.components.keda.operator_metrics import operator_metrics, scale_loops
from prompt_keda.components.keda.parts import leader_of
from prompt_keda.components.scaled_jobs.looks import of_every_scaled_job
from prompt_keda.components.scaled_jobs.objects import setting
from prompt_keda.components.scaling.chain import JOB_START, Chain, last_moves, seconds, standing_still
from prompt_keda.components.scaling.workers import workers_of
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.errors import ClientError
from prompt_keda.core.outcomes import fail, ok, warn
from prompt_keda.environment.model import Instrument

if TYPE_CHECKING:
    from prompt_keda.clients.redis_state import RedisState

BEGINS = timedelta(minutes=1)
"""So long a new ScaledJob, or a new operator, may take until KEDA polls."""
NEWS = timedelta(minutes=5)
"""An Event that is older is about something else."""
FIX = "./run respond ranks the causes; what the operator says: kubectl -n {0} logs deployment/keda-operator --since=5m"
REFUSED = "KEDA has asked for Jobs {0} ago, and none came to be: what admits Jobs refuses them (its log has the words)"


@check(
    "scaling/works",
    "Events become work in time",
    needs=("cluster/api-answers", "keda/scaled-jobs-present", "redis/answers", "redis/groups-exist"),
    runbook="keda-does-not-scale",
)
def works(systems: Systems) -> Outcome:
    """Follow each instrument's events link by link, by the clocks of Redis and the API server: events come in, the
    group's lag grows, KEDA polls, Jobs are made, pods are made, are scheduled, their containers run, workers read,
    acknowledge, and their Jobs end well. A suspended Job is not at work.

    FAIL: the oldest event that waits is older than three polls and twice the start that the capacity model predicts,
    while fewer than `max_jobs` workers are at work, and no Job starts for it; or fewer than minReplicaCount are there
    for as long; or workers end as soon as they begin; or what is given out is not acknowledged; or, also where no event
    waits, the newest workers do not come to run, KEDA has not asked Redis for some polls, or the group stands ahead of
    its stream. WARN: events wait for longer than the model says, or than `capacity.target` where `max_jobs` workers are
    at work; or any link stands still; or nothing shows that KEDA polls, neither a connection to Redis nor a loop in its
    metrics. It needs no known cause: other checks name one.

    Cause: Whatever cuts the chain. The result says which links stand still, and since when.

    Fix: `./run respond` ranks the causes that other checks see. With none: the operator's log, the Events of the
    ScaledJob and of its Jobs.
    """
    moves: list[str] = []

    def look(instrument: Instrument, live: Object) -> Outcome:
        chain = see(systems, instrument, live)
        moves.append(f"{instrument.name}: {last_moves(chain)}")
        return _verdict(systems, instrument, chain)

    outcome = of_every_scaled_job(systems, look, "")
    return replace(outcome, detail="; ".join(filter(None, (outcome.detail, *moves))))


def see(systems: Systems, instrument: Instrument, live: Object) -> Chain:
    """Read all that one instrument's verdict needs. Raises as `Kube.each` and a look at Redis does."""
    redis_state, spec = systems.redis_state(), live["spec"]
    polled = _polled(systems, redis_state)
    made_at = age(systems, live["metadata"]["creationTimestamp"])
    stream = redis_state.stream(instrument.stream)
    backlog = redis_state.backlog(instrument.stream, instrument.consumer_group)
    flow = redis_state.flow(instrument.stream, instrument.consumer_group)
    came_ms = int(stream.last_id.partition("-")[0]) if stream else 0
    return Chain(
        waiting_count=backlog.waiting,
        oldest=_span(flow.oldest_waiting_s),
        event=timedelta(seconds=max(0.0, redis_state.now_s() - came_ms / 1000)) if came_ms else None,
        read=_span(flow.last_read_s),
        unacknowledged=_span(flow.unacknowledged_s),
        unacknowledged_count=flow.unacknowledged_count,
        is_ahead=backlog.is_ahead,
        clock_behind=timedelta(seconds=max(0.0, came_ms / 1000 - redis_state.now_s())),
        polled=polled,
        no_poll_seen="" if polled is not None or made_at <= BEGINS else _no_loop(systems, instrument),
        made_at=made_at,
        polling=timedelta(seconds=float(setting(spec, "pollingInterval"))),
        start=_start(systems, instrument, live, backlog.waiting),
        target=systems.environment.capacity.target,
        minimum=int(setting(spec, "minReplicaCount")),
        maximum=instrument.max_jobs,
        workers=workers_of(systems, instrument),
    )


def _polled(systems: Systems, redis_state: RedisState) -> timedelta | None:
    """Return how long ago the operator asked Redis for a lag; None where that cannot be seen.

    A ScaledJob's ``lastActiveTime`` does not show it: KEDA 2.16.1 never writes it (pkg/scaling/executor/scale_jobs.go sets it
    before the patch is made, which is then empty).
    """
    namespace = systems.environment.keda.namespace
    try:
        lease = systems.kube.get(LEASES, LEASE, namespace)
        holder = leader_of(lease)
        pods = [pod for pod in systems.kube.each(PODS, namespace) if pod["metadata"]["name"] == holder]
        addresses = [pod["status"]["podIP"] for pod in pods if (pod.get("status") or {}).get("podIP")]
        ages = [redis_state.lag_asked_s(address) for address in addresses]
    except ClientError:
        return None
    return _span(next((age_s for age_s in ages if age_s is not None), None))


def _no_loop(systems: Systems, instrument: Instrument) -> str:
    """Return why the operator's own metrics do not show that it polls; empty: they do, or it has just begun its work."""
    namespace = systems.environment.keda.namespace
    try:
        since = systems.kube.get(LEASES, LEASE, namespace)["spec"].get("acquireTime")
        if since and age(systems, since) <= BEGINS:
            return ""
        page = operator_metrics(systems.kube, namespace)
    except ClientError as error:
        return f"whether KEDA polls cannot be seen: {error.what}"
    has_loop = (instrument.namespace, instrument.scaled_job) in scale_loops(page)
    return "" if has_loop else "KEDA's operator has asked Redis for nothing, and runs no scale loop"


def _span(age_s: float | None) -> timedelta | None:
    return None if age_s is None else timedelta(seconds=age_s)


def _start(systems: Systems, instrument: Instrument, live: Object, waiting_count: int) -> timedelta:
    """Return how long the start of the workers that are wanted may take; without what the model needs, a guess."""
    wanted = max(1, min(waiting_count, instrument.max_jobs))
    try:
        model = predicted(systems, wanted, live, keda_limit(systems), systems.kube.list(NODES))
    except ClientError:
        return JOB_START
    return timedelta(seconds=model.seconds - model.before_s)


def _verdict(systems: Systems, instrument: Instrument, chain: Chain) -> Outcome:
    workers = f"{chain.workers.at_work_count} of {chain.maximum} workers are at work"
    waits = f"{chain.waiting_count} events wait, the oldest for {seconds(chain.oldest)}" if chain.oldest else ""
    message = f"{instrument.name}: " + (f"{waits}, {workers}" if waits else f"no event waits, {workers}")
    reasons, fix = standing_still(chain), FIX.format(systems.environment.keda.namespace)
    is_cut = chain.lacks_workers or chain.is_below_minimum or chain.acknowledges_nothing
    is_cut = is_cut or chain.is_ahead or chain.polls_no_more or chain.start_no_more
    if is_cut or (chain.end_at_once and (chain.is_overdue or chain.workers.at_work_count < chain.minimum)):
        if chain.is_below_minimum:
            reasons.insert(0, f"{chain.minimum} are the least")
        reasons += _known(systems, instrument, chain)
        return fail("; ".join([message, *reasons]), fix)
    if chain.end_at_once:
        return warn("; ".join([message, *reasons]), "Look at the newest of them: kubectl logs job/NAME.")
    if chain.is_slow:
        slow = f"{message}; the capacity model says {seconds(chain.model)}"
        more = "Wait: workers take them one after another. More of them: max_jobs, room, limits."
        return warn("; ".join([slow, *reasons]), more)
    return warn("; ".join([message, *reasons]), fix) if reasons else ok(message)


def _known(systems: Systems, instrument: Instrument, chain: Chain) -> list[str]:
    """Return what Kubernetes' Events say of the cause: what KEDA has asked for in vain, and the newest warning.

    That KEDA asks is not always seen: client-go writes 25 Events about an object, and then one each five minutes.
    """
    names = {name for worker in chain.workers.all for name in (worker.name, worker.pod_name)}
    names.add(instrument.scaled_job)
    try:
        events = [event for kind in ("ScaledJob", "Job", "Pod") for event in _news(systems, instrument, kind, names)]
    except ClientError as error:
        return [f"its Events cannot be read: {error.what}"]
    newest = chain.workers.newest_made
    asked = [age(systems, last_seen(event)) for event in events if event.get("reason") == "KEDAJobsCreated"]
    texts = []
    if asked and (newest is None or newest - min(asked) > chain.limit):
        texts.append(REFUSED.format(seconds(min(asked))))
    warnings = sorted((event for event in events if event.get("type") == "Warning"), key=last_seen)
    for event in warnings[-1:]:
        about = event["involvedObject"]
        texts.append(f"{about['kind']} {about['name']}: {words_of(event)}")
    return texts


def _news(systems: Systems, instrument: Instrument, kind: str, names: set[str]) -> list[Object]:
    """Return what was reported lately of these objects of a kind; what is gone is left out."""
    return [
        event
        for event in events_of(systems, instrument.namespace, kind, only_warnings=kind != "ScaledJob")
        if event["involvedObject"]["name"] in names and age(systems, last_seen(event)) <= NEWS
    ]
