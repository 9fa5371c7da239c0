"""The user's own container engine: what it is asked, whose its networks are, and what is taken away.

The words are those of Docker 20.10 and podman 4.3.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from prompt_keda.core.errors import LabError, Refusal
from prompt_keda.lab import commands, engines, images, packages, place, processes, users_engine
from prompt_keda.lab.faults import keda_metrics
from prompt_keda.lab.kind import cluster, in_users_engine
from prompt_keda.lab.settings import Lab


class Engine:
    """An engine with one network of the stack's name at most, and some containers and volumes; it notes what it is asked."""

    def __init__(self, program, owner=None, gateway="127.0.0.1"):
        self.program, self.owner, self.gateway = program, owner, gateway
        self.containers, self.volumes, self.refusals, self.asked = {}, [], 0, []

    def run(self, argv, **options):
        words = argv[argv.index(self.program) + 1 :]
        self.asked.append(words)
        match words:
            case ["network", "ls", *_]:
                return "bridge\nhost\nprompt-keda-probe-2\n" + ("prompt-keda-probe\n" if self.owner is not None else "")
            case ["network", "create", "--label", label, "prompt-keda-probe"]:
                self.owner = label.partition("=")[2]
                return "9f86d081884c\n"
            case ["network", "inspect", "--format", template, "prompt-keda-probe"]:
                if "Labels" in template:
                    return f"{self.owner}\n"
                assert template == GATEWAY[self.program]
                return f"{self.gateway}\n"
            case ["network", "rm", "prompt-keda-probe"]:
                if self.refusals:
                    self.refusals -= 1
                    raise LabError(IN_USE[self.program])
                self.owner = None
                return ""
            case ["ps", *how, "--quiet", only] if "--all" not in how:
                return "".join(f"{id_}\n" for id_, has in self.containers.items() if only.partition("=")[2] in has)
            case ["ps", "--all", "--quiet", *filters]:
                wanted = {entry.removeprefix("--filter=") for entry in filters}
                return "".join(f"{id_}\n" for id_, has in self.containers.items() if wanted <= has)
            case ["images", "--quiet", _]:
                return "51cfdeed9703\n"
            case ["run", "--detach", "--replace", name, label, network, *_]:
                self.containers[name] = {label.removeprefix("--"), network.removeprefix("--")}
                return "c740c8488d03\n"
            case ["volume", "ls", "--quiet", "--filter=label=prompt-keda-probe-control-plane"]:
                return "".join(f"{name}\n" for name in self.volumes)
            case ["volume", "rm", "--force", *names]:
                self.volumes = [name for name in self.volumes if name not in names]
                return ""
            case ["rm", "--force", "--volumes", *ids]:
                for id_ in (id_ for id_ in ids if id_ != "--time=0"):
                    del self.containers[id_]
                return ""
        raise AssertionError(words)


GATEWAY = {"docker": "{{(index .IPAM.Config 0).Gateway}}", "podman": "{{(index .Subnets 0).Gateway}}"}
"""Where each shows the address in what it says of a network."""
IN_USE = {
    "docker": "error while removing network: network prompt-keda-probe has active endpoints",
    "podman": 'Error: "prompt-keda-probe" has associated containers with it. Use -f to forcibly delete containers and pods: '
    "network is being used",
}


@pytest.fixture(params=["docker", "podman"])
def program(request):
    """Each engine."""
    return request.param


@pytest.fixture
def lab(monkeypatch, tmp_path, program):
    """A stack of somebody who is not root."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lab = Lab("probe")
    users_engine.keep(lab, engines.Engine("an engine", host="unix:///run/mine.sock", program=program))
    return lab


@pytest.fixture
def engine(monkeypatch, program):
    engine = Engine(program)
    monkeypatch.setattr(users_engine, "run", engine.run)
    return engine


def test_servers_listen_at_the_gateway_of_a_network_of_the_stacks_own(lab, engine):
    """It is made once, and bears whose it is."""
    assert place.of(lab).make(lab) == "127.0.0.1" == place.of(lab).make(lab)
    assert engine.owner == str(lab.state)
    assert [words[:2] for words in engine.asked].count(["network", "create"]) == 1


def test_a_container_holds_the_bridge_where_the_engine_would_take_it_away(lab, engine):
    """And with it the address on which the servers listen. One, and lab.down takes it away."""
    place.of(lab).make(lab)
    place.of(lab).make(lab)
    runs = [words for words in engine.asked if words[0] == "run"]
    assert len(runs) == (engine.program == "podman")
    assert all("--network=prompt-keda-probe" in words and "--privileged" not in words for words in runs)
    users_engine.remove_all(lab)
    assert not engine.containers


def test_the_users_own_settings_do_not_lead_elsewhere(lab, program, monkeypatch):
    """Neither kind nor a command of the stack's sees them; what else is in the environment stays."""
    monkeypatch.setenv("KEPT", "yes")
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "CONTAINER_HOST", "CONTAINERS_CONF", "KIND_EXPERIMENTAL_PROVIDER"):
        monkeypatch.setenv(name, "mine")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    env = in_users_engine.environment(lab)
    asked = subprocess.run([*users_engine.docker(lab)[:-1], "env"], capture_output=True, text=True, check=True).stdout
    told = dict(line.split("=", 1) for line in asked.splitlines())
    assert told["PROMPT_KEDA_STACK"] == str(lab.state)
    mine = {name for name, value in env.items() if value == "mine"}
    if program == "docker":
        assert mine == {"CONTAINER_HOST", "CONTAINERS_CONF"}  # podman's
        wanted = {"DOCKER_HOST": "unix:///run/mine.sock", "DOCKER_CONFIG": str(lab.state / "engine-config")}
        assert env["KIND_EXPERIMENTAL_DOCKER_NETWORK"] == "prompt-keda-probe"
    else:
        assert mine == {"DOCKER_HOST", "DOCKER_CONTEXT"}
        wanted = dict.fromkeys(("XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"), str(lab.state / "engine-config"))
        wanted["CONTAINER_HOST"] = "unix:///run/mine.sock"
        assert env["KIND_EXPERIMENTAL_PODMAN_NETWORK"] == "prompt-keda-probe"
    assert env["KIND_EXPERIMENTAL_PROVIDER"] == program
    for seen in (env, told):
        assert wanted | {"KEPT": "yes"} == {name: seen[name] for name in (*wanted, "KEPT")}
        assert {name for name, value in seen.items() if value == "mine"} == mine


def test_an_engines_error_names_the_engine(lab, program, tmp_path, monkeypatch):
    """Not the environment in which it is called."""
    (tmp_path / program).write_text("#!/bin/sh\necho broken >&2\nexit 125\n")
    (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("CONTAINER_CONNECTION", "other")
    with pytest.raises(LabError, match=f"^{program} images --quiet .*: broken$"):
        users_engine.with_this_machines_programs(lab)


def test_a_slow_engine_is_named(lab, program, tmp_path, monkeypatch):
    """And what Docker says below an error, where to read of its command, is not taken for the error."""
    (tmp_path / program).write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(LabError, match=f"^{program} did not end within 0 s$"):
        commands.run([*users_engine.docker(lab), "load"], timeout_s=0.1)
    said = "docker: Error response from daemon: no.\\nSee '"
    (tmp_path / program).write_text(f'#!/bin/sh\nprintf "{said}docker run --help\'.\\n" >&2; exit 125\n')
    with pytest.raises(LabError, match=r"exit code 125: docker: Error response from daemon: no\.$"):
        commands.run([*users_engine.docker(lab), "load"])


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        (
            "Error response from daemon: could not find an available, non-overlapping IPv4 address pool among the defaults "
            "to assign to the network",
            "docker network prune",
        ),
        ("Error response from daemon: all predefined address pools have been fully subnetted", "docker network prune"),
        ("Error: could not find free subnet from subnet pools", "podman network prune"),
        (
            "docker: Error response from daemon: error while creating mount source path '/home/me/.local/state': "
            "mkdir /home/me/.local/state: permission denied.",
            "XDG_STATE_HOME and XDG_CACHE_HOME",
        ),
        ("Error: statfs /home/me/.cache: permission denied", "XDG_STATE_HOME and XDG_CACHE_HOME"),
    ],
)
def test_an_engines_words_say_what_to_do_whatever_it_was_asked(lab, program, tmp_path, monkeypatch, said, fix):
    """As its own sources and issues have them: they were not seen here. kind's log has them as well."""
    (tmp_path / program).write_text(f'#!/bin/sh\necho "{said}" >&2\nexit 125\n')
    (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(LabError) as failed:
        users_engine.make_network(lab)
    assert fix in failed.value.fix
    log = f'ERROR: failed to create cluster: command "x" failed with error: exit status 125\nCommand Output: {said}\n'
    assert fix in cluster.explain(log, "")[1]


def test_anothers_network_of_that_name_is_refused_and_left(lab, engine):
    """So are the containers in it, also by lab.down."""
    engine.owner = "/home/other/.local/state/prompt-keda/lab/probe"
    engine.containers["c0ffee"] = {"network=prompt-keda-probe", "label=io.x-k8s.kind.cluster=prompt-keda-probe"}
    with pytest.raises(Refusal, match="not this stack's"):
        users_engine.make_network(lab)
    users_engine.remove_all(lab)
    assert engine.owner and engine.containers


def test_an_engine_whose_containers_are_elsewhere_is_refused(lab, engine):
    """Its gateway is no address of this machine."""
    engine.gateway = "192.0.2.1"
    with pytest.raises(LabError, match=r"192\.0\.2\.1.* is not an address of this machine"):
        users_engine.make_network(lab)


def test_all_of_the_stack_is_removed_and_nothing_else(lab, engine, monkeypatch):
    """Node, helpers and network, also while the engine still lets go of an endpoint; another cluster's node stays."""
    monkeypatch.setattr("prompt_keda.core.waiting.Tick.wait", lambda *_: False)
    users_engine.make_network(lab)
    engine.containers |= {
        "node": {"network=prompt-keda-probe", "label=io.x-k8s.kind.cluster=prompt-keda-probe"},
        "helper": {f"label=prompt-keda.stack={lab.state}"},
        "other": {"network=kind", "label=io.x-k8s.kind.cluster=kind"},
    }
    engine.refusals, engine.volumes = 2, ["4f53cda18c2b"]
    users_engine.remove_all(lab)
    assert list(engine.containers) == ["other"] and engine.owner is None and not engine.volumes


def test_what_does_not_go_is_an_error(lab, engine, monkeypatch):
    """Somebody has put a container of theirs into the stack's network: it is not removed for that."""
    users_engine.make_network(lab)
    engine.containers["theirs"] = {"network=prompt-keda-probe"}
    engine.refusals = 1_000
    monkeypatch.setattr(users_engine, "END_S", 0.2)
    with pytest.raises(LabError, match=re.escape(IN_USE[engine.program])):
        users_engine.remove_all(lab)
    assert "theirs" in engine.containers


def test_an_engine_that_makes_more_than_is_removed_is_an_error(lab, engine, monkeypatch):
    """Instead of a lab.down without an end."""
    monkeypatch.setattr(users_engine, "END_S", 0.2)
    monkeypatch.setattr(engine, "containers", {"again": {f"label=prompt-keda.stack={lab.state}"}})
    monkeypatch.setattr(users_engine, "run", lambda argv: engine.run(argv) if "rm" not in argv else "")
    with pytest.raises(LabError, match="goes on making again"):
        users_engine.remove_all(lab)


def test_a_fault_writes_firewall_rules_by_the_nodes_own_program(lab, monkeypatch):
    """This machine may have none, or one that writes another kind of rules than kube-proxy's."""
    asked = []
    monkeypatch.setattr(keda_metrics, "run", lambda argv: asked.append(argv) or "")
    keda_metrics._iptables(SimpleNamespace(lab=lab), "-S", "FORWARD")
    assert asked == [[*users_engine.in_node(lab), "iptables", "-w", "-S", "FORWARD"]]


def test_packages_lie_in_the_cache_as_in_the_root(lab, monkeypatch):
    """Found in /bin and in /usr/bin alike; root's are the machine's own."""
    root = lab.state / "unpacked"
    root.mkdir(parents=True)
    packages.keep(lab, root)
    packages.keep(lab, root)
    assert packages.root(lab) == root
    for file in ("bin/busybox", "usr/sbin/slapd"):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    assert packages.find(lab, Path("/bin/busybox")) == root / "bin/busybox"
    assert packages.find(lab, Path("/sbin/slapd")) == root / "usr/sbin/slapd"
    assert packages.program(lab, Path("/usr/sbin/slapd")) == f"{root}/programs/slapd"
    roots = Lab("roots")
    assert packages.find(roots, Path("/usr/sbin/slapd")) == Path("/usr/sbin/slapd")
    assert packages.program(roots, Path("/usr/sbin/slapd")) == "/usr/sbin/slapd"


def test_a_library_from_the_cache_lies_in_an_image_where_a_package_would_put_it(tmp_path, monkeypatch):
    """The image has no such folder as the cache."""
    library = tmp_path / "usr/lib/x86_64-linux-gnu/liblzf.so.1"
    library.parent.mkdir(parents=True)
    library.touch()
    linker, loader = "/lib64/ld-linux-x86-64.so.2", library.with_name("ld.so")
    listed = f"\t{linker} => {loader} (0x3)\n"
    listed += f"\tliblzf.so.1 => {library} (0x1)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x2)\n"
    monkeypatch.setattr(images, "run", lambda argv: listed)
    assert images.shared_libraries(["ldd", "/x"], tmp_path) == {
        linker: loader,
        "/usr/lib/x86_64-linux-gnu/liblzf.so.1": library,
        "/lib/x86_64-linux-gnu/libc.so.6": Path("/lib/x86_64-linux-gnu/libc.so.6").resolve(),
    }


def test_a_signal_goes_through_the_engine_where_the_kernel_refuses_it(lab, monkeypatch):
    """By the number that the process has in the node's container."""
    asked = []

    def refuse(pid, number):
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    monkeypatch.setattr(processes, "run", asked.append)
    monkeypatch.setattr(processes.Path, "read_text", lambda path: "Name:\tetcd\nNSpid:\t4711\t642\t1\n")
    monkeypatch.setattr(users_engine, "in_node", lambda lab: ["in the node"])
    processes.send(lab, 4711, processes.signal.SIGSTOP)
    assert asked == [["in the node", "kill", "-19", "642"]]
    with pytest.raises(PermissionError):
        processes.send(Lab("roots"), 4711, processes.signal.SIGSTOP)


def test_kind_sees_nothing_of_root_in_the_users_folders(lab, monkeypatch):
    """What the node writes lies in the node, but for the audit log, whose file is the user's already."""
    from prompt_keda.lab.kind import config

    authority = SimpleNamespace(folder=lab.pki, ca_file=lab.pki / "ca.crt")
    file = config.write(lab, "prompt-keda-probe", authority, "172.18.0.1", {})
    (node,) = json.loads(file.read_text())["nodes"]
    writable = [mount["hostPath"] for mount in node["extraMounts"] if not mount.get("readOnly")]
    assert sorted(writable) == sorted([str(lab.state / "kind/extra"), str(lab.audit_log.parent)])
    assert lab.audit_log.exists()
