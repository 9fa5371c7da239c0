"""Helm on the local stack: it renders the charts of `prompt_keda.lab.phalanx`, and installs them where no Argo CD is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from prompt_keda.clients.kube.objects import Object
from prompt_keda.core.event import Observer
from prompt_keda.core.private_folder import private_folder
from prompt_keda.delivery.argocd import HOOK
from prompt_keda.lab import contents, delivered, go_builds, keda_manifests, network, phalanx, state
from prompt_keda.lab.commands import run
from prompt_keda.lab.settings import Lab
from prompt_keda.lab.vault_contents import PREFIX

RELEASES = ("keda", "prompt-keda-lsstcam")
"""Each in the namespace of its name; in the order in which they are installed."""
HOST = "prompt-keda.test"
PARAMETERS = {
    "global.host": HOST,
    "global.baseUrl": f"https://{HOST}",
    "global.vaultSecretsPath": f"secret/{PREFIX}",
}
"""What the app of apps hands to each chart."""
CLUSTER_WIDE = (
    "APIService",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "ValidatingWebhookConfiguration",
)
INSTALL_S = 240


def up(lab: Lab, observer: Observer) -> None:
    """Install what is not installed, and publish where the charts are. Idempotent: yes.

    Raises
    ------
    LabError
        When something does not build, or a release does not become ready.
    """
    link(lab, observer)
    folder = delivered.ensure_ground(lab, "")
    state.write_endpoints(lab, {**state.endpoints(lab), **publish(lab, folder), "delivery": "helm"})
    contents.apply(lab, [_namespace(name) for name in RELEASES])
    delivered.ensure_groups(lab)
    installed = call(lab, "list", "--all-namespaces", "--short").split()
    for name in RELEASES:
        if name not in installed:
            upgrade(lab, folder, name)


def link(lab: Lab, observer: Observer) -> None:
    """Build Helm unless the cache has it, and put it beside the stack's programs. Idempotent: yes."""
    program = go_builds.build(go_builds.HELM, observer) / "helm"
    path = private_folder(lab.state / "bin") / "helm"
    path.unlink(missing_ok=True)
    path.symlink_to(program)


def publish(lab: Lab, folder: Path) -> dict[str, str]:
    """Write what the charts render to, and return the endpoints of that and of the repository.

    KEDA's is one file with its namespace, the workers' another without hooks that are Jobs: those belong to one sync.
    """
    keda, workers = (render(lab, folder, name) for name in RELEASES)
    manifests, sha256 = keda_manifests.write([_namespace(RELEASES[0]), *keda], lab.state / "rendered")
    jobless = [item for item in workers if item["kind"] != "Job" or HOOK not in item["metadata"].get("annotations", {})]
    path = private_folder(lab.state / "rendered") / f"{RELEASES[1]}.yaml"
    path.write_text(yaml.safe_dump_all(jobless))
    return {
        "phalanx": str(folder),
        "phalanx_environment": delivered.ENVIRONMENT,
        "rendered_keda": str(manifests),
        "rendered_keda_sha256": sha256,
        "rendered_workers": str(path),
    }


def change_workers(lab: Lab, old: str, new: str) -> None:
    """Change the workers' values in the repository, commit that, and publish what it renders to: who delivers wants it then.

    Nothing is delivered. A text that is changed already stays. Raises as `render` does, and `LabError` when git fails.
    """
    folder = Path(state.endpoints(lab)["phalanx"])
    values = folder / "applications" / RELEASES[1] / f"values-{delivered.ENVIRONMENT}.yaml"
    values.write_text(values.read_text().replace(old, new))
    phalanx.commit(folder, f"Let workers have {new}")
    state.write_endpoints(lab, {**state.endpoints(lab), **publish(lab, folder)})


def render(lab: Lab, folder: Path, name: str) -> list[Object]:
    """Return the objects of an application as its delivery makes them, each with its namespace. Raises as `call` does."""
    with _built(lab, folder, name) as chart:
        text = call(lab, "template", name, str(chart), f"--namespace={name}", "--include-crds", *_values(chart))
    objects = [_without_nulls(item) for item in yaml.load_all(text, Loader=yaml.CSafeLoader) if item]
    return [_in_namespace(item, name) for item in objects]


def upgrade(lab: Lab, folder: Path, name: str, *arguments: str) -> str:
    """Bring a release to what its chart in the repository says, and return what Helm says. Raises as `call` does."""
    wait = ["--wait", f"--timeout={INSTALL_S}s"]
    with _built(lab, folder, name) as chart:
        values = _values(chart)
        return call(lab, "upgrade", "--install", name, str(chart), f"--namespace={name}", *values, *wait, *arguments)


@contextmanager
def _built(lab: Lab, folder: Path, name: str) -> Iterator[Path]:
    """Yield an application's chart with its dependencies in place, in a copy: Helm writes beside Chart.yaml."""
    with TemporaryDirectory(dir=private_folder(lab.state / "helm")) as scratch:
        shutil.copytree(folder, scratch, ignore=shutil.ignore_patterns(".git"), dirs_exist_ok=True)
        chart = Path(scratch) / "applications" / name
        if "file://" in (chart / "Chart.yaml").read_text():
            call(lab, "dependency", "build", str(chart))
        yield chart


def _values(chart: Path) -> list[str]:
    files = ("values.yaml", f"values-{delivered.ENVIRONMENT}.yaml")
    return [*(f"--values={chart / file}" for file in files), *(f"--set={key}={PARAMETERS[key]}" for key in PARAMETERS)]


def _namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _in_namespace(item: Object, namespace: str) -> Object:
    if item["kind"] in CLUSTER_WIDE:
        return item
    return {**item, "metadata": {"namespace": namespace, **item["metadata"]}}


def _without_nulls(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: _without_nulls(value) for key, value in part.items() if value is not None}
    return [_without_nulls(item) for item in part] if isinstance(part, list) else part


def call(lab: Lab, *arguments: str) -> str:
    """Run Helm as the stack's administrator, and return what it says.

    Raises
    ------
    LabError
        When it fails; with its last line.
    """
    home = str(private_folder(lab.state / "helm"))
    env = {
        "HOME": home,  # else kubectl's cache of kinds lies where Helm was called
        "HELM_CACHE_HOME": home,
        "HELM_CONFIG_HOME": home,
        "HELM_DATA_HOME": home,
        "KUBECONFIG": str(lab.admin_kubeconfig),
        "PATH": "/usr/bin:/bin",
    }
    argv = [*network.enter(lab), lab.program("helm"), *arguments]
    return run(argv, env=env, timeout_s=INSTALL_S + 30)
