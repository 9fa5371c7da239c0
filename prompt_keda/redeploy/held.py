"""What would hold up a removal or the install: finalizers that no redeploy takes away (docs/decisions/0013-finalizers.md).

It is asked for before anything is removed, and once more before each removal. An object of KEDA's kinds whose CRD stays is
not among it: nothing depends on that one, and it comes back last (`restore.LEFT`).
"""

from __future__ import annotations

from collections.abc import Iterator

from prompt_keda.clients.kube.objects import Object, is_going, label
from prompt_keda.clients.kube.resources import (
    CRDS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    SCALED_JOBS,
    SECRETS,
    Resource,
)
from prompt_keda.components import finalizers
from prompt_keda.components.cluster import held_namespaces as namespaces
from prompt_keda.components.keda import install
from prompt_keda.components.keda.names import CERTIFICATES
from prompt_keda.components.run import Context
from prompt_keda.core.errors import Missing
from prompt_keda.redeploy.inventory import custom_kinds


def of_namespaces(context: Context) -> Iterator[str]:
    """Yield which of the namespaces that KEDA and its smoke test need are being deleted and do not go."""
    for name in sorted(namespaces.needed(context)):
        if why := namespaces.why_held(context.systems.kube.find(NAMESPACES, name) or {"metadata": {}}):
            yield why


def of_parts(context: Context) -> Iterator[str]:
    """Yield which of KEDA's own objects are being deleted and do not go: what is applied over them would go with them."""
    for wanted in [*install.crds(context), *install.parts_without_ca(context)]:
        try:
            live = context.find(wanted)
        except Missing:
            continue
        if live is None or not is_going(live):
            continue
        resource = context.systems.kube.resource_of(wanted)
        if finalizers.foreign(live):
            yield finalizers.describe(live, label(wanted), resource.for_kubectl)
        yield from of_what_it_owns(context, resource, live)


def of_certificates(context: Context) -> Iterator[str]:
    """Yield why the Secret with KEDA's certificates could not be made again, where that is needed."""
    kube = context.systems.kube
    live = kube.find(SECRETS, CERTIFICATES, context.namespace)
    if live is None or not finalizers.foreign(live) or not install.certificate_fault(context):
        return
    yield finalizers.describe({**live, "kind": SECRETS.kind}, f"Secret {CERTIFICATES}", SECRETS.for_kubectl, WOULD)


WOULD = "would be held by"
JOBS_FIRST = " (its running Jobs would go with it: orphan them before, runbooks/namespace-stuck.md)"


def of_removal(context: Context, resource: Resource, live: Object) -> Iterator[str]:
    """Yield what would hold up the removal of one object: a finalizer on it, or on what goes with it."""
    if finalizers.foreign(live):
        named = label({**live, "kind": resource.kind})
        yield finalizers.describe(live, named, resource.for_kubectl, "is held by" if is_going(live) else WOULD)
    yield from of_what_it_owns(context, resource, live)


def of_what_it_owns(context: Context, resource: Resource, live: Object) -> Iterator[str]:
    """Yield what would hold up an object that waits for others: a CRD for its objects, a Deployment for its pods."""
    if resource == CRDS:
        yield from _of_a_crd(context, live)
    if resource == DEPLOYMENTS:
        yield from _of_a_deployment(context, live)


def _of_a_crd(context: Context, crd: Object) -> Iterator[str]:
    kube, name = context.systems.kube, crd["metadata"]["name"]
    for kind in custom_kinds(context):
        if kind.for_kubectl != name:
            continue
        for live in kube.list(kind):
            if finalizers.foreign(live):
                named = f"CRD {name} waits for {label({**live, 'kind': kind.kind})}, which"
                words = finalizers.describe(live, named, kind.for_kubectl, "is held by" if is_going(live) else WOULD)
                yield words + (JOBS_FIRST if is_going(live) and kind.kind == SCALED_JOBS.kind else "")


def _of_a_deployment(context: Context, deployment: Object) -> Iterator[str]:
    kube, metadata = context.systems.kube, deployment["metadata"]
    namespace, owners = metadata["namespace"], {metadata["uid"]}
    for kind in (REPLICA_SETS, PODS):
        owned = [live for live in kube.list(kind, namespace) if owners & _owner_uids(live)]
        owners = {live["metadata"]["uid"] for live in owned}
        for live in owned:
            if finalizers.foreign(live):
                named = (
                    f"Deployment {namespace}/{metadata['name']} waits for {label({**live, 'kind': kind.kind})}, which"
                )
                yield finalizers.describe(live, named, kind.for_kubectl, "is held by" if is_going(live) else WOULD)


def _owner_uids(live: Object) -> set[str]:
    return {reference["uid"] for reference in live["metadata"].get("ownerReferences") or []}
