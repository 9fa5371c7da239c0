"""The rights that a redeploy needs: from what it applies, deletes, patches and waits for.

tests/unit/components/identity/test_redeploy_rights.py holds it to the steps: it runs them, and compares what they ask
for with this, both ways.
Applying KEDA's own roles needs more: the API server lets nobody give away rights that they do not have, unless they may
``bind`` and ``escalate``. That is tried by the preflight's dry run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prompt_keda.clients.kube.objects import Object
from prompt_keda.components.keda.names import API_SERVICE, CERTIFICATES, LEASE, WEBHOOK_CONFIGURATION
from prompt_keda.core.decisions import Decisions, Deletion
from prompt_keda.core.rights import Right, plural_of
from prompt_keda.environment.model import Environment
from prompt_keda.records.lock import LEASE as LOCK
from prompt_keda.records.lock import STATE_NAMESPACE

APPLY = ("create", "patch")
"""A server-side apply needs both, because it may be the first."""
KEDA = "keda.sh"
LEASES = "coordination.k8s.io"
REMOVED = (
    ("apiregistration.k8s.io", "apiservices", API_SERVICE),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations", WEBHOOK_CONFIGURATION),
)
RBAC = "rbac.authorization.k8s.io"
GROUPS = {
    "APIService": "apiregistration.k8s.io",
    "ValidatingWebhookConfiguration": "admissionregistration.k8s.io",
    "CustomResourceDefinition": "apiextensions.k8s.io",
    "Deployment": "apps",
    "Lease": LEASES,
    "Pod": "",
    "Secret": "",
    "Service": "",
    "ServiceAccount": "",
    **dict.fromkeys(("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"), RBAC),
}
"""The API groups of what a plan may remove."""
EVENTING = "eventing.keda.sh"
KEDA_KINDS = ("ScaledJob", "ScaledObject", "TriggerAuthentication", "ClusterTriggerAuthentication")
EVENTING_KINDS = ("CloudEventSource", "ClusterCloudEventSource")
IN_NO_NAMESPACE = {
    "APIService": (API_SERVICE,),
    "ValidatingWebhookConfiguration": (WEBHOOK_CONFIGURATION,),
    "CustomResourceDefinition": tuple(
        f"{plural_of(kind)}.{group}"
        for group, kinds in ((KEDA, KEDA_KINDS), (EVENTING, EVENTING_KINDS))
        for kind in kinds
    ),
    "ClusterRole": ("",),
    "ClusterRoleBinding": ("",),
}
"""Kind → what KEDA's manifests call theirs; empty: whatever it is."""
NEVER_APPLIED = ("Lease", "Pod", "Secret")
"""KEDA and Kubernetes make these."""
READER_BINDING, READER = ("kube-system", "keda-operator-auth-reader"), "extension-apiserver-authentication-reader"
"""Namespace and name of the binding by which KEDA's API server may learn who asks it, and Kubernetes' Role for that."""
SMOKE_OBJECTS = ((KEDA, "scaledjobs"), (KEDA, "triggerauthentications"), ("", "secrets"))


def redeploy_rights(
    environment: Environment,
    keda_objects: Iterable[Object],
    instrument_objects: Mapping[str, Iterable[Object]],
    decisions: Decisions | None = None,
) -> list[Right]:
    """Return every right that the steps of a redeploy need in this environment, sorted.

    Parameters
    ----------
    keda_objects
        KEDA's manifests.
    instrument_objects
        Instrument → its manifests; empty for one that somebody else delivers.
    decisions
        What the plan removes and brings back; None: what a reinstall removes.
    """
    keda_objects = list(keda_objects)
    own = [obj for objects in instrument_objects.values() for obj in objects]
    return sorted(
        {
            *_lock(),
            *copy_rights(),
            *_namespaces(environment, own),
            *_applied([*keda_objects, *own]),
            *_secrets(environment),
            *_removed(environment.keda.namespace),
            *_running_jobs(environment),
            *_smoke(environment.smoke.namespace),
            *_redis(environment),
            *_custom_objects(keda_objects),
            *(_decided(decisions) if decisions else ()),
        }
    )


def rights_whatever_is_lost(environment: Environment, own: Iterable[Object]) -> list[Right]:
    """Return what a redeploy needs in every mode, whatever KEDA's manifests call their objects and whatever differs.

    What is removed of another KEDA, in a namespace of its own, is not among it.

    Parameters
    ----------
    own
        The instruments' manifests.
    """
    home = environment.keda.namespace
    whole = [Deletion(kind, "", name, "") for kind, names in IN_NO_NAMESPACE.items() for name in names]
    whole += [Deletion(kind, home, "", "") for kind in GROUPS if kind not in IN_NO_NAMESPACE]
    whole.append(Deletion("RoleBinding", *READER_BINDING, ""))
    manifests = [_stand_in(each) for each in whole if each.kind not in NEVER_APPLIED]
    kinds = (*KEDA_KINDS, *EVENTING_KINDS)
    decisions = Decisions(tuple(whole), saved=tuple(f"{kind} " for kind in kinds))
    return redeploy_rights(environment, manifests, {"": own}, decisions)


def _stand_in(part: Deletion) -> Object:
    """Return as much of an object of KEDA as rights depend on; without a name it stands for any."""
    where = {"namespace": part.namespace} if part.namespace else {}
    plural, _, group = part.name.partition(".")
    return {
        "apiVersion": f"{GROUPS[part.kind]}/v1",
        "kind": part.kind,
        "metadata": {"name": part.name, **where},
        "spec": {"group": group, "names": {"plural": plural}},
    }


def rights_over_roles(environment: Environment) -> list[Right]:
    """Return what lets somebody apply KEDA's roles who has not their rights: who has it can give themselves any right."""
    own = (("clusterroles", ""), ("roles", environment.keda.namespace))
    return [
        *(Right(verb, RBAC, plural, namespace) for verb in ("bind", "escalate") for plural, namespace in own),
        Right("bind", RBAC, "roles", READER_BINDING[0], READER),
    ]


def _all(verbs: Iterable[str], group: str, plural: str, namespace: str = "", name: str = "") -> Iterator[Right]:
    """Yield the rights of several verbs. What is made has no name yet for RBAC, unless it is applied."""
    yield from (Right(verb, group, plural, namespace, "" if verb == "create" else name) for verb in verbs)


def _lock() -> Iterator[Right]:
    yield from _all(APPLY, "", "namespaces", name=STATE_NAMESPACE)
    yield from _all(("get", "create", "patch", "delete"), LEASES, "leases", STATE_NAMESPACE, LOCK)
    yield Right("watch", LEASES, "leases", STATE_NAMESPACE)


def copy_rights() -> list[Right]:
    """Return the rights that the copy of a run in the cluster needs. Without them a redeploy goes on all the same."""
    return [*_all(("get", "list", "create", "patch", "delete"), "", "configmaps", STATE_NAMESPACE)]


def _namespaces(environment: Environment, own: Iterable[Object]) -> Iterator[Right]:
    applied = {environment.keda.namespace, *(obj["metadata"]["namespace"] for obj in own)}
    namespaces = {environment.smoke.namespace, *(instrument.namespace for instrument in environment.instruments)}
    for name in applied | namespaces:
        yield from _all(("get",), "", "namespaces", name=name)
    for name in applied | {environment.smoke.namespace}:
        yield from _all(APPLY, "", "namespaces", name=name)
    yield Right("watch", "", "namespaces")


def _applied(objects: Iterable[Object]) -> Iterator[Right]:
    for obj in objects:
        group, metadata = obj["apiVersion"].rpartition("/")[0], obj["metadata"]
        plural = plural_of(obj["kind"])
        if obj["kind"] == "Namespace":
            continue
        if obj["kind"] == "CustomResourceDefinition":
            yield from _all(("list", "watch"), group, plural)
        yield from _all(("get",), group, plural, metadata.get("namespace", ""), metadata["name"])
        yield from _all(APPLY, group, plural, metadata.get("namespace", ""), metadata["name"])


def _secrets(environment: Environment) -> Iterator[Right]:
    for sync in environment.secrets:
        yield from _all(("get", *APPLY), "", "secrets", sync.namespace, sync.name)
    pull = environment.smoke.pull_secret
    if pull:
        yield from _all(("get", *APPLY), "", "secrets", pull.namespace, pull.name)
    yield from _all(("get", "create", "delete"), "", "secrets", environment.keda.namespace, CERTIFICATES)
    yield Right("list", "", "secrets", environment.keda.namespace)  # the metadata of Helm's, which says what hangs


def _removed(namespace: str) -> Iterator[Right]:
    for group, plural, name in REMOVED:
        yield from _all(("get", "delete"), group, plural, name=name)
    yield from _all(("get", "delete"), LEASES, "leases", namespace, LEASE)
    yield from _all(("list", "watch", "get", "delete"), "apps", "deployments", namespace)
    yield Right("list", "apps", "deployments")  # is there another KEDA?
    yield Right("list", "apps", "replicasets", namespace)  # does one of them, or a pod, hold its Deployment up?
    yield from _all(("get", "delete"), "", "pods", namespace)
    yield Right("get", "", "pods", namespace, "", "log")  # the last words of one that crashes
    yield Right("watch", LEASES, "leases", namespace)
    yield Right("watch", "apiregistration.k8s.io", "apiservices")


def _custom_objects(keda_objects: Iterable[Object]) -> Iterator[Right]:
    """Return the rights to look at all objects of KEDA's kinds, and to remove KEDA's finalizers from what hangs in deletion."""
    for obj in keda_objects:
        if obj["kind"] == "CustomResourceDefinition":
            yield from _all(("list", "patch"), obj["spec"]["group"], obj["spec"]["names"]["plural"])


def _decided(decisions: Decisions) -> Iterator[Right]:
    """Yield what only this plan needs: for what it removes beyond a reinstall, and for what it brings back."""
    for deletion in decisions.deletions:
        yield from _all(
            ("get", "delete"), GROUPS[deletion.kind], plural_of(deletion.kind), deletion.namespace, deletion.name
        )
        if deletion.kind == "Deployment":
            yield Right("list", "apps", "replicasets", deletion.namespace)
    for kind, _, where in (name.partition(" ") for name in decisions.saved):
        namespace, _, name = where.rpartition("/")
        yield from _all(("get", *APPLY), KEDA if kind in KEDA_KINDS else EVENTING, plural_of(kind), namespace, name)
        if kind == "ScaledJob":
            yield Right("patch", "batch", "jobs", namespace)


def _running_jobs(environment: Environment) -> Iterator[Right]:
    yield from _all(("list", "watch"), "batch", "jobs")
    yield from _all(("list", "watch"), KEDA, "scaledjobs")
    yield from _all(("list",), "", "pods")
    yield from _all(("list", "watch"), "", "pods", environment.keda.namespace)
    yield from _of_a_pod(environment.keda.namespace)  # the operator's metrics
    yield Right("list", "", "events")  # what ended by itself is not lost
    for instrument in environment.instruments:
        yield from _all(("patch",), "batch", "jobs", instrument.namespace)
        yield from _all(("get", "patch"), KEDA, "scaledjobs", instrument.namespace, instrument.scaled_job)


def _smoke(namespace: str) -> Iterator[Right]:
    for group, plural in SMOKE_OBJECTS:
        yield from _all(("list", *APPLY, "delete"), group, plural, namespace)
    yield from _all(("get", "watch"), KEDA, "scaledjobs", namespace)
    yield from _all(("list", "watch", "delete"), "batch", "jobs", namespace)
    yield from _all(("list", "watch"), "", "pods", namespace)


def _redis(environment: Environment) -> Iterator[Right]:
    if environment.redis.reach == "port-forward":
        yield from forwarding(environment.redis.namespace)


def forwarding(namespace: str) -> Iterator[Right]:
    """Yield the rights to forward a port of a ready pod behind a Service.

    A websocket begins with a GET, and so needs ``get``; from Kubernetes 1.35 on ``create`` as well (feature gate
    AuthorizePodWebsocketUpgradeCreatePermission).
    """
    yield Right("list", "discovery.k8s.io", "endpointslices", namespace)
    yield from _of_a_pod(namespace)


def _of_a_pod(namespace: str) -> Iterator[Right]:
    for verb in ("get", "create"):
        yield Right(verb, "", "pods", namespace, "", "portforward")
