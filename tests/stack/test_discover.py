"""discover on the real stack: what was knocked out of an environment's file comes back from its cluster."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from .conftest import changed_environment, command, run_json

KNOCKED_OUT = [
    ("version: 2.16.1", 'version: "FILL-IN: which?" # ours'),
    ("stream: instrument:lsstcam", "stream: 'FILL-IN: which?'"),
    ('"1.35"', '"FILL-IN: which?"'),
    ('images: ["${lab:worker_image}"]', 'images: ["FILL-IN: which?"]'),
    ("${lab:kube_system_uid}", '"FILL-IN: which?"'),
]


@pytest.mark.desk_first
def test_what_was_knocked_out_comes_back(shared, deployed, endpoints):
    """Seen with the person's own login; nothing else in the file changes, and nothing is left to propose."""
    path = Path(changed_environment(shared, environment=KNOCKED_OUT))
    path.chmod(0o666)
    file, before = str(path), path.read_text()
    code, document = run_json("discover", "--env", file)
    assert code == 0 and not document["written"] and path.read_text() == before
    proposed = {change["key"]: change["proposed"] for change in document["changes"]}
    assert proposed == {
        "keda.version": "2.16.1",
        "instruments[0].stream": "instrument:lsstcam",
        "kubernetes.accepted_versions[0]": "1.35",
        "instruments[0].images[0]": endpoints["worker_image"],
        "kubernetes.identity.kube_system_uid": endpoints["kube_system_uid"],
    }
    assert run_json("discover", "--env", file, "--write")[1]["written"]
    assert "# ours" in path.read_text()
    _, document = run_json("discover", "--env", file)
    assert (document["changes"], document["open"]) == ([], [])


@pytest.mark.stack_only
def test_check_deps_runs_at_once_on_a_first_file(tmp_path, deployed, endpoints):
    """What is not FILL-IN is green: nothing fails, and what is not known waits for a value."""
    new = ("--new", "elsewhere", "--context", endpoints["context"], "--kubeconfig", endpoints["kubeconfig"])
    done = subprocess.run(command("discover", *new), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = yaml.safe_load((tmp_path / "environments/elsewhere.yaml").read_text())
    assert written["instruments"][0]["stream"] == "instrument:lsstcam" and written["keda"]["version"] == "2.16.1"
    looked = subprocess.run(
        command("check-deps", "--env", "elsewhere", "--json"), cwd=tmp_path, capture_output=True, text=True
    )
    results = json.loads(looked.stdout)["results"]
    assert [result["id"] for result in results if result["verdict"] == "fail"] == []
    unknown = [result for result in results if result["verdict"] == "unknown"]
    assert all("the environment does not say" in f"{result['observed']} {result['detail']}" for result in unknown), (
        unknown
    )
    assert sum(result["verdict"] == "ok" for result in results) > 40
    again = subprocess.run(command("discover", *new), cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 2 and "already exists" in again.stderr
