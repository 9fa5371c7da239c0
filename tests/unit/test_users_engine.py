"""The user's own container engine: what it is asked, whose its networks are, and what is taken away (words: Docker 20.10)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from prompt_keda.core.errors import LabError, Refusal
from prompt_keda.lab import engines, images, packages, place, processes, users_engine
from prompt_keda.lab.settings import Lab


class Docker:
    """An engine with one network of the stack's name at most, and some containers; it notes what it is asked."""

    def __init__(self, owner=None, gateway="127.0.0.1"):
        self.owner, self.gateway, self.containers, self.refusals, self.asked = owner, gateway, {}, 0, []

    def run(self, argv, **options):
        words = argv[argv.index("--host") + 2 :]
        self.asked.append(words)
        match words:
            case ["network", "ls", *_]:
                return "bridge\nhost\nprompt-keda-probe-2\n" + ("prompt-keda-probe\n" if self.owner is not None else "")
            case ["network", "create", "--label", label, "prompt-keda-probe"]:
                self.owner = label.partition("=")[2]
                return "9f86d081884c\n"
            case ["network", "inspect", "--format", template, "prompt-keda-probe"]:
                return f"{self.owner if 'Labels' in template else self.gateway}\n"
            case ["network", "rm", "prompt-keda-probe"]:
                if self.refusals:
                    self.refusals -= 1
                    raise LabError("error while removing network: network prompt-keda-probe has active endpoints")
                self.owner = None
                return ""
            case ["ps", "--all", "--quiet", *filters]:
                wanted = {entry.removeprefix("--filter=") for entry in filters}
                return "".join(f"{id_}\n" for id_, has in self.containers.items() if wanted <= has)
            case ["rm", "--force", "--volumes", *ids]:
                for id_ in ids:
                    del self.containers[id_]
                return ""
        raise AssertionError(words)


@pytest.fixture
def lab(monkeypatch, tmp_path):
    """A stack of somebody who is not root."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lab = Lab("probe")
    users_engine.keep(lab, engines.Engine("Docker 20.10.24", host="unix:///run/mine.sock"))
    return lab


@pytest.fixture
def docker(monkeypatch):
    engine = Docker()
    monkeypatch.setattr(users_engine, "run", engine.run)
    return engine


def test_servers_listen_at_the_gateway_of_a_network_of_the_stacks_own(lab, docker):
    """It is made once, and bears whose it is."""
    assert place.of(lab).make(lab) == "127.0.0.1" == place.of(lab).make(lab)
    assert docker.owner == str(lab.state)
    assert [words[:2] for words in docker.asked].count(["network", "create"]) == 1


def test_anothers_network_of_that_name_is_refused_and_left(lab, docker):
    """So are the containers in it, also by lab.down."""
    docker.owner = "/home/other/.local/state/prompt-keda/lab/probe"
    docker.containers["c0ffee"] = {"network=prompt-keda-probe", "label=io.x-k8s.kind.cluster=prompt-keda-probe"}
    with pytest.raises(Refusal, match="not this stack's"):
        users_engine.make_network(lab)
    users_engine.remove_all(lab)
    assert docker.owner and docker.containers


def test_an_engine_whose_containers_are_elsewhere_is_refused(lab, docker):
    """Its gateway is no address of this machine."""
    docker.gateway = "192.0.2.1"
    with pytest.raises(LabError, match=r"192\.0\.2\.1.* is not an address of this machine"):
        users_engine.make_network(lab)


def test_all_of_the_stack_is_removed_and_nothing_else(lab, docker, monkeypatch):
    """Node, helpers and network, also while the engine still lets go of an endpoint; another cluster's node stays."""
    monkeypatch.setattr(users_engine.time, "sleep", lambda seconds: None)
    users_engine.make_network(lab)
    docker.containers |= {
        "node": {"network=prompt-keda-probe", "label=io.x-k8s.kind.cluster=prompt-keda-probe"},
        "helper": {f"label=prompt-keda.stack={lab.state}"},
        "other": {"network=kind", "label=io.x-k8s.kind.cluster=kind"},
    }
    docker.refusals = 2
    users_engine.remove_all(lab)
    assert list(docker.containers) == ["other"] and docker.owner is None


def test_what_does_not_go_is_an_error(lab, docker, monkeypatch):
    """Somebody has put a container of theirs into the stack's network: it is not removed for that."""
    users_engine.make_network(lab)
    docker.containers["theirs"] = {"network=prompt-keda-probe"}
    docker.refusals = 1_000
    monkeypatch.setattr(users_engine, "END_S", 0)
    with pytest.raises(LabError, match="has active endpoints"):
        users_engine.remove_all(lab)
    assert "theirs" in docker.containers


def test_packages_lie_in_the_cache_as_in_the_root(lab, monkeypatch):
    """Found in /bin and in /usr/bin alike; root's are the machine's own."""
    root = packages.root(lab)
    for file in ("bin/busybox", "usr/sbin/slapd"):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    assert packages.find(lab, Path("/bin/busybox")) == root / "bin/busybox"
    assert packages.find(lab, Path("/sbin/slapd")) == root / "usr/sbin/slapd"
    assert packages.environment(lab)["LD_LIBRARY_PATH"].startswith(f"{root}/usr/lib/")
    roots = Lab("roots")
    assert packages.find(roots, Path("/usr/sbin/slapd")) == Path("/usr/sbin/slapd")
    assert packages.environment(roots) == {}


def test_a_library_from_the_cache_lies_in_an_image_where_a_package_would_put_it(tmp_path, monkeypatch):
    """The image has no such folder as the cache."""
    library = tmp_path / "usr/lib/x86_64-linux-gnu/liblzf.so.1"
    library.parent.mkdir(parents=True)
    library.touch()
    listed = f"\tliblzf.so.1 => {library} (0x1)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x2)\n"
    monkeypatch.setattr(images, "run", lambda argv, env: listed)
    assert images.shared_libraries(Path("/x"), tmp_path) == {
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
    from types import SimpleNamespace

    from prompt_keda.lab.kind import config

    authority = SimpleNamespace(folder=lab.pki, ca_file=lab.pki / "ca.crt")
    file = config.write(lab, "prompt-keda-probe", authority, "172.18.0.1", {})
    (node,) = json.loads(file.read_text())["nodes"]
    writable = [mount["hostPath"] for mount in node["extraMounts"] if not mount.get("readOnly")]
    assert sorted(writable) == sorted([str(lab.state / "kind/extra"), str(lab.audit_log.parent)])
    assert lab.audit_log.exists()
