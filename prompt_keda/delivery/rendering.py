"""Renders an Application's chart as Argo CD's repo-server does, and keeps the result by its SHA-256.

What is kept holds neither tracking marks nor Helm's: a delivery adds its own when it loads it. Namespaces are filled in as
Argo CD's controller does, nulls are dropped, objects and keys are sorted: the same commit gives the same bytes on every machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prompt_keda.clients.kube.objects import Object
from prompt_keda.core.errors import BadAnswer, Refusal
from prompt_keda.core.untrusted import one_line
from prompt_keda.delivery import go_yaml
from prompt_keda.delivery.application import Application
from prompt_keda.delivery.argocd import HOOK
from prompt_keda.delivery.helm_program import HelmProgram, MissingDependency
from prompt_keda.delivery.manifests import keep_prepared, prepared_file

HELM_HOOK = "helm.sh/hook"
RUNS_ONCE = ("Job", "Pod", "Workflow")
"""Kinds that do something once when they are made: as hooks they are a sync's own, and no part of what stands."""
NEVER_IN_A_SYNC = {
    "Skip", "SyncFail", "PreDelete", "PostDelete",
    "test", "test-success", "test-failure", "pre-delete", "post-delete", "pre-rollback", "post-rollback",
}  # fmt: skip
CLUSTER_SCOPED = {
    "APIService", "CSIDriver", "CSINode", "CertificateSigningRequest", "ClusterRole", "ClusterRoleBinding",
    "CustomResourceDefinition", "FlowSchema", "IngressClass", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration", "Namespace", "Node", "PersistentVolume", "PriorityClass", "PriorityLevelConfiguration",
    "RuntimeClass", "StorageClass", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration", "VolumeAttachment", "ClusterTriggerAuthentication", "ClusterCloudEventSource",
}  # fmt: skip
NAMESPACED_GROUPS = ("keda.sh", "eventing.keda.sh", "ricoberger.de", "monitoring.coreos.com")
"""Groups that are not Kubernetes' own, and whose kinds stand in namespaces but for those above."""
CERTIFICATES = ("cert-manager.io/Certificate", "cert-manager.io/Issuer")


@dataclass(frozen=True)
class Chart:
    """A packed chart that was rendered: its file's name, and its SHA-256."""

    file: str
    sha256: str


@dataclass(frozen=True)
class Rendering:
    """What one Application's chart gives.

    Parameters
    ----------
    data
        The objects as they are kept, a JSON list.
    left_out
        ``Kind name: why`` of each object that a sync would run, and that is not kept.
    """

    application: Application
    data: bytes
    charts: tuple[Chart, ...]
    left_out: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """What it is pinned by."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def objects(self) -> list[Object]:
        """The objects."""
        objects: list[Object] = json.loads(self.data)
        return objects

    def keep(self, about: Mapping[str, Any]) -> Path:
        """Write it into the user's cache, with what is known of it beside it. Idempotent: yes.

        Parameters
        ----------
        about
            For people: no digest covers it.

        Raises as `keep_prepared` does.
        """
        file = prepared_file(self.sha256)
        entry = {**about, "application": asdict(self.application), "left_out": list(self.left_out)}
        entry["charts"] = [asdict(chart) for chart in self.charts]
        texts = {about_file(self.sha256): json.dumps(entry, indent=1, sort_keys=True).encode(), file: self.data}
        for target, text in texts.items():
            keep_prepared(target, text)
        return file


def about_file(sha256: str) -> Path:
    """Return the file beside a kept rendering that says where it comes from: commit, charts, Helm, what was left out."""
    return prepared_file(sha256).with_suffix(".about.json")


def about(sha256: str) -> dict[str, Any]:
    """Return what is known of a kept rendering; empty if nothing is. Nothing pins it: it is for people."""
    try:
        document = json.loads(about_file(sha256).read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def render(helm: HelmProgram, tree: Path, application: Application, kube_version: str) -> Rendering:
    """Render an Application's chart.

    Parameters
    ----------
    tree
        The files of one commit, which this may write: a chart's dependencies are put there.

    Raises
    ------
    Refusal
        When it holds a Secret, an object twice, or one of which nobody knows whether it stands in a namespace; or when two
        renderings differ.
    ClientError
        When it cannot be rendered, or is not what the API server takes.
    """
    chart = tree / application.path
    arguments = application.arguments(tree, kube_version)
    charts = tuple(_packed(chart / "charts"))
    try:
        text = helm.template(chart, arguments)
    except MissingDependency:
        helm.build_dependencies(chart)
        text = helm.template(chart, arguments)
    documents = go_yaml.read_documents(text, application.path)
    if go_yaml.read_documents(helm.template(chart, arguments), application.path) != documents:
        raise Refusal(
            f"{application.path} renders differently each time: something in it is random, or a date",
            "Argo CD would say OutOfSync forever. Correct the chart.",
        )
    objects = [obj for document in documents for obj in _flat(document, application.path)]
    left_out = tuple(f"{obj['kind']} {_name(obj)}: {why}" for obj in objects if (why := _why_left_out(obj)))
    kept = [obj for obj in objects if not _why_left_out(obj)]
    if not kept:
        raise Refusal(f"{application.path} renders nothing that is applied")
    return Rendering(application, normalised(kept, application), charts, left_out)


def normalised(objects: Sequence[Object], application: Application) -> bytes:
    """Return objects as they are kept: with their namespaces, and sorted.

    Raises `Refusal` on a Secret, an object twice, and a kind of which nobody knows whether it stands in a namespace.
    """
    scopes = _scopes(objects)
    placed: dict[tuple[str, ...], Object] = {}
    for obj in objects:
        if obj["kind"] == "Secret" and obj["apiVersion"] == "v1":
            raise Refusal(
                f"{application.path} renders Secret {_name(obj)}: plans are shown and kept, and a Secret is neither",
                "Its values belong into Vault; name it in the environment under secrets.",
            )
        metadata = {key: value for key, value in obj["metadata"].items() if key != "namespace"}
        if _is_namespaced(obj, scopes, application.path):
            metadata["namespace"] = obj["metadata"].get("namespace") or application.namespace
        identity = (_group(obj), obj["kind"], metadata.get("namespace", ""), metadata["name"])
        if identity in placed:
            raise Refusal(
                f"{application.path} renders {obj['kind']} {_name(obj)} twice", "Argo CD would take the last one."
            )
        placed[identity] = {**obj, "metadata": metadata}
    in_order = [placed[identity] for identity in sorted(placed)]
    return json.dumps(in_order, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _packed(folder: Path) -> Iterable[Chart]:
    for file in sorted(folder.glob("*.tgz")):
        yield Chart(file.name, hashlib.sha256(file.read_bytes()).hexdigest())


def _flat(document: Any, where: str) -> list[Object]:
    """Return the objects of a document: it may be a list of them."""
    if isinstance(document, dict) and str(document.get("kind", "")).endswith("List") and "items" in document:
        items = document["items"]
        return [obj for item in (items if isinstance(items, list) else [None]) for obj in _flat(item, where)]
    if not isinstance(document, dict) or not isinstance(document.get("metadata"), dict):
        raise BadAnswer("helm", where, "it renders something that is no Kubernetes object")
    metadata = document["metadata"]
    texts = (document.get("apiVersion"), document.get("kind"), metadata.get("name"), metadata.get("namespace", "-"))
    if not all(isinstance(text, str) and text and one_line(text) == text for text in texts):
        kind = one_line(str(document.get("kind")))
        raise BadAnswer("helm", where, f"it renders a {kind} without apiVersion, kind or name, or one that is no text")
    for key in ("labels", "annotations"):
        for name, value in _mapping(metadata.get(key)).items():
            if not isinstance(value, str):
                what = f"{document['kind']} {one_line(metadata['name'])}: metadata.{key}: {one_line(name)}"
                raise BadAnswer("helm", where, f"{what} is {type(value).__name__}, and not a text")
    return [document]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _why_left_out(obj: Object) -> str:
    """Return why an object is no part of what stands; empty if it is."""
    annotations = _mapping(obj["metadata"].get("annotations"))
    hooks = [
        hook.strip() for name in (HOOK, HELM_HOOK) for hook in str(annotations.get(name, "")).split(",") if hook.strip()
    ]
    if not hooks:
        return ""
    if all(hook in NEVER_IN_A_SYNC for hook in hooks):
        return f"hook {', '.join(hooks)}, which no sync applies"
    return f"hook {', '.join(hooks)}, which a sync runs" if obj["kind"] in RUNS_ONCE else ""


def _scopes(objects: Iterable[Object]) -> dict[tuple[str, str], bool]:
    """Return whether the kinds whose CRDs are rendered stand in namespaces."""
    specs = [_mapping(obj.get("spec")) for obj in objects if obj["kind"] == "CustomResourceDefinition"]
    return {
        (str(spec.get("group")), str(_mapping(spec.get("names")).get("kind"))): spec.get("scope") == "Namespaced"
        for spec in specs
    }


def _is_namespaced(obj: Object, scopes: Mapping[tuple[str, str], bool], where: str) -> bool:
    group, kind = _group(obj), obj["kind"]
    if (group, kind) in scopes:
        return scopes[group, kind]
    if kind in CLUSTER_SCOPED:
        return False
    is_kubernetes = "." not in group or group.endswith(".k8s.io")
    is_known = is_kubernetes or group in NAMESPACED_GROUPS or f"{group}/{kind}" in CERTIFICATES
    if is_known or obj["metadata"].get("namespace"):
        return True
    raise Refusal(
        f"{where} renders {kind} {_name(obj)} without a namespace, and prepare does not know whether {group or 'v1'} has one",
        "Name its namespace in the chart, or report it to the authors of this toolkit.",
    )


def _group(obj: Object) -> str:
    return str(obj["apiVersion"]).rpartition("/")[0]


def _name(obj: Object) -> str:
    return one_line(str(obj["metadata"]["name"]))
