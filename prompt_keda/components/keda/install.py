"""Stage install: namespaces, CRDs, Secrets, certificates, then everything else of KEDA."""

from __future__ import annotations

import base64
import copy
from datetime import timedelta

from prompt_keda.clients.kube.change import change
from prompt_keda.clients.kube.conditions import has_condition
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import CRDS, NAMESPACES, SECRETS
from prompt_keda.clients.kube.watch import Watch
from prompt_keda.components.cluster import held_namespaces as namespaces
from prompt_keda.components.compare import first_difference
from prompt_keda.components.keda import certificates, serving_certificate
from prompt_keda.components.keda.crd_schema import examine, find_schema
from prompt_keda.components.keda.names import CERTIFICATES
from prompt_keda.components.run import Context
from prompt_keda.core.check import Verdict
from prompt_keda.core.errors import Missing
from prompt_keda.core.plan import Progress, State, Step
from prompt_keda.delivery import helm
from prompt_keda.environment.model import SecretSync

WITH_CA = ("APIService", "ValidatingWebhookConfiguration")
"""Kinds that hold the CA that KEDA's certificates are signed by."""


def wanted_namespaces(context: Context) -> list[str]:
    """Return the namespaces of KEDA and of the instruments that this toolkit delivers."""
    return sorted({context.namespace, *(instrument.namespace for instrument in context.instruments())})


def namespaces_inspect(context: Context) -> Progress:
    """Are the namespaces there?"""
    kube = context.systems.kube
    missing = [name for name in wanted_namespaces(context) if kube.find(NAMESPACES, name) is None]
    return Progress(State.TODO, f"missing: {', '.join(missing)}") if missing else Progress(State.DONE)


def apply_namespaces(context: Context) -> None:
    """Make the namespaces. Idempotent: yes."""
    names = wanted_namespaces(context)
    context.apply_all([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names])


def crds(context: Context) -> list[Object]:
    """Return KEDA's CustomResourceDefinitions, with the marks of the Helm release that they were of."""
    crds_of_keda = [obj for obj in context.keda_objects if obj["kind"] == "CustomResourceDefinition"]
    return [helm.marked(crd, context.decisions.helm_release) for crd in crds_of_keda]


def crds_inspect(context: Context) -> Progress:
    """Are the CRDs there, as they should be, and served?"""
    kube = context.systems.kube
    live = {
        crd["metadata"]["name"]: crd
        for crd in kube.list(CRDS, label_selector="app.kubernetes.io/part-of=keda-operator")
    }
    for crd in crds(context):
        name = crd["metadata"]["name"]
        standing = live.get(name)
        if standing is None:
            return Progress(State.TODO, f"{name} is missing")
        if "deletionTimestamp" in standing["metadata"]:
            return Progress(State.BROKEN, f"{name} is being deleted, and waits for its objects' finalizers")
        if not has_condition(standing, "Established") or not _is_known(context, crd):
            return Progress(State.WORKING, f"{name} is not served yet")
        if differs := difference(context, crd, standing):
            return Progress(State.TODO, f"{name} differs at {differs}")
        if others := context.delivery.others(standing):
            return Progress(State.TODO, f"{name} is applied by {', '.join(others)} as well")
    return Progress(State.DONE, f"{len(crds(context))} served")


def _is_known(context: Context, crd: Object) -> bool:
    """Whether the server's discovery has its kind: some time after it is Established (seen)."""
    spec = crd["spec"]
    try:
        for version in spec["versions"]:
            if version["served"]:
                kind = {"apiVersion": f"{spec['group']}/{version['name']}", "kind": spec["names"]["kind"]}
                context.systems.kube.resource_of(kind)
    except Missing:
        return False
    return True


def difference(context: Context, wanted: Object, live: Object) -> str | None:
    """Return where a live object differs from what is wanted: in its content, labels or annotations; None if nowhere.

    Also where it has a field that whoever delivers it has applied, and does not want any more.
    """
    content = {key: value for key, value in wanted.items() if key not in ("apiVersion", "kind", "metadata")}
    marks = {key: wanted["metadata"].get(key) or {} for key in ("labels", "annotations")}
    differing = first_difference({**content, "metadata": marks}, live)
    return differing or context.delivery.no_longer_wanted(wanted, live)


def drifted(context: Context, objects: list[Object]) -> list[Object]:
    """Return those objects that are missing or have drifted.

    The others are left alone: to apply what already exists may be refused. Who has applied it before owns its fields,
    and the API server counts a default that it has filled in itself as another value (seen: ``fieldRef`` of a container's
    variable, after ``kubectl apply --server-side``).
    """
    pairs = [(obj, context.find(obj)) for obj in objects]
    return [obj for obj, live in pairs if live is None or difference(context, obj, live)]


def apply_crds(context: Context) -> None:
    """Apply the CRDs server-side; they are too large for client-side annotations (F45). Idempotent: yes.

    Those whose fields others own are taken over, as the plan says: removing one would take its ScaledJobs with it.
    """
    context.deliver_all(drifted(context, crds(context)))
    leave_to_the_deliverer(context, crds(context))


def misfits(context: Context, wanted: Object) -> tuple[str, ...]:
    """Return what the schema of KEDA's CRDs, as its manifests have them, would refuse in an object of KEDA's kinds."""
    group, _, version = wanted["apiVersion"].partition("/")
    for crd in crds(context):
        if (crd["spec"]["group"], crd["spec"]["names"]["kind"]) == (group, wanted["kind"]):
            schema = find_schema(crd, version)
            return examine(schema, wanted).errors if schema else ()
    return ()


def wanted_secret(context: Context, sync: SecretSync) -> Object:
    """Return a Secret with the values that Vault has now.

    Raises
    ------
    Missing
        When Vault lacks a key that the environment names.
    """
    values = context.systems.secret_keys(sync.vault_path)
    missing = [key for key in sync.keys if not values.get(key)]
    if missing:
        raise Missing("Vault", context.environment.vault.url, f"{sync.vault_path} has no {', '.join(missing)}")
    data = {key: base64.b64encode(values[key].reveal().encode()).decode() for key in sync.keys}
    metadata = {"name": sync.name, "namespace": sync.namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": sync.type, "data": data}


def secrets_inspect(context: Context) -> Progress:
    """Does each Secret have what Vault has? Only names are ever shown, never values."""
    wrong = []
    for sync in _secrets(context):
        live = context.systems.kube.find(SECRETS, sync.name, sync.namespace) or {}
        if first_difference({**wanted_secret(context, sync), "metadata": {}}, live):
            wrong.append(f"{sync.namespace}/{sync.name}")
    if wrong:
        return Progress(State.TODO, f"missing or drifted from Vault: {', '.join(wrong)}")
    return Progress(State.DONE, f"{len(context.environment.secrets)} as in Vault")


def apply_secrets(context: Context) -> None:
    """Write the Secrets from Vault. Idempotent: yes."""
    context.apply_all([wanted_secret(context, sync) for sync in _secrets(context)])


def _secrets(context: Context) -> list[SecretSync]:
    """Return the Secrets that can be written: none is made in a namespace whose deletion hangs."""
    left = namespaces.left(context)
    return [sync for sync in context.environment.secrets if sync.namespace not in left]


def certificates_inspect(context: Context) -> Progress:
    """Is the Secret with KEDA's certificates there and good?"""
    fault = certificate_fault(context)
    return Progress(State.TODO, fault) if fault else Progress(State.DONE, "kept")


def certificate_fault(context: Context) -> str:
    """Return why KEDA's certificates have to be recreated; empty if they are good."""
    standing = certificates.serving(context.systems)
    return "" if standing.verdict is Verdict.OK else standing.observed


def make_certificates(context: Context) -> None:
    """Make KEDA's certificates, unless good ones are there. Idempotent: yes."""
    kube = context.systems.kube
    live = kube.find(SECRETS, CERTIFICATES, context.namespace)  # before the look: what comes after it stays
    if certificates_inspect(context).state is State.DONE:
        return
    if live is not None:
        kube.delete(SECRETS, CERTIFICATES, context.namespace, uid=live["metadata"]["uid"])
    kube.create(SECRETS, serving_certificate.make(context.namespace), context.namespace)


def parts_without_ca(context: Context) -> list[Object]:
    """Return the rest of KEDA's objects."""
    return [
        helm.marked(copy.deepcopy(obj), context.decisions.helm_release)
        for obj in context.keda_objects
        if obj["kind"] not in ("CustomResourceDefinition", "Namespace")
    ]


def parts(context: Context) -> list[Object]:
    """Return the rest of KEDA's objects, with the CA that its certificates are signed by. Needs the certificates."""
    bundle = _ca(context)
    return [{**obj, **_with_ca(obj, bundle)} for obj in parts_without_ca(context)]


def _ca(context: Context) -> str:
    return serving_certificate.ca_bundle(context.systems.kube.get(SECRETS, CERTIFICATES, context.namespace))


def _with_ca(obj: Object, bundle: str) -> Object:
    """Return what of an object holds the CA bundle, with this one; nothing for most kinds."""
    if obj["kind"] == "APIService":
        return {"spec": {**obj["spec"], "caBundle": bundle}}
    if obj["kind"] == "ValidatingWebhookConfiguration":
        return {
            "webhooks": [
                {**hook, "clientConfig": {**hook["clientConfig"], "caBundle": bundle}} for hook in obj["webhooks"]
            ]
        }
    return {}


def parts_inspect(context: Context) -> Progress:
    """Are all objects of KEDA there and as they should be?"""
    if context.systems.kube.find(SECRETS, CERTIFICATES, context.namespace) is None:
        return Progress(State.TODO, "its certificates come first")
    wanted = parts(context)
    for obj in wanted:
        live, what = context.find(obj), f"{obj['kind']} {obj['metadata']['name']}"
        if live is None:
            return Progress(State.TODO, f"{what} is missing")
        if differs := difference(context, obj, live):
            return Progress(State.TODO, f"{what} differs at {differs}")
        if others := context.delivery.others(live):
            return Progress(State.TODO, f"{what} is applied by {', '.join(others)} as well")
    return Progress(State.DONE, f"{len(wanted)} objects as they should be")


def apply_parts(context: Context) -> None:
    """Apply KEDA's objects: rights and Services first, then what runs with them. Idempotent: yes.

    The CA bundle is no part of what is delivered, and is written by the toolkit itself: who delivers would find in it a
    field of its own that it does not want.
    """
    wanted = drifted(context, parts_without_ca(context))
    before = [obj for obj in wanted if obj["kind"] != "Deployment"]
    for obj, live in zip(before, context.deliver_all(before), strict=True):
        _take_surplus_away(context, obj, live)
    _write_ca(context)
    context.deliver_all([obj for obj in wanted if obj["kind"] == "Deployment"])
    leave_to_the_deliverer(context, parts_without_ca(context))
    _write_ca(context)


def _take_surplus_away(context: Context, wanted: Object, live: Object) -> None:
    """Put a list back that holds more than is wanted: applying takes away only what the same manager has applied."""

    def exact(live: Object) -> Object | None:
        part, _, field = (difference(context, wanted, live) or "").partition("[")[0].partition(".")
        value = wanted[part].get(field) if isinstance(wanted.get(part), dict) else None
        return {part: {field: value}} if isinstance(value, list) else None

    if exact(live) is not None:
        kube, metadata = context.systems.kube, wanted["metadata"]
        change(kube, kube.resource_of(wanted), metadata["name"], metadata.get("namespace"), exact)


def _write_ca(context: Context) -> None:
    kube = context.systems.kube
    for wanted in parts(context):
        if wanted["kind"] not in WITH_CA:
            continue

        def with_ca(live: Object, wanted: Object = wanted) -> Object | None:
            return _with_ca(live, _ca(context)) if difference(context, wanted, live) else None

        change(kube, kube.resource_of(wanted), wanted["metadata"]["name"], None, with_ca)


def leave_to_the_deliverer(context: Context, objects: list[Object]) -> None:
    """Take over what others have applied as well, and let them own nothing of it any more. Idempotent: yes.

    Lists are merged by key: what they have applied would stay, whatever the deliverer wants (seen: "Duplicate value" of a
    port's name, at which each sync of Argo CD failed).

    Source: Kubernetes, "Server-Side Apply", clearing managedFields and transferring ownership.
    """
    kube = context.systems.kube
    for wanted in objects:
        live = context.find(wanted)
        if live is None or not context.delivery.others(live):
            continue
        context.deliver(wanted, force=True)
        metadata = wanted["metadata"]
        change(
            kube, kube.resource_of(wanted), metadata["name"], metadata.get("namespace"), context.delivery.disown_others
        )


STEPS: tuple[Step[Context], ...] = (
    Step("install/apply-namespaces", "make the namespaces", namespaces_inspect, apply_namespaces),
    Step(
        "install/apply-crds",
        "apply KEDA's CRDs",
        crds_inspect,
        apply_crds,
        deadline=timedelta(seconds=60),
        watch=lambda context: Watch(context.systems.kube, [(CRDS, None)]),
    ),
    Step("install/apply-secrets", "write the Secrets that Vault holds", secrets_inspect, apply_secrets),
    Step("install/make-certificates", "make KEDA's certificates", certificates_inspect, make_certificates),
    Step("install/apply-parts", "apply KEDA's rights, Services and Deployments", parts_inspect, apply_parts),
)
