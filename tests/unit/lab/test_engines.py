"""What is said to whoever is not root on Debian, by what the container engine of that machine answers.

The answers were recorded from Docker 20.10.24 (rootful; no engine; a socket of root) and podman 4.3.1 (as root; as nobody; the
service of a rootful one, by its own program and by Docker's; a socket of root, none), and cut to what is read. Those of rootless
Docker, of Docker Desktop, of Windows containers and of remapped users are written by Docker's documentation: there was none of
these to be asked.
"""

from __future__ import annotations

import json
import os
import platform
import re
from types import SimpleNamespace

import pytest

from prompt_keda.core.errors import Refusal
from prompt_keda.lab import engines, providers, requirements
from prompt_keda.lab.settings import Lab

ROOTFUL = {
    "ServerVersion": "20.10.24+dfsg1",
    "OSType": "linux",
    "OperatingSystem": "Debian GNU/Linux 12 (bookworm)",
    "MemTotal": 25276510208,
    "SecurityOptions": ["name=seccomp,profile=default"],
    "MemoryLimit": True,
    "CPUShares": True,
    "PidsLimit": True,
    "CgroupVersion": "1",
    "DockerRootDir": "/var/lib/docker",
    "KernelVersion": platform.release(),
}
NOT_RUNNING = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
NO_RIGHT = (
    "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: "
    'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.24/info": dial unix /var/run/docker.sock: connect: permission denied'
)
ROOTLESS = {**ROOTFUL, "SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"]}
DESKTOP = {**ROOTFUL, "OperatingSystem": "Docker Desktop", "MemTotal": 2085298176}
PODMAN = {
    "host": {
        "cgroupControllers": ["cpuset", "cpu", "cpuacct", "blkio", "memory", "devices", "freezer", "pids"],
        "memTotal": 25276510208,
        "cgroupVersion": "v1",
        "kernel": platform.release(),
        "security": {"rootless": False},
    },
    "store": {"graphRoot": "/var/lib/containers/storage"},
    "version": {"Version": "4.3.1"},
}
ROOTS_PODMAN = {**PODMAN, "host": {**PODMAN["host"], "serviceIsRemote": True}}
NO_PODMAN = (
    "Cannot connect to Podman. Please verify your connection to the Linux system using `podman system connection list`, or try "
    "`podman machine init` and `podman machine start` to manage a new Linux VM\nError: unable to connect to Podman socket: Get "
    '"http://d/v4.3.1/libpod/_ping": dial unix /run/podman/podman.sock: connect: '
)
ROOTLESS_PODMAN = {**PODMAN, "host": {**PODMAN["host"], "cgroupControllers": [], "security": {"rootless": True}}}


@pytest.fixture
def has(monkeypatch, tmp_path):
    """Let a program be on the PATH that answers so; ``host`` is what Docker's context names, ``server`` what its version does."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CONTAINER_HOST", raising=False)
    monkeypatch.setattr(engines, "ROOTS_DOCKER", tmp_path / "docker.sock")
    monkeypatch.setattr(engines, "ROOTS_PODMAN", tmp_path / "podman.sock")

    def put(program, answer, error="", code=0, host="unix:///var/run/docker.sock", server=None):
        document, said = tmp_path / f"{program}.json", tmp_path / f"{program}.err"
        document.write_text(f"{answer if isinstance(answer, str) else json.dumps(answer)}\n")
        said.write_text(f"{error}\n")
        show = "while read -r line; do printf '%s\\n' \"$line\"; done"
        context = json.dumps({"Host": host, "SkipTLSVerify": False})
        script = f"#!/bin/sh\n[ $1 = context ] && {{ echo '{context}'; exit 0; }}\n"
        script += f"[ $1 = version ] && {{ echo '{json.dumps(server)}'; exit 0; }}\n"
        script += f"{show} <{document}\n{show} <{said} >&2\nexit {code}\n"
        (tmp_path / program).write_text(script)
        (tmp_path / program).chmod(0o755)

    return put


def test_no_engine_is_told(has, monkeypatch):
    """And with which it would go: on Linux no root is needed then. Root needs no right to it."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    told = engines.advice()
    assert (
        told.startswith("Neither Docker nor podman is here. Install Docker, rootful") and "usermod -aG docker" in told
    )
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert engines.advice().endswith("Install Docker, rootful as its packages are.")
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert engines.advice().endswith("with one of them it runs in a container (docs/kind.md, In a container).")


DOCKER = {
    "rootful": (ROOTFUL, r"^Docker 20\.10\.24\+dfsg1 can run it in a container"),
    "not running": (
        {"ServerErrors": [NOT_RUNNING]},
        "Docker is here, but it does not run: as root: systemctl start docker.$",
    ),
    "no right": (
        {"ServerErrors": [NO_RIGHT]},
        r"Docker is here, but its socket is not yours\. .* usermod -aG",
    ),
    "rootless": (ROOTLESS, r"it runs rootless, .* rootful one\. .*systemctl start docker\. .*usermod -aG docker"),
    "rootless, no cgroups": (
        {**ROOTLESS, "CPUShares": False},
        "rootless, and was given no cgroups, .* rootful one",
    ),
    "users remapped": (ROOTFUL | {"SecurityOptions": ["name=userns"]}, "refuses privileged containers: .*userns-remap"),
    "Windows containers": (ROOTFUL | {"OSType": "windows"}, "switch it to Linux containers"),
    "a small Docker Desktop": (DESKTOP, "1.9 GiB of memory, and the build needs 4: raise it in its settings"),
    "a small machine": (ROOTFUL | {"MemTotal": 2085298176}, "1.9 GiB of memory, .* this machine has no more"),
    "too old": (
        ROOTFUL | {"ServerVersion": "19.03.15"},
        r"older than 20\.10, and knows no --cgroupns: install a newer",
    ),
    "no number": (ROOTFUL | {"ServerVersion": "dev"}, "^Docker dev can run it"),
    "words that forge lines": ({"ServerErrors": ["a\n\x1b[31mb"]}, "^[^\n\x1b]*$"),
}


@pytest.mark.parametrize("case", DOCKER)
def test_what_docker_answers_leads_to_one_sentence(has, case):
    """What is wrong, and what to do."""
    answer, words = DOCKER[case]
    has("docker", answer)
    assert re.search(words, engines.advice()), engines.advice()


def test_a_newer_docker_says_it_by_its_exit_code(has):
    """Without a document, on standard error."""
    has("docker", "", error=NO_RIGHT, code=1)
    assert "its socket is not yours" in engines.advice()


def test_podman_is_asked_where_docker_cannot(has, monkeypatch):
    """The first that can do it; else Docker's trouble is told. On a Mac there is no systemctl."""
    has("docker", {"ServerErrors": [NOT_RUNNING]})
    has("podman", PODMAN)
    assert engines.advice().startswith("podman 4.3.1 can run it")
    has("podman", ROOTLESS_PODMAN)
    assert engines.advice().startswith("Docker is here, but it does not run: as root")
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert engines.advice().endswith("start it, as by Docker Desktop.")


def test_a_rootless_podman_is_told(has, monkeypatch):
    """With what it lacks, and the commands that make root's the user's as well."""
    has("podman", ROOTLESS_PODMAN)
    told = engines.advice()
    assert "rootless, and was given no cgroups, and the stack needs a rootful one. Start root's, as root:" in told
    assert "systemctl start podman.socket." in told and "chown YOU /run/podman /run/podman/podman.sock" in told
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert engines.advice().endswith("Do podman machine set --rootful.")


def test_an_old_podman_says_nothing_of_rootless(has):
    """It counts as rootful."""
    has("podman", {"host": {"memTotal": 25276510208}})
    assert engines.advice().startswith("podman can run it in a container")


def test_an_engine_that_does_not_answer_is_told(has):
    """Whatever it says instead of a document."""
    has("podman", "nonsense", error="it is broken", code=125)
    assert engines.advice() == "podman is here, but it does not answer: it is broken"


def test_who_is_not_root_on_debian_is_told_of_the_engine(has, monkeypatch):
    """In the fix of the refusal, once."""
    has("docker", ROOTFUL)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Refusal, match="needs root") as refused:
        requirements._is_root()
    assert refused.value.fix == "Run it with sudo. Or: Docker 20.10.24+dfsg1 can run it by kind: --provider kind."
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: FEDORA)
    with pytest.raises(Refusal, match="needs root") as refused:
        requirements._is_root()
    assert "sudo" not in refused.value.fix
    with pytest.raises(Refusal, match="takes its packages from") as refused:
        requirements._is_debian_or_pulls()
    assert refused.value.fix.endswith("(docs/kind.md, In a container).")


FEDORA = {"ID": "fedora", "VERSION_ID": "42", "PRETTY_NAME": "Fedora Linux 42"}
TROUBLES = {
    "no engine": (None, "Neither Docker nor podman is here"),
    "not running": ({"ServerErrors": [NOT_RUNNING]}, "it does not run"),
    "no right": ({"ServerErrors": [NO_RIGHT]}, "its socket is not yours"),
    "rootless": (ROOTLESS, "it runs rootless"),
}


@pytest.mark.parametrize("system", ["fedora", "debian"])
@pytest.mark.parametrize("case", TROUBLES)
def test_who_is_not_root_is_told_of_their_engine_and_of_sudo_where_that_helps(has, monkeypatch, tmp_path, case, system):
    """On Debian: elsewhere root is refused as well."""
    answer, words = TROUBLES[case]
    if answer:
        has("docker", answer)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv(providers.VARIABLE, raising=False)
    release = {"fedora": FEDORA, "debian": {"ID": "debian", "VERSION_ID": "12"}}[system]
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: release)
    provider, _ = providers.choose(Lab("probe"), "")
    with pytest.raises(Refusal, match="without root the local stack needs a container engine") as refused:
        requirements.check(needs_root=provider.needs_root)
    assert words in refused.value.fix and ("sudo" in refused.value.fix) == (system == "debian")


@pytest.mark.parametrize(
    ("told", "hub", "other"),
    [
        ({"HttpProxy": "", "HttpsProxy": "", "RegistryConfig": {"Mirrors": None}}, "", ""),
        ({"HttpsProxy": "http://proxy.example:3128"}, "a proxy", "a proxy"),
        ({"RegistryConfig": {"Mirrors": ["https://mirror.example/"]}}, "a mirror", ""),
    ],
)
def test_an_engines_own_way_to_registries_is_seen(has, told, hub, other):
    """A proxy to https, or a mirror, which Docker asks for Docker Hub's images alone."""
    has("docker", {**ROOTFUL, **told})
    engine = engines.find_for_kind()
    assert (engine.find_way("docker.io"), engine.find_way("ghcr.io")) == (hub, other)


UNFIT = {
    "a remote engine": (
        ROOTFUL,
        "ssh://other",
        r"in a container .* By kind it cannot: it is reached by ssh://other",
    ),
    "an unknown way": (ROOTFUL, "", "it is reached by an unknown way"),
    "Docker Desktop": (
        ROOTFUL | {"OperatingSystem": "Docker Desktop"},
        "unix:///home/me/.docker/desktop/docker.sock",
        "in a container .* By kind it cannot: its containers run in a machine of their own",
    ),
    "another kernel": (
        ROOTFUL | {"KernelVersion": "6.8.0-lima"},
        "unix:///home/me/.lima/docker.sock",
        r"in a machine of their own \(kernel 6\.8\.0-lima, and .* here\)",
    ),
    "a snap": (
        ROOTFUL | {"DockerRootDir": "/var/snap/docker/common/var-lib-docker"},
        "unix:///var/run/docker.sock",
        "as a snap it may not enter the hidden folders of a home, .*snap remove docker",
    ),
    "rootless": (ROOTLESS, "unix:///run/user/1000/docker.sock", "it runs rootless"),
    "not running": (
        {"ServerErrors": [NOT_RUNNING]},
        "unix:///var/run/docker.sock",
        "it does not run: as root: systemctl start docker",
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_an_engine_that_kind_cannot_use_without_root_is_not_taken(has, case):
    """And whoever asks for kind all the same is refused, with the reason."""
    answer, host, words = UNFIT[case]
    has("docker", answer, host=host)
    assert engines.find_for_kind() is None
    with pytest.raises(Refusal, match="needs a container engine that kind can use") as refused:
        requirements._has_engine()
    assert re.search(words, refused.value.fix), refused.value.fix


@pytest.mark.parametrize("program", ["docker", "podman"])
def test_a_full_disk_of_the_engine_is_refused(has, monkeypatch, program):
    """Which is another than the home's; where nobody may look, and where the engine does not say, it is not."""
    answer, where = {"docker": (ROOTFUL, "/var/lib/docker"), "podman": (ROOTS_PODMAN, "/var/lib/containers/storage")}[
        program
    ]
    has(program, answer)
    monkeypatch.setenv("CONTAINER_HOST", "unix:///run/mine.sock")
    free = {where: 2.9}
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=free[path] * 1024**3))
    with pytest.raises(Refusal, match=rf"has 2\.9 GiB free in {where}; .* needs 3 GiB there") as refused:
        requirements._has_room_in_engine()
    assert f"{program} system df" in refused.value.fix
    free[where] = 3
    requirements._has_room_in_engine()
    monkeypatch.setattr("shutil.disk_usage", lambda path: os.stat("/absent"))
    requirements._has_room_in_engine()


def docker(host):
    return engines.Engine("Docker 20.10.24+dfsg1", host=host, cgroup_version="1", data_root="/var/lib/docker")


def podman(host):
    where = {"cgroup_version": "1", "data_root": "/var/lib/containers/storage"}
    return engines.Engine("podman 4.3.1", host=host, program="podman", **where)


def test_a_podman_of_another_machine_is_not_taken(has, monkeypatch):
    """Its kernel is another one, though its socket is here."""
    has("podman", ROOTS_PODMAN | {"host": {**ROOTS_PODMAN["host"], "kernel": "6.8.0-lima"}})
    monkeypatch.setenv("CONTAINER_HOST", "unix:///run/mine.sock")
    assert engines.find_for_kind() is None and "in a machine of their own" in engines.advice(by_kind=True)


def test_a_rootful_podman_is_taken_with_where_it_listens(has, monkeypatch):
    """Which is told by the user's variable alone: whoever is led there by a connection is told to name it."""
    has("podman", ROOTS_PODMAN)
    assert engines.find_for_kind() is None
    assert engines.advice(by_kind=True).endswith("systemctl start podman.socket, or name one by CONTAINER_HOST.")
    monkeypatch.setenv("CONTAINER_HOST", "unix:///run/mine.sock")
    assert engines.find_for_kind() == podman("unix:///run/mine.sock")
    assert engines.advice(by_kind=True) == "podman 4.3.1 can run it by kind: --provider kind."


def test_roots_podman_is_taken_where_the_users_own_is_rootless(has, monkeypatch, tmp_path):
    """If the user may write to its socket; it is asked there."""
    has("podman", ROOTLESS_PODMAN)
    script = (tmp_path / "podman").read_text()
    (tmp_path / "podman").write_text(
        script.replace("\n", f"\n[ $1 = --url ] && {{ echo '{json.dumps(ROOTS_PODMAN)}'; exit 0; }}\n", 1)
    )
    assert engines.find_for_kind() is None
    socket = tmp_path / "podman.sock"
    monkeypatch.setattr(engines, "ROOTS_PODMAN", socket)
    assert engines.find_for_kind() is None
    socket.touch()
    assert engines.find_for_kind() == podman(f"unix://{socket}")


def test_root_has_podman_by_its_service(has, monkeypatch, tmp_path):
    """Not by the program itself, whose containers lab.down would find by the mark of who started them."""
    has("podman", PODMAN)
    assert engines.find_for_kind() is None and "systemctl start podman.socket" in engines.advice(by_kind=True)
    engines.ROOTS_PODMAN.touch()
    assert engines.find_for_kind() == podman(f"unix://{engines.ROOTS_PODMAN}")


def test_roots_docker_is_taken_where_the_users_own_is_rootless(has, tmp_path):
    """If the user may write to its socket, where Docker's packages put it; it is asked there."""
    has("docker", ROOTLESS, host="unix:///run/user/1000/docker.sock")
    script = (tmp_path / "docker").read_text()
    rootful = f"\n[ $1$3 = --hostinfo ] && {{ echo '{json.dumps(ROOTFUL)}'; exit 0; }}\n"
    (tmp_path / "docker").write_text(script.replace("\n", rootful, 1))
    assert engines.find_for_kind() is None
    socket = tmp_path / "docker.sock"
    socket.touch()
    assert engines.find_for_kind() == docker(f"unix://{socket}")


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("permission denied", "podman is here, but its socket is not yours. Let root give you its socket"),
        (
            "no such file or directory",
            "podman is here, but its service does not run: as root: systemctl start podman.socket",
        ),
    ],
)
def test_a_podman_that_cannot_be_asked_is_told(has, end, words):
    """With what to do."""
    has("podman", "", error=NO_PODMAN + end, code=125)
    assert engines.advice().startswith(words)


def test_a_podman_that_answers_to_dockers_program_is_told(has):
    """Docker's words for a network's gateway are served by it, but not for as long as Docker's."""
    server = {"Components": [{"Name": "Podman Engine", "Version": "4.3.1"}, {"Name": "Conmon"}], "Version": "4.3.1"}
    has("docker", ROOTFUL | {"ServerVersion": "4.3.1"}, host="unix:///run/podman/podman.sock", server=server)
    assert engines.find_for_kind() is None
    assert "and set CONTAINER_HOST=unix:///run/podman/podman.sock" in engines.advice(by_kind=True)


def test_podman_is_taken_where_docker_runs_but_does_not_fit(has, monkeypatch):
    """As Docker Desktop, whose containers are in another machine."""
    has("docker", DESKTOP | {"MemTotal": 25276510208})
    has("podman", ROOTS_PODMAN)
    monkeypatch.setenv("CONTAINER_HOST", "unix:///run/mine.sock")
    assert engines.find_for_kind().program == "podman"


def test_a_rootful_docker_of_this_machine_is_taken_with_where_it_listens(has):
    """The user's context may lead elsewhere later: the stack keeps this."""
    has("docker", ROOTFUL, host="unix:///run/mine.sock")
    assert engines.find_for_kind() == docker("unix:///run/mine.sock")
