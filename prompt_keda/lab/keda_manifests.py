"""KEDA's manifests for the local stack: CRDs and rights from KEDA's own Go module, workloads as the public chart has them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from prompt_keda.clients.kube.objects import Object
from prompt_keda.core.errors import LabError
from prompt_keda.core.private_folder import private_folder
from prompt_keda.core.whole_file import write_whole
from prompt_keda.lab.commands import run

PARTS = Path(__file__).parent / "keda" / "parts.yaml"
LABELS = {"app.kubernetes.io/part-of": "keda-operator", "app.kubernetes.io/version": "2.16.1"}


def render(module: Path, kubectl: str, images: Mapping[str, str]) -> list[Object]:
    """Return all objects of KEDA in the order in which they can be applied.

    Parameters
    ----------
    module
        Folder with the sources of github.com/kedacore/keda/v2.
    kubectl
        A kubectl, for its kustomize.
    images
        ``keda``, ``keda-metrics-apiserver`` and ``keda-admission-webhooks`` → image by digest.

    Raises
    ------
    LabError
        When the module's folder is not as KEDA 2.16 has it.
    """
    crds = _documents(run([kubectl, "kustomize", str(module / "config" / "crd")]))
    rights = _documents((module / "config" / "rbac" / "role.yaml").read_text())
    for role in rights:
        role["metadata"]["name"] = "keda-operator" if role["kind"] == "ClusterRole" else "keda-operator-certs"
    text = PARTS.read_text()
    for name, image in images.items():
        text = text.replace(f"${{image:{name}}}", image)
    if "${image:" in text:
        raise LabError(f"an image of {PARTS.name} has no digest", "This is a defect of the toolkit.")
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "keda"}}
    objects = [namespace, *crds, *rights, *_documents(text)]
    for obj in objects:
        obj["metadata"].setdefault("labels", {}).update(LABELS)
    return objects


def write(objects: list[Object], folder: Path) -> tuple[Path, str]:
    """Write the objects as JSON, which is 50 times faster to read than YAML, and return the file and its SHA-256."""
    data = json.dumps(objects, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(data).hexdigest()
    path = private_folder(folder) / f"keda-2.16.1-{digest[:12]}.json"
    write_whole(path, data)
    return path, digest


def _documents(text: str) -> list[Object]:
    return [obj for obj in yaml.load_all(text, Loader=yaml.CSafeLoader) if obj]
