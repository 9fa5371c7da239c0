"""Stage guard: one redeploy at a time, and no running Job at risk."""

from __future__ import annotations

from dataclasses import replace

from prompt_keda.clients.kube.objects import Object, some
from prompt_keda.clients.kube.resources import NAMESPACES, SCALED_JOBS
from prompt_keda.components.run import Context
from prompt_keda.components.scaled_jobs import running_jobs
from prompt_keda.components.scaled_jobs.objects import is_paused
from prompt_keda.core.decisions import JobRecord
from prompt_keda.core.errors import Refusal
from prompt_keda.core.plan import Progress, State, Step
from prompt_keda.environment.model import FillIn
from prompt_keda.records.lock import STATE_NAMESPACE, Lock


def check_identity(context: Context) -> None:
    """Make sure that this is the cluster that the environment means: its CA and its kube-system namespace's UID.

    Raises
    ------
    Refusal
        When it is another one, or the environment does not say which.
    """
    wanted = context.environment.kubernetes.identity
    kube = context.systems.kube
    live = {
        "ca_sha256": kube.ca_sha256 or "none",
        "kube_system_uid": str(kube.get(NAMESPACES, "kube-system")["metadata"]["uid"]),
    }
    context.kube_system_uid = live["kube_system_uid"]
    for key, value in live.items():
        expected = getattr(wanted, key)
        if isinstance(expected, FillIn):
            raise Refusal(f"the environment does not say kubernetes.identity.{key}", f"Fill it in: {expected.wanted}")
        if expected != value:
            raise Refusal(
                f"{kube.address} is another cluster than environment {context.environment.name} means: "
                f"its {key} is {value}, expected {expected}",
                f"Check the kubeconfig's context. If the cluster was rebuilt: ./run enrol --env {context.environment.name}",
            )


def hold_lease_inspect(context: Context) -> Progress:
    """Whose is the lock?"""
    return _lock(context).inspect()


def hold_lease(context: Context) -> None:
    """Take the lock, in a namespace that no redeploy touches. Idempotent: yes."""
    context.systems.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": STATE_NAMESPACE}})
    _lock(context).take()


def release_lease(context: Context) -> None:
    """Give the lock back, if this process holds it. Idempotent: yes."""
    _lock(context).release()


def under_lock(step: Step[Context]) -> Step[Context]:
    """Return a step that writes only while this run holds its lock."""

    def act(context: Context) -> None:
        _lock(context).check()
        step.act(context)

    return replace(step, act=act)


def _lock(context: Context) -> Lock:
    if context.lock is None:
        context.lock = Lock(context.systems.kube, context.run_id, context.systems.viewpoint, context.observer)
    return context.lock


def annotate_jobs_inspect(context: Context) -> Progress:
    """Would the operator's start delete a Job?"""
    risky = jobs_to_annotate(context)
    if not risky:
        going = running_jobs.going(context.before)
        more = f"; being deleted before this run: {some(going)}" if going else ""
        return Progress(State.DONE, f"{len(context.before)} running Jobs and pods recorded, none at risk{more}")
    return Progress(State.TODO, f"{len(risky)} Jobs have another generation than their ScaledJob")


def annotate_jobs(context: Context) -> None:
    """Annotate every Job whose generation is not its ScaledJob's. Idempotent: yes.

    It gets the ScaledJob's generation. Where KEDA has never looked at that one, its generation may change at the first
    look: it is paused instead, and `unpause.unpause_scaled_jobs` annotates its Jobs once it has settled.
    """
    kube = context.systems.kube
    for record, owner in jobs_to_annotate(context):
        if running_jobs.is_settled(owner):
            running_jobs.annotate(kube, record, owner["metadata"]["generation"])
        else:
            marks = {"metadata": {"annotations": running_jobs.pause_marks(context.run_id)}}
            kube.patch(SCALED_JOBS, record.scaled_job, record.namespace, marks)


def jobs_to_annotate(context: Context) -> list[tuple[JobRecord, Object]]:
    """Return the Jobs at risk, each with its ScaledJob, which is not paused: KEDA leaves those of a paused one alone."""
    kube = context.systems.kube
    scaled = running_jobs.owners(kube)
    risky = running_jobs.at_risk(kube, scaled, finished_too=True)
    pairs = [(record, scaled[record.namespace, record.scaled_job]) for record in risky]
    return [(record, owner) for record, owner in pairs if not is_paused(owner)]


HOLD_LEASE: Step[Context] = Step("guard/hold-lease", "hold the lock of this cluster", hold_lease_inspect, hold_lease)
STEPS: tuple[Step[Context], ...] = (
    Step(
        "guard/annotate-jobs", "annotate Jobs with their ScaledJob's generation", annotate_jobs_inspect, annotate_jobs
    ),
)
