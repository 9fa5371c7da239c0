"""Stage remove: what has to go before KEDA is installed. CRDs, ScaledJobs, Jobs, namespaces and certificates stay."""

from __future__ import annotations

from datetime import timedelta

from prompt_keda.clients.kube_resources import (
    API_SERVICES,
    DEPLOYMENTS,
    LEASES,
    NAMESPACES,
    VALIDATING_WEBHOOKS,
    Resource,
)
from prompt_keda.clients.kube_watch import Watch
from prompt_keda.clients.systems import Systems
from prompt_keda.model.plan import Progress, State, Step
from prompt_keda.model.redeploy_plan import Deletion
from prompt_keda.redeploy.context import Context

API_SERVICE = "v1beta1.external.metrics.k8s.io"
OPERATOR_LEASE = "operator.keda.sh"
WEBHOOKS = "keda-admission"
KINDS: dict[str, Resource] = {one.kind: one for one in (API_SERVICES, VALIDATING_WEBHOOKS, DEPLOYMENTS, LEASES)}


def find_deletions(systems: Systems) -> tuple[Deletion, ...]:
    """Give what a redeploy of this cluster has to remove: KEDA's APIService, webhooks, Deployments and operator Lease."""
    kube, namespace = systems.kube, systems.environment.keda.namespace
    deployments = kube.list(DEPLOYMENTS, namespace, "app.kubernetes.io/part-of=keda-operator")
    found = [
        ("APIService", "", kube.find(API_SERVICES, API_SERVICE)),
        ("ValidatingWebhookConfiguration", "", kube.find(VALIDATING_WEBHOOKS, WEBHOOKS)),
        *(("Deployment", namespace, one) for one in deployments),
        ("Lease", namespace, kube.find(LEASES, OPERATOR_LEASE, namespace)),
    ]
    return tuple(
        Deletion(kind, where, one["metadata"]["name"], one["metadata"]["uid"]) for kind, where, one in found if one
    )


def _left(context: Context, kind: str) -> list[Deletion]:
    kube = context.systems.kube
    left = []
    for one in context.deletions:
        live = kube.find(KINDS[one.kind], one.name, one.namespace or None) if one.kind == kind else None
        if live is not None and live["metadata"]["uid"] == one.uid:
            left.append(one)
    return left


def _inspect(context: Context, kind: str) -> Progress:
    left = _left(context, kind)
    if not left:
        return Progress(State.DONE)
    return Progress(State.WORKING, f"still there: {', '.join(one.name for one in left)}")


def api_service_inspect(context: Context) -> Progress:
    """Is the old APIService gone?"""
    return _inspect(context, "APIService")


def webhooks_inspect(context: Context) -> Progress:
    """Is the old webhook configuration gone?"""
    return _inspect(context, "ValidatingWebhookConfiguration")


def delete_webhooks(context: Context) -> None:
    """Delete the webhook configuration, before what serves it. Idempotent: yes.

    KEDA's operator owns its caBundle: where the certificates are new, applying another one over it would be a conflict.
    """
    _delete(context, "ValidatingWebhookConfiguration", "Background")


def deployments_inspect(context: Context) -> Progress:
    """Are the old Deployments gone, with their pods?"""
    return _inspect(context, "Deployment")


def lease_inspect(context: Context) -> Progress:
    """Is the old operator's Lease gone?"""
    return _inspect(context, "Lease")


def delete_api_service(context: Context) -> None:
    """Delete the APIService, before what serves it. Idempotent: yes."""
    _delete(context, "APIService", "Background")


def delete_deployments(context: Context) -> None:
    """Delete KEDA's Deployments; in the foreground, so that they are there until their pods are gone. Idempotent: yes."""
    _delete(context, "Deployment", "Foreground")


def delete_lease(context: Context) -> None:
    """Delete the Lease of an operator that is gone: the new one need not wait up to 17 s for it. Idempotent: yes."""
    _delete(context, "Lease", "Background")


def _delete(context: Context, kind: str, propagation: str) -> None:
    for one in _left(context, kind):
        context.systems.kube.delete(KINDS[kind], one.name, one.namespace or None, uid=one.uid, propagation=propagation)


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
    Step("remove/operator-lease", "remove the old operator's Lease", lease_inspect, delete_lease, destructive=True),
    Step(
        "remove/terminating-namespaces",
        "wait until no namespace is Terminating",
        namespaces_inspect,
        wait_for_namespaces,
        deadline=timedelta(seconds=120),
        watch=lambda context: Watch(context.systems.kube, [(NAMESPACES, None)]),
    ),
)
