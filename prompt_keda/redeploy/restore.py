"""Stage restore: streams, consumer groups with their lag, and ScaledJobs."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import timedelta

from prompt_keda.clients.kube.objects import Object, label, some
from prompt_keda.clients.kube.resources import JOBS, SCALED_JOBS
from prompt_keda.components import finalizers
from prompt_keda.components.cluster import held_namespaces as namespaces
from prompt_keda.components.compare import Difference, first_difference
from prompt_keda.components.event_source.choice import event_source
from prompt_keda.components.event_source.words import wrong_lag
from prompt_keda.components.keda import install
from prompt_keda.components.keda.names import SCALED_JOBS_CRD
from prompt_keda.components.run import Context
from prompt_keda.components.scaled_jobs import drift, running_jobs
from prompt_keda.components.scaled_jobs.objects import PAUSED, is_paused, is_suspended
from prompt_keda.core.marks import RUN_ANNOTATION
from prompt_keda.core.plan import Progress, State, Step
from prompt_keda.environment.model import Instrument
from prompt_keda.redeploy.takeovers import content

PLACES = {"0": "before all that is there", "$": "behind what is there"}
"""Where a group begins → in words."""


def streams_inspect(context: Context) -> Progress:
    """Has every instrument its stream and consumer group, where events reach it, and for good?"""
    if missing := list(_without_group(context)):
        return Progress(State.TODO, f"missing: {'; '.join(_describe(context, instrument) for instrument in missing)}")
    source = event_source(context.systems)
    for instrument in context.environment.instruments:
        if misplacement := source.misplacement(instrument, context.decisions.group_start):
            return Progress(State.TODO, misplacement)
    return Progress(State.DONE, f"{len(context.environment.instruments)} groups there")


def ensure_streams(context: Context) -> None:
    """Make the groups that are missing, and let no stream expire. Idempotent: yes.

    An existing group is never moved, but for one that stands ahead of its stream: no event reaches it there.
    """
    source = event_source(context.systems)
    for instrument in _without_group(context):
        source.ensure_group(instrument.stream, instrument.consumer_group, group_start(context, instrument))
    for instrument in context.environment.instruments:
        source.correct_place(instrument, context.decisions.group_start)


def _without_group(context: Context) -> Iterator[Instrument]:
    source = event_source(context.systems)
    yield from (
        instrument
        for instrument in context.environment.instruments
        if not source.find_group(instrument.stream, instrument.consumer_group)
    )


def _describe(context: Context, instrument: Instrument) -> str:
    start, length = group_start(context, instrument), event_source(context.systems).find_length(instrument.stream)
    held = f"{length or 0} events are there"
    return f"{instrument.stream} {instrument.consumer_group}, to begin {PLACES.get(start, f'behind {start}')} ({held})"


def group_start(context: Context, instrument: Instrument) -> str:
    """Return where a group begins that is missing: where a person has asked for, else where the event source says."""
    return context.decisions.group_start or event_source(context.systems).start_of_lost_group(instrument)


def lag_inspect(context: Context) -> Progress:
    """Is the lag of every group what waits? KEDA takes an unknown one for 0, and believes a wrong one (F16)."""
    source, instruments = event_source(context.systems), context.environment.instruments
    groups = [(instrument.stream, instrument.consumer_group) for instrument in instruments]
    looks = (wrong_lag(stream, source.backlog(stream, group)) for stream, group in groups)
    wrong = [words for words in looks if words]
    if not wrong:
        return Progress(State.DONE, f"{len(instruments)} right")
    if context.lag_was_counted:
        return Progress(State.DONE, f"Redis cannot say it yet, because waiting events were deleted: {'; '.join(wrong)}")
    return Progress(State.TODO, "; ".join(wrong))


def count_lag(context: Context) -> None:
    """Let Redis count again what each group has read; no group is moved. Idempotent: yes."""
    for instrument in context.environment.instruments:
        event_source(context.systems).correct_lag(instrument.stream, instrument.consumer_group)
    context.lag_was_counted = True


def scaled_jobs_inspect(context: Context) -> Progress:
    """Is every ScaledJob there and as it should be, with what belongs to it, and with no field that nobody wanted?"""
    for obj, source in _wanted(context):
        live = context.find(obj)
        if live is None and _is_brought(context, source):
            return Progress(State.WORKING, f"{label(obj)} is recreated by a sync")
        if live is None:
            return Progress(State.TODO, f"{label(obj)} is missing")
        difference = _difference(context, obj, source, live)
        if difference and not finalizers.is_held_by_others(live):
            return Progress(State.TODO, f"{label(obj)} differs at {difference}")
        if surplus := _surplus(context, obj, source, live):
            return Progress(State.TODO, f"{label(obj)}: {drift.in_words(surplus[0], live)}")
    if suspended := _suspended(context):
        named = some([f"{job['metadata']['namespace']}/{job['metadata']['name']}" for job in suspended])
        return Progress(State.TODO, f"{len(suspended)} Jobs are suspended, and nobody wants that: {named}")
    brought = f"; {len(context.saved)} objects from the snapshot" if context.saved else ""
    return Progress(State.DONE, f"{len(context.instruments())} as they should be{brought}")


def _wanted(context: Context) -> Iterator[tuple[Object, str]]:
    """Yield what stands in the manifests, and what comes back from the snapshot; each with where it comes from.

    What belongs into a namespace that does not go cannot be made now.
    """
    left = namespaces.left(context)
    every = [
        *(
            (obj, instrument.name)
            for instrument in context.instruments()
            for obj in context.instrument_objects[instrument.name]
        ),
        *((obj, "snapshot") for obj in context.saved),
    ]
    yield from ((obj, source) for obj, source in every if obj["metadata"].get("namespace") not in left)


def apply_scaled_jobs(context: Context) -> None:
    """Apply the ScaledJobs, and take away what their sources do not have. Idempotent: yes.

    One that changes or comes back while Jobs of it run is applied paused.

    KEDA would delete these Jobs, because they carry another generation (failure modes F1 and F2); it leaves those of a
    paused one alone. The next step annotates them, and unpauses it. What came from the snapshot and stands again is left
    alone: somebody else may deliver it. So is what others keep from being deleted, which comes back once they let it go, and
    what a sync that has removed it is about to make. A value that somebody has edited is taken over as the plan says. What
    somebody has added to a spec goes by a merge patch: applying takes away only what this toolkit has once applied. Then
    Jobs that were born suspended by it are let run.
    """
    for obj, source in _wanted(context):
        live = context.find(obj)
        if (live is None and _is_brought(context, source)) or (live and finalizers.is_held_by_others(live)):
            continue
        if live is None or (source != "snapshot" and _difference(context, obj, source, live)):
            if live is not None:
                obj = _with_our_pause(obj, live)
            if obj["kind"] == SCALED_JOBS.kind and _needs_pause(context, obj, live):
                obj = copy.deepcopy(obj)
                obj["metadata"].setdefault("annotations", {}).update(running_jobs.pause_marks(context.run_id))
            live = context.apply(obj) if source == "snapshot" else context.deliver(obj)
        if _surplus(context, obj, source, live):
            body: Object = drift.exactly(_crd(context), obj, live)
            if _needs_pause(context, obj, live):
                body["metadata"] = {"annotations": running_jobs.pause_marks(context.run_id)}
            context.systems.kube.patch(SCALED_JOBS, obj["metadata"]["name"], obj["metadata"]["namespace"], body)
    for job in _suspended(context):
        metadata = job["metadata"]
        context.systems.kube.patch(JOBS, metadata["name"], metadata["namespace"], {"spec": {"suspend": False}})


def _is_brought(context: Context, source: str) -> bool:
    """Return whether who else delivers is about to make what belongs to an instrument: one made meanwhile would go again."""
    own = [instrument for instrument in context.instruments() if instrument.name == source]
    return any(map(context.delivery.is_bringing, own))


def _difference(context: Context, wanted: Object, source: str, live: Object) -> str | None:
    """Return where a live object differs; of what came from the snapshot only its content counts: its marks were others'."""
    if source == "snapshot":
        return first_difference(content(wanted), live)
    return install.difference(context, _with_our_pause(wanted, live), live)


def _with_our_pause(wanted: Object, live: Object) -> Object:
    """Return what is wanted with the pause that a run has put on the live one: its own step takes it away again."""
    there = live["metadata"].get("annotations") or {}
    if RUN_ANNOTATION not in there:
        return wanted
    marks = {key: there[key] for key in (RUN_ANNOTATION, PAUSED) if key in there}
    annotations = {**(wanted["metadata"].get("annotations") or {}), **marks}
    return {**wanted, "metadata": {**wanted["metadata"], "annotations": annotations}}


def _surplus(context: Context, wanted: Object, source: str, live: Object) -> list[Difference]:
    """Return what a live ScaledJob has otherwise than its source, also what nobody wanted; of other kinds nothing."""
    if wanted["kind"] != SCALED_JOBS.kind or source == "snapshot" or finalizers.is_held_by_others(live):
        return []
    return drift.drift(_crd(context), wanted, live)


def _crd(context: Context) -> Object | None:
    """Return the CRD of ScaledJobs as it is installed before them."""
    return next((crd for crd in context.keda_objects if crd["metadata"]["name"] == SCALED_JOBS_CRD), None)


def _suspended(context: Context) -> list[Object]:
    """Return the Jobs that wait suspended though the source of their ScaledJob does not want it: KEDA counts them as running."""
    wanted = [obj for obj, _ in _wanted(context) if obj["kind"] == SCALED_JOBS.kind]
    free = [scaled_job for scaled_job in wanted if not (scaled_job["spec"].get("jobTargetRef") or {}).get("suspend")]
    return [
        job
        for job in running_jobs.active_jobs(context.systems.kube)
        if is_suspended(job) and any(running_jobs.is_of(job, scaled_job) for scaled_job in free)
    ]


def _needs_pause(context: Context, wanted: Object, live: Object | None) -> bool:
    """Whether Jobs of it may run. What is paused already is so by somebody else, and must not be marked as ours.

    With an operator at work Jobs may be made at any moment, so a live one counts as having some.
    """
    if live is not None:
        return not is_paused(live)
    return any(running_jobs.is_of(job, wanted) for job in running_jobs.active_jobs(context.systems.kube))


def left_inspect(context: Context) -> Progress:
    """Is something still not back, because others keep what stood of it from being deleted?"""
    kube, left = context.systems.kube, namespaces.left(context)
    others = [
        {**SCALED_JOBS.head, "metadata": {"name": instrument.scaled_job, "namespace": instrument.namespace}}
        for instrument in context.environment.instruments
        if instrument.namespace not in left
    ]
    for wanted in [*(wanted for wanted, _ in _wanted(context)), *others]:
        live = context.find(wanted)
        if live is not None and finalizers.is_held_by_others(live):
            left[label(wanted)] = finalizers.describe(live, label(wanted), kube.resource_of(wanted).for_kubectl)
    if left:
        rest = "All else is back. Not back, because its deletion hangs"
        return Progress(State.BROKEN, f"{rest}: {some(left.values(), '; ')}")
    return Progress(State.DONE)


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
LEFT: Step[Context] = Step(
    "restore/nothing-left",
    "see that all is back",
    left_inspect,
    lambda context: None,  # only who holds it can let it go
)
"""The last of all steps: one object that nobody lets go keeps no other from its work."""
