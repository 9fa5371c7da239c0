"""The local stack's git repository, shaped like Phalanx: what it holds, and that it is always the same."""

import hashlib
import io
import json
import subprocess
import tarfile

import pytest
import yaml

from prompt_keda.lab import phalanx

WORKER, HELPER = (f"registry.example/{name}@sha256:{'0' * 64}" for name in ("worker", "busybox"))
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "scaledjobs.keda.sh"},
    "spec": {"description": "{{ not a template }}"},
}
OPERATOR = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "keda-operator", "namespace": "keda"},
    "spec": {
        "replicas": 1,
        "template": {
            "metadata": {"labels": {"app": "keda-operator"}},
            "spec": {"containers": [{"args": ["--leader-elect", "--zap-log-level=info"]}]},
        },
    },
}
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "keda"}}
KEDA = [NAMESPACE, CRD, OPERATOR]


@pytest.fixture
def repository(tmp_path):
    return phalanx.write(tmp_path / "phalanx", KEDA, WORKER, HELPER, "git://127.0.0.1/phalanx")


def git(folder, *arguments):
    return subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=True).stdout


def test_the_same_input_makes_the_same_commit(repository, tmp_path):
    """Two stacks with the same images deliver from the same commit, and writing again makes none."""
    other = phalanx.write(tmp_path / "other", KEDA, WORKER, HELPER, "git://127.0.0.1/phalanx")
    assert git(other, "rev-parse", "HEAD") == git(repository, "rev-parse", "HEAD")
    phalanx.write(repository, KEDA, WORKER, HELPER, "git://127.0.0.1/phalanx")
    assert git(repository, "rev-list", "--count", "HEAD").strip() == "1"
    assert git(repository, "status", "--porcelain") == ""


def test_a_change_becomes_a_commit_of_its_own(repository):
    """What a test changes in the repository is committed, with its own message."""
    values = repository / "applications" / "keda" / "values-local.yaml"
    values.write_text("keda:\n  operator: {replicaCount: 2}\n")
    newest = phalanx.commit(repository, "Run two operators")
    assert git(repository, "log", "-1", "--format=%H %s").strip() == f"{newest} Run two operators"


def test_no_placeholder_is_left_in_the_files(repository):
    """The images and the repository's address stand where they belong."""
    values = yaml.safe_load((repository / "applications/prompt-keda-lsstcam/values-local.yaml").read_text())
    assert values["prompt-keda"]["image"] == WORKER
    assert values["prompt-keda"]["initImage"] == HELPER
    environment = yaml.safe_load((repository / "environments/values-local.yaml").read_text())
    assert environment["repoUrl"] == "git://127.0.0.1/phalanx"
    assert "${" not in "".join(path.read_text() for path in repository.rglob("*.yaml"))


def test_the_vendored_chart_is_the_one_that_the_lock_names(repository):
    """The archive lies where Helm looks, and Chart.lock has the digest by which Helm compares it with Chart.yaml."""
    application = repository / "applications" / "keda"
    asked = yaml.safe_load((application / "Chart.yaml").read_text())["dependencies"]
    lock = yaml.safe_load((application / "Chart.lock").read_text())
    assert [lock["dependencies"], asked] == [asked, asked]
    keys = ("name", "version", "repository")  # in the order of Helm's Dependency
    dependencies = [{key: item[key] for key in keys} for item in asked]
    text = json.dumps([dependencies, dependencies], separators=(",", ":"))
    assert lock["digest"] == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    data = (application / "charts" / f"keda-{asked[0]['version']}.tgz").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        names = archive.getnames()
    assert names == sorted(names)
    assert "keda/templates/crds/scaledjobs.keda.sh.yaml" in names


def test_the_chart_holds_all_but_the_namespace_and_its_text_stays_text():
    """The app of apps makes the namespace; braces in a description are no template; values stand where they change it."""
    files = phalanx.keda_chart(KEDA)
    templates = {name for name in files if name.startswith("templates/")}
    assert templates == {"templates/crds/scaledjobs.keda.sh.yaml", "templates/deployment-keda-operator.yaml"}
    assert '{{ "{{" }} not a template }}' in files["templates/crds/scaledjobs.keda.sh.yaml"]
    assert "app.kubernetes.io/instance" not in files["templates/crds/scaledjobs.keda.sh.yaml"]
    operator = files["templates/deployment-keda-operator.yaml"]
    for expected in ('"namespace": {{ .Release.Namespace }}', '"replicas": {{ .Values.operator.replicaCount }}'):
        assert expected in operator
    assert '"app.kubernetes.io/instance": "{{ .Release.Name }}"' in operator


def test_git_takes_nothing_from_its_user(tmp_path, monkeypatch):
    """A user's hooks, name and signing neither change the commit nor keep it from being made."""
    config = tmp_path / ".gitconfig"
    config.write_text("[commit]\n  gpgsign = true\n[user]\n  name = somebody\n[gpg]\n  program = /bin/false\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = phalanx.write(tmp_path / "phalanx", KEDA, WORKER, HELPER)
    assert git(folder, "log", "-1", "--format=%an").strip() == "prompt-keda local stack"
