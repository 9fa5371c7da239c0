"""The cluster: API server, version, nodes, namespaces, aggregated APIs, DNS, webhooks, pods."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime

from prompt_keda.clients.kube.conditions import conditions
from prompt_keda.clients.kube.resources import API_SERVICES, NAMESPACES, SERVICES
from prompt_keda.clients.systems import Systems
from prompt_keda.components.cluster.namespaces import why_terminating
from prompt_keda.components.cluster.vcluster import in_a_vcluster
from prompt_keda.components.keda.names import API_SERVICE
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.errors import BadAnswer, ClientError, LoggedOut, Missing, Refused
from prompt_keda.core.outcomes import fail, ok, unknown, warn

STORAGE = "etcd"
"""How the parts of /readyz begin that say that nothing can be read or written (Kubernetes 1.35: etcd, etcd-readiness)."""
NEWER_HOST = (1, 34)
"""From this version of its host on a vCluster that is older may show pods that never become ready (loft-sh/vcluster 3578)."""
CLOCK_S = 10
"""Tokens are taken some seconds before and after; certificates are made valid from an hour before."""


@check(
    "cluster/api-answers",
    "The API server answers",
    fix="Check VPN, kubeconfig and login.",
    runbook="cluster-unreachable",
)
def api_answers(systems: Systems) -> Outcome:
    """Ask the API server for its version, and whether it is ready (`/readyz`): it gives its version while its storage
    is away.

    Cause: VPN, kubeconfig, login or API server. The message tells name, TCP, TLS and login apart. FAIL: it says
    itself that its storage is not ready; WARN: that another part of it is not, as while it starts.
    """
    answers = f"{systems.kube.address} answers, {systems.kube.version()}"
    try:
        parts = systems.kube.not_ready()
    except LoggedOut:
        raise
    except (Refused, Missing):
        return ok(f"{answers}; whether it is ready may not be asked")
    except BadAnswer as error:
        return ok(f"{answers}; it does not say whether it is ready: {error.detail}")
    if not parts:
        return ok(answers)
    message = f"{answers}, but says that it is not ready: {', '.join(parts)}"
    if any(part.startswith(STORAGE) for part in parts):
        return fail(message, "Tell the owners of the cluster: without its storage nothing can be read or written.")
    return warn(message, "It may just be starting or ending. If it stays so, tell the owners of the cluster.")


@check(
    "cluster/version-accepted",
    "The API server's version is a supported one",
    needs=("cluster/api-answers",),
    runbook="cluster-degraded",
)
def version_accepted(systems: Systems) -> Outcome:
    """Compare the minor version with the environment's.

    Cause: The cluster was upgraded. KEDA 2.16 is tested upstream on Kubernetes 1.29 to 1.31. A vCluster that is older than
    a host of 1.34 or newer may show pods that never become ready (loft-sh/vcluster, issue 3578): WARN where the environment
    names its host; else ask its owners for both.
    """
    version = systems.kube.version()
    above = _version_above(systems) if in_a_vcluster(systems) else ""
    message = f"{version}; its host's version is {above or 'not seen'}" if in_a_vcluster(systems) else version
    if above and _minor(above) >= NEWER_HOST > _minor(version):
        return warn(
            f"{message}: pods may never become ready", "Ask the vCluster's owners (loft-sh/vcluster, issue 3578)."
        )
    minor = ".".join(map(str, _minor(version)))
    accepted = systems.environment.kubernetes.accepted_versions
    if minor in accepted:
        return ok(message)
    return warn(f"{message}; known to work: {', '.join(accepted)}", "Try KEDA on this version first, then accept it.")


def _version_above(systems: Systems) -> str:
    """Return the version of a vCluster's host; empty: it is not seen."""
    with suppress(ClientError):
        return systems.host.version() if systems.host else ""
    return ""


def _minor(version: str) -> tuple[int, ...]:
    """Return major and minor of a version; a part that is no number counts as 0."""
    return tuple(int(re.sub("[^0-9].*", "", part) or 0) for part in version.removeprefix("v").split(".")[:2])


@check(
    "cluster/clocks-agree",
    "The cluster's clock agrees with this machine's",
    needs=("cluster/api-answers",),
    runbook="cluster-degraded",
)
def clocks_agree(systems: Systems) -> Outcome:
    """Tokens depend on both; the other checks and the lock of a redeploy hold the cluster's stamps against the cluster's
    own clock.

    Cause: A machine without NTP.
    """
    apart_s = (systems.kube.server_time() - datetime.now(UTC)).total_seconds()
    if abs(apart_s) > CLOCK_S:
        word = "ahead of" if apart_s > 0 else "behind"
        message = f"the API server's clock is {abs(apart_s):.0f} s {word} this machine's"
        return warn(message, "Set this machine's clock (NTP), or tell the cluster's owners.")
    return ok(f"within {CLOCK_S} s")


@check("cluster/keda-namespace-present", "KEDA's namespace exists", needs=("cluster/api-answers",), runbook="keda-gone")
def keda_namespace_present(systems: Systems) -> Outcome:
    """Is KEDA's namespace there, and not being deleted?

    Cause: KEDA was removed, or its namespace hangs in Terminating (F9).
    """
    name = systems.environment.keda.namespace
    namespace = systems.kube.find(NAMESPACES, name)
    if namespace is None:
        return fail(f"namespace {name} is missing", "./run redeploy makes it.")
    if "deletionTimestamp" in namespace["metadata"]:
        return fail(
            f"namespace {name} is Terminating: {why_terminating(namespace)}", "See the APIService check, then redeploy."
        )
    return ok(f"namespace {name} is {namespace['status']['phase']}")


@check(
    "cluster/external-metrics-available",
    "KEDA's aggregated API is available",
    needs=("cluster/api-answers",),
    runbook="keda-gone",
)
def external_metrics_available(systems: Systems) -> Outcome:
    """Is KEDA's aggregated API there, and is what it points to there?

    Cause: KEDA's metrics API server is away. If its Service is gone as well, no namespace of the cluster can be
    deleted (F9).
    """
    api_service = systems.kube.find(API_SERVICES, API_SERVICE)
    if api_service is None:
        return fail(f"APIService {API_SERVICE} is missing", "./run redeploy makes it.")
    target = api_service["spec"].get("service") or {}
    service = systems.kube.find(SERVICES, target.get("name", ""), target.get("namespace"))
    if target and service is None:
        return fail(
            f"its Service {target['namespace']}/{target['name']} is gone: while this lasts no namespace can be deleted",
            f"./run redeploy, or: kubectl delete apiservice {API_SERVICE}",
        )
    available = conditions(api_service).get("Available", {"status": "Unknown", "message": "it has no condition yet"})
    if available["status"] == "Unknown":
        return unknown(
            f"whether it is available is not known: {available.get('message', '')}", "Look again in a moment."
        )
    if available["status"] != "True":
        return fail(f"not available: {available.get('message', '')}", "Look at the metrics API server's pod.")
    return ok("available")
