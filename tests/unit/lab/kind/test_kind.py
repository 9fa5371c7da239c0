"""The provider kind: how it is chosen, what kind is told, and what its errors lead to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from prompt_keda.core.errors import LabError, Refusal
from prompt_keda.lab import engines, node, place, processes, providers, requirements, users_engine
from prompt_keda.lab.kind import cluster, config, engine, in_users_engine
from prompt_keda.lab.kind.built import Built
from prompt_keda.lab.provider import KIND, NATIVE
from prompt_keda.lab.settings import KUBERNETES_VERSION, Lab


@pytest.fixture
def lab(monkeypatch, tmp_path):
    """A stack that is not there, of root on Debian."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: {"ID": "debian"})
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
    providers.keep(lab, cluster.KindProvider(engine, Built()))
    assert chosen(lab) == (KIND, "the stack that stands has it") == chosen(lab, KIND)
    monkeypatch.setenv(providers.VARIABLE, NATIVE)
    assert chosen(lab)[0] == KIND
    with pytest.raises(Refusal, match="has the provider kind") as refused:
        chosen(lab, NATIVE)
    assert "lab.down" in refused.value.fix and "PROMPT_KEDA_LAB=another" in refused.value.fix


HERE = engines.Engine("Docker 28.2.2", host="unix:///run/mine.sock")


@pytest.fixture
def user(monkeypatch):
    """Whoever runs this is not root, and has an engine."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(engines, "find_for_kind", lambda: HERE)


def test_who_is_not_root_gets_kind_in_an_engine_of_theirs(lab, user, monkeypatch):
    """Chosen by itself, with the reason; and by name. Also where no engine can do it: it says then what is wrong."""
    assert chosen(lab) == (KIND, "Docker 28.2.2 is here, and kind in it needs no root")
    for asked in ("", KIND):
        provider, _ = providers.choose(lab, asked)
        assert not provider.needs_root and provider.capabilities == in_users_engine.CAPABILITIES
    assert chosen(lab, NATIVE)[0] == NATIVE
    monkeypatch.setattr(engines, "find_for_kind", lambda: None)
    assert not providers.choose(lab, "")[0].needs_root


@pytest.mark.parametrize("asked", ["", KIND])
def test_root_on_another_system_gets_kind_in_an_engine_that_is_there(lab, monkeypatch, asked):
    """As who is not root, since no Debian is needed there; without a fitting engine it is told what lacks."""
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: {"ID": "fedora", "PRETTY_NAME": "Fedora Linux 44"})
    monkeypatch.setattr(engines, "find_for_kind", lambda: HERE)
    provider, why = providers.choose(lab, asked)
    assert not provider.needs_root
    assert why == ("--provider names it" if asked else "Docker 28.2.2 is here, and kind in it needs no Debian")
    providers.keep(lab, provider)
    assert lab.is_users and not providers.of(lab).needs_root
    monkeypatch.setattr(engines, "find_for_kind", lambda: None)
    provider, _ = providers.choose(Lab("other"), asked)
    with pytest.raises(Refusal, match="this is Fedora Linux 44"):
        requirements.check(needs_root=provider.needs_root)


def test_root_who_asks_for_kind_gets_an_engine_of_the_stacks_own(lab, monkeypatch):
    """As before: no engine of this machine is asked."""
    monkeypatch.setattr(engines, "find_for_kind", lambda: pytest.fail("an engine was asked"))
    provider, _ = providers.choose(lab, KIND)
    assert provider.needs_root
    providers.keep(lab, provider)
    assert not lab.is_users and providers.of(lab).needs_root


def test_a_stack_keeps_the_engine_it_was_made_in(lab, user, monkeypatch):
    """Whatever the user's variables and contexts say later, and for root as well."""
    providers.keep(lab, providers.choose(lab, "")[0])
    other = engines.Engine("Docker 29", host="unix:///run/other.sock")
    monkeypatch.setattr(engines, "find_for_kind", lambda: other)
    providers.keep(lab, providers.of(lab))
    monkeypatch.setenv("DOCKER_CONTEXT", "other")
    monkeypatch.setenv("DOCKER_HOST", "ssh://other")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert lab.is_users and not providers.of(lab).needs_root
    called = users_engine.docker(lab)
    assert "DOCKER_HOST=unix:///run/mine.sock" in called and "--unset=DOCKER_CONTEXT" in called
    variables = in_users_engine.environment(lab)
    assert variables["DOCKER_HOST"] == "unix:///run/mine.sock" and "DOCKER_CONTEXT" not in variables
    assert variables["KIND_EXPERIMENTAL_DOCKER_NETWORK"] == "prompt-keda-probe"
    assert str(lab.state) in variables["DOCKER_CONFIG"], "the user's own settings would be read"


def test_the_processes_of_a_stack_without_a_cgroup_are_known_by_a_mark(lab, user):
    """Also those that nobody has noted, and what they have started: a lab.up may be killed before it notes one."""
    providers.keep(lab, providers.choose(lab, "")[0])
    home = place.of(lab)
    running = subprocess.Popen([*home.enter(lab), "sh", "-c", "sleep 60 & wait"])
    try:
        until_there = time.monotonic() + 5
        while len(home.pids(lab)) < 2 and time.monotonic() < until_there:
            time.sleep(0.01)
        assert running.pid in home.pids(lab) and len(home.pids(lab)) == 2
        assert home.usage(lab, home.pids(lab))[1] > 0
    finally:
        home.kill_all(lab)
    running.wait()  # its shell ends by itself where the other was killed first
    assert home.pids(lab) == set()


def test_a_program_of_a_nodes_container_is_found_without_a_cgroup(lab, user):
    """It descends from the container's first process."""
    providers.keep(lab, providers.choose(lab, "")[0])
    with subprocess.Popen(["sh", "-c", "sleep 60 & wait"], start_new_session=True) as node:
        try:
            processes.adopt(lab, processes.NODE, node.pid, "Look there.")
            processes.supervise(lab, "sleep", ["true"], ["true"])
            until_there = time.monotonic() + 5
            while processes.pid_of(lab, "sleep") is None and time.monotonic() < until_there:
                time.sleep(0.01)
            assert processes.pid_of(lab, "sleep") in processes.pids(lab)
        finally:
            os.killpg(node.pid, signal.SIGKILL)


@pytest.mark.parametrize("by", ["flag", "variable"])
def test_an_unknown_provider_is_refused(lab, monkeypatch, by):
    """With those that are known; a wrong variable too, unless a stack stands."""
    monkeypatch.setenv(providers.VARIABLE, "minikube" if by == "variable" else "")
    with pytest.raises(Refusal, match="no provider 'minikube'") as refused:
        chosen(lab, "minikube" if by == "flag" else "")
    assert refused.value.fix == "Known: native, kind."


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
    "a systemd that refuses cgroup 1": (
        'ERROR: failed to create cluster: command "docker exec --privileged x" failed with error: exit status 1\n'
        "Command Output: Error response from daemon: Container 5c1f is not running",
        "PROMPT_KEDA_LAB_IMAGES=built",
    ),
    "privileged": (
        "ERROR: failed to create cluster: OCI runtime create failed: unable to apply caps: operation not permitted",
        "refuses privileged containers",
    ),
    "disk": ("ERROR: failed to create cluster: write /x: no space left on device", "docker system df"),
}


def explained(log):
    return cluster.explain(log, in_users_engine.MAKE_ROOM)


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_of_kind_leads_to_what_to_do(case):
    """What kind says of an earlier try is not meant."""
    log, fix = ERRORS[case]
    what, to_do = explained(f"ERROR: earlier: no space left on device\nCreating cluster\n{log}\n")
    assert fix in to_do and what.startswith(("ERROR: failed to create cluster", "Error response from daemon"))


def test_limits_below_what_kind_asks_for_are_told_with_an_error(monkeypatch, tmp_path):
    """As they were read, and once: they may be the reason. Where they suffice, or cannot be read, nothing is said."""
    folder = tmp_path / "fs/inotify"
    folder.mkdir(parents=True)
    (folder / "max_user_instances").write_text("128\n")
    (folder / "max_user_watches").write_text("524288\n")
    monkeypatch.setattr(cluster, "SYSCTL", tmp_path)
    told = "It may also be that fs.inotify.max_user_instances is 128: sudo sysctl fs.inotify.max_user_instances=512 "
    assert cluster.with_limits("Look.").startswith(f"Look. {told}") and cluster.with_limits("").startswith(told)
    to_do = explained(ERRORS["inotify"][0])[1]
    assert "sudo sysctl" in to_do and cluster.with_limits(to_do) == to_do
    (folder / "max_user_instances").write_text("512\n")
    assert cluster.with_limits("Look.") == "Look."
    monkeypatch.setattr(cluster, "SYSCTL", tmp_path / "none")
    assert cluster.with_limits("Look.") == "Look."


def test_a_full_disk_is_the_engines():
    """The stack's own engine keeps all in the stack's folder; a user's keeps it elsewhere."""
    log = ERRORS["disk"][0]
    assert "XDG_STATE_HOME" in cluster.explain(log, engine.MAKE_ROOM)[1]
    assert "XDG_STATE_HOME" not in explained(log)[1]


def test_what_a_command_of_kind_said_is_told():
    """Instead of the command, whose words fill the line."""
    log = f'ERROR: failed to create cluster: command "podman run {"--volume=x " * 99}" failed with error: exit status 126\n'
    assert explained(f"{log}\nCommand Output: Error: no such network\n") == ("Error: no such network", "")
    said = "Command Output: unknown flag: --cgroupns\nSee 'docker run --help'.\n"
    assert explained(f"{log}\n{said}") == ("unknown flag: --cgroupns", "")
    said = "Command Output: I1130 09:00:00 loading configuration\nerror execution phase preflight: x\n"
    assert explained(f"{log}\n{said}")[0] == "error execution phase preflight: x"


def test_an_api_server_that_does_not_come_is_told_by_what_there_is(lab, monkeypatch):
    """kubectl's last words; kind's log and the node's, since the stack has none of the node itself."""
    monkeypatch.setattr(cluster, "API_SERVER_S", 0)
    kubectl = Path(lab.program("kubectl"))
    kubectl.parent.mkdir(parents=True)
    kubectl.write_text("#!/bin/sh\necho 'Error from server: etcd is away' >&2; exit 1\n")
    kubectl.chmod(0o755)
    look = "Look at kind.log, and: docker logs probe-control-plane"
    processes.adopt(lab, processes.NODE, os.getpid(), look)
    with pytest.raises(LabError) as failed:
        cluster._wait_for_api_server(lab)
    assert failed.value.what == "the API server did not come up within 0 s: Error from server: etcd is away"
    assert failed.value.fix == look
    processes.adopt(lab, processes.NODE, 0, look)
    monkeypatch.setattr(cluster, "API_SERVER_S", 5)
    with pytest.raises(
        LabError, match=r"^node of the local stack has ended: Error from server: etcd is away$"
    ) as failed:
        cluster._wait_for_api_server(lab)
    assert failed.value.fix == look


def test_an_unknown_error_of_kind_is_told_as_it_is():
    """In one line; where it says none, that it failed."""
    assert explained("ERROR: \x1b[31mmystery\nmore") == ("ERROR: \ufffd[31mmystery", "")
    assert explained("") == ("failed", "")


def test_a_privileged_container_asks_only_for_what_the_machine_has(monkeypatch):
    """The bits of CapBnd, by their names."""
    monkeypatch.setattr(engine.Path, "read_text", lambda self: "Name:\tx\nCapBnd:\t000001fffeffffff\n")
    assert engine.missing_capabilities() == ["CAP_SYS_RESOURCE"]
    monkeypatch.setattr(engine.Path, "read_text", lambda self: "CapBnd:\t000001ffffffffff\n")
    assert engine.missing_capabilities() == []


@pytest.fixture
def configuration(lab, monkeypatch):
    """What kind is told for a stack, by a dummy authority."""
    monkeypatch.setattr(config.base_objects, "make_redis_folder", lambda lab: None)
    folder = lab.state / "pki"
    folder.mkdir(parents=True)
    for name in ("ca.crt", "ca.key"):
        (folder / name).write_text("x")
    authority = SimpleNamespace(folder=folder, ca_file=folder / "ca.crt")
    wanted = {"kind": "AuthenticationConfiguration"}
    return json.loads(config.write(lab, "probe", authority, "10.213.9.2", wanted).read_text())


def test_the_node_sees_nothing_of_the_users(configuration, lab):
    """What is mounted lies in the stack's own folders; no home, no socket."""
    mounts = [mount["hostPath"] for node in configuration["nodes"] for mount in node["extraMounts"]]
    assert mounts and all(path.startswith(str(lab.state)) for path in mounts)
    networking = configuration["networking"]
    assert (networking["apiServerAddress"], networking["apiServerPort"]) == ("10.213.9.2", 6443)


def test_kubeadm_is_patched_in_the_form_of_its_version(configuration):
    """extraArgs is a map below Kubernetes 1.36, and a list from there on."""
    patches = {patch["kind"]: patch for patch in map(json.loads, configuration["kubeadmConfigPatches"])}
    arguments = patches["ClusterConfiguration"]["apiServer"]["extraArgs"]
    assert KUBERNETES_VERSION < "1.36" and isinstance(arguments, dict)
    assert arguments["authentication-config"] == "/etc/kubernetes/extra/authentication.json"
    assert patches["KubeletConfiguration"]["failCgroupV1"] is False


def test_the_pods_network_is_the_native_nodes_own_and_kind_makes_none(configuration):
    """One description for both: kind is told to bring none, and its node is given that one in a file."""
    assert configuration["networking"]["disableDefaultCNI"] is True
    mounts = configuration["nodes"][0]["extraMounts"]
    (mount,) = [mount for mount in mounts if mount["containerPath"].startswith("/etc/cni/net.d/")]
    given = json.loads(Path(mount["hostPath"]).read_text())
    assert mount["readOnly"] and given == node.pod_network("/var/lib/cni/networks", in_container=True)
