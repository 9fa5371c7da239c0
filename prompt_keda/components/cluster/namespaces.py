"""Namespaces that do not go away, and the aggregated APIs that keep them (failure mode F9)."""

from __future__ import annotations

from datetime import timedelta

from prompt_keda.clients.kube.conditions import conditions
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import API_SERVICES, NAMESPACES
from prompt_keda.clients.systems import Systems
from prompt_keda.components.cluster.clock import age
from prompt_keda.components.keda.names import API_SERVICE
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.outcomes import all_of, fail, ok, unknown, warn

STUCK = timedelta(seconds=60)
"""An empty namespace is gone in some seconds, one with KEDA in it in 11 s (seen); a pod's grace is 30 s by default."""


@check(
    "cluster/namespaces-not-stuck",
    "No namespace is stuck in Terminating",
    needs=("cluster/external-metrics-available", "cluster/api-services-available"),
    runbook="namespace-stuck",
)
def namespaces_not_stuck(systems: Systems) -> Outcome:
    """Look for one that is Terminating for more than a minute, and report the namespace controller's reason. KEDA's own
    is reported by cluster/keda-namespace-present.

    Cause: An object in it has a finalizer that nobody removes (F9). FAIL for a namespace of Prompt KEDA, WARN for
    another. While an aggregated API is not available all are stuck: then it is SKIPPED.

    Fix: The result names what holds it.
    """
    environment = systems.environment
    ours = {
        environment.redis.namespace,
        environment.smoke.namespace,
        *(instrument.namespace for instrument in environment.instruments),
    }
    fix = "Read the runbook first: who takes the finalizer from a ScaledJob ends its Jobs."

    def look(namespace: Object) -> Outcome:
        name, since = namespace["metadata"]["name"], namespace["metadata"].get("deletionTimestamp")
        going = age(systems, since) if since else timedelta(0)
        if going <= STUCK:
            return ok(name)
        message = f"namespace {name} is Terminating since {going.total_seconds():.0f} s: {why_terminating(namespace)}"
        return fail(message, fix) if name in ours else warn(message, fix)

    namespaces = [
        namespace
        for namespace in systems.kube.list(NAMESPACES)
        if namespace["metadata"]["name"] != environment.keda.namespace
    ]
    return all_of(
        ((namespace["metadata"]["name"], namespace) for namespace in namespaces),
        look,
        f"none of {len(namespaces)} is stuck",
    )


@check(
    "cluster/api-services-available",
    "Every aggregated API but KEDA's is available",
    needs=("cluster/api-answers",),
    runbook="namespace-stuck",
)
def api_services_available(systems: Systems) -> Outcome:
    """Look at every APIService that a Service of the cluster stands behind, but for KEDA's, which has a check of its
    own.

    Cause: What serves it was removed and the APIService left behind, or is down. While this lasts no namespace of
    the cluster can be deleted (F9).
    """
    fix = "Repair what serves it; if its Service is gone for good: kubectl delete apiservice NAME."

    def look(api_service: Object) -> Outcome:
        name, service = api_service["metadata"]["name"], api_service["spec"]["service"]
        available = conditions(api_service).get("Available", {"status": "Unknown"})
        if available["status"] == "True":
            return ok(name)
        if available["status"] == "Unknown":
            return unknown(
                f"{name}: the API server does not say yet whether it is available", "Look again in a moment."
            )
        where = f"{service.get('namespace')}/{service.get('name')}"
        message = f"{name} by {where} is not available: {available.get('message') or available.get('reason')}"
        return fail(f"{message}; no namespace can be deleted while this lasts", fix)

    api_services = [
        api_service for api_service in systems.kube.list(API_SERVICES) if api_service["spec"].get("service")
    ]
    others = [api_service for api_service in api_services if api_service["metadata"]["name"] != API_SERVICE]
    if not others:
        return ok("there is none but KEDA's")
    return all_of(
        ((api_service["metadata"]["name"], api_service) for api_service in others),
        look,
        f"{len(others)} available beside KEDA's",
    )


def why_terminating(namespace: Object) -> str:
    """Return the reasons of the namespace controller, without those that only say that it is at work."""
    conditions = namespace.get("status", {}).get("conditions") or []
    reasons = [
        str(condition.get("message") or condition["type"]) for condition in conditions if condition["status"] == "True"
    ]
    return " ".join(reasons) or "its conditions give no reason"
