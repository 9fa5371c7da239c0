"""The command line: exit codes and messages of what is wrong before any task begins, and one document with --json."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.in_process import run_in_process

from .test_house_rules import ROOT

TASKS = str(ROOT / "tasks.py")


def run(*arguments, cwd=ROOT, **env):
    argv = [sys.executable, TASKS, *arguments]
    kept = {key: value for key, value in os.environ.items() if key != "PROMPT_KEDA_ENV"}
    return subprocess.run(argv, cwd=cwd, env={**kept, **env}, capture_output=True, text=True, timeout=60)


@pytest.fixture
def refused(capsys, monkeypatch):
    """Return a way to run a task that is refused."""
    monkeypatch.delenv("PROMPT_KEDA_ENV", raising=False)
    return lambda *arguments: run_in_process(monkeypatch, capsys, ROOT, *arguments)


def test_a_refusal_is_the_exit_code_of_the_process():
    """As a shell sees it: all of tasks.py, and Python's own end."""
    done = run("redeploy")
    assert (done.returncode, done.stdout) == (2, "") and "say which environment" in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nosuchtask"], "nosuchtask"),
        (["check-deps", "--bogus"], "--bogus"),
        (["check-deps", "--env"], "env"),
        (["smoke", "--env", "local", "--events", "abc"], "--events abc is no whole number"),
        (["smoke", "--env", "local", "--full", "--events", "3"], "--events is not for --full"),
        (["smoke", "--env", "local", "--only", "lag"], "--only is for --full"),
        (["smoke", "--env", "local", "--full", "--only", "lga"], "no case fits 'lga'"),
        (["check-deps", "--timeout", "soon"], "--timeout soon"),
        (["check-deps", "--env", "prod", "--only", "redis", "--junit", "/nowhere/j.xml"], "/nowhere/j.xml"),
        (["check-deps", "--env", "prod", "--only", "redis/answers,valut"], "no check fits 'valut'"),
        (["check-deps", "--env", "prod", "--only", "redis", "--skip", "redis"], "--skip leaves no check"),
        (["redeploy"], "say which environment"),
        (["redeploy", "--env", "prd"], "Did you mean prod"),
        (["lab.exec"], "nothing to run"),
        (["drill"], "say which fault to inject"),
        (["drill", "--all", "--fault", "keda/paused"], "in one way"),
        (["drill", "--rest", "--rounds", "2"], "not for a chaos run"),
        (["drill", "--seed", "x"], "--seed x"),
        (["drill", "--rounds", "-3"], "--rounds -3 is too few"),
        (["bench", "--rounds", "-3"], "--rounds -3 is too few"),
        (["bench", "--rounds", "0"], "--rounds 0 is too few"),
        (["fault", "no/such"], "there is no fault"),
        (["fault", "", "--revert"], "there is no fault"),
        (["test", "--quick", "--exhaustive"], "--quick is not for --exhaustive"),
        (["test", "--quick", "--junit", "/nowhere/j.xml"], "/nowhere/j.xml"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_2(refused, arguments, message):
    """One message, no traceback, nothing on standard output."""
    code, out, err = refused(*arguments)
    assert (code, out) == (2, "") and message in err, err
    assert "Traceback" not in err


@pytest.mark.parametrize("task", ["plan", "redeploy", "smoke", "prepare", "resume"])
def test_with_json_an_error_is_a_document_too(refused, task):
    """The same exit code as in text, with what is wrong and what to do."""
    code, out, _ = refused(task, "--env", "nowhere/x.yaml", "--json")
    document = json.loads(out)
    assert code == document["exit_code"] == 2
    assert document["task"] == task and document["environment"] == "nowhere/x.yaml"
    assert "nowhere/x.yaml" in document["error"]["what"]
    assert {"schema", "started_at", "duration_s"} <= set(document)


def test_the_environment_comes_from_the_variable():
    """$PROMPT_KEDA_ENV, where no --env is given."""
    assert "does not say keda.manifests.source" in run("redeploy", PROMPT_KEDA_ENV="prod").stderr


def test_a_path_is_taken_from_where_the_person_is(tmp_path):
    """`run` can be called from any folder."""
    (tmp_path / "mine.yaml").write_text("name: mine\n")
    done = subprocess.run([ROOT / "run", "plan", "--env", "./mine.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "mine.yaml:1:1: approval: this key is missing" in done.stderr


def test_a_reader_that_goes_away_ends_with_3():
    """`… --json | head`: no traceback; nobody got the result."""
    reader, writer = os.pipe()
    os.close(reader)
    argv = [sys.executable, TASKS, "lab.status", "--json"]
    done = subprocess.run(argv, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert done.returncode == 3 and done.stderr == ""


INTERRUPTS = (
    "import os, signal, sys\nif sys.orig_argv[1].endswith('tasks.py'):\n    os.kill(os.getpid(), signal.SIGINT)\n"
)


@pytest.mark.parametrize("module", ["sitecustomize", "invoke"])
def test_an_early_interrupt_is_one_line_and_130(module, tmp_path):
    """Ctrl-C while Python itself starts, and while it imports: no traceback."""
    (tmp_path / f"{module}.py").write_text(INTERRUPTS)
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([ROOT / "run", "--list"], env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr, done.stdout) == (130, "stopped\n", "")


@pytest.mark.parametrize(
    ("name", "ignored", "message"), [("SIGTERM", 0, "stopped"), ("SIGHUP", 0, "stopped"), ("SIGHUP", 1, "went on")]
)
def test_a_terminal_that_is_closed_stops_a_task_as_ctrl_c_does(name, ignored, message):
    """Else its lock would be kept, and what it broke would stay broken. Behind nohup it goes on."""
    program = (
        "import os, signal, tasks\n"
        f"signal.signal(signal.SIGHUP, signal.SIG_IGN if {ignored} else signal.SIG_DFL)\n"
        "tasks._stop_on_signals()\n"
        "try:\n"
        f"    os.kill(os.getpid(), signal.{name})\n"
        "    print('went on')\n"
        "except KeyboardInterrupt:\n"
        "    print('stopped')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{message}\n", "")


def test_a_message_fits_the_terminal(refused, monkeypatch):
    """What happened and what to do go on below themselves, and a file for kubectl is no environment that one could mean."""
    monkeypatch.setenv("COLUMNS", "60")
    code, _, err = refused("plan", "--env", "nosuchenvironment")
    assert code == 2 and max(map(len, err.splitlines())) <= 60, err
    assert "prodlike" in err and "watch" not in err
