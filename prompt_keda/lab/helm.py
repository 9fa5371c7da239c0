"""Helm on the local stack: it installs the charts of `prompt_keda.lab.phalanx` as releases, where no Argo CD is."""

from __future__ import annotations

from pathlib import Path

from prompt_keda.core.event import Observer
from prompt_keda.core.private_folder import private_folder
from prompt_keda.lab import contents, delivered, go_builds, network, state
from prompt_keda.lab.commands import run
from prompt_keda.lab.settings import Lab
from prompt_keda.lab.vault_contents import PREFIX

RELEASES = ("keda", "prompt-keda-lsstcam")
"""Each in the namespace of its name; in the order in which they are installed."""
INSTALL_S = 240


def up(lab: Lab, observer: Observer) -> None:
    """Install what is not installed, and publish where the charts are. Idempotent: yes.

    Raises
    ------
    LabError
        When something does not build, or a release does not become ready.
    """
    program = go_builds.build(go_builds.HELM, observer) / "helm"
    link = private_folder(lab.state / "bin") / "helm"
    link.unlink(missing_ok=True)
    link.symlink_to(program)
    folder = delivered.ensure_ground(lab, "")
    repository = {"phalanx": str(folder), "phalanx_environment": delivered.ENVIRONMENT, "delivery": "helm"}
    state.write_endpoints(lab, {**state.endpoints(lab), **repository})
    spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in RELEASES]
    contents.apply(lab, spaces)
    delivered.ensure_inputs(lab)
    installed = call(lab, "list", "--all-namespaces", "--short").split()
    for name in RELEASES:
        if name not in installed:
            upgrade(lab, folder, name)
    delivered.mark_vault_secrets(lab)


def upgrade(lab: Lab, folder: Path, name: str, *arguments: str) -> str:
    """Bring a release to what its chart in the repository says, and return what Helm says. Raises as `call` does."""
    chart = folder / "applications" / name
    if "file://" in (chart / "Chart.yaml").read_text():
        call(lab, "dependency", "build", str(chart))
    values = [f"--values={chart / file}" for file in ("values.yaml", f"values-{delivered.ENVIRONMENT}.yaml")]
    given = f"--set=global.vaultSecretsPath=secret/{PREFIX}"
    wait = ["--wait", f"--timeout={INSTALL_S}s"]
    return call(lab, "upgrade", "--install", name, str(chart), f"--namespace={name}", *values, given, *wait, *arguments)


def call(lab: Lab, *arguments: str) -> str:
    """Run Helm as the stack's administrator, and return what it says.

    Raises
    ------
    LabError
        When it fails; with its last line.
    """
    home = str(private_folder(lab.state / "helm"))
    env = {
        "HELM_CACHE_HOME": home,
        "HELM_CONFIG_HOME": home,
        "HELM_DATA_HOME": home,
        "KUBECONFIG": str(lab.admin_kubeconfig),
        "PATH": "/usr/bin:/bin",
    }
    argv = [*network.enter(lab), lab.program("helm"), *arguments]
    return run(argv, env=env, timeout_s=INSTALL_S + 30)
