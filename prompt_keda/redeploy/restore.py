"""Stage restore: streams, consumer groups with their lag, and ScaledJobs."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from datetime import timedelta

from prompt_keda.clients.kube_errors import is_conflict
from prompt_keda.clients.kube_resources import JOBS, SCALED_JOBS
from prompt_keda.errors import BadAnswer
from prompt_keda.model.conditions import conditions, has_condition
from prompt_keda.model.job_object import is_paused
from prompt_keda.model.plan import Progress, State, Step
from prompt_keda.redeploy import jobs
from prompt_keda.redeploy.compare import first_difference
from prompt_keda.redeploy.context import RUN_ANNOTATION, Context, Object
from prompt_keda.redeploy.survey import OPERATOR, label

HOLD = timedelta(seconds=3)
"""So long a pause is held once KEDA has seen it: nothing tells when its scale loop has."""
RELEASE = timedelta(seconds=120)
"""An operator that was just installed looks at its ScaledJobs within some seconds; its image may have to be pulled."""


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
    """Make the groups that are absent, where the plan says that they begin. An existing one is never moved. Idempotent: yes."""
    for one in context.environment.instruments:
        start = context.decisions.group_start or one.group_start
        context.systems.redis.ensure_group(one.stream, one.consumer_group, start)


def lag_inspect(context: Context) -> Progress:
    """Is the lag of every group what waits? KEDA takes an unknown one for 0, and believes a wrong one (F16)."""
    redis, wrong = context.systems.redis, []
    for one in context.environment.instruments:
        seen = redis.backlog(one.stream, one.consumer_group)
        if not seen.is_right:
            wrong.append(
                f"{one.stream}: lag {seen.lag} {'' if seen.counted else '(not counted) '}but {seen.waiting} wait"
            )
    if not wrong:
        return Progress(State.DONE, f"{len(context.environment.instruments)} right")
    if context.lag_was_counted:
        return Progress(
            State.DONE, f"Redis cannot tell it yet, because waiting events were deleted: {'; '.join(wrong)}"
        )
    return Progress(State.TODO, "; ".join(wrong))


def count_lag(context: Context) -> None:
    """Let Redis count again what each group has read; no group is moved. Idempotent: yes."""
    for one in context.environment.instruments:
        context.systems.redis.count_read(one.stream, one.consumer_group)
    context.lag_was_counted = True


def scaled_jobs_inspect(context: Context) -> Progress:
    """Is every ScaledJob there and as it should be, with what belongs to it?"""
    for one, _ in _wanted(context):
        found = context.find(one)
        if found is None:
            return Progress(State.TODO, f"{label(one)} is absent")
        if difference := first_difference(_content(one), found):
            return Progress(State.TODO, f"{label(one)} differs at {difference}")
    brought = f"; {len(context.saved)} objects from the snapshot" if context.saved else ""
    return Progress(State.DONE, f"{len(context.instruments())} as they should be{brought}")


def _wanted(context: Context) -> Iterator[tuple[Object, str]]:
    """Give what stands in the manifests, and what comes back from the snapshot; each with where it comes from."""
    for instrument in context.instruments():
        yield from ((one, instrument.name) for one in context.instrument_objects[instrument.name])
    yield from ((one, "snapshot") for one in context.saved)


def apply_scaled_jobs(context: Context) -> None:
    """Apply the ScaledJobs. One that changes or comes back while Jobs of it run is applied paused. Idempotent: yes.

    KEDA would delete these Jobs, because they carry another generation (failure modes F1 and F2); it leaves those of a
    paused one alone. The next step makes them safe, and unpauses it. What came from the snapshot and stands again is left
    alone: somebody else may deliver it.
    """
    for one, source in _wanted(context):
        found = context.find(one)
        if found is not None and (source == "snapshot" or not first_difference(_content(one), found)):
            continue
        if one["kind"] == SCALED_JOBS.kind and _needs_pause(context, one, found):
            one = copy.deepcopy(one)
            one["metadata"].setdefault("annotations", {}).update(jobs.pause_marks(context.run_id))
        context.systems.kube.apply(one)


def _content(wanted: Object) -> Object:
    return {key: value for key, value in wanted.items() if key != "metadata"}


def _needs_pause(context: Context, wanted: Object, live: Object | None) -> bool:
    """Whether Jobs of it may run. What is paused already is so by somebody else, and must not be marked as ours.

    With an operator at work Jobs may be made at any moment, so a live one counts as having some.
    """
    if live is not None:
        return not is_paused(live)
    return any(jobs.is_of(job, wanted) for job in jobs.active_jobs(context.systems.kube))


def wake_inspect(context: Context) -> Progress:
    """Is a ScaledJob not Ready, with the operator that found it so still at work?

    It looks again by itself after up to 1000 s (failure mode F21); a new operator looks at once.
    """
    if any(one.name == OPERATOR for one in context.decisions.deletions):
        return Progress(State.DONE, "a new operator looks at all of them")
    asleep = [label(live) for live in _asleep(context)]
    return Progress(State.TODO, f"not Ready: {', '.join(asleep)}") if asleep else Progress(State.DONE)


def wake_scaled_jobs(context: Context) -> None:
    """Pause each ScaledJob that is not Ready: the next step unpauses it, and KEDA looks again. Idempotent: yes."""
    for live in _asleep(context):
        metadata, marks = live["metadata"], jobs.pause_marks(context.run_id)
        context.systems.kube.patch(
            SCALED_JOBS, metadata["name"], metadata["namespace"], {"metadata": {"annotations": marks}}
        )


def _asleep(context: Context) -> list[Object]:
    mine = {(one.namespace, one.scaled_job) for one in context.environment.instruments}
    return [
        {**live, "kind": SCALED_JOBS.kind}
        for key, live in jobs.owners(context.systems.kube).items()
        if key in mine and not is_paused(live) and conditions(live).get("Ready", {}).get("status") == "False"
    ]


def release_inspect(context: Context) -> Progress:
    """Is a ScaledJob still paused by this toolkit, or do Jobs of a paused one carry another generation than it has?"""
    kube = context.systems.kube
    risky = jobs.at_risk(kube)
    for (namespace, name), live in jobs.owners(kube).items():
        if not is_paused(live):
            continue
        count = sum((one.namespace, one.scaled_job) == (namespace, name) for one in risky)
        if count or _is_unpaused(context, live):
            seen = "" if _is_seen_paused(live) else ", KEDA has not seen that yet"
            return Progress(State.TODO, f"{name} is paused{seen}; {count} Jobs to make safe")
    return Progress(State.DONE, "none is paused by this toolkit")


def release_scaled_jobs(context: Context) -> None:
    """Make the Jobs of every paused ScaledJob safe; then unpause those that this toolkit has paused. Idempotent: yes.

    The Jobs get the generation that KEDA has settled at, and are looked at again until none differs. One that somebody
    else has paused stays paused, but its Jobs will survive when they unpause it.

    A pause lasts some seconds: one that is lifted at once may stay in KEDA's own copy of its conditions (seen).
    """
    kube = context.systems.kube
    seen_since: dict[tuple[str, str], float] = {}
    watch = kube.watch([(SCALED_JOBS, None), (JOBS, None)])
    end = time.monotonic() + RELEASE.total_seconds()
    try:
        while release_inspect(context).state is not State.DONE and time.monotonic() < end:
            for key, live in jobs.owners(kube).items():
                if not (is_paused(live) and _is_seen_paused(live)):
                    seen_since.pop(key, None)
                elif time.monotonic() - seen_since.setdefault(key, time.monotonic()) >= HOLD.total_seconds():
                    _make_safe(context, live)
            watch.wait(1.0)
    finally:
        watch.close()


def _make_safe(context: Context, live: Object) -> None:
    kube, metadata = context.systems.kube, live["metadata"]
    key = (metadata["namespace"], metadata["name"])
    mine = [one for one in jobs.at_risk(kube) if (one.namespace, one.scaled_job) == key]
    for record in mine:
        jobs.stamp(kube, record, metadata["generation"])
    if mine or not _is_unpaused(context, live):
        return  # stamped just now: look again before it is unpaused
    unmarked = {"annotations": dict.fromkeys(jobs.pause_marks("")), "resourceVersion": metadata["resourceVersion"]}
    try:
        kube.patch(SCALED_JOBS, metadata["name"], metadata["namespace"], {"metadata": unmarked})
    except BadAnswer as error:
        if not is_conflict(error):  # it has changed since it was read: look again
            raise


def _is_seen_paused(live: Object) -> bool:
    """Whether KEDA has settled at a generation and will make no Job: both before it writes this condition."""
    return jobs.is_settled(live) and has_condition(live, "Paused")


def _is_unpaused(context: Context, live: Object) -> bool:
    """Whether it is paused, and this run takes that away: a run of ours has set it, or the plan says so."""
    metadata = live["metadata"]
    ours = RUN_ANNOTATION in (metadata.get("annotations") or {})
    return is_paused(live) and (ours or f"{metadata['namespace']}/{metadata['name']}" in context.decisions.unpauses)


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
    Step("restore/wake-scaled-jobs", "let KEDA look again at what is not Ready", wake_inspect, wake_scaled_jobs),
    Step(
        "restore/release-scaled-jobs",
        "make running Jobs safe, and unpause the ScaledJobs",
        release_inspect,
        release_scaled_jobs,
        deadline=RELEASE + timedelta(seconds=5),
    ),
)
