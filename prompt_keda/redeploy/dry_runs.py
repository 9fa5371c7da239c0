"""What the API server says beforehand of what a run removes, cuts loose and makes again: admission, quotas, rights.

An admission policy or webhook that denies it would stop a run with KEDA gone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from prompt_keda.clients.kube.client import FIELD_MANAGER
from prompt_keda.clients.kube.objects import Object, is_going, label
from prompt_keda.clients.kube.resources import (
    API_SERVICES,
    JOBS,
    NAMESPACES,
    PODS,
    SCALED_JOBS,
    SECRETS,
    VALIDATING_WEBHOOKS,
    Resource,
)
from prompt_keda.components import finalizers
from prompt_keda.components.compare import first_difference
from prompt_keda.components.keda import install
from prompt_keda.components.keda.names import CERTIFICATES, FINALIZER
from prompt_keda.components.run import Context
from prompt_keda.components.scaled_jobs import running_jobs
from prompt_keda.components.scaled_jobs.objects import GENERATION
from prompt_keda.core.errors import BadAnswer, ClientError, Missing, Refused, Unreachable
from prompt_keda.redeploy import finalize, guard, remove, takeovers

Look = Callable[[], str | None]
"""Returns what stands in the way, or None."""
TRIED = "-preflight"
"""Ends the name under which it is tried whether something can be made again that still stands."""
CANNOT_TELL = "does not support dry run"
"""What the API server says where a webhook with side effects would have to be asked (Kubernetes, webhook dispatcher)."""
NOT_TRIED = (API_SERVICES.kind, VALIDATING_WEBHOOKS.kind, "CustomResourceDefinition")
"""The first has to have its own name; no admission is asked for the second; CRDs that stand are not recreated."""


def looks(context: Context) -> Iterator[Look]:
    """Return a look for each request that can be tried. Nothing is written."""
    kube = context.systems.kube
    for deletion, live in remove.live_ones(context, *remove.KINDS):
        yield partial(_try_delete, context, remove.KINDS[deletion.kind], {**live, "kind": deletion.kind})
    secret = kube.find(SECRETS, CERTIFICATES, context.namespace)
    if secret is not None and install.certificate_fault(context):
        yield partial(_try_delete, context, SECRETS, {**secret, "kind": SECRETS.kind})
    for live, metadata in [*_of_jobs(context), *_of_scaled_jobs(context), *_of_what_hangs(context)]:
        yield partial(_try_patch, context, live, metadata)
    for wanted in _made_again(context):
        yield partial(_try_create, context, wanted)
    if kube.can_i("create", "", PODS.plural, context.namespace):
        for wanted in remove.deployments_to_come(context):
            yield partial(_try_pod, context, wanted)


def _try_delete(context: Context, resource: Resource, live: Object) -> str | None:
    metadata = live["metadata"]
    where, uid = metadata.get("namespace"), metadata["uid"]
    try:
        context.systems.kube.delete(resource, metadata["name"], where, uid=uid, dry_run=True)
    except (Refused, BadAnswer) as error:
        return _denial(f"removing {label(live)}", error)
    return None


def _denial(what: str, error: ClientError) -> str | None:
    """Return what was denied; None where a dry run cannot tell, because a webhook takes none."""
    return None if CANNOT_TELL in error.detail else f"{what}: {error.detail}"


def _of_jobs(context: Context) -> Iterator[tuple[Object, dict[str, Any]]]:
    """Yield one Job of each namespace whose Jobs are orphaned or annotated, with the change; all are changed alike."""
    namespaces: set[tuple[str, str]] = set()
    for job, _ in finalize.owned(context):
        if (namespace := job["metadata"]["namespace"], "orphaned") not in namespaces:
            namespaces.add((namespace, "orphaned"))
            yield {**job, **JOBS.head}, {"ownerReferences": None}
    for record, _ in guard.jobs_to_annotate(context):
        if (record.namespace, "annotated") not in namespaces:
            namespaces.add((record.namespace, "annotated"))
            metadata = {"name": record.name, "namespace": record.namespace}
            yield {**JOBS.head, "metadata": metadata}, {"annotations": {GENERATION: "0"}}


def _of_scaled_jobs(context: Context) -> Iterator[tuple[Object, dict[str, Any]]]:
    """Yield each instrument's ScaledJob that stands, with the pause that may be put on it."""
    keys = {(instrument.namespace, instrument.scaled_job) for instrument in context.environment.instruments}
    for (namespace, name), live in running_jobs.owners(context.systems.kube).items():
        if (namespace, name) in keys:
            yield {**live, **SCALED_JOBS.head}, {"annotations": running_jobs.pause_marks(context.run_id or "preflight")}


def _of_what_hangs(context: Context) -> Iterator[tuple[Object, dict[str, Any]]]:
    """Yield each object being deleted that KEDA's finalizer is taken from."""
    for live in finalize.dying(context):
        names = finalizers.names_of(live)
        if FINALIZER in names:
            yield live, {"finalizers": [name for name in names if name != FINALIZER] or None}


def _try_patch(context: Context, live: Object, metadata: dict[str, Any]) -> str | None:
    kube, known = context.systems.kube, live["metadata"]
    try:
        kube.patch(kube.resource_of(live), known["name"], known.get("namespace"), {"metadata": metadata}, dry_run=True)
    except (Missing, Unreachable, Refused, BadAnswer) as error:
        return _unless_it_goes(context, live, error)
    return None


def _unless_it_goes(context: Context, wanted: Object, error: ClientError) -> str | None:
    """Return what refuses a change of an object, unless it is KEDA's webhook, which is replaced before (F12).

    Raises the error itself when the server did not answer, and no webhook that goes may be why.
    """
    names = webhooks_that_go(context)
    if isinstance(error, Missing):
        return None
    if isinstance(error, Unreachable):
        if names:
            return None
        raise error
    if any(f'webhook "{name}"' in error.detail for name in names):
        return None
    return _denial(label(wanted), error)


def webhooks_that_go(context: Context) -> set[str]:
    """Return the names of the webhooks that the plan removes."""
    kube = context.systems.kube
    removed = [deletion.name for deletion in context.decisions.deletions if deletion.kind == VALIDATING_WEBHOOKS.kind]
    live = [kube.find(VALIDATING_WEBHOOKS, name) or {} for name in removed]
    return {str(hook["name"]) for configuration in live for hook in configuration.get("webhooks") or []}


def try_apply(context: Context, wanted: Object, field_manager: str = FIELD_MANAGER) -> str | None:
    """Return why an object would not be taken. A namespace or kind that the install brings first is no reason.

    Nor are fields of others that the plan takes over, or where all is as it should be: it is not applied then.

    Raises
    ------
    Unreachable
        When the server does not answer.
    """
    try:
        force = label(wanted) in context.decisions.takes_over or _is_as_wanted(context, wanted)
        context.systems.kube.apply(wanted, force, dry_run=True, field_manager=field_manager)
    except (Missing, Unreachable, Refused, BadAnswer) as error:
        return _unless_it_goes(context, wanted, error)
    return None


def _is_as_wanted(context: Context, wanted: Object) -> bool:
    live = context.find(wanted)
    return live is not None and first_difference(takeovers.content(wanted), live) is None


def _made_again(context: Context) -> Iterator[Object]:
    """Yield what is removed and made again, under a name that is free: a dry run of its own name would only change it."""
    removed = {
        (deletion.kind, deletion.namespace, deletion.name)
        for deletion in context.decisions.deletions
        if deletion.kind not in NOT_TRIED
    }
    for wanted in install.parts_without_ca(context):
        metadata = wanted["metadata"]
        if (wanted["kind"], metadata.get("namespace", ""), metadata["name"]) in removed:
            made = copy.deepcopy(wanted)
            made["metadata"]["name"] += TRIED
            yield made


def _try_create(context: Context, wanted: Object) -> str | None:
    kube, namespace = context.systems.kube, wanted["metadata"].get("namespace")
    if namespace and _cannot_be_tried_in(context, namespace):
        return None
    try:
        kube.create(kube.resource_of(wanted), wanted, namespace, dry_run=True)
    except Missing:
        return None
    except (Refused, BadAnswer) as error:
        return _denial(f"making {label(wanted).removesuffix(TRIED)} again", error)
    return None


def _try_pod(context: Context, deployment: Object) -> str | None:
    """Return why a pod of a Deployment would not be let in. Quotas count those that stand: they are looked at elsewhere."""
    template, name = deployment["spec"]["template"], deployment["metadata"]["name"]
    if _cannot_be_tried_in(context, context.namespace):
        return None
    metadata = {**(template.get("metadata") or {}), "name": f"{name}{TRIED}", "namespace": context.namespace}
    try:
        context.systems.kube.create(
            PODS, {**PODS.head, "metadata": metadata, "spec": template["spec"]}, context.namespace, dry_run=True
        )
    except Missing:
        return None
    except (Refused, BadAnswer) as error:
        if "exceeded quota" in error.detail or "service account" in error.detail:  # it comes with the install
            return None
        return _denial(f"a pod of Deployment {context.namespace}/{name}", error)
    return None


def _cannot_be_tried_in(context: Context, namespace: str) -> bool:
    live = context.systems.kube.find(NAMESPACES, namespace)
    return live is None or is_going(live)
