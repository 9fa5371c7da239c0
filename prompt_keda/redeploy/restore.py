"""Stage restore: streams, consumer groups with their lag, and ScaledJobs."""

from __future__ import annotations

import copy
from datetime import timedelta

from prompt_keda.clients.kube_resources import SCALED_JOBS
from prompt_keda.clients.kube_watch import Watch
from prompt_keda.errors import Refusal
from prompt_keda.model.environment import Instrument
from prompt_keda.model.job_object import keeps_older_jobs
from prompt_keda.model.plan import Progress, State, Step
from prompt_keda.redeploy import jobs
from prompt_keda.redeploy.compare import first_difference
from prompt_keda.redeploy.context import RUN_ANNOTATION, Context, Object

PAUSED = "autoscaling.keda.sh/paused"


def streams_inspect(context: Context) -> Progress:
    """Has every instrument its stream and consumer group?"""
    redis = context.systems.redis
    absent = [
        f"{one.stream} {one.consumer_group}"
        for one in context.environment.instruments
        if redis.group_info(one.stream, one.consumer_group) is None
    ]
    if absent:
        return Progress(State.TODO, f"absent: {', '.join(absent)}")
    return Progress(State.DONE, f"{len(context.environment.instruments)} groups there")


def ensure_streams(context: Context) -> None:
    """Make the groups that are absent, at the environment's start. An existing one is never moved. Idempotent: yes."""
    for one in context.environment.instruments:
        context.systems.redis.ensure_group(one.stream, one.consumer_group, one.group_start)


def lag_inspect(context: Context) -> Progress:
    """Does Redis know what each group has read? If not, KEDA takes its lag for 0 when the next events come (F16)."""
    redis = context.systems.redis
    found = {one.stream: redis.group_info(one.stream, one.consumer_group) for one in context.environment.instruments}
    lost = [stream for stream, group in found.items() if group is not None and not group.is_counted]
    if lost:
        return Progress(State.TODO, f"Redis has lost what was read of {', '.join(lost)}: KEDA will take the lag for 0")
    return Progress(State.DONE, f"{len(found)} counted")


def count_lag(context: Context) -> None:
    """Let Redis count again what each group has read; no group is moved. Idempotent: yes."""
    for one in context.environment.instruments:
        context.systems.redis.count_read(one.stream, one.consumer_group)


def scaled_jobs_inspect(context: Context) -> Progress:
    """Is every ScaledJob there, as it should be, and not paused by us?"""
    for instrument in context.instruments():
        for one in context.instrument_objects[instrument.name]:
            found = _find(context, one)
            what = f"{one['kind']} {one['metadata']['name']}"
            if found is None:
                return Progress(State.TODO, f"{what} is absent")
            if difference := first_difference(one["spec"], found["spec"]):
                return Progress(State.TODO, f"{what} differs at {difference}")
            if one["kind"] == "ScaledJob" and _paused_by_us(found):
                return _while_paused(context, instrument, found)
    return Progress(State.DONE, f"{len(context.instruments())} as they should be")


def apply_scaled_jobs(context: Context) -> None:
    """Apply the ScaledJobs. One that meets running Jobs is made paused, until these are safe. Idempotent: yes.

    Raises
    ------
    Refusal
        When an existing ScaledJob would change while Jobs of it run, and its new strategy is not ``gradual``: KEDA
        would delete them (failure modes F1 and F2). The planner asks the same before any write; this is for what
        changed since.
    """
    for instrument in context.instruments():
        for one in context.instrument_objects[instrument.name]:
            found = _find(context, one)
            if one["kind"] != "ScaledJob":
                context.systems.kube.apply(one)
            elif found is None:
                _create(context, instrument, one)
            elif first_difference(one["spec"], found["spec"]):
                _refuse_if_jobs_run(context, instrument, one, found)
                context.systems.kube.apply(one)
        _release(context, instrument)


def _create(context: Context, instrument: Instrument, wanted: Object) -> None:
    """Create a ScaledJob; paused if Jobs of an earlier one still run, because KEDA would delete them (F2)."""
    if _running(context, instrument):
        wanted = copy.deepcopy(wanted)
        wanted["metadata"].setdefault("annotations", {}).update({PAUSED: "true", RUN_ANNOTATION: context.run_id})
    context.systems.kube.apply(wanted)


def _release(context: Context, instrument: Instrument) -> None:
    """Once a paused ScaledJob has settled, stamp its Jobs with the generation that it settled at, and unpause it."""
    kube = context.systems.kube
    watch = Watch(kube, [(SCALED_JOBS, instrument.namespace)])
    try:
        for _ in range(60):
            live = kube.find(SCALED_JOBS, instrument.scaled_job, instrument.namespace)
            if live is None or not _paused_by_us(live):
                return
            if _is_settled(live):
                for record in jobs.at_risk(kube):
                    if (record.namespace, record.scaled_job) == (instrument.namespace, instrument.scaled_job):
                        jobs.stamp(kube, record, live["metadata"]["generation"])
                again = kube.get(SCALED_JOBS, instrument.scaled_job, instrument.namespace)
                same = again["metadata"]["generation"] == live["metadata"]["generation"]
                if same and not _mismatched(context, instrument):
                    marks = {PAUSED: None, RUN_ANNOTATION: None}
                    body = {"metadata": {"annotations": marks}}
                    kube.patch(SCALED_JOBS, instrument.scaled_job, instrument.namespace, body)
                    return
            watch.wait(1.0)
    finally:
        watch.close()


def _while_paused(context: Context, instrument: Instrument, live: Object) -> Progress:
    if not _is_settled(live):
        return Progress(State.TODO, f"{instrument.scaled_job} is paused by this toolkit, KEDA has not seen it yet")
    count = len(_mismatched(context, instrument))
    return Progress(State.TODO, f"{instrument.scaled_job} is paused by this toolkit, {count} Jobs to make safe")


def _is_settled(live: Object) -> bool:
    conditions = {one["type"]: one["status"] for one in live.get("status", {}).get("conditions") or []}
    return conditions.get("Paused") == "True"


def _mismatched(context: Context, instrument: Instrument) -> list[object]:
    mine = (instrument.namespace, instrument.scaled_job)
    return [one for one in jobs.at_risk(context.systems.kube) if (one.namespace, one.scaled_job) == mine]


def _running(context: Context, instrument: Instrument) -> list[Object]:
    return [
        job
        for job in jobs.active_jobs(context.systems.kube)
        if job["metadata"]["namespace"] == instrument.namespace
        and job["metadata"]["labels"][jobs.LABEL] == instrument.scaled_job
    ]


def refuse_if_jobs_would_go(context: Context) -> None:
    """Make sure that no ScaledJob has to be changed in a way that deletes its running Jobs (failure modes F1 and F2).

    Raises
    ------
    Refusal
        When one has to; with the difference and the Jobs.
    """
    for instrument in context.instruments():
        live = context.systems.kube.find(SCALED_JOBS, instrument.scaled_job, instrument.namespace)
        for one in context.instrument_objects[instrument.name]:
            if live is not None and one["kind"] == "ScaledJob" and first_difference(one["spec"], live["spec"]):
                _refuse_if_jobs_run(context, instrument, one, live)


def _refuse_if_jobs_run(context: Context, instrument: Instrument, wanted: Object, live: Object) -> None:
    """Refuse the change unless what comes out of it is ``gradual``: KEDA reads the new spec, not the one before."""
    old_key = {"rolloutStrategy": wanted["spec"].get("rolloutStrategy") or live["spec"].get("rolloutStrategy")}
    if all(map(keeps_older_jobs, (wanted["spec"], {**wanted["spec"], **old_key}))):
        return
    running = _running(context, instrument)
    if running:
        names = ", ".join(job["metadata"]["name"] for job in running[:5]) + (", …" if len(running) > 5 else "")
        raise Refusal(
            f"ScaledJob {instrument.scaled_job} would change at {first_difference(wanted['spec'], live['spec'])}, and "
            f"KEDA would then delete its running Jobs, {len(running)} in number ({names})",
            "Wait until they have ended, or set spec.rollout.strategy to gradual where the ScaledJob comes from.",
        )


def _paused_by_us(live: Object) -> bool:
    annotations = live["metadata"].get("annotations") or {}
    return PAUSED in annotations and RUN_ANNOTATION in annotations


def _find(context: Context, wanted: Object) -> Object | None:
    kube = context.systems.kube
    metadata = wanted["metadata"]
    return kube.find(kube.resource_of(wanted), metadata["name"], metadata.get("namespace"))


STEPS: tuple[Step[Context], ...] = (
    Step("restore/ensure-streams", "put streams and consumer groups back", streams_inspect, ensure_streams),
    Step("restore/count-lag", "let Redis count what every group has read", lag_inspect, count_lag),
    Step(
        "restore/apply-scaled-jobs",
        "apply the ScaledJobs",
        scaled_jobs_inspect,
        apply_scaled_jobs,
        deadline=timedelta(seconds=120),
    ),
)
