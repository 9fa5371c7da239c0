"""Stage verify: scaling resumes, every part is ready, and no Job was lost."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from prompt_keda.clients.kube.objects import some
from prompt_keda.clients.kube.resources import API_SERVICES, DEPLOYMENTS, LEASES, PODS, SCALED_JOBS
from prompt_keda.clients.kube.watch import Watch
from prompt_keda.components import finalizers
from prompt_keda.components.cluster import held_namespaces as namespaces
from prompt_keda.components.cluster.api import external_metrics_available
from prompt_keda.components.cluster.clock import server_now
from prompt_keda.components.cluster.readiness import Reason, worst_reason
from prompt_keda.components.event_source.choice import event_source
from prompt_keda.components.event_source.words import wrong_lag
from prompt_keda.components.keda.names import API_SERVICE
from prompt_keda.components.keda.operator_metrics import operator_metrics, scale_loops
from prompt_keda.components.keda.parts import lease_fresh, part_standing
from prompt_keda.components.run import Context
from prompt_keda.components.scaled_jobs import lint, running_jobs
from prompt_keda.components.scaled_jobs.objects import is_paused, is_running
from prompt_keda.components.scaled_jobs.specs import ready_standing
from prompt_keda.components.smoke import smoke_test
from prompt_keda.core.check import Verdict
from prompt_keda.core.errors import ClientError, PromptKedaError, Unreachable
from prompt_keda.core.plan import Progress, State, Step
from prompt_keda.environment.model import Instrument

LAST_WORDS = 300
"""Characters of a crashed container's log that are shown."""


def smoke_inspect(context: Context) -> Progress:
    """Has the smoke test of this run passed?"""
    if context.smoke is None:
        return Progress(State.TODO, "not verified in this run")
    count, jobs_count = context.smoke.acknowledged_count, len(context.smoke.job_uids)
    return Progress(State.DONE, f"{context.smoke.events_count} events, {jobs_count} Jobs, {count} acknowledged, lag 0")


def run_smoke(context: Context) -> None:
    """Run the smoke test. Idempotent: yes, each run has objects of its own."""
    with suppress(PromptKedaError):  # the first look of loops_inspect: while the smoke test runs, KEDA polls
        loops_inspect(context)
    count = context.environment.smoke.events_count

    def obstacle() -> str | None:
        live = {
            deployment["metadata"]["name"] for deployment in context.systems.kube.list(DEPLOYMENTS, context.namespace)
        }
        gone = [name for name in _deployments(context) if name not in live]
        if gone:
            return f"{', '.join(gone)} is gone again: somebody has removed it since the install"
        progress = parts_inspect(context)
        return progress.detail if progress.state is State.BROKEN else None

    context.smoke = smoke_test.run_smoke(context.systems, count, context.observer, context.run_id, obstacle)


def _deployments(context: Context) -> list[str]:
    return [obj["metadata"]["name"] for obj in context.keda_objects if obj["kind"] == "Deployment"]


def parts_inspect(context: Context) -> Progress:
    """Is every part of KEDA ready? With the reason of the first that is not."""
    kube = context.systems.kube
    wanted = _deployments(context)
    live = {deployment["metadata"]["name"]: deployment for deployment in kube.list(DEPLOYMENTS, context.namespace)}
    standing = {name: part_standing(name, live.get(name)) for name in wanted}
    waiting = {name: outcome for name, outcome in standing.items() if outcome.verdict is not Verdict.OK}
    ready = f"{len(wanted) - len(waiting)}/{len(wanted)} ready"
    if waiting:
        pods = kube.list(PODS, context.namespace, f"app in ({','.join(waiting)})")
        why = worst_reason(pods, server_now(context.systems))
        if why and why.hopeless:
            return Progress(State.BROKEN, f"{ready}: {why.text}{_last_words(context, why)}")
        return Progress(State.WORKING, f"{ready}: {why.text if why else next(iter(waiting.values())).observed}")
    metrics = external_metrics_available(context.systems)
    if metrics.verdict is not Verdict.OK:
        return Progress(State.WORKING, f"{ready}; {API_SERVICE}: {metrics.observed[:200]}")
    return Progress(State.DONE, f"{ready}, {API_SERVICE} available")


def _last_words(context: Context, why: Reason) -> str:
    """Return the last line that a crashed container has written; nothing where it cannot be read."""
    if not why.crashed:
        return ""
    pod, container = why.crashed
    try:
        line = context.systems.kube.logs(context.namespace, pod, 1, previous=True, container=container).strip()
    except ClientError:
        return ""
    return f"; its last words: {line[-LAST_WORDS:]}" if line else ""


def leader_inspect(context: Context) -> Progress:
    """Does an operator's pod of now hold the Lease? Until one does, every status of KEDA is only a memory (F15)."""
    standing = lease_fresh(context.systems)
    return Progress(State.DONE if standing.verdict is Verdict.OK else State.WORKING, standing.observed)


def _to_verify(context: Context) -> list[Instrument]:
    """Return the instruments whose ScaledJobs can work: one whose deletion others hold up is reported at the end."""
    kube, wanted, left = context.systems.kube, [], namespaces.left(context)
    for instrument in context.environment.instruments:
        live = kube.find(SCALED_JOBS, instrument.scaled_job, instrument.namespace)
        if instrument.namespace not in left and (live is None or not finalizers.is_held_by_others(live)):
            wanted.append(instrument)
    return wanted


def scaled_jobs_inspect(context: Context) -> Progress:
    """Is every instrument's ScaledJob there, Ready, not paused, and can its Jobs run, whoever delivers it?"""
    wanted = _to_verify(context)
    for instrument in wanted:
        live = context.systems.kube.find(SCALED_JOBS, instrument.scaled_job, instrument.namespace)
        if live is None:
            return Progress(
                State.BROKEN,
                f"{instrument.namespace}/{instrument.scaled_job} is missing; who delivers it has to apply it",
            )
        if is_paused(live):
            return Progress(State.BROKEN, f"{instrument.scaled_job} is paused; whoever paused it has to unpause it")
        if reason := next(lint.stops(live["spec"]), ""):
            return Progress(State.BROKEN, f"{instrument.scaled_job}: {reason}; who delivers it has to correct it")
        standing = ready_standing(live)
        if standing.verdict is not Verdict.OK:
            return Progress(State.WORKING, standing.observed)
    return Progress(State.DONE, f"{len(wanted)} Ready")


def loops_inspect(context: Context) -> Progress:
    """Does the operator poll every ScaledJob now? A status, and a metric that does not move, may be a memory (F15, F21)."""
    try:
        loops = scale_loops(operator_metrics(context.systems.kube, context.namespace))
    except Unreachable as error:
        return Progress(State.WORKING, error.what)
    wanted = [(instrument.namespace, instrument.scaled_job) for instrument in _to_verify(context)]
    for key in wanted:
        if key not in loops:
            return Progress(State.WORKING, f"{key[1]}: the operator has no loop for it")
        if context.polled_before.setdefault(key, loops[key]) == loops[key]:
            return Progress(State.WORKING, f"{key[1]}: not polled yet since the first look")
    return Progress(State.DONE, f"{len(wanted)} polled")


def lag_inspect(context: Context) -> Progress:
    """Does KEDA read the right lag of every instrument? The smoke test's own stream says nothing of theirs (F16)."""
    right = []
    for instrument in context.environment.instruments:
        backlog = event_source(context.systems).backlog(instrument.stream, instrument.consumer_group)
        if wrong := wrong_lag(instrument.stream, backlog):
            return Progress(State.WORKING, wrong)
        right.append(f"{instrument.stream} lag {backlog.lag}")
    return Progress(State.DONE, "; ".join(right))


def work_inspect(context: Context) -> Progress:
    """Is the backlog of every instrument worked off: has its group read on, or are all its Jobs at work already?"""
    details = []
    active = [job for job in running_jobs.active_jobs(context.systems.kube) if is_running(job)]
    for instrument in _to_verify(context):
        group = event_source(context.systems).find_group(instrument.stream, instrument.consumer_group)
        if group is None:
            return Progress(State.BROKEN, f"{instrument.stream} has no group {instrument.consumer_group}")
        began = context.read_before.setdefault(instrument.stream, group.entries_read or 0)
        owner = {"metadata": {"namespace": instrument.namespace, "name": instrument.scaled_job}}
        running = sum(running_jobs.is_of(job, owner) for job in active)
        waits = group.lag is None or group.lag > instrument.activation_lag_count
        if waits and (group.entries_read or 0) <= began and running < instrument.max_jobs:
            return Progress(
                State.WORKING, f"{instrument.stream}: {group.lag} events wait, {running} Jobs run, none is read"
            )
        details.append(f"{instrument.stream} lag {group.lag}, {running} Jobs")
    return Progress(State.DONE, "; ".join(details))


def jobs_inspect(context: Context) -> Progress:
    """Did every Job and pod that was active at the start survive?"""
    lost = running_jobs.lost(context.systems.kube, context.before)
    if lost:
        return Progress(State.BROKEN, f"{len(lost)} of {len(context.before)} lost: {'; '.join(lost[:5])}")
    going = running_jobs.going(context.before)
    detail = f"all {len(context.before) - len(going)} Jobs and pods of the start live on or ended by themselves"
    if going:
        detail += f"; being deleted before this run, and not counted: {some(going)}"
    failed = running_jobs.failed(context.systems.kube, context.before)
    return Progress(State.DONE, detail + (f"; {len(failed)} Jobs failed: {', '.join(failed[:5])}" if failed else ""))


def look_only(context: Context) -> None:
    """Do nothing: this step only waits until what the others began is there. Idempotent: yes."""


SMOKE: Step[Context] = Step(
    "verify/smoke", "verify that events become Jobs", smoke_inspect, run_smoke, deadline=smoke_test.LIMIT
)
STEPS: tuple[Step[Context], ...] = (
    Step(
        "verify/parts-ready",
        "wait until every part of KEDA is ready",
        parts_inspect,
        look_only,
        deadline=timedelta(seconds=180),
        watch=lambda context: Watch(
            context.systems.kube, [(DEPLOYMENTS, context.namespace), (PODS, context.namespace), (API_SERVICES, None)]
        ),
    ),
    Step(
        "verify/scaled-jobs-ready",
        "wait until every ScaledJob is Ready",
        scaled_jobs_inspect,
        look_only,
        deadline=timedelta(seconds=60),
        watch=lambda context: Watch(context.systems.kube, [(SCALED_JOBS, None)]),
    ),
    Step(
        "verify/operator-leads",
        "wait until an operator holds the Lease",
        leader_inspect,
        look_only,
        watch=lambda context: Watch(context.systems.kube, [(LEASES, context.namespace)]),
    ),
    Step("verify/loops-poll", "see that KEDA polls every ScaledJob", loops_inspect, look_only),
    Step("verify/lag-right", "see that KEDA reads the right lag of every group", lag_inspect, look_only),
    Step("verify/backlog-moves", "see that what waits is worked off", work_inspect, look_only),
    Step("verify/no-job-lost", "compare the Jobs with those of the start", jobs_inspect, look_only),
)
