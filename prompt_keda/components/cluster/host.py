"""A vCluster's host, seen by a login of its own that only reads: what is a stand-in inside is a fact there.

An environment names it under `kubernetes.host`; environments/rbac/vcluster-host.yaml has the rights that this needs. Without it
all of this is SKIPPED, and the checks inside say whom to ask.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.conditions import has_condition
from prompt_keda.clients.kube.expiry import claims_of, moment
from prompt_keda.clients.kube.in_vcluster import OWNERS
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import CLAIMS, PODS, VOLUMES
from prompt_keda.clients.systems import Systems
from prompt_keda.components.cluster.clock import age, server_now
from prompt_keda.components.cluster.pods import PATIENCE
from prompt_keda.components.cluster.vcluster import MANAGED, NAMESPACE, UID
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.outcomes import fail, ok, skipped, unknown, warn
from prompt_keda.environment.model import HostCluster

IN_ANNOTATION = "vcluster.loft.sh/token-"
"""How the annotations begin by which a syncer hands the tokens of service accounts to its pods on the host. They last ten years,
and end with the pod inside that they are bound to (vCluster 0.26.0, pkg/controllers/resources/pods/translate)."""
LASTS = timedelta(days=1)
"""A kubelet's own token lasts for an hour, or some more."""
NOT_NAMED = "the environment names no host of a vCluster (kubernetes.host)"
MOST_NAMED = 3


@check(
    "cluster/host-runs-the-vcluster",
    "The vCluster's host runs its syncer",
    fix="Check VPN, kubeconfig and login of kubernetes.host.",
    runbook="vcluster",
)
def host_runs_the_vcluster(systems: Systems) -> Outcome:
    """Look at the syncer's pod on the host: it is the vCluster's API server, so this says why the API server is away.

    Cause: FAIL: it is missing, or not ready; the message has why. What runs on the host runs on meanwhile. Where nothing runs
    there any more its release, or the Service that owns all, was deleted.

    Fix: Its owners start it again. Where its store is lost, the store comes back first: runbooks/vcluster.md.
    """
    view = _host(systems)
    if view is None:
        return skipped(NOT_NAMED)
    host, settings = view
    every = host.list(PODS, settings.namespace, f"app=vcluster,release={settings.name}")
    pods = [pod for pod in every if "deletionTimestamp" not in pod["metadata"]]
    running = [pod for pod in _made(host, settings) if pod["status"].get("phase") == "Running"]
    workers_run = f"{len(running)} pods of the vCluster run on the host"
    if not pods:
        message = f"no pod of {settings.name}'s syncer is in {settings.namespace} of the host"
        if not running:
            lost = "and nothing of the vCluster runs there: where its release was deleted, all that ran is lost"
            fix = f"{OWNERS} to install it again over its store. Then fetch its new kubeconfig, and enrol."
            return fail(f"{message}, {lost}", fix)
        return fail(f"{message}: {workers_run}", f"{OWNERS} to start it; first its store, if that is lost.")
    ready = [pod for pod in pods if has_condition(pod, "Ready")]
    if not ready:
        (pod, *_) = pods
        message = f"{pod['metadata']['name']} is not ready: {_why(pod)}"
        return fail(f"{message}; {workers_run}", f"{OWNERS} to look at it.")
    return ok(f"{ready[0]['metadata']['name']} is ready, {workers_run}")


def _made(host: Kube, settings: HostCluster) -> list[Object]:
    return host.list(PODS, settings.namespace, f"{MANAGED}={settings.name}")


def _why(pod: Object) -> str:
    for status in pod["status"].get("containerStatuses") or []:
        waiting = (status.get("state") or {}).get("waiting") or {}
        if waiting:
            return f"{waiting.get('reason')}, {status.get('restartCount', 0)} restarts"
    return str(pod["status"].get("phase", "no phase"))


@check(
    "cluster/host-has-the-pods",
    "The pods on the vCluster's host are those inside",
    needs=("cluster/api-answers", "cluster/host-runs-the-vcluster"),
    runbook="vcluster",
)
def host_has_the_pods(systems: Systems) -> Outcome:
    """Compare the pods inside with those that the syncer has made on the host, by their UIDs.

    Cause: FAIL: a pod waits for more than 30 s to be made on the host: its quota, its admission, or a syncer that is behind.
    WARN: pods run on the host that are not there inside, as after a lost store: nobody counts them.

    Fix: FAIL: what cluster/pods-start says of the pod. WARN: who owns the host deletes them, if they do not end.
    """
    view = _host(systems)
    if view is None:
        return skipped(NOT_NAMED)
    host, settings = view
    made = {(pod["metadata"].get("annotations") or {}).get(UID): pod for pod in _made(host, settings)}
    inside = {pod["metadata"]["uid"]: pod for pod in systems.kube.each(PODS)}
    late = [pod for uid, pod in inside.items() if uid not in made and _waits(systems, pod)]
    if late:
        message = f"{len(late)} pods are not made on the host for more than {PATIENCE.seconds} s: {_names(late)}"
        return fail(message, f"{OWNERS}: its syncer is behind, or refused. cluster/pods-start has its words.")
    unseen = [pod for uid, pod in made.items() if uid not in inside and pod["status"].get("phase") == "Running"]
    if unseen:
        message = f"{len(unseen)} pods run on the host and are not there inside: {_names(unseen)}"
        return warn(message, f"{OWNERS} to delete those that do not end: nobody counts them.")
    return ok(f"{len(made)} pods on the host, all of them inside")


def _waits(systems: Systems, pod: Object) -> bool:
    is_over = pod.get("status", {}).get("phase") in ("Succeeded", "Failed") or "deletionTimestamp" in pod["metadata"]
    return not is_over and age(systems, pod["metadata"]["creationTimestamp"]) > PATIENCE


def _names(pods: list[Object]) -> str:
    more = f" (and {len(pods) - MOST_NAMED} more)" if len(pods) > MOST_NAMED else ""
    return ", ".join(pod["metadata"]["name"] for pod in pods[:MOST_NAMED]) + more


@check(
    "cluster/host-keeps-redis",
    "The volume of Prompt Redis outlives its claim on the host",
    needs=("cluster/host-runs-the-vcluster",),
    runbook="vcluster",
)
def host_keeps_redis(systems: Systems) -> Outcome:
    """Look at the claims of Redis' namespace on the host, and at the reclaim policy of their volumes: inside a volume is made up.

    Cause: WARN: the policy is Delete, so that all streams go with the claim, and the claim with a lost store or a release that
    is deleted. FAIL: a claim is not bound on the host. UNKNOWN: no claim of Redis is seen there.

    Fix: The host's owners set persistentVolumeReclaimPolicy to Retain on that volume.
    """
    view = _host(systems)
    if view is None:
        return skipped(NOT_NAMED)
    host, settings = view
    namespace = systems.environment.redis.namespace
    every = host.list(CLAIMS, settings.namespace, f"{MANAGED}={settings.name}")
    claims = [claim for claim in every if (claim["metadata"].get("annotations") or {}).get(NAMESPACE) == namespace]
    if not claims:
        return unknown(f"no claim of {namespace} is on the host", "Does Redis keep its streams in a volume at all?")
    policies = {}
    for claim in claims:
        name = claim["metadata"]["name"]
        if claim.get("status", {}).get("phase") != "Bound":
            return fail(f"{name} is {claim.get('status', {}).get('phase')} on the host", f"{OWNERS} for a volume.")
        policies[name] = host.get(VOLUMES, claim["spec"]["volumeName"])["spec"].get("persistentVolumeReclaimPolicy")
    lost = [name for name, policy in policies.items() if policy != "Retain"]
    if lost:
        fix = f"{OWNERS} to set persistentVolumeReclaimPolicy: Retain on its volume."
        return warn(f"{', '.join(lost)}: the volume goes with the claim ({policies[lost[0]]})", fix)
    return ok(f"{', '.join(policies)}: Retain")


@check(
    "cluster/host-hides-tokens",
    "No lasting token stands open on the vCluster's host",
    needs=("cluster/host-runs-the-vcluster",),
    runbook="vcluster",
)
def host_hides_tokens(systems: Systems) -> Outcome:
    """Look at the annotations vcluster.loft.sh/token-… of the vCluster's pods on the host, and at when these tokens expire; that is
    read, not verified, and nothing else of them is shown. A token that its syncer makes for a pod lasts ten years.

    Cause: WARN: whoever may list pods there can act inside as these pods' service accounts, KEDA's among them, as long as
    the pods are there.

    Fix: The vCluster's owners set sync.toHost.pods.useSecretsForSATokens: true, which keeps them in Secrets. Pods that are made
    after that have none; a token ends with the pod that it is bound to, so the others are restarted.
    """
    view = _host(systems)
    if view is None:
        return skipped(NOT_NAMED)
    host, settings = view
    pods = _made(host, settings)
    lasting = [pod for pod in pods if any(_lasts(systems, token) for token in _open_tokens(pod))]
    if lasting:
        ends = [end for pod in lasting for token in _open_tokens(pod) if (end := _end(token))]
        until = f", the last until {max(ends):%Y-%m-%d}" if ends else ""
        message = f"tokens of service accounts stand open in annotations of {len(lasting)} pods on the host{until}"
        fix = f"{OWNERS} for sync.toHost.pods.useSecretsForSATokens: true; then restart these pods."
        return warn(f"{message}: {_names(lasting)}", fix)
    return ok(f"{len(pods)} pods on the host, none with a token that lasts in its annotations")


def _open_tokens(pod: Object) -> list[str]:
    annotations = pod["metadata"].get("annotations") or {}
    return [token for name, token in annotations.items() if name.startswith(IN_ANNOTATION)]


def _lasts(systems: Systems, token: str) -> bool:
    """Return whether a token can be used for long; also where it does not say until when."""
    end = _end(token)
    return end is None or end - server_now(systems) > LASTS


def _end(token: str) -> datetime | None:
    return moment((claims_of(token) or {}).get("exp"))


def _host(systems: Systems) -> tuple[Kube, HostCluster] | None:
    settings, host = systems.environment.kubernetes.host, systems.host
    return (host, settings) if host and settings else None
