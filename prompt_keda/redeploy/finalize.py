"""Stage finalize: finalizers are removed from what hangs in deletion, once its running Jobs are orphaned.

KEDA's operator removes its finalizers itself; once it is gone, nobody does, and CRDs, ScaledJobs and namespaces stay
Terminating (failure mode F5). Without the finalizer the garbage collector would remove the Jobs of a ScaledJob. So the
Jobs' ownerReferences go first, and that is looked at again before each finalizer goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from prompt_keda.clients.kube.errors import has_changed
from prompt_keda.clients.kube.objects import Object, is_going, label, some
from prompt_keda.clients.kube.resources import CRDS, JOBS, SCALED_JOBS, Resource
from prompt_keda.clients.kube.watch import Watch
from prompt_keda.components import finalizers
from prompt_keda.components.keda import install
from prompt_keda.components.keda.names import FINALIZER, SCALED_JOBS_CRD
from prompt_keda.components.run import Context
from prompt_keda.components.scaled_jobs import running_jobs
from prompt_keda.core.errors import BadAnswer, Missing
from prompt_keda.core.plan import Progress, State, Step
from prompt_keda.core.waiting import looks
from prompt_keda.redeploy.inventory import custom_kinds
from prompt_keda.redeploy.remove import left, remove_all

LIMIT = timedelta(seconds=60)


def owned(context: Context) -> Iterator[tuple[Object, str]]:
    """Yield each running Job that goes if its ScaledJob goes, with that one's UID."""
    kube = context.systems.kube
    planned = {deletion.name for deletion in left(context, "CustomResourceDefinition")}
    crd_goes = SCALED_JOBS_CRD in _going_crds(context).keys() | planned
    going = {scaled_job["metadata"]["uid"] for scaled_job in kube.list(SCALED_JOBS) if crd_goes or is_going(scaled_job)}
    for job in running_jobs.active_jobs(kube):
        for owner in job["metadata"].get("ownerReferences") or []:
            if owner["uid"] in going:
                yield job, owner["uid"]


def _going_crds(context: Context) -> dict[str, Object]:
    """Return the CRDs that are being deleted by name, without their schemas of up to half a megabyte each."""
    return {crd["metadata"]["name"]: crd for crd in context.systems.kube.names(CRDS) if is_going(crd)}


def prunable(context: Context) -> Iterator[Object]:
    """Yield each running Job that has no owner, and that who else delivers would take for its own, and remove."""
    for job in running_jobs.active_jobs(context.systems.kube):
        if not job["metadata"].get("ownerReferences") and context.delivery.marks_of_a_job(job):
            yield job


def orphan_inspect(context: Context) -> Progress:
    """Does a running Job hang on a ScaledJob that goes, or would one be pruned?"""
    count, prunable_count = len(list(owned(context))), len(list(prunable(context)))
    if count:
        return Progress(State.TODO, f"{count} Jobs hang on a ScaledJob that goes")
    if prunable_count:
        return Progress(State.TODO, f"{prunable_count} Jobs without an owner would be pruned by who else delivers")
    return Progress(State.DONE)


def orphan_jobs(context: Context) -> None:
    """Take the ownerReference to a ScaledJob that goes from each of its running Jobs. Idempotent: yes.

    Jobs keep their label, by which KEDA finds them again, and lose the marks by which a deliverer would remove them.
    """
    for job, uid in owned(context):
        rest = [owner for owner in job["metadata"]["ownerReferences"] if owner["uid"] != uid]
        _change(context, JOBS, job, ownerReferences=rest or None, **context.delivery.marks_of_a_job(job))
    for job in prunable(context):
        _change(context, JOBS, job, **context.delivery.marks_of_a_job(job))


def _change(context: Context, kind: Resource, live: Object, **metadata: Any) -> None:
    """Change an object's metadata, if it is still as it was read. If it is not, whoever waits looks again."""
    before = live["metadata"]
    body = {"uid": before["uid"], "resourceVersion": before["resourceVersion"], **metadata}
    try:
        context.systems.kube.patch(kind, before["name"], before.get("namespace"), {"metadata": body})
    except (Missing, BadAnswer) as error:
        if not has_changed(error):
            raise


def crds_inspect(context: Context) -> Progress:
    """Has every CRD that is purged at least begun to go?"""
    going = _going_crds(context)
    waiting = [deletion.name for deletion in left(context, "CustomResourceDefinition") if deletion.name not in going]
    return Progress(State.TODO, f"to be removed: {some(waiting)}") if waiting else Progress(State.DONE)


def delete_crds(context: Context) -> None:
    """Remove the CRDs that the plan purges; their objects go with them. Idempotent: yes."""
    orphan_jobs(context)
    remove_all(context, "CustomResourceDefinition", "Background")


def dying(context: Context, going_crds: Mapping[str, Object] | None = None) -> list[Object]:
    """Return the objects of KEDA's kinds that are being deleted.

    A smoke test's are left to the operator that comes, unless their CRD goes: each test removes its own.

    Parameters
    ----------
    going_crds
        The CRDs that are being deleted; None: ask now.
    """
    going_crds = _going_crds(context) if going_crds is None else going_crds
    smoke = context.environment.smoke.namespace
    return [
        {**obj, "apiVersion": kind.api_version, "kind": kind.kind}
        for kind in custom_kinds(context)
        for obj in context.systems.kube.list(kind)
        if is_going(obj) and (f"{kind.plural}.{kind.group}" in going_crds or obj["metadata"].get("namespace") != smoke)
    ]


def hanging_inspect(context: Context) -> Progress:
    """Is something of KEDA's kinds being deleted that the install has to wait for, and what holds it?"""
    going = _going_crds(context)
    wanted = (crd["metadata"]["name"] for crd in install.crds(context))
    crds = [{**going[name], "kind": CRDS.kind} for name in wanted if name in going]
    objects = dying(context, going)
    crd_of = {(kind.api_version, kind.kind): f"{kind.plural}.{kind.group}" for kind in custom_kinds(context)}
    left = [
        live for live in objects if crd_of[live["apiVersion"], live["kind"]] not in going and _can_wait(context, live)
    ]
    hanging = [*(live for live in objects if live not in left), *crds]
    reasons = [f"{label(live)} waits for {', '.join(finalizers.names_of(live)) or 'the server'}" for live in hanging]
    if reasons:
        return Progress(State.WORKING, some(reasons, "; "))
    return Progress(State.DONE, f"left for last: {some(map(label, left))}" if left else "")


def _can_wait(context: Context, live: Object) -> bool:
    """Whether the install need not wait for an object whose CRD stays: it comes back last (decision 0013).

    One that has KEDA's finalizer still is waited for: the operator that comes would take it away, and its Jobs with it.
    """
    if not finalizers.is_held_by_others(live):
        return False
    return bool(finalizers.foreign(live)) or context.finalizers_were_waited_for


def remove_finalizers(context: Context) -> None:
    """Remove KEDA's finalizers from what is being deleted, until all of it is gone that can go. Idempotent: yes.

    A ScaledJob keeps its own while a running Job still refers to it. Finalizers of others stay, and are reported at the end;
    so are those of Kubernetes itself that are still there after a minute.
    """
    watch = context.systems.kube.watch([(CRDS, None), (SCALED_JOBS, None)])
    try:
        for _ in looks(LIMIT.total_seconds(), watch):
            if hanging_inspect(context).state is State.DONE:
                break
            orphan_jobs(context)
            owners = {uid for _, uid in owned(context)}
            for live in dying(context):
                names = finalizers.names_of(live)
                rest = [name for name in names if name != FINALIZER]
                if rest != names and live["metadata"]["uid"] not in owners:
                    _change(context, context.systems.kube.resource_of(live), live, finalizers=rest or None)
    finally:
        watch.close()
    context.finalizers_were_waited_for = True


STEPS: tuple[Step[Context], ...] = (
    Step("finalize/orphan-jobs", "orphan running Jobs of what goes", orphan_inspect, orphan_jobs),
    Step("finalize/delete-crds", "remove the CRDs that are purged", crds_inspect, delete_crds, destructive=True),
    Step(
        "finalize/remove-finalizers",
        "remove KEDA's finalizers from what hangs in deletion",
        hanging_inspect,
        remove_finalizers,
        destructive=True,
        deadline=LIMIT + timedelta(seconds=30),
        watch=lambda context: Watch(context.systems.kube, [(CRDS, None)]),
    ),
)
