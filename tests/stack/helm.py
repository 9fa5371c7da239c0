"""Helm, from its Go module, with a chart of the tests' own that holds KEDA's objects as the public one does: in templates."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from prompt_keda.core.event import nobody
from prompt_keda.lab import go_builds, settings, state
from prompt_keda.lab import helm as lab_helm

from .conftest import admin_kubeconfig

RELEASE, NAMESPACE = "keda", "keda"


def chart(folder):
    """Write a chart of what the stack's KEDA is made of: CRDs among the templates, so that `helm uninstall` removes them (F4)."""
    known = state.endpoints()
    if known.get("delivery") == "helm":  # its release has a chart of its own, with other labels
        objects = lab_helm.render(settings.current_lab(), Path(known["phalanx"]), RELEASE)
    else:
        objects = json.loads(Path(known["keda_manifests"]).read_text())
    templates = folder / "chart" / "templates"
    templates.mkdir(parents=True)
    (folder / "chart" / "Chart.yaml").write_text("apiVersion: v2\nname: keda\nversion: 2.16.1\n")
    for number, obj in enumerate(objects):
        if obj["kind"] != "Namespace":
            escaped = json.dumps(obj).replace("{{", '{{ "{{" }}')
            (templates / f"{number:02}.yaml").write_text(escaped)
    return folder / "chart"


def helm(*arguments):
    """Run Helm as the administrator, to its end."""
    argv, env = _command(arguments)
    return subprocess.run(argv, capture_output=True, text=True, timeout=300, env=env)


def begin_helm(*arguments):
    """Begin Helm, and give its process."""
    argv, env = _command(arguments)
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)


def _command(arguments):
    """Return its command line and environment; it is built on first use."""
    lab = settings.current_lab()
    program = go_builds.build(go_builds.HELM, nobody) / "helm"
    home = {"HELM_CACHE_HOME": str(lab.state), "HELM_CONFIG_HOME": str(lab.state), "HELM_DATA_HOME": str(lab.state)}
    argv = [program, "--kubeconfig", admin_kubeconfig(), "--namespace", NAMESPACE, *arguments]
    return argv, {**os.environ, **home}
