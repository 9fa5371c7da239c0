"""Stage remove: what has to go before KEDA is installed. ScaledJobs, Jobs, namespaces and good certificates stay."""

from __future__ import annotations

from datetime import timedelta

from prompt_keda.clients.kube_resources import (
    API_SERVICES,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CRDS,
    DEPLOYMENTS,
    LEASES,
    NAMESPACES,
    PODS,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    VALIDATING_WEBHOOKS,
    Resource,
)
from prompt_keda.clients.kube_watch import Watch
from prompt_keda.model.plan import Progress, State, Step
from prompt_keda.model.redeploy_plan import Deletion
from prompt_keda.redeploy.context import Context

API_SERVICE = "v1beta1.external.metrics.k8s.io"
OTHERS = (ROLES, ROLE_BINDINGS, CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS, SERVICES, SERVICE_ACCOUNTS, SECRETS)
"""What is removed only where it cannot be applied over; of Secrets the revisions of Helm releases that hang."""
KINDS: dict[str, Resource] = {
    one.kind: one for one in (API_SERVICES, VALIDATING_WEBHOOKS, DEPLOYMENTS, PODS, LEASES, CRDS, *OTHERS)
}
NAMES = tuple(one.kind for one in OTHERS)


def left(context: Context, *kinds: str) -> list[Deletion]:
    """Give what the plan removes of some kinds, and what is still there. Raises as `Kube.find` does."""
    kube, found = context.systems.kube, []
    for one in context.decisions.deletions:
        live = kube.find(KINDS[one.kind], one.name, one.namespace or None) if one.kind in kinds else None
        if live is not None and live["metadata"]["uid"] == one.uid:
            found.append(one)
    return found


def remove_all(context: Context, kind: str, propagation: str) -> None:
    """Remove what the plan removes of a kind, each with its UID as a precondition. Idempotent: yes."""
    for one in left(context, kind):
        context.systems.kube.delete(KINDS[kind], one.name, one.namespace or None, uid=one.uid, propagation=propagation)


def _inspect(context: Context, *kinds: str) -> Progress:
    found = left(context, *kinds)
    if not found:
        return Progress(State.DONE)
    return Progress(State.WORKING, f"still there: {', '.join(one.name for one in found)}")


def api_service_inspect(context: Context) -> Progress:
    """Is the old APIService gone?"""
    return _inspect(context, "APIService")


def delete_api_service(context: Context) -> None:
    """Delete the APIService, before what serves it. Idempotent: yes."""
    remove_all(context, "APIService", "Background")


def webhooks_inspect(context: Context) -> Progress:
    """Is the old webhook configuration gone?"""
    return _inspect(context, "ValidatingWebhookConfiguration")


def delete_webhooks(context: Context) -> None:
    """Delete the webhook configuration, before what serves it. Idempotent: yes.

    KEDA's operator owns its caBundle: where the certificates are new, applying another one over it would be a conflict.
    """
    remove_all(context, "ValidatingWebhookConfiguration", "Background")


def deployments_inspect(context: Context) -> Progress:
    """Are the old Deployments gone, with their pods?"""
    return _inspect(context, "Deployment")


def delete_deployments(context: Context) -> None:
    """Delete KEDA's Deployments; in the foreground, so that they are there until their pods are gone. Idempotent: yes."""
    remove_all(context, "Deployment", "Foreground")


def pods_inspect(context: Context) -> Progress:
    """Are the pods gone that did not work?"""
    return _inspect(context, "Pod")


def delete_pods(context: Context) -> None:
    """Delete KEDA's pods that do not work; their Deployments make new ones at once. Idempotent: yes."""
    remove_all(context, "Pod", "Background")


def lease_inspect(context: Context) -> Progress:
    """Is the old operator's Lease gone?"""
    return _inspect(context, "Lease")


def delete_lease(context: Context) -> None:
    """Delete the Lease of an operator that is gone: the new one need not wait up to 17 s for it. Idempotent: yes."""
    remove_all(context, "Lease", "Background")


def others_inspect(context: Context) -> Progress:
    """Is gone what cannot be applied over?"""
    return _inspect(context, *NAMES)


def delete_others(context: Context) -> None:
    """Delete what cannot be applied over: roles, bindings, Services, accounts; and what holds Helm up. Idempotent: yes."""
    for kind in NAMES:
        remove_all(context, kind, "Background")


def namespaces_inspect(context: Context) -> Progress:
    """Is one of the namespaces on its way out, and why does it not go?"""
    wanted = {context.namespace, *(one.namespace for one in context.environment.instruments)}
    for name in sorted(wanted):
        found = context.systems.kube.find(NAMESPACES, name)
        if found is not None and "deletionTimestamp" in found["metadata"]:
            said = [one["message"] for one in (found["status"].get("conditions") or []) if one["status"] == "True"]
            return Progress(State.WORKING, f"namespace {name} is Terminating: {' '.join(said)[:200]}")
    return Progress(State.DONE)


def wait_for_namespaces(context: Context) -> None:
    """Do nothing: what blocks a namespace was removed by the steps before. Idempotent: yes."""


STEPS: tuple[Step[Context], ...] = (
    Step(
        "remove/api-service",
        "remove the metrics APIService, before what serves it",
        api_service_inspect,
        delete_api_service,
        destructive=True,
        watch=lambda context: Watch(context.systems.kube, [(API_SERVICES, None)]),
    ),
    Step(
        "remove/webhooks",
        "remove the admission webhooks, before what serves them",
        webhooks_inspect,
        delete_webhooks,
        destructive=True,
    ),
    Step(
        "remove/deployments",
        "remove KEDA's Deployments and their pods",
        deployments_inspect,
        delete_deployments,
        destructive=True,
        watch=lambda context: Watch(context.systems.kube, [(DEPLOYMENTS, context.namespace)]),
    ),
    Step(
        "remove/idle-pods",
        "remove KEDA's pods that do not work",
        pods_inspect,
        delete_pods,
        destructive=True,
        watch=lambda context: Watch(context.systems.kube, [(PODS, context.namespace)]),
    ),
    Step("remove/operator-lease", "remove the old operator's Lease", lease_inspect, delete_lease, destructive=True),
    Step(
        "remove/what-conflicts", "remove what cannot be applied over", others_inspect, delete_others, destructive=True
    ),
)
NAMESPACES_GONE: Step[Context] = Step(
    "remove/terminating-namespaces",
    "wait until no namespace is Terminating",
    namespaces_inspect,
    wait_for_namespaces,
    deadline=timedelta(seconds=120),
    watch=lambda context: Watch(context.systems.kube, [(NAMESPACES, None)]),
)
