"""The local stack: what it refuses before it changes anything, and what it builds."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from prompt_keda.commands.session import is_local
from prompt_keda.core.errors import LabError, Refusal
from prompt_keda.core.event import nobody
from prompt_keda.core.places import ROOT
from prompt_keda.lab import (
    cgroups,
    engines,
    go_builds,
    images,
    native,
    network,
    packages,
    pulling,
    requirements,
    settings,
    stack,
    state,
)
from prompt_keda.lab.commands import Children, run
from prompt_keda.lab.kind import built, ways
from prompt_keda.lab.pki import Authority

DEBIAN_12 = {"ID": "debian", "VERSION_ID": "12", "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)"}


class Machine:
    """A machine that can run the local stack, and ways to take something away from it."""

    def __init__(self, monkeypatch, folder):
        self.patch, self.folder, self.free = monkeypatch, folder, {}
        for name in ("bin", "cache", "state", "GOMODCACHE", "GOCACHE"):
            (folder / name).mkdir()
        monkeypatch.setenv("PATH", str(folder / "bin"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
        monkeypatch.setenv("PROMPT_KEDA_LAB_IMAGES", "built")  # no registry is asked
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr("platform.machine", lambda: "x86_64")
        monkeypatch.setattr("shutil.disk_usage", self._usage)
        monkeypatch.setattr(network, "BRIDGE_FILTER", folder)
        self.is_debian(DEBIAN_12)
        for name in ("apt-get", "unshare", "modprobe"):
            self.has(name, "exit 0")
        self.has_go("go1.26.8")

    def has(self, name, script):
        (self.folder / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.folder / "bin" / name).chmod(0o755)

    def has_go(self, version):
        paths = "\n".join(f"{key}) echo {self.folder / key} ;;" for key in ("GOMODCACHE", "GOCACHE"))
        self.has("go", f'for key; do case "$key" in\nenv) ;;\nGOVERSION) echo "{version}" ;;\n{paths}\nesac; done')

    def lacks(self, name):
        (self.folder / "bin" / name).unlink()

    def is_debian(self, release):
        self.patch.setattr("platform.freedesktop_os_release", lambda: release)

    def has_no_bridge_filter(self):
        self.patch.setattr(network, "BRIDGE_FILTER", self.folder / "missing")

    def has_built_all(self):
        for module in (go_builds.KUBE, *go_builds.MODULES):
            go_builds.cached(module).mkdir(parents=True)

    def _usage(self, path):
        """Return what is free: the smallest number of GiB that was set for a folder on the way to this one."""
        free = [gib for name, gib in self.free.items() if Path(path).is_relative_to(self.folder / name)]
        return type("Usage", (), {"free": min(free, default=100) << 30})


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine that lacks nothing; should lab.up begin on it all the same, the test fails."""

    def begun(bringup):
        raise AssertionError("lab.up has begun")

    monkeypatch.setattr(stack._Bringup, "run", begun)
    return Machine(monkeypatch, tmp_path)


UBUNTU = {"ID": "ubuntu", "ID_LIKE": "debian", "VERSION_ID": "24.04", "PRETTY_NAME": "Ubuntu 24.04 LTS"}
DEBIAN_11 = {"ID": "debian", "VERSION_ID": "11", "PRETTY_NAME": "Debian GNU/Linux 11 (bullseye)"}
LACKS = {
    "wrong architecture": (lambda machine: machine.patch.setattr("platform.machine", lambda: "riscv64"), "riscv64"),
    "neither root nor an engine": (
        lambda machine: machine.patch.setattr(os, "geteuid", lambda: 1000),
        "without root .* needs a container engine",
    ),
    "Ubuntu": (lambda machine: machine.is_debian(UBUNTU), "Debian 12 or newer, and this is Ubuntu 24.04"),
    "Debian 11": (lambda machine: machine.is_debian(DEBIAN_11), "Debian 12 or newer, and this is Debian GNU/Linux 11"),
    "no apt-get": (lambda machine: machine.lacks("apt-get"), "apt-get"),
    "no Go": (lambda machine: machine.lacks("go"), "no Go"),
    "a Go that fails": (lambda machine: machine.has("go", "echo broken >&2; exit 1"), "no Go that works.*broken"),
    "too old a Go": (lambda machine: machine.has_go("go1.20.1"), r"1\.20\.1.*needs 1\.26"),
    "a Go that does not say which": (lambda machine: machine.has_go("devel +abc123"), r"devel \+abc123.*needs 1\.26"),
    "no network namespaces": (lambda machine: machine.has("unshare", "echo no >&2; exit 1"), "network namespace.*no"),
    "no bridge filter": (
        lambda machine: (machine.has_no_bridge_filter(), machine.has("modprobe", "exit 1")),
        "br_netfilter",
    ),
    "no modprobe": (lambda machine: (machine.has_no_bridge_filter(), machine.lacks("modprobe")), "br_netfilter"),
    "a full disk of the cache": (lambda machine: machine.free.update(cache=7), r"cache has 7\.0 GiB free.*needs 8"),
    "a full disk of Go's modules": (
        lambda machine: machine.free.update(GOMODCACHE=7),
        r"GOMODCACHE has 7\.0 GiB free.*needs 8",
    ),
    "a full disk of Go's cache": (
        lambda machine: machine.free.update(GOCACHE=7),
        r"GOCACHE has 7\.0 GiB free.*needs 8",
    ),
    "a full disk of the state": (lambda machine: machine.free.update(state=1), r"state has 1\.0 GiB free.*needs 2"),
    "a full disk when all is built": (
        lambda machine: (machine.has_built_all(), machine.free.update(cache=1)),
        r"cache has 1\.0 GiB free.*needs 2",
    ),
    "a bad name": (lambda machine: machine.patch.setenv("PROMPT_KEDA_LAB", "../x"), "PROMPT_KEDA_LAB"),
}


@pytest.mark.parametrize("lack", LACKS)
def test_what_is_missing_is_said_before_anything_is_changed(machine, lack):
    """One clear message, exit code 2, and no file made."""
    take_away, message = LACKS[lack]
    take_away(machine)
    before = sorted(machine.folder.rglob("*"))
    with pytest.raises(Refusal, match=message) as refused:
        stack.up()
    assert refused.value.exit_code == 2 and sorted(machine.folder.rglob("*")) == before


def test_who_needs_a_debian_because_nothing_can_be_pulled_is_told_why(machine, monkeypatch):
    """A proxy's answer, say: the refusal itself names only what would do."""
    monkeypatch.delenv("PROMPT_KEDA_LAB_IMAGES")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    machine.is_debian(UBUNTU)
    monkeypatch.setattr(engines, "find_for_kind", lambda: engines.Engine("Docker 28", host="unix:///x"))
    monkeypatch.setattr(pulling, "is_here", lambda docker, reference: False)
    monkeypatch.setattr(built, "is_in_cache", lambda: False)
    monkeypatch.setattr(ways, "find_trouble", lambda host: "the proxy of HTTPS_PROXY answers HTTP 407")
    told = []
    with pytest.raises(Refusal, match="this is Ubuntu"):
        stack.up(told.append)
    why = "built: docker.io cannot be used: the proxy of HTTPS_PROXY answers HTTP 407"
    assert [event.detail for event in told] == [why]


@pytest.fixture
def mac(machine, monkeypatch, tmp_path):
    """A Mac with a Docker Desktop: no cgroups, and no Debian."""
    monkeypatch.setattr(cgroups, "ROOT", tmp_path / "none")
    monkeypatch.setattr(os, "geteuid", lambda: 501)
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    desktop = engines.Engine("Docker 28.2.2", unfit="its containers run in a machine of their own")
    monkeypatch.setattr(engines, "find", lambda: desktop)
    monkeypatch.setattr(engines, "find_for_kind", lambda: None)


def test_a_mac_is_told_of_its_docker(mac):
    """As is any system that is not Linux; and lab.status says that nothing stands."""
    with pytest.raises(Refusal, match=r"runs on Linux .*, not on Darwin on arm64") as refused:
        stack.up()
    assert refused.value.fix == "Docker 28.2.2 can run it in a container (docs/kind.md, In a container)."
    assert state.status().state == "down"


FITS = {
    "a release candidate of Go": lambda machine: machine.has_go("go1.26rc1"),
    "a Go of today": lambda machine: machine.has_go("devel go1.27-0a1b2c3 Mon Jan 5 10:00:00 2026 +0000"),
    "a Go with experiments": lambda machine: machine.has_go("go1.26.1 X:nodwarf5"),
    "Debian testing, which says no version": lambda machine: machine.is_debian(
        {"ID": "debian", "PRETTY_NAME": "forky/sid"}
    ),
    "a module for bridges that can be loaded": lambda machine: machine.has_no_bridge_filter(),
    "3 GiB when all is built": lambda machine: (machine.has_built_all(), machine.free.update({".": 3})),
}


@pytest.mark.parametrize("fact", FITS)
def test_what_is_good_enough_is_not_refused(machine, fact):
    """Versions and disks that serve."""
    FITS[fact](machine)
    requirements.check()


def test_lab_down_of_no_stack_needs_no_root(machine, monkeypatch):
    """Whoever made one without root can call it twice."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(network, "delete", lambda lab: None)
    monkeypatch.setenv("PROMPT_KEDA_LAB", "nobodys")  # this machine may have a stack of the usual name
    stack.down()


def test_two_stacks_that_come_up_at_once_take_two_slots(machine, monkeypatch):
    """The other one's link is made between the look and the attempt: the kernel refuses, and the next slot is taken.
    Another refusal is no reason to try the next."""
    links = ["pklab0"]

    def run(argv):
        if argv == ["ip", "-json", "link", "show", "type", "veth"]:
            return json.dumps([{"ifname": name} for name in links])
        if argv[:3] == ["ip", "link", "add"]:
            if argv[3] == "pklab1":
                links.append("pklab1")
                raise LabError("ip link add pklab1 failed with exit code 2: RTNETLINK answers: File exists")
            if argv[3] == "pklab2" and refusal:
                raise LabError(refusal)
        return ""

    refusal = ""
    monkeypatch.setattr(network, "run", run)
    assert network.create(settings.current_lab()) == 2
    links.remove("pklab1")
    refusal = "ip link add pklab2 failed with exit code 2: RTNETLINK answers: Operation not permitted"
    with pytest.raises(LabError, match="not permitted"):
        network.create(settings.current_lab())


def test_lab_down_needs_root(machine, monkeypatch):
    """Refused before anything is stopped."""
    (settings.current_lab().state / "pids").mkdir(parents=True)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Refusal, match="needs root"):
        stack.down()


@pytest.mark.parametrize("task", ["lab.up", "lab.down", "lab.status", "check-deps"])
def test_a_bad_name_of_a_stack_ends_a_task_with_2(task):
    """It becomes part of folders and network namespaces: one message, and no stack trace."""
    env = {**os.environ, "PROMPT_KEDA_LAB": "../x"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "tasks.py"), task], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "refused: $PROMPT_KEDA_LAB is '../x'" in done.stderr and "Traceback" not in done.stderr


def test_the_versions_are_those_that_are_built(monkeypatch, tmp_path):
    """Kubernetes and KEDA as go.mod has them; Redis is unknown where there is no Debian package of it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    versions = state.versions()
    assert versions["kubernetes"] == go_builds.required_version(go_builds.KUBE, "k8s.io/kubernetes")
    assert versions["keda"] == go_builds.required_version(go_builds.KEDA, "github.com/kedacore/keda/v2")
    assert versions["etcd"].startswith("3.") and versions["vault"].startswith("1.") and versions["redis"] is None


def test_the_authority_makes_certificates_that_openssl_trusts(tmp_path):
    """And keeps the keys private."""
    authority = Authority(tmp_path)
    authority.ensure_server("vault", ["10.0.0.1", "vault.test"])
    done = subprocess.run(
        ["openssl", "verify", "-CAfile", str(authority.ca_file), "-verify_ip", "10.0.0.1", str(tmp_path / "vault.crt")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "vault.key").stat().st_mode & 0o077 == 0


def test_the_same_files_give_the_same_image(tmp_path):
    """So that a second push sends nothing."""
    program = tmp_path / "program"
    program.write_bytes(b"x" * 1000)
    image = images.ImageContents("r", "t", {"/program": program}, ("/program",))
    first, second = (images.build(image, tmp_path / cache) for cache in ("a", "b"))
    assert first.digest == second.digest
    program.write_bytes(b"y" * 1001)
    assert images.build(image, tmp_path / "a").digest != first.digest
    assert Path(first.layer).exists()


FAKE_GO = """#!/bin/sh
case "$1" in
env) echo go1.26.8 ;;
list) echo one two three ;;
build) sleep 600 & echo $! > {folder}/compiler.new; mv {folder}/compiler.new {folder}/compiler; wait ;;
esac
"""


@pytest.fixture
def slow_go(monkeypatch, tmp_path):
    """A Go whose compiler takes ten minutes; caches and state below tmp_path."""
    (tmp_path / "go").write_text(FAKE_GO.format(folder=tmp_path))
    (tmp_path / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def text_once_written(path):
    """Wait for a file that a process writes whole, and give what it says."""
    end = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.02)
    return path.read_text()


def ends(pid):
    """Return whether a process that was killed ends: the kernel takes a moment, the more the busier the machine is."""
    stat, limit = Path(f"/proc/{pid}/stat"), time.monotonic() + 10
    with suppress(FileNotFoundError, ProcessLookupError):
        while stat.read_text().rpartition(")")[2].split()[0] != "Z":
            if time.monotonic() > limit:
                return False
            time.sleep(0.01)
    return True


@pytest.mark.parametrize("error", [LabError("apt-get failed"), KeyboardInterrupt()], ids=["error", "ctrl-c"])
def test_an_error_does_not_wait_for_the_compilers(slow_go, monkeypatch, error):
    """Go and its compilers are killed, the error shows within seconds, and no scratch folder is left."""

    def install(observer):
        text_once_written(slow_go / "compiler")
        raise error

    monkeypatch.setattr(packages, "install", install)
    started = time.monotonic()
    with pytest.raises(type(error)):
        stack._Bringup(settings.Lab("unit"), nobody, True).run()
    assert time.monotonic() - started < 10
    assert ends(text_once_written(slow_go / "compiler").strip())
    assert {path.suffix for path in (slow_go / "cache/prompt-keda/build").iterdir()} <= {".lock"}


def test_what_was_begun_is_not_called_refused(slow_go, monkeypatch):
    """Exit code 2 means that nothing was changed: a full disk after packages were installed is 3."""

    def install(observer):
        raise Refusal("logs cannot be made: disk full", "Make room.")

    monkeypatch.setattr(packages, "install", install)
    with pytest.raises(LabError, match="disk full") as failed:
        stack._Bringup(settings.Lab("unit"), nobody, True).run()
    assert failed.value.exit_code == 3 and failed.value.fix == "Make room."


def test_what_was_stopped_starts_nothing_more():
    """A build that is between two of its programs ends there."""
    children = Children()
    children.stop()
    with pytest.raises(LabError, match="stopped"):
        children.run(["true"])


def test_a_program_that_takes_too_long_is_killed_with_its_children(tmp_path):
    """The time limit of a fetch holds as well, although nobody stops it."""
    children = Children()
    began = time.monotonic()
    with pytest.raises(LabError, match="did not end within"):
        run(["sh", "-c", f"sleep 600 & echo $! > {tmp_path}/pid; wait"], timeout_s=3, children=children)
    assert time.monotonic() - began < 20 and ends((tmp_path / "pid").read_text().strip())


def test_the_next_build_clears_what_a_killed_one_left(slow_go, monkeypatch):
    """Scratch folders of processes that are gone; those of others that build now, and programs, stay."""
    build = slow_go / "cache/prompt-keda/build"
    gone = subprocess.Popen(["true"])
    gone.wait()
    for name in (f"kube-1.{gone.pid}", "kube-1.1", "kube-1"):
        (build / name / "tmp").mkdir(parents=True)
    (slow_go / "go").write_text(
        '#!/bin/sh\nwhile [ $# -gt 1 ]; do [ "$1" = -o ] && touch "$2"; shift; done; echo go1.26.8\n'
    )
    made = go_builds.build(go_builds.WORKER, nobody)
    assert (made / "worker").exists() and not (made / "tmp").exists()
    assert {path.name for path in build.iterdir()} == {"kube-1.1", "kube-1", made.name, "worker.lock"}


WAITING_GO = """#!/bin/sh
case "$*" in *" -o "*)
    echo $$ >> {folder}/compilers
    cat {folder}/fifo
    while [ $# -gt 1 ]; do [ "$1" = -o ] && touch "$2"; shift; done;;
esac
echo go1.26.8
"""


@pytest.fixture
def two_builds(slow_go):
    """A build that is on, and a second one of the same module beside it; gives what ends each, and what the second told."""
    (slow_go / "go").write_text(WAITING_GO.format(folder=slow_go))
    os.mkfifo(slow_go / "fifo")
    progress, first, second = queue.SimpleQueue(), Children(), Children()
    with ThreadPoolExecutor() as pool:
        builds = [pool.submit(go_builds.build, go_builds.WORKER, nobody, 0, first)]
        text_once_written(slow_go / "compilers")
        builds.append(pool.submit(go_builds.build, go_builds.WORKER, progress.put, 0, second))
        try:
            yield builds, progress, second, lambda: (slow_go / "fifo").write_text("go on")
        finally:
            first.stop()
            second.stop()


def test_a_second_build_of_a_module_waits_for_the_first(two_builds):
    """Two stacks that come up at once: it is compiled once, and both have it."""
    builds, progress, _, go_on = two_builds
    first = progress.get(timeout=20)
    assert first.detail == f"waits for another build of worker (PID {os.getpid()})"
    go_on()
    made = {build.result(timeout=20) for build in builds}
    assert len(made) == 1 and (made.pop() / "worker").exists()
    assert progress.get(timeout=20).detail == "in the cache"


def test_waiting_for_another_build_can_be_stopped(two_builds):
    """An error elsewhere shows at once."""
    builds, progress, second, _ = two_builds
    assert progress.get(timeout=20).detail.startswith("waits for another build")
    second.stop()
    with pytest.raises(LabError):
        builds[1].result(timeout=20)
    assert not builds[0].done()


def test_what_is_kept_is_private_whatever_the_umask(slow_go, monkeypatch):
    """State, cache and all below them, also what an earlier version left wider."""
    (slow_go / "cache/prompt-keda/build").mkdir(parents=True)
    before = os.umask(0)
    try:
        test_an_error_does_not_wait_for_the_compilers(slow_go, monkeypatch, LabError("apt-get failed"))
        state.ensure_secret(settings.Lab("unit"), "redis-password")
    finally:
        os.umask(before)
    for home in (slow_go / "cache/prompt-keda", slow_go / "state/prompt-keda"):
        for folder, _, _ in os.walk(home):
            assert Path(folder).stat().st_mode & 0o777 == 0o700, folder


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}", b"\xff", None])
@pytest.mark.parametrize("ask", [state.endpoints, state.status])
def test_a_damaged_file_of_the_stack_is_named(tmp_path, monkeypatch, damage, ask):
    """A power cut may leave it empty. None: it is a folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    lab = settings.Lab("damaged")
    lab.state.mkdir(parents=True)
    file = lab.state / "endpoints.json"
    file.mkdir() if damage is None else file.write_bytes(damage)
    with pytest.raises(LabError, match="cannot be read"):
        ask(lab)


def test_a_damaged_note_of_faults_is_named(tmp_path, monkeypatch):
    """Nobody can say then which faults are in the stack."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    lab = settings.Lab("damaged")
    lab.state.mkdir(parents=True)
    (lab.state / "faults.txt").write_bytes(b"\xff")
    with pytest.raises(LabError, match="cannot be read"):
        state.faults(lab)


def test_a_stack_with_a_fault_injected_is_not_brought_up(tmp_path, monkeypatch):
    """A redeploy does not repair what a drill has broken: the runbook would get the praise."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    asked = []
    monkeypatch.setattr(stack, "up", lambda observer, provider: asked.append(observer))
    lab = settings.current_lab()
    lab.state.mkdir(parents=True)
    state.write_faults(lab, ["redis/gone"])
    stack.ensure_up(nobody)
    assert asked == []
    state.write_faults(lab, [])
    stack.ensure_up(nobody)
    assert asked == [nobody]


@pytest.mark.parametrize(
    "name", ["local", str(ROOT / "environments" / "local.yaml"), "environments/../environments/local.yaml"]
)
def test_the_local_environment_is_known_by_name_and_by_path(monkeypatch, name):
    """``--env local`` and ``--env environments/local.yaml`` behave alike."""
    monkeypatch.chdir(ROOT)
    assert is_local(name)
    assert not is_local("prod")
    assert not is_local("")


def test_a_stack_whose_network_is_gone_is_not_up(tmp_path, monkeypatch):
    """After a restart of the machine the published endpoints lead nowhere."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    lab = settings.current_lab()
    lab.state.mkdir(parents=True)
    monkeypatch.setattr(settings.Lab, "netns_path", tmp_path / "netns")
    state.write_endpoints(lab, {"address": "10.0.0.1"})
    with pytest.raises(LabError, match="its network is gone"):
        state.endpoints(lab)
    (tmp_path / "netns").touch()
    assert state.endpoints(lab)["address"] == "10.0.0.1"


def test_an_address_that_a_killed_lab_up_just_takes_is_waited_for(monkeypatch):
    """Its kubectl lives on for a moment, and makes the same Service; what else is refused is an error."""
    refusals = [f"failed to allocate IP 10.96.0.10: {native.ADDRESS_IS_TAKEN}", "", "the server is out of sorts"]

    def apply(lab, objects):
        if refusal := refusals.pop(0):
            raise LabError(f"kubectl apply failed: {refusal}")

    monkeypatch.setattr(native.contents, "apply", apply)
    assert [native._has_dns(settings.Lab("x"), "10.213.0.2") for _ in range(2)] == [False, True]
    with pytest.raises(LabError, match="out of sorts"):
        native._has_dns(settings.Lab("x"), "10.213.0.2")
