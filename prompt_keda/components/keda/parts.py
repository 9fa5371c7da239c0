"""The parts of KEDA: CRDs, Deployments, their pods, the operator's Lease; and that there is one KEDA only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from prompt_keda.clients.kube.conditions import has_condition
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import API_SERVICES, CRDS, DEPLOYMENTS, LEASES, PODS, VALIDATING_WEBHOOKS
from prompt_keda.clients.registry import parse_image
from prompt_keda.clients.systems import Systems
from prompt_keda.components.cluster.clock import age, server_now
from prompt_keda.components.keda.names import (
    API_SERVICE,
    LEASE,
    NEEDED_CRDS,
    PARTS,
    VERSION_LABEL,
    WEBHOOK_CONFIGURATION,
)
from prompt_keda.core.check import Outcome, Verdict, check
from prompt_keda.core.errors import Refused
from prompt_keda.core.outcomes import all_of, fail, ok, unknown, warn
from prompt_keda.delivery.helm import RELEASE_NAME

STALE_S = 30
"""The operator renews its Lease well within 15 s (controller-runtime's default): after twice that nobody holds it."""
RECENT = timedelta(hours=1)
"""A restart longer ago is reported, but is no warning any more."""


@check("keda/crds-established", "KEDA's CRDs are established", needs=("cluster/api-answers",), runbook="keda-gone")
def crds_established(systems: Systems) -> Outcome:
    """Are KEDA's two kinds for Prompt Processing served?

    Cause: KEDA was uninstalled with its CRDs (F4).
    """
    fix = "./run redeploy applies them."

    def look(name: str) -> Outcome:
        crd = systems.kube.find(CRDS, name)
        if crd is None:
            return fail(f"{name} is missing", fix)
        if "deletionTimestamp" in crd["metadata"]:
            return fail(f"{name} is being deleted", fix)
        return ok(name) if has_condition(crd, "Established") else fail(f"{name} is not served", fix)

    return all_of(((name, name) for name in NEEDED_CRDS), look, "scaledjobs and triggerauthentications are served")


@check("keda/parts-ready", "Every part of KEDA is ready", needs=("cluster/api-answers",), runbook="keda-gone")
def parts_ready(systems: Systems) -> Outcome:
    """Has every Deployment of KEDA an available pod, of its newest form?

    Cause: A Deployment is gone, or its pod does not start. WARN: a rollout is not through, so the old pod works on;
    or the Deployment controller has not seen the newest form, and the status is stale.
    """

    def look(name: str) -> Outcome:
        return part_standing(name, systems.kube.find(DEPLOYMENTS, name, systems.environment.keda.namespace))

    return all_of(((name, name) for name in PARTS), look, f"{len(PARTS)} of {len(PARTS)} ready")


def part_standing(name: str, deployment: Object | None) -> Outcome:
    """Return how a Deployment of KEDA stands: the one look of check, plan and verification."""
    fix = "./run redeploy replaces them."
    if deployment is None:
        return fail(f"{name} is missing", fix)
    status, metadata = deployment.get("status") or {}, deployment["metadata"]
    available = status.get("availableReplicas", 0)
    if available < max(1, deployment["spec"].get("replicas", 1)):
        return fail(f"{name} has {available} available pods", fix)
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        message = f"{name} was changed, and the Deployment controller has not seen that: its status is stale"
        return warn(message, "Look at kube-controller-manager; in a vCluster ask its owners.")
    if status.get("replicas", 0) > status.get("updatedReplicas", 0):
        message = f"{name}: a pod of an older form still works, because its rollout is not through"
        return warn(message, f"kubectl -n {metadata['namespace']} rollout status deployment/{name}")
    return ok(name)


@check(
    "keda/one-version",
    "Every part of KEDA has the environment's version",
    needs=("cluster/api-answers",),
    runbook="keda-gone",
)
def one_version(systems: Systems) -> Outcome:
    """Are all parts of the environment's version, by their labels and by their images' tags? A digest names no
    version.

    Cause: An upgrade stopped half-way, or an image was changed by hand.
    """
    wanted = systems.environment.keda.version
    parts = [
        deployment
        for deployment in systems.kube.list(DEPLOYMENTS, systems.environment.keda.namespace)
        if deployment["metadata"]["name"] in PARTS
    ]
    if not parts:
        return unknown("no part of KEDA stands, so nothing has a version")

    def look(deployment: Object) -> Outcome:
        label = (deployment["metadata"].get("labels") or {}).get(VERSION_LABEL)
        tags = [
            parse_image(container["image"]).tag for container in deployment["spec"]["template"]["spec"]["containers"]
        ]
        labels = [f"label {label}", *(f"image tag {tag}" for tag in tags if tag)]
        if {label, *filter(None, tags)} == {wanted}:
            return ok(wanted)
        return warn(f"{deployment['metadata']['name']}: {', '.join(labels)}", f"The environment wants {wanted}.")

    return all_of(((deployment["metadata"]["name"], deployment) for deployment in parts), look, wanted)


@check("keda/lease-fresh", "The operator renews its Lease", needs=("cluster/api-answers",), runbook="keda-gone")
def lease_fresh(systems: Systems) -> Outcome:
    """Does a pod of the operator hold the Lease and renew it? If not, the ScaledJobs' Ready is only a memory (failure mode
    F15).

    Cause: The operator is dead or hangs, or has let go of its Lease; every status of KEDA is then stale (F15). WARN: the
    pod that holds it is gone, as in the first seconds after a restart: KEDA 2.16.1 does not let go of it when it ends.
    As all of the cluster's stamps it is held against the API server's clock.
    """
    namespace = systems.environment.keda.namespace
    lease = systems.kube.find(LEASES, LEASE, namespace)
    standing = lease_standing(lease, server_now(systems))
    if lease is None or standing.verdict is not Verdict.OK:
        return standing
    leader = leader_of(lease)
    if leader not in [pod["metadata"]["name"] for pod in systems.kube.each(PODS, namespace)]:
        fix = "A new operator takes it within half a minute; if none does, look at its pod."
        return warn(f"the Lease is held by {leader}, and there is no such pod", fix)
    return ok(f"held by {leader}, {standing.observed}")


def leader_of(lease: Object) -> str:
    """Return the name of the pod that holds the operator's Lease; empty if none does."""
    return str((lease.get("spec") or {}).get("holderIdentity") or "").partition("_")[0]


def lease_standing(lease: Object | None, now: datetime) -> Outcome:
    """Return whether the operator's Lease is held and renewed: the one look of check, plan and verification.

    Parameters
    ----------
    now
        By the API server's clock.
    """
    if lease is None:
        return fail("the operator has no Lease", "No operator works; look at its pod.")
    spec, fix = lease.get("spec") or {}, "./run redeploy, or restart it."
    if not spec.get("holderIdentity") or not spec.get("renewTime"):
        return fail("nobody holds the operator's Lease: every status of KEDA is stale", fix)
    age_s = max(0.0, (now - datetime.fromisoformat(spec["renewTime"])).total_seconds())
    if age_s > STALE_S:
        return fail(f"last renewed {age_s:.0f} s ago: every status of KEDA is stale", fix)
    return ok(f"renewed {age_s:.0f} s ago")


@check(
    "keda/crds-of-version",
    "KEDA's CRDs have the environment's version",
    needs=("keda/crds-established",),
    runbook="keda-gone",
)
def crds_of_version(systems: Systems) -> Outcome:
    """Read their label `app.kubernetes.io/version`; the Helm release that owns them is reported in the detail (F46).

    Cause: An upgrade has left the CRDs behind: Helm does not upgrade those of a chart's folder crds. UNKNOWN: the
    label is missing.

    Fix: `./run redeploy` applies its CRDs.
    """
    wanted = systems.environment.keda.version
    owners: set[str] = set()

    def look(name: str) -> Outcome:
        crd = systems.kube.get(CRDS, name)
        metadata = crd["metadata"]
        owners.add((metadata.get("annotations") or {}).get(RELEASE_NAME) or "no Helm release")
        version = (metadata.get("labels") or {}).get(VERSION_LABEL)
        if version is None:
            return unknown(f"{name} says no version", f"It has no label {VERSION_LABEL}.")
        if version.removeprefix("v") == wanted:
            return ok(name)
        return warn(
            f"{name} is of version {version}", f"The environment wants {wanted}; ./run redeploy applies its CRDs."
        )

    outcome = all_of(((name, name) for name in NEEDED_CRDS), look, wanted)
    return replace(outcome, detail="; ".join(filter(None, (outcome.detail, f"owned by {', '.join(sorted(owners))}"))))


@check(
    "keda/parts-not-restarting",
    "KEDA's pods do not keep restarting",
    needs=("cluster/api-answers",),
    runbook="keda-gone",
)
def parts_not_restarting(systems: Systems) -> Outcome:
    """Look at the restarts of the containers of KEDA's pods, and at how the last one ended. One restart is reported and no
    more: a new operator begins again when it finds no certificate yet (F11). So is what was more than an hour ago.

    Cause: FAIL: it ran out of memory, or Kubernetes waits before it starts it again (F15). WARN: it restarted more
    than once, the last time within the hour.

    Notes
    -----
    One restart is reported and no more: an operator that finds no certificate yet, or that loses its Lease, begins again.
    """
    pods = [pod for pod in systems.kube.list(PODS, systems.environment.keda.namespace) if _part_of(pod)]
    if not pods:
        return unknown("no pod of KEDA is there", "See keda/parts-ready.")
    containers = [
        (pod["metadata"]["name"], status)
        for pod in pods
        for status in (pod.get("status") or {}).get("containerStatuses") or []
    ]
    restarts = sum(status.get("restartCount", 0) for _, status in containers)
    good = f"{restarts} restarts of {len(containers)} containers"
    if not containers:
        return unknown("no container of KEDA has started", "See keda/parts-ready.")
    return all_of(containers, lambda status: _restarts(systems, status), good)


def _restarts(systems: Systems, status: Object) -> Outcome:
    fix = "Look at its last words: kubectl logs --previous; if memory ended it, raise its limit."
    name, count = status["name"], status.get("restartCount", 0)
    waiting = (status.get("state") or {}).get("waiting") or {}
    ended = _last_end(status)
    why = f"{ended.get('reason', 'unknown reason')} (exit {ended.get('exitCode')})" if ended else "no reason given"
    if waiting.get("reason") == "CrashLoopBackOff":
        again = "It waits up to 5 min between starts. If the API server was away: ./run redeploy deletes the pod, and a new one"
        return fail(f"{name} does not stay up: {count} restarts, last: {why}", f"{again} starts at once. Else: {fix}")
    since = age(systems, ended["finishedAt"]) if ended.get("finishedAt") else timedelta()  # no time counts as now
    if not ended or since > RECENT:
        return ok(name)
    ago = f"{since.total_seconds() / 60:.0f} min ago"
    if ended.get("reason") == "OOMKilled":
        return fail(f"{name} ran out of memory {ago} ({count} restarts)", fix)
    if count > 1:
        return warn(f"{name} restarted {count} times, last {ago}: {why}", fix)
    return ok(name)


def _last_end(status: Object) -> Object:
    """Return how a container ended last: as it is now, or before it was started again."""
    for key in ("state", "lastState"):
        terminated: Object = (status.get(key) or {}).get("terminated") or {}
        if terminated:
            return terminated
    return {}


def _part_of(pod: Object) -> bool:
    """Return whether a pod is one of KEDA's parts: a Deployment's pod is named after it."""
    return any(pod["metadata"]["name"].startswith(f"{name}-") for name in PARTS)


@check(
    "keda/single-operator",
    "Only one KEDA runs in the cluster",
    needs=("cluster/api-answers",),
    runbook="duplicate-operator",
)
def single_operator(systems: Systems) -> Outcome:
    """Is there another Deployment of KEDA's operator, another fresh Lease of it, or does the APIService or a webhook
    lead to another namespace?

    Cause: A trial installation was left standing. Two KEDAs make Jobs for the same events. UNKNOWN: what is in all
    namespaces may not be listed here.

    Fix: Find out whose it is, and remove the one that nobody needs.

    Notes
    -----
    KEDA's FAQ: one KEDA a cluster, because there is one APIService for external metrics.
    """
    looks = {
        "Deployments of all namespaces": _foreign_operators,
        "Leases of all namespaces": _foreign_leases,
        "the APIService": _foreign_api_service,
        "the webhooks": _foreign_webhooks,
    }

    def look(name: str) -> Outcome:
        try:
            others = list(looks[name](systems))
        except Refused as error:
            return unknown(f"{name} may not be seen: {error.detail}", "Ask for the right to list them.")
        return (
            fail("; ".join(others), "Find out whose it is, and remove the one that nobody needs.")
            if others
            else ok(name)
        )

    return all_of(((name, name) for name in looks), look, "no other KEDA")


def _foreign_operators(systems: Systems) -> Iterator[str]:
    """Find Deployments that are KEDA's operator by image or label, other than the one that belongs there."""
    own = (systems.environment.keda.namespace, PARTS[0])
    for deployment in systems.kube.each(DEPLOYMENTS):
        metadata = deployment["metadata"]
        place = (metadata["namespace"], metadata["name"])
        if place != own and _is_operator(deployment):
            yield f"another KEDA operator: Deployment {'/'.join(place)}"


def _is_operator(deployment: Object) -> bool:
    labels = deployment["metadata"].get("labels") or {}
    images = [
        parse_image(container["image"]).repository for container in deployment["spec"]["template"]["spec"]["containers"]
    ]
    return labels.get("app.kubernetes.io/name") == PARTS[0] or any(image.endswith("kedacore/keda") for image in images)


def _foreign_leases(systems: Systems) -> Iterator[str]:
    for lease in systems.kube.each(LEASES):
        metadata, renewed = lease["metadata"], (lease.get("spec") or {}).get("renewTime")
        if metadata["name"] != LEASE or metadata["namespace"] == systems.environment.keda.namespace:
            continue
        if not renewed or age(systems, renewed) < timedelta(seconds=STALE_S):
            yield f"another KEDA operator holds a Lease in {metadata['namespace']}"


def _foreign_api_service(systems: Systems) -> Iterator[str]:
    api_service = systems.kube.find(API_SERVICES, API_SERVICE)
    place = ((api_service or {}).get("spec", {}).get("service") or {}).get("namespace")
    if place not in (None, systems.environment.keda.namespace):
        yield f"the APIService {API_SERVICE} leads to {place}"


def _foreign_webhooks(systems: Systems) -> Iterator[str]:
    configuration = systems.kube.find(VALIDATING_WEBHOOKS, WEBHOOK_CONFIGURATION) or {}
    services = [(hook.get("clientConfig") or {}).get("service") or {} for hook in configuration.get("webhooks") or []]
    for place in {service.get("namespace") for service in services} - {None, systems.environment.keda.namespace}:
        yield f"the webhooks of keda-admission lead to {place}"
