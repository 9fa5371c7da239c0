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
    found = []
    for file in sorted(Path(json.loads(done.stdout)["Dir"]).glob("config/crd/bases/*.yaml")):
        one = yaml.load(file.read_text(), yaml.CSafeLoader)
        one["metadata"].setdefault("labels", {}).update({PART_OF: "keda-operator", VERSION: version})
        one.pop("status", None)
        found.append(one)
    return found


def manifests(objects, version):
    """Return KEDA's manifests with the CRDs of another version; parts say that they are of it, and are the same."""
    rest = [copy.deepcopy(one) for one in objects if one["kind"] != "CustomResourceDefinition"]
    for one in rest:
        if VERSION in (one["metadata"].get("labels") or {}):
            one["metadata"]["labels"][VERSION] = version
    namespaces = [one for one in rest if one["kind"] == "Namespace"]
    return [*namespaces, *crds(version), *(one for one in rest if one["kind"] != "Namespace")]
