"""The test run itself: what failed fails it, and what did not run is not taken for verified."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from prompt_keda.core.errors import Refusal
from prompt_keda.core.places import state_home
from prompt_keda.lab import stack, state, testing
from prompt_keda.lab.machine import Load


class Told:
    """Stands for what is shown."""

    def __init__(self):
        self.lines = []

    def __call__(self, event):
        self.lines.append(f"{event.subject} {event.state} {event.detail}")

    def close(self):
        pass

    def of(self, subject):
        return [line.removeprefix(f"{subject} ") for line in self.lines if line.startswith(f"{subject} ")]


@pytest.fixture
def progress(monkeypatch):
    progress = Told()
    monkeypatch.setattr(testing, "ProgressPrinter", lambda: progress)
    monkeypatch.setattr(state, "status", lambda: SimpleNamespace(state="up"))
    monkeypatch.setattr(stack, "up", lambda progress: pytest.fail("a stack was brought up"))
    return progress


@pytest.fixture
def programs(monkeypatch):
    """Let each program end at once, those named here with 1; return the command lines."""
    argvs, bad = [], set()
    popen = subprocess.Popen

    def start(argv, **options):
        argvs.append([str(word) for word in argv])
        return popen([sys.executable, "-c", f"raise SystemExit({int(bool(bad & set(argvs[-1])))})"], **options)

    monkeypatch.setattr(subprocess, "Popen", start)
    return argvs, bad


def test_quick_needs_no_stack_and_says_what_it_did_not_verify(progress, programs):
    """Static checks and unit tests."""
    argvs, _ = programs
    assert testing.run(quick=True, exhaustive=False) == 0
    assert [word for argv in argvs for word in argv if word.startswith("tests/")] == ["tests/unit"]
    assert progress.of("test/not-verified") == [
        "unknown contract tests, stack tests, and those at the desk: they run without --quick"
    ]
    assert progress.of("test") == ["ok all that ran passed; 1 not verified"]


@pytest.mark.parametrize(
    ("part", "name"),
    [("ruff", "ruff"), ("mypy", "mypy"), ("prompt_keda.lab.docs_site", "docs"), ("tests/unit", "unit")],
)
def test_what_fails_early_fails_the_run_before_a_stack_is_built(progress, programs, part, name):
    """Exit code 1, and the part is named, though others pass."""
    argvs, bad = programs
    bad.add(part)
    assert testing.run(quick=False, exhaustive=False) == 1
    assert not any("tests/stack" in argv for argv in argvs)
    assert progress.of("test") == [f"fail failed: {name}; 1 not verified"]
    assert progress.of("test/not-verified")[0].endswith("they run once static checks and unit tests pass")


def selections(argvs):
    """Return what each run of pytest selects, by its folder and name."""

    def name_of(argv):
        (name,) = (word.partition("=")[2] for word in argv if word.startswith("junit_suite_name="))
        return name

    runs = [argv for argv in argvs if "pytest" in argv]
    return {name_of(argv): argv[argv.index("-m", 3) + 1] if "-m" in argv[3:] else "" for argv in runs}


@pytest.mark.parametrize(("uid", "system"), [(1000, "debian"), (0, "fedora")])
def test_only_root_on_debian_brings_up_what_the_tests_need(progress, programs, monkeypatch, uid, system):
    """Root elsewhere has a stack in an engine, without the network that half of the suite cuts."""
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: {"ID": system})
    with pytest.raises(Refusal, match="need root on Debian 12 or newer") as refused:
        testing.run(quick=False, exhaustive=False)
    assert "--quick" in refused.value.fix and programs[0] == []


def test_each_test_is_run_where_it_verifies_most(progress, programs):
    """With --exhaustive everywhere where it can be. Contract tests run once, with or without the stack."""
    argvs, _ = programs
    assert testing.run(quick=False, exhaustive=False) == 0
    assert selections(argvs) == {
        "unit": "(not exhaustive)",
        "contracts": "(not stack_only) and (not exhaustive)",
        "api-server": "(stack_only) and (not exhaustive)",
        "stack": "(not desk_first) and (not exhaustive)",
        "prodlike": "(viewpoint or desk_first or desk_only) and (not exhaustive)",
    }
    argvs.clear()
    testing.run(quick=False, exhaustive=True)
    assert selections(argvs) == {
        "unit": "",
        "contracts": "(not stack_only)",
        "api-server": "(stack_only)",
        "stack": "",
        "prodlike": "",
        "kind": "(not exhaustive and not desk_first)",
    }


@pytest.fixture
def on_two_stacks(monkeypatch, programs):
    """Let each run on two stacks fail by one test, and the machine be one that stands still; return the command lines."""
    argvs, bad = programs
    bad.add("loadfile")
    start = subprocess.Popen

    def start_and_report(argv, **options):
        if "loadfile" in argv:
            (file,) = (word.partition("=")[2] for word in map(str, argv) if word.startswith("--junit-xml="))
            Path(file).write_text(
                '<suite><testcase classname="c" name="t"><failure message="late"/></testcase></suite>'
            )
        return start(argv, **options)

    load = Load(12.0, 0.0, 0.0, 40.0)
    monkeypatch.setattr(subprocess, "Popen", start_and_report)
    monkeypatch.setattr(testing, "Machine", lambda: SimpleNamespace(since_last=lambda: load))
    return argvs, bad, load


def test_tests_that_fail_while_the_machine_stands_still_run_again(progress, on_two_stacks):
    """Once, one after the other, those alone; and the end names them."""
    argvs, _, _ = on_two_stacks
    assert testing.run(quick=False, exhaustive=False) == 0
    again = [argv for argv in argvs if "--last-failed" in argv]
    assert len(again) == 2 and not any("-n" in argv for argv in again)
    assert any("up to 12.0 s late" in line for line in progress.of("test/stack"))
    assert "unknown stack: c.t: failed while the machine stood still, and passed again" in progress.of(
        "test/not-verified"
    )


def test_what_fails_again_has_failed(progress, on_two_stacks):
    """The machine is no excuse for it."""
    _, bad, _ = on_two_stacks
    bad.add("--last-failed")
    assert testing.run(quick=False, exhaustive=False) == 1
    assert progress.of("test")[0].startswith("fail failed: stack, stack-again, prodlike, prodlike-again")


def test_on_a_machine_that_runs_what_fails_has_failed(progress, on_two_stacks, monkeypatch):
    """Nothing is run again: it may fail now and then, and has to be mended."""
    argvs, _, load = on_two_stacks
    monkeypatch.setattr(testing, "Machine", lambda: SimpleNamespace(since_last=lambda: replace(load, late_s=0.3)))
    assert testing.run(quick=False, exhaustive=False) == 1
    assert not [argv for argv in argvs if "--last-failed" in argv]


def test_the_second_stack_is_apart_and_taken_down(progress, programs, monkeypatch):
    """By name and by state folder, and first of all what a killed run has left of it; no restarted process gets a third."""
    argvs, _ = programs
    environments = []
    start = subprocess.Popen

    def note(argv, **options):
        environments.append(options["env"])
        return start(argv, **options)

    monkeypatch.setattr(subprocess, "Popen", note)
    assert testing.run(quick=False, exhaustive=False) == 0
    of_second = [
        (argv[-1], environment["XDG_STATE_HOME"])
        for argv, environment in zip(argvs, environments, strict=True)
        if environment.get("PROMPT_KEDA_LAB") == "beside"
    ]
    assert [task for task, _ in of_second] == ["lab.down", "lab.up", "lab.down"]
    assert {folder for _, folder in of_second} == {str(state_home() / "prompt-keda" / "beside")}
    on_two = [argv for argv in argvs if "tests/stack" in argv]
    assert len(on_two) == 2 and all(
        argv[argv.index("-n") + 1] == "2" and "--max-worker-restart" in argv for argv in on_two
    )


def test_what_is_beside_ends_with_what_it_is_beside(progress, tmp_path):
    """Ctrl-C or an error in one leaves no process of the other."""
    run = testing._TestRun(tmp_path, False, progress)
    argv = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(KeyboardInterrupt), run._beside("slow", argv):
        raise KeyboardInterrupt
    assert progress.of("test/slow") == ["working begins"]


def test_what_is_beside_and_hangs_is_ended_and_shows_where(progress, tmp_path, monkeypatch, capsys):
    """A run of CI was killed at its limit, and nobody could say what had hung."""
    monkeypatch.setattr(testing, "BESIDE_S", 3)
    run = testing._TestRun(tmp_path, False, progress)
    with run._beside("slow", [sys.executable, "-X", "faulthandler", "-c", "import time; time.sleep(60)"]):
        pass
    assert run.failed == ["slow"]
    assert "Current thread" in capsys.readouterr().out


def test_what_ignores_to_be_stopped_is_killed(progress, tmp_path, monkeypatch):
    """As what was started in the background of a shell does."""
    monkeypatch.setattr(testing, "STOP_S", 0.5)
    program = (
        "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as deaf:
        assert deaf.stdout.readline() == "deaf\n"
        testing._stop(deaf)
    assert deaf.returncode == -signal.SIGKILL


def test_skipped_and_left_out_tests_are_named(tmp_path):
    """A test of many cases once; what the desk leaves out, because the stack's own user has verified it, as a number."""
    (tmp_path / "stack.xml").write_text(
        '<testsuites><testsuite><testcase classname="c" name="t"><skipped message="no root"/></testcase>'
        '<testcase classname="c" name="u"/></testsuite></testsuites>'
    )
    (tmp_path / "stack.not-run").write_text("exhaustive f.py::a[1]\nexhaustive f.py::a[2]\nexhaustive f.py::b\n")
    (tmp_path / "prodlike.not-run").write_text("exhaustive f.py::a[1]\nviewpoint f.py::c\nviewpoint f.py::d\n")
    (tmp_path / "kind.not-run").write_text("exhaustive f.py::a[1]\nviewpoint f.py::c\n")
    assert list(testing.not_verified(tmp_path, False)) == [
        "stack: c.t: no root",
        "stack: f.py::a (2 cases): only with --exhaustive",
        "stack: f.py::b: only with --exhaustive",
        "prodlike: 2 tests ran as the stack's own user alone; at the desk only with --exhaustive",
        "kind: 1 exhaustive tests ran on native alone",
    ]


def test_junit_has_what_each_phase_of_a_test_took(tmp_path):
    """Else a test would be blamed for what its neighbours share."""
    file = tmp_path / "junit.xml"
    (tmp_path / "test_own.py").write_text("def test_own():\n    pass\n")
    argv = [sys.executable, "-m", "pytest", "-q", "-c", "pyproject.toml", "-p", "tests.conftest"]
    subprocess.run([*argv, f"--junit-xml={file}", tmp_path], cwd=testing.ROOT, check=True, capture_output=True)
    for phase in ("setup_s", "call_s", "teardown_s"):
        assert f'name="{phase}"' in file.read_text()
