"""What the cluster's Services lead to: DNS, and KEDA's admission webhooks."""

from __future__ import annotations

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import ENDPOINT_SLICES, SERVICES, VALIDATING_WEBHOOKS
from prompt_keda.clients.systems import Systems
from prompt_keda.components.keda.names import WEBHOOK_CONFIGURATION
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.outcomes import all_of, fail, ok, unknown, warn

DNS_NAMESPACE = "kube-system"
DNS_SERVICE = "kube-dns"
"""The Service keeps this name whatever serves it (Kubernetes, DNS for Services and Pods)."""


@check(
    "cluster/dns-answers",
    "The cluster's DNS has ready endpoints",
    needs=("cluster/api-answers",),
    runbook="cluster-degraded",
)
def dns_answers(systems: Systems) -> Outcome:
    """Look at what is ready behind the Service kube-dns. Whether a name is resolved rightly only a pod can tell.

    Cause: CoreDNS is down (F31): KEDA and the workers no longer find Redis. UNKNOWN: no such Service is shown.
    """
    names = [service["metadata"]["name"] for service in systems.kube.list(SERVICES, DNS_NAMESPACE) if _is_dns(service)]
    if not names:
        return unknown(f"no Service of the cluster's DNS is shown in {DNS_NAMESPACE}", "Ask the cluster's owners.")
    ready = {name: ready_endpoints(systems, name, DNS_NAMESPACE) for name in names}
    if not any(ready.values()):
        message = f"nothing ready is behind the Service {DNS_NAMESPACE}/{names[0]}: no name is resolved in the cluster"
        return fail(message, f"Restart CoreDNS: kubectl -n {DNS_NAMESPACE} rollout restart deployment coredns")
    return ok(", ".join(f"{count} behind {DNS_NAMESPACE}/{name}" for name, count in ready.items()))


def _is_dns(service: Object) -> bool:
    metadata = service["metadata"]
    return DNS_SERVICE in (metadata["name"], (metadata.get("labels") or {}).get("k8s-app"))


@check(
    "cluster/webhooks-reachable",
    "KEDA's admission webhooks are reachable",
    needs=("keda/parts-ready", "keda/certificates-agree"),
    runbook="certificates-wrong",
)
def webhooks_reachable(systems: Systems) -> Outcome:
    """Look at what is ready behind the Services of the configuration keda-admission.

    Cause: The Service is gone, or selects no pod (F12). FAIL where failurePolicy is Fail: no ScaledJob can be
    applied. WARN where it is Ignore, as in the public chart: bad ones are admitted.
    """
    config = systems.kube.find(VALIDATING_WEBHOOKS, WEBHOOK_CONFIGURATION)
    if config is None:
        return fail(f"the webhook configuration {WEBHOOK_CONFIGURATION} is missing", "./run redeploy makes it.")

    def look(hook: Object) -> Outcome:
        policy, service = hook.get("failurePolicy", "Fail"), hook["clientConfig"].get("service")
        if not service:
            return unknown(f"{hook['name']} is called by an address: {hook['clientConfig'].get('url')}")
        where = f"{service['namespace']}/{service['name']}"
        if ready_endpoints(systems, service["name"], service["namespace"]):
            return ok(f"{hook['name']} by {where}")
        fix = "./run redeploy puts Service and Deployment back."
        if policy == "Fail":
            message = "no ScaledJob can be applied, failurePolicy is Fail"
            return fail(f"nothing ready is behind {where}: {message}", fix)
        return warn(f"nothing ready is behind {where}: objects are admitted unseen, failurePolicy is {policy}", fix)

    hooks = config.get("webhooks") or []
    policies = ", ".join(sorted({hook.get("failurePolicy", "Fail") for hook in hooks}))
    return all_of(((hook["name"], hook) for hook in hooks), look, f"{len(hooks)} reachable, failurePolicy {policies}")


def ready_endpoints(systems: Systems, service: str, namespace: str) -> int:
    """Count the ready endpoints behind a Service. One that does not say counts as ready, as for kube-proxy."""
    slices = systems.kube.list(ENDPOINT_SLICES, namespace, f"kubernetes.io/service-name={service}")
    endpoints = [endpoint for endpoint_slice in slices for endpoint in endpoint_slice.get("endpoints") or []]
    return sum((endpoint.get("conditions") or {}).get("ready") is not False for endpoint in endpoints)
