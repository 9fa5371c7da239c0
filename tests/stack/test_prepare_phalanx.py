"""prepare --phalanx with the real Helm and a real git: the stack's own KEDA as a chart, and a chart beside it in the repository."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from prompt_keda.core.event import nobody
from prompt_keda.delivery.manifests import load_instrument_manifest, prepared_file
from prompt_keda.environment.loading import load_environment
from prompt_keda.lab import go_builds, phalanx

from .conftest import INSTRUMENT, ROOT, at_the_stack_only, run_json, run_task

pytestmark = at_the_stack_only  # Helm and the repository are the administrator's

MANIFESTS = "    source: ${lab:keda_manifests}\n    sha256: ${lab:keda_manifests_sha256}\n"
PREPARED = f"    source: none.yaml\n    sha256: {'f' * 64}\nphalanx: {{environment: local}}\n"
APPLICATION = "    manifest: local/prompt-keda-lsstcam.yaml\n", f"    application: {INSTRUMENT}\n"


@pytest.fixture(scope="module")
def helm():
    return go_builds.build(go_builds.HELM, nobody) / "helm"


@pytest.fixture
def repository(endpoints, tmp_path):
    objects = json.loads(Path(endpoints["keda_manifests"]).read_text())
    return phalanx.write(tmp_path / "phalanx", objects, endpoints["worker_image"], endpoints["worker_image"])


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    text = (ROOT / "environments" / "local.yaml").read_text()
    assert MANIFESTS in text and APPLICATION[0] in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(MANIFESTS, PREPARED).replace(*APPLICATION))
    return path


def prepared(file, repository, helm):
    """Prepare, approve what is shown, and return the document."""
    arguments = ("prepare", "--env", str(file), "--phalanx", str(repository), "--helm", str(helm))
    code, document = run_json(*arguments)
    if code == 2 and "digest" in document:
        code, document = run_json(*arguments, "--approve", document["digest"])
    assert code == 0, document
    return document


def kept(row):
    objects = json.loads(prepared_file(row["sha256"]).read_bytes())
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in objects}


def test_helm_renders_kedas_objects_as_they_are(file, repository, helm, endpoints):
    """Each comes back with all that the stack's own manifests say: nothing is lost or read otherwise on the way."""
    keda, instrument = prepared(file, repository, helm)["prepared"]
    rendered = kept(keda)
    originals = json.loads(Path(endpoints["keda_manifests"]).read_text())
    for original in originals:
        if original["kind"] == "Namespace":  # the app of apps makes it
            continue
        made = rendered.pop((original["kind"], original["metadata"]["name"]))
        assert made["metadata"].get("namespace") == original["metadata"].get("namespace")
        if original["kind"] == "Deployment":
            made["spec"]["template"]["metadata"]["labels"].pop("prompt-keda.test/delivered-by", None)
        assert {**made, "metadata": 0} == {**original, "metadata": 0}
    assert [kind for kind, _ in rendered] == ["VaultSecret"]
    assert all(
        name != "argocd.argoproj.io/instance" for obj in rendered.values() for name in obj["metadata"].get("labels", {})
    )
    objects = kept(instrument)
    wanted = load_instrument_manifest(ROOT / "environments" / "local" / f"{INSTRUMENT}.yaml", endpoints)
    (scaled_job,) = (obj for obj in wanted if obj["kind"] == "ScaledJob")
    assert objects["ScaledJob", INSTRUMENT]["spec"]["triggers"] == scaled_job["spec"]["triggers"]
    assert instrument["rendered"]["left_out"] == [f"Job init-{INSTRUMENT}: hook Sync, which a sync runs"]
    assert load_environment(file, endpoints).keda.manifests.sha256 == keda["sha256"]


def test_twice_gives_the_same_and_one_value_is_one_field(file, repository, helm):
    """And nothing is written into the checkout, though Helm has to put a chart beside the other one first."""
    first = prepared(file, repository, helm)
    again = prepared(file, repository, helm)
    assert not again["environment_file"]["written"]
    assert [row["sha256"] for row in again["prepared"]] == [row["sha256"] for row in first["prepared"]]
    values = repository / "applications" / "keda" / "values-local.yaml"
    values.write_text(values.read_text() + "  operator: {replicaCount: 2}\n")
    commit = phalanx.commit(repository, "Run two operators")
    keda, instrument = prepared(file, repository, helm)["prepared"]
    (change,) = keda["rendered"]["changes"]
    assert (change["kind"], change["name"]) == ("Deployment", "keda-operator")
    assert change["fields"] == [{"path": "spec.replicas", "before": 1, "now": 2}]
    assert instrument["rendered"]["changes"] == []
    assert json.loads(prepared_file(keda["sha256"]).with_suffix(".about.json").read_text())["commit"] == commit
    ignored = subprocess.run(
        ["git", "-C", repository, "status", "--porcelain", "--ignored"], capture_output=True, check=True
    )
    assert ignored.stdout == b""


def test_what_helm_cannot_render_is_reported_with_its_own_words(file, repository, helm):
    """And which chart it was; nothing is kept."""
    template = repository / "charts" / "prompt-keda" / "templates" / "broken.yaml"
    template.write_text("a: {{ .Values.nowhere.at.all }}\n")
    phalanx.commit(repository, "Break a chart")
    done = run_task("prepare", "--env", str(file), "--phalanx", str(repository), "--helm", str(helm))
    assert done.returncode == 3 and f"helm at applications/{INSTRUMENT}" in done.stderr, done.stderr
    assert "nil pointer evaluating" in done.stderr and str(Path("/tmp")) + "/prompt-keda-" not in done.stderr
    assert not prepared_file("f").parent.exists()
