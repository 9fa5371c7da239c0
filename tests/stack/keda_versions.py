"""CRDs of other versions of KEDA, from its own Go modules."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path

import yaml

from prompt_keda.lab import go_builds

MODULE = "github.com/kedacore/keda/v2"
PART_OF, VERSION = "app.kubernetes.io/part-of", "app.kubernetes.io/version"


def crds(version):
    """Return KEDA's CRDs of a version, with the labels that its releases carry."""
    argv = ["go", "mod", "download", "-json", f"{MODULE}@v{version}"]
    done = subprocess.run(argv, cwd=go_builds.KEDA.source, capture_output=True, text=True, timeout=300, check=True)
    crds_ = []
    for file in sorted(Path(json.loads(done.stdout)["Dir"]).glob("config/crd/bases/*.yaml")):
        crd = yaml.load(file.read_text(), yaml.CSafeLoader)
        crd["metadata"].setdefault("labels", {}).update({PART_OF: "keda-operator", VERSION: version})
        crd.pop("status", None)
        crds_.append(crd)
    return crds_


def manifests(objects, version):
    """Return KEDA's manifests with the CRDs of another version; parts say that they are of it, and are the same."""
    rest = [copy.deepcopy(obj) for obj in objects if obj["kind"] != "CustomResourceDefinition"]
    for obj in rest:
        if VERSION in (obj["metadata"].get("labels") or {}):
            obj["metadata"]["labels"][VERSION] = version
    namespaces = [obj for obj in rest if obj["kind"] == "Namespace"]
    return [*namespaces, *crds(version), *(obj for obj in rest if obj["kind"] != "Namespace")]
