"""One look at all of KEDA that stands, before it is decided what to do with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from prompt_keda.clients.kube.objects import Object, is_going, label, selector_of
from prompt_keda.clients.kube.resources import DEPLOYMENTS, LEASES, NAMESPACES, PODS, SECRETS, Resource
from prompt_keda.components import finalizers
from prompt_keda.components.cluster import held_namespaces as namespaces
from prompt_keda.components.cluster.clock import server_now
from prompt_keda.components.cluster.readiness import why_not_ready
from prompt_keda.components.keda import install, serving_certificate
from prompt_keda.components.keda import parts as parts_of_keda
from prompt_keda.components.keda.names import CERTIFICATES, LEASE, OPERATOR, PART_OF, VERSION_LABEL
from prompt_keda.components.run import Context
from prompt_keda.core.check import Verdict
from prompt_keda.core.errors import Missing

PATIENCE = timedelta(seconds=60)
"""A pod that is younger may only be starting: KEDA's readiness probes begin after 20 s."""
LETTING_GO = timedelta(seconds=15)
"""An operator that works takes its finalizers away within seconds."""
AT_ONCE = 8


@dataclass(frozen=True)
class ObservedObject:
    """One object of KEDA's manifests, and what stands of it.

    Parameters
    ----------
    live
        None: it is missing.
    difference
        Where the live one differs from the wanted one; None if it does not, or is missing.
    """

    wanted: Object
    live: Object | None
    difference: str | None

    @property
    def kind(self) -> str:
        """Its kind."""
        return str(self.wanted["kind"])


@dataclass(frozen=True)
class Inventory:
    """What stands.

    Parameters
    ----------
    crds, parts
        KEDA's CRDs, and its other objects but for the namespace.
    deployments
        Live Deployments of a KEDA in its namespace, wanted or not.
    elsewhere
        The same in other namespaces: another KEDA.
    idle_pods
        Each pod of a wanted Deployment that does not work and is not only starting, with the reason.
    certificate_fault
        What is wrong with KEDA's certificates; empty if nothing is.
    dying
        What is being deleted, in words: namespaces, CRDs, objects of KEDA's kinds.
    lease
        The operator's Lease, or None.
    custom
        All live objects of KEDA's kinds, in all namespaces.
    left_namespaces
        Why namespaces of instruments do not go that are being deleted, in words.
    """

    crds: tuple[ObservedObject, ...]
    parts: tuple[ObservedObject, ...]
    deployments: tuple[Object, ...]
    elsewhere: tuple[Object, ...]
    idle_pods: tuple[tuple[Object, str], ...]
    certificate_fault: str
    dying: tuple[str, ...]
    lease: Object | None
    custom: tuple[Object, ...]
    left_namespaces: tuple[str, ...] = ()

    @property
    def stands(self) -> bool:
        """Whether there is anything of KEDA here."""
        return bool(self.deployments) or any(crd.live for crd in self.crds)

    @property
    def versions(self) -> set[str]:
        """The versions that the live Deployments and CRDs say they are of."""
        live = [*self.deployments, *(crd.live for crd in self.crds if crd.live)]
        labels = ((obj["metadata"].get("labels") or {}).get(VERSION_LABEL) for obj in live)
        return {version.removeprefix("v") for version in labels if version}


def custom_kinds(context: Context) -> list[Resource]:
    """Return the kinds of KEDA's CRDs, as its manifests have them."""
    kinds = []
    for crd in install.crds(context):
        spec = crd["spec"]
        served = next(version["name"] for version in spec["versions"] if version["served"])
        names = spec["names"]
        kinds.append(
            Resource(f"{spec['group']}/{served}", names["kind"], names["plural"], spec["scope"] == "Namespaced")
        )
    return kinds


def custom_objects(context: Context) -> list[Object]:
    """Return all live objects of KEDA's kinds; a kind that is not served has none. Raises as `Kube.list` does."""
    objects = []
    for kind in custom_kinds(context):
        for obj in context.systems.kube.list(kind):
            objects.append({**obj, "apiVersion": kind.api_version, "kind": kind.kind})  # items of a list do not say it
    return objects


def look(context: Context) -> Inventory:
    """Look at what stands. Raises as `Kube.request` does: what could not be seen is never taken for missing."""
    kube, namespace = context.systems.kube, context.namespace
    secret = kube.find(SECRETS, CERTIFICATES, namespace)
    fault = install.certificate_fault(context)
    wanted = install.parts(context) if serving_certificate.is_whole(secret) else install.parts_without_ca(context)
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="inventory") as pool:
        crds = tuple(pool.map(lambda crd: _seen(context, crd), install.crds(context)))
        parts = tuple(pool.map(lambda obj: _seen(context, obj), wanted))
    keda = kube.list(DEPLOYMENTS, label_selector=PART_OF)
    lease = kube.find(LEASES, LEASE, namespace)
    custom = tuple(custom_objects(context))
    return Inventory(
        crds=crds,
        parts=parts,
        deployments=tuple(deployment for deployment in keda if deployment["metadata"]["namespace"] == namespace),
        elsewhere=tuple(deployment for deployment in keda if deployment["metadata"]["namespace"] != namespace),
        idle_pods=tuple(_idle_pods(context, parts, lease)),
        certificate_fault=fault,
        dying=tuple(_dying(context, crds, parts, custom)),
        lease=lease,
        custom=custom,
        left_namespaces=tuple(namespaces.left(context).values()),
    )


def _seen(context: Context, wanted: Object) -> ObservedObject:
    try:
        live = context.find(wanted)
    except Missing:
        live = None
    return ObservedObject(wanted, live, install.difference(context, wanted, live) if live else None)


def _idle_pods(context: Context, parts: Iterable[ObservedObject], lease: Object | None) -> Iterator[tuple[Object, str]]:
    kube, now = context.systems.kube, server_now(context.systems)
    for part in parts:
        if part.kind != "Deployment" or part.live is None or part.difference:
            continue
        ready = _works(part)
        silent = ready and is_operator(part.wanted) and lease is not None  # without one it may only be starting
        silent = silent and parts_of_keda.lease_standing(lease, now).verdict is Verdict.FAIL
        if ready and not silent:
            continue
        for pod in kube.list(PODS, context.namespace, selector_of(part.live)):
            why = why_not_ready(pod, now)
            started = pod["metadata"].get("creationTimestamp")
            young = not started or now - datetime.fromisoformat(started) < PATIENCE
            if silent:
                yield pod, "it is ready, and does not renew its Lease"
            elif why is not None and (why.hopeless or not young):
                yield pod, why.text


def _dying(
    context: Context, crds: Iterable[ObservedObject], parts: Iterable[ObservedObject], custom: Iterable[Object]
) -> Iterator[str]:
    wanted = {context.namespace, *(instrument.namespace for instrument in context.environment.instruments)}
    for name in sorted(wanted - namespaces.left(context).keys()):
        namespace = context.systems.kube.find(NAMESPACES, name)
        if namespace is not None and is_going(namespace):
            yield f"namespace {name}"
    yield from (f"CRD {crd.wanted['metadata']['name']}" for crd in crds if crd.live and is_going(crd.live))
    works = any(is_operator(part.wanted) and _works(part) for part in parts)
    smoke = context.environment.smoke.namespace  # its objects go with each test, and a new operator lets them go
    now = server_now(context.systems)
    for obj in custom:
        if finalizers.is_held_by_others(obj) and finalizers.foreign(obj):
            continue  # no mode lets it go: nothing is replaced for it, and the end of the run reports it
        since = obj["metadata"].get("deletionTimestamp")
        if (
            since
            and obj["metadata"].get("namespace") != smoke
            and not (works and now - datetime.fromisoformat(since) < LETTING_GO)
        ):
            yield label(obj)


def _works(part: ObservedObject) -> bool:
    """Whether a Deployment of KEDA has the pods that it wants, also those of an older form."""
    name = part.wanted["metadata"]["name"]
    return parts_of_keda.part_standing(name, part.live).verdict in (Verdict.OK, Verdict.WARN)


def is_operator(obj: Object) -> bool:
    """Return whether an object of KEDA's manifests is the operator's Deployment."""
    return (obj["kind"], obj["metadata"]["name"]) == ("Deployment", OPERATOR)
