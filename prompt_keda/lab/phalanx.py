"""Writes a git repository shaped like Phalanx: what Argo CD and Helm deliver from on a local stack.

All of it is this project's own: its files are in ``phalanx_files/``. The dependency ``keda`` of applications/keda is a
chart made of the stack's own KEDA, vendored as a .tgz, so that nothing that renders it needs a network.
"""

from __future__ import annotations

import copy
import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prompt_keda.clients.kube.objects import Object
from prompt_keda.core.private_folder import private_folder
from prompt_keda.lab.commands import run
from prompt_keda.lab.settings import KEDA_VERSION

FILES = Path(__file__).parent / "phalanx_files"
BRANCH = "main"
KEDA_NAMESPACE = "keda"
CHARTS = "https://charts.prompt-keda.test"
"""Where applications/keda/Chart.yaml says that its dependency comes from; nobody asks there, because it is vendored."""
_NAME, _EMAIL, _DATE = "prompt-keda local stack", "lab@prompt-keda.test", "2026-01-01T00:00:00Z"


def write(
    folder: Path, keda_objects: Sequence[Object], worker_image: str, init_image: str, repo_url: str = "git://phalanx"
) -> Path:
    """Write the repository, commit it, and return its folder. Idempotent: yes; the same input makes the same commit.

    Parameters
    ----------
    folder
        Where; what stands there is brought to what is wanted by one more commit.
    keda_objects
        KEDA, as `keda_manifests.render` returns it.
    worker_image, init_image
        Images by digest: of the workers, and of the Jobs beside them, whose entry point is busybox.
    repo_url
        Where Argo CD gets the repository from.

    Raises
    ------
    LabError
        When git fails.
    """
    private_folder(folder)
    replaced = {"${worker_image}": worker_image, "${init_image}": init_image, "${repo_url}": repo_url}
    for source in sorted(path for path in FILES.rglob("*") if path.is_file()):
        text = source.read_text()
        for name, value in replaced.items():
            text = text.replace(name, value)
        _write(folder / source.relative_to(FILES), text.encode())
    application = folder / "applications" / "keda"
    _write(application / "charts" / f"keda-{KEDA_VERSION}.tgz", _archive("keda", keda_chart(keda_objects)))
    _write(application / "Chart.lock", _lock().encode())
    _write(folder / ".gitignore", b"/applications/*/charts/prompt-keda-*.tgz\n")
    if not (folder / ".git").exists():
        _git(folder, "init", "--quiet", f"--initial-branch={BRANCH}")
    commit(folder, "Write the local stack's applications")
    return folder


def commit(folder: Path, message: str) -> str:
    """Commit all changes in the work tree, if there are any, and return the newest commit. Raises as `write` does."""
    _git(folder, "add", "--all")
    if _git(folder, "status", "--porcelain"):
        _git(folder, "commit", "--quiet", f"--message={message}")
    return _git(folder, "rev-parse", "HEAD").strip()


def keda_chart(objects: Sequence[Object]) -> dict[str, str]:
    """Return the files of a chart that holds KEDA: CRDs are templates, as in the public chart, and can be left out.

    Values change what tests and drills change: the operator's replicas, its log level, the labels of its pods.
    """
    values = {
        "crds": {"install": True},
        "operator": {"replicaCount": 1},
        "logging": {"operator": {"level": "info"}},
        "podLabels": {"keda": {}},
        "additionalAnnotations": None,
    }
    head = {
        "apiVersion": "v2",
        "name": "keda",
        "version": KEDA_VERSION,
        "appVersion": KEDA_VERSION,
        "type": "application",
    }
    files = {"Chart.yaml": json.dumps(head), "values.yaml": json.dumps(values)}
    for item in objects:
        kind, name = item["kind"], item["metadata"]["name"]
        if kind == "CustomResourceDefinition":
            # no instance label: Argo CD puts none on a CRD, so that it never takes one for its own
            text = _Template().render(item, {"helm.sh/chart": "keda-{{ .Chart.Version }}"})
            files[f"templates/crds/{name}.yaml"] = f"{{{{- if .Values.crds.install }}}}\n{text}{{{{- end }}}}\n"
        elif kind != "Namespace":  # the app of apps makes it
            files[f"templates/{kind.lower()}-{name}.yaml"] = _Template().render(_with_values(item), _LABELS)
    return files


_LABELS = {
    "helm.sh/chart": "keda-{{ .Chart.Version }}",
    "app.kubernetes.io/instance": "{{ .Release.Name }}",
    "app.kubernetes.io/managed-by": "{{ .Release.Service }}",
}


class _Value:
    """A template's expression that stands for a whole value."""

    def __init__(self, expression: str) -> None:
        self.expression = expression


def _with_values(item: Object) -> Object:
    """Return the object with the chart's values where it has fixed ones."""
    item = _with_release_namespace(copy.deepcopy(item))
    if item["kind"] == "Deployment":
        item["metadata"]["annotations"] = _Value(".Values.additionalAnnotations | toJson")
    if item["kind"] == "Deployment" and item["metadata"]["name"] == "keda-operator":
        item["spec"]["replicas"] = _Value(".Values.operator.replicaCount")
        pod = item["spec"]["template"]
        labels = json.dumps(pod["metadata"]["labels"])
        pod["metadata"]["labels"] = _Value(f"mergeOverwrite (fromJson `{labels}`) .Values.podLabels.keda | toJson")
        arguments = pod["spec"]["containers"][0]["args"]
        level = arguments.index("--zap-log-level=info")
        arguments[level] = _Value('printf "--zap-log-level=%s" .Values.logging.operator.level | toJson')
    return item


def _with_release_namespace(part: Any) -> Any:
    if isinstance(part, list):
        return [_with_release_namespace(item) for item in part]
    if not isinstance(part, dict):
        return part
    return {
        key: _Value(".Release.Namespace")
        if key == "namespace" and value == KEDA_NAMESPACE
        else _with_release_namespace(value)
        for key, value in part.items()
    }


class _Template:
    """Makes a chart's template of an object; braces in its text (a CRD's descriptions have some) stay text."""

    def __init__(self) -> None:
        self._expressions: list[str] = []

    def render(self, item: Object, labels: Mapping[str, str]) -> str:
        """Return the object as JSON, which is YAML as well, with more labels."""
        rest = {key: value for key, value in item.items() if key != "metadata"}
        metadata = {**item["metadata"]}
        metadata["labels"] = {**metadata.get("labels", {}), **{key: f"@{key}@" for key in labels}}
        text = json.dumps({**rest, "metadata": metadata}, default=self._place, sort_keys=True, indent=1)
        text = text.replace("{{", '{{ "{{" }}')
        for key, label in labels.items():
            text = text.replace(f'"@{key}@"', f'"{label}"')
        for number, expression in enumerate(self._expressions):
            text = text.replace(f'"@{number}@"', f"{{{{ {expression} }}}}")
        return text + "\n"

    def _place(self, value: _Value) -> str:
        self._expressions.append(value.expression)
        return f"@{len(self._expressions) - 1}@"


def _lock() -> str:
    """Return Chart.lock: its digest is of the dependencies as asked for and as resolved (helm, resolver.HashReq)."""
    dependency = {"name": "keda", "version": KEDA_VERSION, "repository": CHARTS}
    digest = hashlib.sha256(json.dumps([[dependency], [dependency]], separators=(",", ":")).encode()).hexdigest()
    lines = ["dependencies:", f"- name: keda\n  repository: {CHARTS}\n  version: {KEDA_VERSION}"]
    return "\n".join([*lines, f"digest: sha256:{digest}", f'generated: "{_DATE}"', ""])


def _archive(name: str, files: Mapping[str, str]) -> bytes:
    """Return a chart's .tgz, the same bytes for the same files."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for path, text in sorted(files.items()):
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size, entry.mode = len(text.encode()), 0o644
            archive.addfile(entry, io.BytesIO(text.encode()))
    return gzip.compress(plain.getvalue(), mtime=0)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _git(folder: Path, *arguments: str) -> str:
    """Run git without what this machine's user has configured."""
    people = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in _PERSON.items()}
    quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    return run(["git", "-C", str(folder), *arguments], env={**os.environ, **people, **quiet})


_PERSON = {"NAME": _NAME, "EMAIL": _EMAIL, "DATE": _DATE}
