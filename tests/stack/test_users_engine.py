"""The local stack of somebody who is not root: by kind, in a Docker or a rootful podman of theirs (`users_machine`).

Exhaustive: the engine, the user and the stack are the test's own.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from prompt_keda.lab.kind.engine import MODULES

from .conftest import TASKS, at_the_stack_only, until
from .test_lab import assert_nothing_is_left, finish, lab_task
from .users_machine import UsersMachine

pytestmark = [pytest.mark.exhaustive, at_the_stack_only]
NAME = "mine"
OF_THE_ENGINE = {"docker": {"bridge", "host", "none"}, "podman": {"podman"}}
"""The networks that it has by itself."""
ELSEWHERE = {"DOCKER_HOST": "unix:///nowhere", "CONTAINER_HOST": "unix:///nowhere"}
LONGEST_S = 900
"""Where the cache has no image of a node yet, it is built first."""


@contextmanager
def running_machine(name, program="docker"):
    """A machine with an engine of the user's. With lab.down of its name nothing of it is left."""
    had_modules, machine = MODULES.exists(), UsersMachine(name, program)
    try:
        machine.start()
        yield machine
    finally:
        finish(lab_task(name, "lab.down"))
        machine.remove()
    assert_nothing_is_left(name)
    assert MODULES.exists() == had_modules


@pytest.fixture(scope="module", params=OF_THE_ENGINE)
def machine(request):
    """A user's machine with each of the engines."""
    with running_machine("usersengine", request.param) as running:
        yield running


def begin(machine, *words, **variables):
    """Start a task as the user."""
    argv = machine.command(sys.executable, TASKS, *words, PROMPT_KEDA_LAB=NAME, **variables)
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(machine, *words, timeout=LONGEST_S, **variables):
    """Run a task as the user to its end, and return its exit code, its document and what it said."""
    process = begin(machine, *words, "--json", **variables)
    out, error = process.communicate(timeout=timeout)
    return process.returncode, json.loads(out or "{}"), error


def of_user(machine):
    """Return the command lines of all processes of the user on this machine; another such machine has the same user."""
    home, lines = f"HOME={machine.home}".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if folder.stat().st_uid == machine.user and home in (folder / "environ").read_bytes().split(b"\0"):
                lines.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it has ended since
            continue
    return lines


def assert_nothing_is_in_the_engine(machine):
    """No container, volume or network of the stack's, no process of the user's, no folder of the stack's; images stay."""
    assert machine.docker("ps", "--all", "--quiet") == "" == machine.docker("volume", "ls", "--quiet")
    assert set(machine.docker("network", "ls", "--format", "{{.Name}}").split()) == OF_THE_ENGINE[machine.program]
    assert of_user(machine) == []
    assert not (machine.home / ".local/state/prompt-keda/lab" / NAME).exists()
    roots = [path for path in machine.home.rglob("*") if not path.is_file() and path.lstat().st_uid != machine.user]
    assert not roots, "the user cannot remove it"


def runs(machine, program):
    """Tell whether a program runs, of the user's or in the engine."""
    home = f"HOME={machine.home}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words, env = ((folder / file).read_bytes().split(b"\0") for file in ("cmdline", "environ"))
            ours = home in env or machine.engine.cgroup in (folder / "cgroup").read_text()
        except OSError:  # it has ended since
            continue
        # what was unpacked is started by its own linker: after its options comes the program
        names = [word.decode(errors="replace").rpartition("/")[2] for word in words]
        if ours and program in (names[3:4] if names[0].startswith("ld-linux") else names[:1]):
            return True
    return False


def kill_lab_up(machine, is_moment, what, **variables):
    """Kill lab.up in a moment of its work; after lab.down nothing of the stack is left."""
    coming = begin(machine, "lab.up", **variables)
    try:
        until(lambda: is_moment() or coming.poll() is not None, LONGEST_S, what)
        assert coming.poll() is None, coming.communicate()
    finally:
        coming.kill()
        coming.communicate()
        down = run(machine, "lab.down")
    assert down[0] == 0, down[2]
    assert_nothing_is_in_the_engine(machine)


@pytest.mark.parametrize(
    "program", ["docker-registry", "slapd", "kind", "systemd-journald", "kubeadm", "etcd", "coredns"]
)
def test_a_killed_lab_up_without_root_leaves_nothing_after_lab_down(machine, program):
    """SIGKILL in the moment in which that program begins. First of all: the stack of the other tests has the same name."""
    kill_lab_up(machine, lambda: runs(machine, program), program)


@pytest.fixture(scope="module")
def stack(machine):
    """The user's stack, by the command that README names; afterwards nothing of it is left."""
    users = machine.home / ".kube/config"
    before = hashlib.sha256(users.read_bytes()).hexdigest()
    try:
        code, document, error = run(machine, "redeploy", "--env", "local")
        assert code == 0, error
        yield document
    finally:
        down = run(machine, "lab.down")
    assert down[0] == 0, down[2]
    assert run(machine, "lab.down")[0] == 0, "it cannot be called twice"
    assert_nothing_is_in_the_engine(machine)
    assert hashlib.sha256(users.read_bytes()).hexdigest() == before


def test_a_redeploy_without_root_verifies_scaling(machine, stack):
    """From no cluster: all events of the smoke test are acknowledged. The stack says where it lives, and what it uses."""
    code, document, error = run(machine, "lab.status")
    assert code == 0 and (document["state"], document["provider"]) == ("up", "kind"), error
    assert document["cpu_s"] > 0 and document["memory_bytes"] > 100 * 1024**2
    assert os.geteuid() == 0 and stack


def test_all_checks_are_green_without_root(machine, stack):
    """No check is changed for it."""
    code, _, error = run(machine, "check-deps", "--env", "local")
    assert code == 0, error


def test_the_desk_and_the_networks_faults_are_refused(machine, stack):
    """Each with what it needs; nothing is broken then."""
    desk = begin(machine, "lab.desk", "--", "id")
    assert desk.communicate()[1].startswith("refused: the desk needs root") and desk.returncode == 2
    code, _, error = run(machine, "fault", "--id", "network/vault-black-hole")
    assert code == 2 and "needs NETWORK_NAMESPACE, which the provider kind lacks" in error


@pytest.mark.parametrize(
    "fault", ["cluster/api-server-killed", "cluster/kubelet-frozen", "redis/frozen", "vault/frozen"]
)
def test_faults_are_injected_and_reverted_without_root(machine, stack, fault):
    """The control plane's and those of what runs in pods through the engine, the servers' by the user's own right.

    The engine is the stack's, wherever the user's settings lead by now.
    """
    assert run(machine, "fault", "--id", fault, **ELSEWHERE)[0] == 0
    broken = run(machine, "check-deps", "--env", "local")
    assert broken[0] in (1, 3), broken[2]  # 3: unknown
    reverted = run(machine, "fault", "--id", fault, "--revert", **ELSEWHERE)
    assert reverted[0] == 0, reverted[2]
    until(lambda: run(machine, "check-deps", "--env", "local")[0] == 0, 120, "all checks green")


def test_a_drill_without_root_loses_nothing(machine, stack):
    """Events are sent and counted from a container beside the node's."""
    code, document, error = run(machine, "drill", "--fault", "vault/sealed")
    assert code == 0, error
    (drill,) = document["drills"]
    assert drill["passed"] and not drill["lost"] and drill["events"]["sent"] > 100 and not drill["events"]["lost"]
