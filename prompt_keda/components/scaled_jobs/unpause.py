"""ScaledJobs that are requeued, paused, and unpaused once their Jobs are annotated, until KEDA has seen it.

KEDA 2.16.1 (controllers/keda/scaledjob_controller.go, checkIfPaused; pkg/scaling/executor/scale_jobs.go): a pause stops its
scale loop only where the condition Paused is not True yet, and the loop that an unpause starts may still read True, and
writes it back with all conditions once it has made its Jobs. Then KEDA works on, and would not stop at the next pause.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from prompt_keda.clients.kube.conditions import has_condition
from prompt_keda.clients.kube.errors import is_conflict
from prompt_keda.clients.kube.objects import Object, label
from prompt_keda.clients.kube.resources import DEPLOYMENTS, JOBS, SCALED_JOBS
from prompt_keda.components.keda.names import OPERATOR
from prompt_keda.components.run import Context
from prompt_keda.components.scaled_jobs import running_jobs
from prompt_keda.components.scaled_jobs.objects import is_paused, is_taken_for_paused
from prompt_keda.components.scaled_jobs.specs import ready_standing
from prompt_keda.core.check import Verdict
from prompt_keda.core.errors import BadAnswer
from prompt_keda.core.marks import RUN_ANNOTATION
from prompt_keda.core.plan import Progress, State, Step
from prompt_keda.core.waiting import looks

HOLD = timedelta(seconds=3)
"""So long a pause is held once KEDA has seen it: nothing says when its scale loop has ended."""
PATIENCE = timedelta(seconds=5)
"""So long KEDA may take an unpaused ScaledJob for paused before a reconcile is forced."""
LIMIT = timedelta(seconds=120)
"""An operator that was just installed reconciles its ScaledJobs within some seconds; its image may have to be pulled."""


ScaledJobAction = Callable[[Context, Object], None]


def requeue_inspect(context: Context) -> Progress:
    """Is a ScaledJob not Ready, with the operator that found it so still at work?

    It reconciles that again by itself after up to 1000 s (failure mode F21); a new operator does at once.
    """
    operator = (DEPLOYMENTS.kind, context.namespace, OPERATOR)
    if any((deletion.kind, deletion.namespace, deletion.name) == operator for deletion in context.decisions.deletions):
        return Progress(State.DONE, "a new operator reconciles all of them")
    asleep = [label(live) for live in _asleep(context)]
    return Progress(State.TODO, f"not Ready: {', '.join(asleep)}") if asleep else Progress(State.DONE)


def requeue_scaled_jobs(context: Context) -> None:
    """Pause each ScaledJob that is not Ready: the next step unpauses it, and KEDA reconciles it. Idempotent: yes."""
    for live in _asleep(context):
        _pause(context, live)


def unpause_inspect(context: Context) -> Progress:
    """Is a ScaledJob still paused by this toolkit, or do Jobs of a paused one carry another generation than it has?"""
    kube = context.systems.kube
    risky = running_jobs.at_risk(kube, finished_too=True)
    for (namespace, name), live in running_jobs.owners(kube).items():
        if not is_paused(live):
            continue
        count = sum((record.namespace, record.scaled_job) == (namespace, name) for record in risky)
        if count or _is_to_unpause(context, live):
            pending = "" if _is_seen_paused(live) else ", KEDA has not seen that yet"
            return Progress(State.TODO, f"{name} is paused{pending}; {count} Jobs to annotate")
    return Progress(State.DONE, "none is paused by this toolkit")


def unpause_scaled_jobs(context: Context) -> None:
    """Annotate the Jobs of every paused ScaledJob; then unpause those that this toolkit has paused. Idempotent: yes.

    The Jobs get the generation that KEDA has settled at, and are looked at again until none differs. One that somebody
    else has paused stays paused, but its Jobs will survive when they unpause it.
    """
    _work_until_done(context, unpause_inspect)


def settle_inspect(context: Context) -> Progress:
    """Is nothing paused by this toolkit, and does KEDA take no instrument's ScaledJob for paused that is not?"""
    unpaused = unpause_inspect(context)
    if unpaused.state is not State.DONE:
        return unpaused
    mine, scaled = _instruments(context), running_jobs.owners(context.systems.kube)
    stale = [name for (space, name), live in scaled.items() if (space, name) in mine and is_taken_for_paused(live)]
    if stale:
        return Progress(State.TODO, f"unpaused, and KEDA still takes it for paused: {', '.join(stale)}")
    return Progress(State.DONE, "KEDA takes none for paused that is not")


def settle_scaled_jobs(context: Context) -> None:
    """Pause again what KEDA goes on to take for paused, and unpause it: then it is reconciled. Idempotent: yes.

    Its scale loop runs on meanwhile, as it did before; no generation changes, so no Job is at risk.
    """
    _work_until_done(context, settle_inspect)


def _work_until_done(context: Context, inspect: Callable[[Context], Progress]) -> None:
    """Do what each ScaledJob needs, once it has needed that for long enough, until nothing is left to do."""
    kube = context.systems.kube
    since: dict[tuple[ScaledJobAction, str, str], float] = {}
    watch = kube.watch([(SCALED_JOBS, None), (JOBS, None)])
    try:
        for _ in looks(LIMIT.total_seconds(), watch):
            if inspect(context).state is State.DONE:
                return
            needs = {
                (act, *key): live
                for key, live in running_jobs.owners(kube).items()
                if (act := _need(context, key, live))
            }
            now = time.monotonic()
            since = {need: since.get(need, now) for need in needs}
            for need, live in needs.items():
                if now - since[need] >= _for_long(need[0]):
                    need[0](context, live)
    finally:
        watch.close()


def _need(context: Context, key: tuple[str, str], live: Object) -> ScaledJobAction | None:
    """Return what is to be done with a ScaledJob as it stands."""
    if is_paused(live):
        return _annotate_or_unpause if _is_seen_paused(live) else None
    return _pause if is_taken_for_paused(live) and key in _instruments(context) else None


def _for_long(act: ScaledJobAction) -> float:
    return (HOLD if act is _annotate_or_unpause else PATIENCE).total_seconds()


def _pause(context: Context, live: Object) -> None:
    metadata, marks = live["metadata"], running_jobs.pause_marks(context.run_id)
    body = {"metadata": {"annotations": marks}}
    context.systems.kube.patch(SCALED_JOBS, metadata["name"], metadata["namespace"], body)


def _annotate_or_unpause(context: Context, live: Object) -> None:
    kube, metadata = context.systems.kube, live["metadata"]
    key = (metadata["namespace"], metadata["name"])
    mine = [
        record
        for record in running_jobs.at_risk(kube, finished_too=True)
        if (record.namespace, record.scaled_job) == key
    ]
    for record in mine:
        running_jobs.annotate(kube, record, metadata["generation"])
    if mine or not _is_to_unpause(context, live):
        return  # annotated just now: look again before it is unpaused
    unmarked = {
        "annotations": dict.fromkeys(running_jobs.pause_marks("")),
        "resourceVersion": metadata["resourceVersion"],
    }
    try:
        kube.patch(SCALED_JOBS, metadata["name"], metadata["namespace"], {"metadata": unmarked})
    except BadAnswer as error:
        if not is_conflict(error):  # it has changed since it was read: look again
            raise


def _is_seen_paused(live: Object) -> bool:
    """Whether KEDA has settled at a generation and will make no Job: both before it writes this condition."""
    return running_jobs.is_settled(live) and has_condition(live, "Paused")


def _is_to_unpause(context: Context, live: Object) -> bool:
    """Whether it is paused, and this run takes that away: a run of ours has set it, or the plan says so."""
    metadata = live["metadata"]
    ours = RUN_ANNOTATION in (metadata.get("annotations") or {})
    return is_paused(live) and (ours or f"{metadata['namespace']}/{metadata['name']}" in context.decisions.unpauses)


def _asleep(context: Context) -> list[Object]:
    return [
        {**live, "kind": SCALED_JOBS.kind}
        for key, live in running_jobs.owners(context.systems.kube).items()
        if key in _instruments(context) and not is_paused(live) and ready_standing(live).verdict is Verdict.FAIL
    ]


def _instruments(context: Context) -> set[tuple[str, str]]:
    return {(instrument.namespace, instrument.scaled_job) for instrument in context.environment.instruments}


STEPS: tuple[Step[Context], ...] = (
    Step("restore/requeue-scaled-jobs", "requeue ScaledJobs that are not Ready", requeue_inspect, requeue_scaled_jobs),
    Step(
        "restore/unpause-scaled-jobs",
        "annotate Jobs, and unpause the ScaledJobs",
        unpause_inspect,
        unpause_scaled_jobs,
        deadline=LIMIT + timedelta(seconds=5),
    ),
)
SETTLE: Step[Context] = Step(
    "restore/settle-scaled-jobs",
    "see that KEDA takes none for paused that is not",
    settle_inspect,
    settle_scaled_jobs,
    deadline=LIMIT + timedelta(seconds=5),
)
"""After the smoke test: the scale loops that an unpause has started have made their first Jobs by then."""
