"""The cluster: API server, version, nodes, namespaces, aggregated APIs, DNS, webhooks, pods."""

from __future__ import annotations

from datetime import UTC, datetime

from prompt_keda.clients.kube.conditions import conditions
from prompt_keda.clients.kube.resources import API_SERVICES, NAMESPACES, SERVICES
from prompt_keda.clients.systems import Systems
from prompt_keda.components.cluster.jobs import jobs_taken_up
from prompt_keda.components.cluster.namespaces import api_services_available, namespaces_not_stuck
from prompt_keda.components.cluster.nodes import nodes_have_room, nodes_ready, nodes_report
from prompt_keda.components.cluster.pods import pods_get_going
from prompt_keda.components.cluster.services import dns_answers, webhooks_reachable
from prompt_keda.components.keda.names import API_SERVICE
from prompt_keda.core.check import Check, Outcome
from prompt_keda.core.errors import BadAnswer, LoggedOut, Missing, Refused
from prompt_keda.core.outcomes import fail, ok, unknown, warn

API = "cluster/api-answers"
NODES_READY = "cluster/nodes-ready"
OTHER_APIS = "cluster/api-services-available"
STORAGE = "etcd"
"""How the parts of /readyz begin that say that nothing can be read or written (Kubernetes 1.35: etcd, etcd-readiness)."""
CLOCK_S = 10
"""A redeploy's lock stands up to 45 s (redeploy/lease.py); certificates are made valid from some minutes before."""


def api_answers(systems: Systems) -> Outcome:
    """Ask the API server for its version, and whether it is ready: it gives its version while its storage is away."""
    answers = f"{systems.kube.address} answers, {systems.kube.version()}"
    try:
        parts = systems.kube.not_ready()
    except LoggedOut:
        raise
    except (Refused, Missing):
        return ok(f"{answers}; whether it is ready may not be asked")
    except BadAnswer as error:
        return ok(f"{answers}; whether it is ready is not told: {error.detail}")
    if not parts:
        return ok(answers)
    said = f"{answers}, but says that it is not ready: {', '.join(parts)}"
    if any(one.startswith(STORAGE) for one in parts):
        return fail(said, "Tell the owners of the cluster: without its storage nothing can be read or written.")
    return warn(said, "It may just be starting or ending. If it stays so, tell the owners of the cluster.")


def version_accepted(systems: Systems) -> Outcome:
    """Compare the minor version with the environment's."""
    found = systems.kube.version()
    minor = ".".join(found.removeprefix("v").split(".")[:2])
    accepted = systems.environment.kubernetes.accepted_versions
    if minor in accepted:
        return ok(found)
    return warn(f"{found}; known to work: {', '.join(accepted)}", "Try KEDA on this version first, then accept it.")


def clocks_agree(systems: Systems) -> Outcome:
    """Compare this machine's clock with the server's: tokens, certificates and locks depend on both."""
    apart_s = (systems.kube.server_time() - datetime.now(UTC)).total_seconds()
    if abs(apart_s) > CLOCK_S:
        word = "ahead of" if apart_s > 0 else "behind"
        said = f"the API server's clock is {abs(apart_s):.0f} s {word} this machine's"
        return warn(said, "Set this machine's clock (NTP), or tell the cluster's owners.")
    return ok(f"within {CLOCK_S} s")


def keda_namespace_present(systems: Systems) -> Outcome:
    """Is KEDA's namespace there, and not on its way out?"""
    name = systems.environment.keda.namespace
    found = systems.kube.find(NAMESPACES, name)
    if found is None:
        return fail(f"namespace {name} is absent", "./run redeploy makes it.")
    if "deletionTimestamp" in found["metadata"]:
        said = [one["message"] for one in found["status"].get("conditions") or [] if one["status"] == "True"]
        return fail(f"namespace {name} is Terminating: {' '.join(said)}", "See the APIService check, then redeploy.")
    return ok(f"namespace {name} is {found['status']['phase']}")


def external_metrics_available(systems: Systems) -> Outcome:
    """Is KEDA's aggregated API there, and is what it points to there?"""
    found = systems.kube.find(API_SERVICES, API_SERVICE)
    if found is None:
        return fail(f"APIService {API_SERVICE} is absent", "./run redeploy makes it.")
    target = found["spec"].get("service") or {}
    service = systems.kube.find(SERVICES, target.get("name", ""), target.get("namespace"))
    if target and service is None:
        return fail(
            f"its Service {target['namespace']}/{target['name']} is gone: while this lasts no namespace can be deleted",
            f"./run redeploy, or: kubectl delete apiservice {API_SERVICE}",
        )
    available = conditions(found).get("Available", {"status": "Unknown", "message": "it has no condition yet"})
    if available["status"] == "Unknown":
        return unknown(
            f"whether it is available is not known: {available.get('message', '')}", "Look again in a moment."
        )
    if available["status"] != "True":
        return fail(f"not available: {available.get('message', '')}", "Look at the metrics API server's pod.")
    return ok("available")


CHECKS: tuple[Check[Systems], ...] = (
    Check(
        API,
        "the API server answers",
        api_answers,
        fix="Check VPN, kubeconfig and login.",
        runbook="cluster-unreachable",
    ),
    Check(
        "cluster/version-accepted",
        "its version is one that is known to work",
        version_accepted,
        (API,),
        runbook="cluster-ill",
    ),
    Check("cluster/clocks-agree", "its clock agrees with this machine's", clocks_agree, (API,), runbook="cluster-ill"),
    Check(NODES_READY, "nodes are ready", nodes_ready, (API,), runbook="cluster-ill"),
    Check("cluster/nodes-report", "every node reports", nodes_report, (NODES_READY,), runbook="cluster-ill"),
    Check(
        "cluster/nodes-have-room",
        "the nodes have room for more workers",
        nodes_have_room,
        (NODES_READY, "keda/sizes-as-named"),
        runbook="no-room",
    ),
    Check("cluster/pods-get-going", "no pod is left alone", pods_get_going, (API,), runbook="cluster-ill"),
    Check("cluster/jobs-taken-up", "a controller makes pods for Jobs", jobs_taken_up, (API,), runbook="cluster-ill"),
    Check(
        "cluster/dns-answers", "the cluster's DNS has somebody to answer", dns_answers, (API,), runbook="cluster-ill"
    ),
    Check(
        "cluster/namespaces-not-stuck",
        "no namespace is stuck",
        namespaces_not_stuck,
        ("cluster/external-metrics-available", OTHER_APIS),  # else all are, and these say why
        runbook="namespace-stuck",
    ),
    Check(
        OTHER_APIS, "every other aggregated API is available", api_services_available, (API,), runbook="namespace-stuck"
    ),
    Check(
        "cluster/keda-namespace-present",
        "KEDA's namespace is there",
        keda_namespace_present,
        (API,),
        runbook="keda-gone",
    ),
    Check(
        "cluster/external-metrics-available",
        "KEDA's aggregated API is available",
        external_metrics_available,
        (API,),
        runbook="keda-gone",
    ),
    Check(
        "cluster/webhooks-reachable",
        "KEDA's webhooks can be reached",
        webhooks_reachable,
        ("keda/parts-ready", "keda/certificates-agree"),
        runbook="certificates-wrong",
    ),
)
