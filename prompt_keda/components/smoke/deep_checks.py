"""Deep checks: opt-in (--deep), with rights of their own. All but the canary change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from prompt_keda.clients.kube.errors import conflicts
from prompt_keda.clients.kube.objects import Object, some
from prompt_keda.clients.kube.resources import DEPLOYMENTS
from prompt_keda.clients.systems import Systems, filled
from prompt_keda.components.compare import first_difference
from prompt_keda.components.keda.names import METRICS_SERVER, OPERATOR, WEBHOOKS
from prompt_keda.components.smoke import canary
from prompt_keda.components.smoke.canary import Canary, CanaryRun
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.errors import BadAnswer, Missing, Refused
from prompt_keda.core.outcomes import fail, look_at, ok, unknown, warn, worst_of
from prompt_keda.delivery.manifests import load_instrument_objects, load_keda_manifests, local_file

Access = tuple[str, str, str]
"""Verb, group and resource (with its subresource)."""
KEDA, EVENTING = "keda.sh", "eventing.keda.sh"
WATCHED: tuple[tuple[str, str], ...] = (
    (KEDA, "scaledjobs"),
    (KEDA, "scaledobjects"),
    (KEDA, "triggerauthentications"),
    (EVENTING, "cloudeventsources"),
)
WATCHED_EVERYWHERE: tuple[tuple[str, str], ...] = (
    (KEDA, "clustertriggerauthentications"),
    (EVENTING, "clustercloudeventsources"),
)
"""Kinds without namespace: a Role cannot give these, and without them an operator with watchNamespace crash-loops (F13)."""
FOR_INSTRUMENTS: tuple[Access, ...] = (
    *((verb, "batch", "jobs") for verb in ("create", "delete", "list", "watch")),
    ("list", "", "pods"),
    ("get", "", "secrets"),
    ("create", "", "events"),
    ("update", KEDA, "scaledjobs"),
    ("patch", KEDA, "scaledjobs/status"),
)
AT_HOME: tuple[Access, ...] = (
    *((verb, "coordination.k8s.io", "leases") for verb in ("get", "create", "update")),
    *((verb, "", "secrets") for verb in ("get", "create", "update")),
)
"""In KEDA's own namespace: the Lease of its leader, and its certificates."""
TO_TRUST: tuple[Access, ...] = (
    ("update", "admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("update", "apiregistration.k8s.io", "apiservices"),
)
"""The operator writes its CA there when it renews its certificates."""
OF_METRICS: tuple[Access, ...] = (
    ("create", "authentication.k8s.io", "tokenreviews"),
    ("create", "authorization.k8s.io", "subjectaccessreviews"),
)
"""What every aggregated API server needs, to know who asks it and what they may."""
OF_WEBHOOKS: tuple[Access, ...] = tuple(
    (verb, group, plural)
    for verb in ("list", "watch")
    for group, plural in ((KEDA, "scaledobjects"), ("autoscaling", "horizontalpodautoscalers"))
)
NOT_TAKEN = ("400 ", "409 ", "413 ", "422 ")
"""Statuses of an answer that is about the object: bad, a conflict of field managers, too large, invalid."""


@check(
    "deep/dry-run-applies",
    "The API server accepts every object of the manifests",
    needs=("cluster/api-answers", "cluster/keda-namespace-present", "keda/crds-established"),
    deadline=timedelta(seconds=30),
    runbook="scaled-job-wrong",
    deep=True,
)
def dry_run_applies(systems: Systems) -> Outcome:
    """Apply each object of KEDA's manifests and of the instruments' as a server-side dry run, which changes nothing.

    Cause: FAIL: an object is invalid for this cluster, or a webhook refuses it; a redeploy would stop there. WARN:
    somebody has edited a field that differs (409); a redeploy takes it over. UNKNOWN: you may not patch such objects, or
    the manifests are not on this machine.

    Fix: The result names it. It is for those who may redeploy; others leave it out with `--skip
    deep/dry-run-applies`.
    """
    keda = systems.environment.keda.manifests
    sha256 = filled(keda.sha256, "keda.manifests.sha256")
    file = local_file(filled(keda.source, "keda.manifests.source"), sha256)
    objects = load_keda_manifests(file, sha256)
    for instrument in systems.environment.instruments:
        objects += load_instrument_objects(instrument, systems.placeholders)
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="dry-run") as pool:
        tried = list(pool.map(lambda obj: look_at(_called(obj), obj, lambda thing: _try(systems, thing)), objects))
    return worst_of(tried, f"{len(objects)} objects would be taken")


def _try(systems: Systems, wanted: Object) -> Outcome:
    try:
        systems.kube.apply(wanted, dry_run=True)
    except Refused as error:
        if _may_try(systems, wanted):
            return fail(f"{_called(wanted)}: {error.detail}", error.fix)
        fix = "Who may redeploy can try it; leave it out with --skip deep/dry-run-applies."
        return unknown(f"{_called(wanted)} cannot be tried: you may not patch it", fix)
    except Missing as error:
        return fail(f"{_called(wanted)}: {error.detail}", "./run redeploy makes what it needs.")
    except BadAnswer as error:
        if owned := conflicts(error):
            return _owned_by_others(systems, wanted, owned)
        if error.detail.startswith(NOT_TAKEN):
            return fail(f"{_called(wanted)}: {error.detail}", "Correct the manifest.")
        raise
    return ok(_called(wanted))


def _owned_by_others(systems: Systems, wanted: Object, owned: list[tuple[str, str]]) -> Outcome:
    """Return whose fields an apply would change. What is as it should be is not applied, whoever owns it."""
    metadata = wanted["metadata"]
    live = systems.kube.find(systems.kube.resource_of(wanted), metadata["name"], metadata.get("namespace"))
    content = {key: value for key, value in wanted.items() if key != "metadata"}
    if live is not None and first_difference(content, live) is None:
        return ok(_called(wanted))
    fields = some(f"{field} from {manager}" for manager, field in owned)
    return warn(f"{_called(wanted)} has been edited: {fields}", "./run redeploy takes it over, or makes it again.")


def _may_try(systems: Systems, wanted: Object) -> bool:
    kind, metadata = systems.kube.resource_of(wanted), wanted["metadata"]
    return systems.kube.can_i("patch", kind.group, kind.plural, metadata.get("namespace", ""), metadata["name"])


def _called(obj: Object) -> str:
    return f"{obj['kind']} {obj['metadata']['name']}"


@check(
    "deep/keda-may-work",
    "KEDA's service accounts have their rights",
    needs=("cluster/api-answers", "keda/parts-ready"),
    deadline=timedelta(seconds=20),
    runbook="keda-gone",
    deep=True,
)
def keda_may_work(systems: Systems) -> Outcome:
    """Ask the API server (SubjectAccessReview) whether the service accounts of KEDA's three Deployments may do what
    they have to: watch ScaledJobs, make Jobs, read the instruments' Secrets, hold the Lease, renew certificates,
    review who asks.

    Cause: Its roles were changed or lost. With the chart's `watchNamespace` the rights on kinds without namespace
    are missing (ClusterCloudEventSource), and the operator crash-loops (F13).

    Fix: The result names the right.
    """
    space = systems.environment.keda.namespace
    outcomes = []
    for part in (OPERATOR, METRICS_SERVER, WEBHOOKS):
        deployment = systems.kube.get(DEPLOYMENTS, part, space)
        account = deployment["spec"]["template"]["spec"].get("serviceAccountName", "default")
        for verb, group, plural, where in _rights(systems, part, deployment):
            outcomes.append(_asked(systems, (space, account), part, (verb, group, plural), where))
    return worst_of(outcomes, f"{len(outcomes)} rights of 3 parts are given")


def _rights(systems: Systems, part: str, deployment: Object) -> Iterator[tuple[str, str, str, str]]:
    """Yield verb, group, resource and namespace (empty: all) of what a part has to be allowed."""
    home, everywhere = systems.environment.keda.namespace, ""
    if part == METRICS_SERVER:
        yield from ((*right, everywhere) for right in OF_METRICS)
        return
    if part == WEBHOOKS:
        yield from ((*right, everywhere) for right in OF_WEBHOOKS)
        return
    places = _watched_namespaces(deployment) or [everywhere]
    for verb in ("list", "watch"):
        yield from ((verb, *kind, place) for kind in WATCHED for place in places)
        yield from ((verb, *kind, everywhere) for kind in WATCHED_EVERYWHERE)
    for place in sorted({instrument.namespace for instrument in systems.environment.instruments}):
        yield from ((*right, place) for right in FOR_INSTRUMENTS)
    yield from ((*right, home) for right in AT_HOME)
    yield from ((*right, everywhere) for right in TO_TRUST)


def _watched_namespaces(deployment: Object) -> list[str]:
    """Return the namespaces that the operator is confined to (the chart's watchNamespace); none: it watches all."""
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        for variable in container.get("env") or []:
            if variable["name"] == "WATCH_NAMESPACE":
                return [name.strip() for name in (variable.get("value") or "").split(",") if name.strip()]
    return []


def _asked(systems: Systems, account: tuple[str, str], part: str, right: Access, where: str) -> Outcome:
    verb, group, plural = right
    resource, _, subresource = plural.partition("/")
    asked = {"verb": verb, "group": group, "resource": resource, "subresource": subresource, "namespace": where}
    if systems.kube.may(account, asked):
        return ok(part)
    message = f"{part} may not {verb} {plural}{f'.{group}' if group else ''} in {where or 'all namespaces'}"
    return fail(message, "./run redeploy applies KEDA's roles.")


@check(
    "deep/canary-runs",
    "A new pod runs",
    needs=("cluster/api-answers",),
    deadline=timedelta(seconds=60),
    fix="Look at the node and the pull secret; in a vCluster ask its owners to look at the syncer.",
    runbook="cluster-degraded",
    deep=True,
)
def canary_runs(systems: Systems) -> Outcome:
    """Make a Job with one small pod in the smoke test's namespace, report how long it took to run, and delete it. Its
    node asks the registry for the image each time; layers that it has are not fetched again. UNKNOWN without that
    namespace: `./run smoke` makes it.

    Cause: The API server answers and nothing starts (F30): the controller manager, the scheduler, the kubelet or a
    vCluster's syncer is dead, the image cannot be pulled, or no node has room. The result says how far the pod
    came.
    """
    try:
        run = _canary(systems)
    except Missing:
        place = systems.environment.smoke.namespace
        return unknown(f"namespace {place} is missing, so no pod can be tried", "./run smoke makes it.")
    if run.running_s is None:
        limit = canary.TO_RUN.total_seconds()
        return fail(f"a new pod does not run after {limit:.0f} s: {run.state}", detail=run.pod)
    message = f"a pod ran after {run.running_s:.1f} s, its image asked for at the registry by the node"
    if run.left:
        return warn(f"{message}, but it could not be deleted: {run.left}", "It ends and goes by itself within minutes.")
    return ok(message)


@check(
    "deep/dns-inside",
    "A pod resolves Redis' name",
    needs=("cluster/api-answers", "deep/canary-runs"),
    runbook="cluster-degraded",
    deep=True,
)
def dns_inside(systems: Systems) -> Outcome:
    """Read from the canary's log whether it could look up Redis' Service: its own word, from inside. A Redis that
    refuses it or does not listen was found.

    Cause: CoreDNS or the way to it is down (F31); in a vCluster perhaps the syncer, which keeps its endpoints.
    UNKNOWN: the canary did not say, for example because the smoke test's image is another worker.
    """
    name = systems.environment.redis.inside_address
    output = _canary(systems).output
    failed = canary.NOT_RESOLVED.search(output)
    if failed:
        fix = "Look at CoreDNS; restarting it is what helps most often. In a vCluster also at the syncer."
        return fail(f"a pod cannot resolve {name}: {failed[1][:200]}", fix)
    if canary.REACHED.search(output):
        return ok(f"a pod resolves {name}")
    if not output:
        return unknown(f"the canary said nothing within {canary.TO_SAY.total_seconds():.0f} s")
    return unknown(f"the canary's output does not show whether it resolved {name}: {output[:200]}")


def _canary(systems: Systems) -> CanaryRun:
    """Return what was seen of this round's canary; the first who asks makes it."""
    made: Canary = systems.keep("canary", lambda: Canary(systems))
    return systems.keep("canary's run", made.look)
