"""Stage free: what hangs on its way out is let go, after its running Jobs were cut loose.

KEDA's operator removes its finalizers itself; once it is gone, nobody does, and CRDs, ScaledJobs and namespaces stay
Terminating (failure mode F5). Without the finalizer the garbage collector would remove the Jobs of a ScaledJob. So the
Jobs' ownerReferences go first, and that is looked at again before each finalizer goes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

from prompt_keda.clients.kube_errors import is_conflict
from prompt_keda.clients.kube_resources import CRDS, JOBS, SCALED_JOBS
from prompt_keda.clients.kube_watch import Watch
from prompt_keda.errors import BadAnswer, Missing
from prompt_keda.model.plan import Progress, State, Step
from prompt_keda.redeploy import install, jobs
from prompt_keda.redeploy.context import Context, Object
from prompt_keda.redeploy.remove import left, remove_all
from prompt_keda.redeploy.survey import custom_kinds, is_going, label

FINALIZERS = ("finalizer.keda.sh",)
"""KEDA 2.16.1 puts this one on all its objects (controllers/keda, */*_finalizer.go)."""
LIMIT = timedelta(seconds=60)
MOST_TOLD = 3


def _owned(context: Context) -> Iterator[tuple[Object, str]]:
    """Give each running Job that goes if its ScaledJob goes, with that one's UID."""
    kube = context.systems.kube
    crd_goes = bool(_crds_going(context))
    going = {one["metadata"]["uid"] for one in kube.list(SCALED_JOBS) if crd_goes or is_going(one)}
    for job in jobs.active_jobs(kube):
        for owner in job["metadata"].get("ownerReferences") or []:
            if owner["uid"] in going:
                yield job, owner["uid"]


def _crds_going(context: Context) -> list[str]:
    """Name the CRDs that are on their way out or will be removed, if the one of ScaledJobs is among them."""
    planned = {one.name for one in left(context, "CustomResourceDefinition")}
    live = [one for one in context.systems.kube.list(CRDS) if is_going(one) or one["metadata"]["name"] in planned]
    names = [one["metadata"]["name"] for one in live]
    return names if "scaledjobs.keda.sh" in names else []


def detach_inspect(context: Context) -> Progress:
    """Does a running Job hang on a ScaledJob that goes?"""
    count = len(list(_owned(context)))
    return Progress(State.TODO, f"{count} Jobs hang on a ScaledJob that goes") if count else Progress(State.DONE)


def detach_jobs(context: Context) -> None:
    """Take the ownerReference to a ScaledJob that goes from each of its running Jobs. Idempotent: yes.

    Jobs keep their label, by which KEDA finds them again.
    """
    for job, uid in _owned(context):
        metadata = job["metadata"]
        rest = [one for one in metadata["ownerReferences"] if one["uid"] != uid]
        body = {"ownerReferences": rest or None, "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        try:
            context.systems.kube.patch(JOBS, metadata["name"], metadata["namespace"], {"metadata": body})
        except Missing:
            continue  # it ended, and was tidied away
        except BadAnswer as error:
            if not is_conflict(error):  # it has changed since it was read: the wait looks again
                raise


def crds_inspect(context: Context) -> Progress:
    """Has every CRD that is purged at least begun to go?"""
    live = {one["metadata"]["uid"]: one for one in context.systems.kube.list(CRDS)}
    waiting = [one.name for one in left(context, "CustomResourceDefinition") if not is_going(live[one.uid])]
    return Progress(State.TODO, f"to be removed: {', '.join(waiting[:MOST_TOLD])}") if waiting else Progress(State.DONE)


def delete_crds(context: Context) -> None:
    """Remove the CRDs that the plan purges; their objects go with them. Idempotent: yes."""
    if detach_inspect(context).state is not State.DONE:
        detach_jobs(context)
    remove_all(context, "CustomResourceDefinition", "Background")


def _hanging(context: Context) -> list[Object]:
    """Give what is on its way out and still there: objects of KEDA's kinds, and CRDs."""
    wanted = {one["metadata"]["name"] for one in install.crds(context)}
    crds = [one for one in context.systems.kube.list(CRDS) if one["metadata"]["name"] in wanted and is_going(one)]
    return [*_dying(context), *({**one, "kind": CRDS.kind} for one in crds)]


def _dying(context: Context) -> list[Object]:
    """Give the objects of KEDA's kinds that are on their way out.

    A smoke test's are left to the operator that comes, unless their CRD goes: each test removes its own.
    """
    kube, found = context.systems.kube, []
    crds = {one["metadata"]["name"] for one in kube.list(CRDS) if is_going(one)}
    for kind in custom_kinds(context):
        crd_goes = f"{kind.plural}.{kind.group}" in crds
        for one in kube.list(kind):
            smoke = one["metadata"].get("namespace") == context.environment.smoke.namespace
            if is_going(one) and (crd_goes or not smoke):
                found.append({**one, "apiVersion": kind.api_version, "kind": kind.kind})
    return found


def hanging_inspect(context: Context) -> Progress:
    """Is something of KEDA's kinds on its way out, and what holds it?"""
    found = _hanging(context)
    if not found:
        return Progress(State.DONE)
    told = [f"{label(one)} waits for {', '.join(_held_by(one)) or 'the server'}" for one in found[:MOST_TOLD]]
    more = f" and {len(found) - MOST_TOLD} more" if len(found) > MOST_TOLD else ""
    return Progress(State.WORKING, "; ".join(told) + more)


def _held_by(one: Object) -> list[str]:
    return list(one["metadata"].get("finalizers") or [])


def let_go(context: Context) -> None:
    """Take KEDA's finalizers from what is on its way out, until all of it is gone. Idempotent: yes.

    A ScaledJob keeps its own while a running Job still refers to it. Finalizers of others stay: they are told.
    """
    watch = context.systems.kube.watch([(CRDS, None), (SCALED_JOBS, None)])
    end = time.monotonic() + LIMIT.total_seconds()
    try:
        while hanging_inspect(context).state is not State.DONE and time.monotonic() < end:
            detach_jobs(context)
            _strip(context)
            watch.wait(1.0)
    finally:
        watch.close()


def _strip(context: Context) -> None:
    kube = context.systems.kube
    owners = {uid for _, uid in _owned(context)}
    for one in _dying(context):
        metadata = one["metadata"]
        rest = [name for name in _held_by(one) if name not in FINALIZERS]
        if rest == _held_by(one) or metadata["uid"] in owners:
            continue
        body = {"finalizers": rest or None, "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        try:
            kube.patch(kube.resource_of(one), metadata["name"], metadata.get("namespace"), {"metadata": body})
        except Missing:
            continue
        except BadAnswer as error:
            if not is_conflict(error):  # it has changed since it was read: the loop looks again
                raise


STEPS: tuple[Step[Context], ...] = (
    Step("free/detach-jobs", "cut running Jobs loose from what goes", detach_inspect, detach_jobs),
    Step("free/delete-crds", "remove the CRDs that are purged", crds_inspect, delete_crds, destructive=True),
    Step(
        "free/let-go",
        "let go what hangs on its way out",
        hanging_inspect,
        let_go,
        destructive=True,
        deadline=LIMIT + timedelta(seconds=30),
        watch=lambda context: Watch(context.systems.kube, [(CRDS, None)]),
    ),
)
