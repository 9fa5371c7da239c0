"""The local stack by kind: one of the test's own comes, a sample of this suite runs on it, and it leaves nothing.

The rest of the suite runs on such a stack as well, by hand: PROMPT_KEDA_LAB=NAME .venv/bin/python -m pytest tests/stack
--provider kind. What differs, and why: docs/kind.md.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prompt_keda.lab import cgroups, state
from prompt_keda.lab.kind.engine import MODULES
from prompt_keda.lab.settings import Lab

from .conftest import ROOT, at_the_stack_only, run_json, until
from .test_lab import assert_a_cold_redeploy_scales, assert_nothing_is_left, finish, lab_task, task_in

pytestmark = [pytest.mark.exhaustive, at_the_stack_only]
NAME, KILLED = "kindtest", "kindkilled"
LONGEST_S = 900
"""Where the cache has no image of a node yet, it is built first."""
FAULTS = (
    "cluster/api-server-killed",
    "cluster/kubelet-frozen",
    "cluster/dns-gone",
    "network/vault-black-hole",
    "redis/frozen",
)
SAMPLE = (
    "test_check_deps.py::test_all_is_green_after_a_redeploy",
    "test_smoke.py::test_events_become_jobs_and_are_acknowledged",
    "test_redeploy.py::test_a_redeploy_over_running_workers_keeps_every_job_and_pod"
    " test_redeploy.py::test_every_event_of_a_redeploy_is_acknowledged_exactly_once",
    "test_lab.py::test_the_desk_is_not_root_and_reaches_three_servers",
    *(f"test_faults.py::test_a_fault_is_detected_by_its_checks_and_by_no_other[{fault}]" for fault in FAULTS),
)
AT_DESK = (
    "test_check_deps.py::test_all_is_green_after_a_redeploy"
    " test_redeploy.py::test_the_first_redeploy_verifies_scaling"
    " test_runbooks.py::test_without_a_terminal_nothing_is_run_that_was_not_approved"
)
"""Not root, and only API server, Vault and registry: check-deps, a plan, and a redeploy by its approval."""
USERS = Path.home() / ".kube" / "config"


def digest(file):
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else None


@pytest.fixture(scope="module")
def kind(endpoints, tmp_path_factory):
    """A stack by kind beside the suite's own. The user's kubeconfig is as it was, and nothing of the stack is left."""
    users = tmp_path_factory.mktemp("user") / "config"
    users.write_text("apiVersion: v1\nkind: Config\ncurrent-context: mine\n")
    before, had_modules = [digest(users), digest(USERS)], MODULES.exists()
    try:
        finish(by_kind(NAME, KUBECONFIG=str(users)), LONGEST_S)
        yield Lab(NAME)
    finally:
        finish(lab_task(NAME, "lab.down"))
    assert_nothing_of_kind_is_left(NAME, had_modules)
    assert [digest(users), digest(USERS)] == before
    assert run_json("lab.status")[1]["state"] == "up", "the stack beside it was harmed"


def by_kind(name, **variables):
    return lab_task(name, "lab.up", PROMPT_KEDA_LAB_PROVIDER="kind", **variables)


def assert_nothing_of_kind_is_left(name, had_modules):
    """Nor a process of its engine, wherever it is: each has the stack's folder among its arguments."""
    assert_nothing_is_left(name)
    assert MODULES.exists() == had_modules
    left = [
        line for line in subprocess.check_output(["ps", "-eo", "args"], text=True).splitlines() if f"/{name}/" in line
    ]
    assert not left


def test_a_redeploy_from_nothing_scales_on_it(kind):
    """KEDA comes onto the new cluster, and all events of the smoke test are acknowledged."""
    known = state.endpoints(kind)
    assert known["name"] == NAME and kind.find_provider() == "kind"
    assert_a_cold_redeploy_scales(NAME)


@pytest.mark.parametrize(("environment", "tests"), [*(("local", tests) for tests in SAMPLE), ("prodlike", AT_DESK)])
def test_a_test_of_this_suite_passes_on_it(kind, environment, tests):
    """The same test, on the other provider."""
    done = suite_of("kind", *tests.split(), PROMPT_KEDA_TEST_ENV=environment)
    assert done.returncode == 0, done.stdout[-3000:]
    assert f"{len(tests.split())} passed" in done.stdout, "one was skipped, or left out"


def suite_of(provider, *tests, **variables):
    """Run tests of this suite on the stack of that name, which has to be the provider's."""
    wanted = [f"tests/stack/{test}" for test in tests]
    env = {**os.environ, "PROMPT_KEDA_LAB": NAME, "PYTHONPATH": str(ROOT), **variables}
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--provider={provider}", *wanted]
    return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)


def test_another_provider_is_refused_while_it_stands(kind):
    """With what to do, and exit code 2; the suite is not run on a stack of another one either, and leaves it there."""
    refused = task_in(NAME, "lab.up", "--provider", "native")
    assert refused.returncode == 2 and "has the provider kind" in refused.stderr, refused.stderr
    refused = suite_of("native", "test_lab.py::test_the_desk_is_not_root_and_reaches_three_servers")
    assert refused.returncode == 2 and "has the provider kind" in refused.stdout + refused.stderr, refused.stdout
    assert task_in(NAME, "lab.status").returncode == 0


def runs(name, program):
    """Return whether a program runs in the cgroup of a stack."""
    for pid in cgroups.pids(Lab(name).cgroup):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended since
            continue
        if words[0].decode(errors="replace").rpartition("/")[2] == program:
            return True
    return False


@pytest.mark.parametrize(
    "program",
    [
        "slapd",
        "dockerd",
        "kind",
        "systemd-journald",
        "kubelet",
        "kubeadm",
        "etcd",
        "kube-apiserver",
        "coredns",
        "vault",
    ],
)
def test_a_killed_lab_up_leaves_nothing_after_lab_down(endpoints, program):
    """SIGKILL in the moment in which that program begins: no container, mount, link, cgroup or process is left."""
    had_modules = MODULES.exists()
    coming = by_kind(KILLED)
    try:
        until(lambda: runs(KILLED, program) or coming.poll() is not None, LONGEST_S, program)
        assert coming.poll() is None, "lab.up has ended before"
    finally:
        coming.kill()
        coming.communicate()
        finish(lab_task(KILLED, "lab.down"))
    assert_nothing_of_kind_is_left(KILLED, had_modules)
