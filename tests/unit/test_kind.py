"""The provider kind: how it is chosen, what kind is told, and what its errors lead to."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from prompt_keda.core.errors import Refusal
from prompt_keda.lab import providers
from prompt_keda.lab.kind import cluster, config, engine
from prompt_keda.lab.provider import KIND, NATIVE
from prompt_keda.lab.settings import KUBERNETES_VERSION, Lab


@pytest.fixture
def lab(monkeypatch, tmp_path):
    """A stack that is not there."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv(providers.VARIABLE, raising=False)
    return Lab("probe")


def chosen(lab, asked=""):
    provider, why = providers.choose(lab, asked)
    return provider.name, why


def test_root_on_debian_gets_the_native_provider(lab):
    """Nothing of kind is built for it."""
    name, why = chosen(lab)
    assert name == NATIVE and "root on Debian" in why
    assert {module.name for module in providers.of(lab).modules} == {"kube"}


def test_what_is_asked_for_wins_and_then_the_variable(lab, monkeypatch):
    """And the reason is told."""
    assert chosen(lab, KIND) == (KIND, "--provider names it")
    monkeypatch.setenv(providers.VARIABLE, KIND)
    assert chosen(lab) == (KIND, "$PROMPT_KEDA_LAB_PROVIDER names it")
    assert chosen(lab, NATIVE) == (NATIVE, "--provider names it")


def test_a_stack_that_stands_keeps_its_provider(lab, monkeypatch):
    """The variable does not change it; another one by --provider is refused, with the two ways out."""
    providers.keep(lab, cluster.Kind())
    assert chosen(lab) == (KIND, "the stack that stands has it") == chosen(lab, KIND)
    monkeypatch.setenv(providers.VARIABLE, NATIVE)
    assert chosen(lab)[0] == KIND
    with pytest.raises(Refusal, match="has the provider kind") as refused:
        chosen(lab, NATIVE)
    assert "lab.down" in refused.value.fix and "PROMPT_KEDA_LAB=another" in refused.value.fix


@pytest.mark.parametrize("by", ["flag", "variable"])
def test_an_unknown_provider_is_refused(lab, monkeypatch, by):
    """With those that are known; a wrong variable too, unless a stack stands."""
    monkeypatch.setenv(providers.VARIABLE, "minikube" if by == "variable" else "")
    with pytest.raises(Refusal, match="no provider 'minikube'") as refused:
        chosen(lab, "minikube" if by == "flag" else "")
    assert refused.value.fix == "Known are: native, kind."


def test_a_stack_of_before_the_providers_is_native(lab):
    """It has processes, and no note of who runs it."""
    (lab.state / "pids").mkdir(parents=True)
    assert chosen(lab) == (NATIVE, "the stack that stands has it")


ERRORS = {
    "inotify": (
        "ERROR: failed to create cluster: x\nFailed to create control group inotify object: too many open files",
        "sysctl",
    ),
    "systemd": ('ERROR: failed to create cluster: could not find a log line that matches "Reached target"', "systemd"),
    "cgroup 1": (
        "ERROR: failed to create cluster: failed to init node\nkubelet is configured to not run on a host using cgroup v1",
        "cgroup version 2",
    ),
    "privileged": (
        "ERROR: failed to create cluster: OCI runtime create failed: unable to apply caps: operation not permitted",
        "refuses privileged containers",
    ),
    "disk": ("ERROR: failed to create cluster: write /x: no space left on device", "Make room"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_of_kind_leads_to_what_to_do(case):
    """What kind says of an earlier try is not meant."""
    log, fix = ERRORS[case]
    what, told = cluster.explain(f"ERROR: earlier: no space left on device\nCreating cluster\n{log}\n")
    assert fix in told and what.startswith("ERROR: failed to create cluster")


def test_an_unknown_error_of_kind_is_told_as_it_is():
    """In one line; where it says none, that it failed."""
    assert cluster.explain("ERROR: \x1b[31mmystery\nmore") == ("ERROR: \ufffd[31mmystery", "")
    assert cluster.explain("") == ("failed", "")


def test_a_privileged_container_asks_only_for_what_the_machine_has(monkeypatch):
    """The bits of CapBnd, by their names."""
    monkeypatch.setattr(engine.Path, "read_text", lambda self: "Name:\tx\nCapBnd:\t000001fffeffffff\n")
    assert engine.missing_capabilities() == ["CAP_SYS_RESOURCE"]
    monkeypatch.setattr(engine.Path, "read_text", lambda self: "CapBnd:\t000001ffffffffff\n")
    assert engine.missing_capabilities() == []


@pytest.fixture
def told(lab, monkeypatch):
    """What kind is told for a stack, by a dummy authority."""
    monkeypatch.setattr(config.base_objects, "make_redis_folder", lambda lab: None)
    folder = lab.state / "pki"
    folder.mkdir(parents=True)
    for name in ("ca.crt", "ca.key"):
        (folder / name).write_text("x")
    authority = SimpleNamespace(folder=folder, ca_file=folder / "ca.crt")
    return json.loads(config.write(lab, authority, "10.213.9.2", {"kind": "AuthenticationConfiguration"}).read_text())


def test_the_node_sees_nothing_of_the_users(told, lab):
    """What is mounted lies in the stack's own folders; no home, no socket."""
    mounts = [mount["hostPath"] for node in told["nodes"] for mount in node["extraMounts"]]
    assert mounts and all(path.startswith(str(lab.state)) for path in mounts)
    assert told["networking"] == {"apiServerAddress": "10.213.9.2", "apiServerPort": 6443}


def test_kubeadm_is_patched_in_the_form_of_its_version(told):
    """extraArgs is a map below Kubernetes 1.36, and a list from there on."""
    patches = {patch["kind"]: patch for patch in map(json.loads, told["kubeadmConfigPatches"])}
    arguments = patches["ClusterConfiguration"]["apiServer"]["extraArgs"]
    assert KUBERNETES_VERSION < "1.36" and isinstance(arguments, dict)
    assert arguments["authentication-config"] == "/etc/kubernetes/extra/authentication.json"
    assert patches["KubeletConfiguration"]["failCgroupV1"] is False
