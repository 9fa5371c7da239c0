"""Streams that are full, closed or not UTF-8, records that a disk has spoilt, folders that nobody may write: one message each."""

from __future__ import annotations

import io
import json
import os
import pty
import shutil
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from prompt_keda.core.check import CheckResult, Verdict
from prompt_keda.core.event import Event, EventKind
from prompt_keda.records.incident import Incident
from prompt_keda.records.kept_json import read_kept
from prompt_keda.records.record import RunFolder
from prompt_keda.records.run_history import runs_kept
from prompt_keda.report import as_json, layout
from prompt_keda.report.checks_as_text import show_checks
from prompt_keda.report.layout import console_of
from prompt_keda.report.live_checks import LiveChecks
from prompt_keda.report.progress import ProgressPrinter
from tests.runs import cluster_of
from tests.terminal import until_closed
from tests.unit.test_house_rules import ROOT

TASKS = str(ROOT / "tasks.py")


def shell(line, **env):
    """Run a task with redirections, as a shell makes them; gives its exit code and what it said."""
    kept = {key: value for key, value in os.environ.items() if key != "PROMPT_KEDA_ENV"}
    argv = ["bash", "-c", f'exec "$0" "$1" {line}', sys.executable, TASKS]
    return subprocess.run(argv, cwd=ROOT, env={**kept, **env}, capture_output=True, timeout=60)


@pytest.mark.parametrize("task", ["runbooks", "--list", "check-deps --env nowhere/x --json"])
def test_a_full_standard_output_ends_with_3_and_one_message(task):
    """The result went nowhere; of a refusal its own code stays out of reach, and its message stands on standard error."""
    done = shell(f"{task} >/dev/full")
    (*_, last) = done.stderr.decode().splitlines()
    assert done.returncode == 3 and last == "failed: standard output cannot be written: No space left on device"
    assert b"Traceback" not in done.stderr and b"Exception" not in done.stderr


@pytest.mark.parametrize("task", ["runbooks", "runbooks --json", "--list"])
def test_a_reader_that_has_gone_ends_it_with_3_and_says_nothing(task):
    """As behind `head`: whoever closed the pipe has read enough."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as nobody_reads:
        argv = [sys.executable, TASKS, *task.split()]
        done = subprocess.run(argv, cwd=ROOT, stdout=nobody_reads, stderr=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stderr) == (3, b"")


def test_a_closed_standard_output_is_refused_before_anything_is_done():
    """Else a file of ours would become standard output, and be written over."""
    done = shell("runbooks >&-")
    assert (done.returncode, done.stderr) == (2, b"refused: standard output is closed: nobody would get the result\n")


@pytest.mark.parametrize("closed", ["2>&-", "2>&- <&-"])
def test_other_streams_that_are_closed_change_nothing(closed):
    """A daemon has none of them. What would go to standard error goes nowhere: never among the data."""
    done = shell(f"runbooks --json {closed}")
    assert done.returncode == 0 and json.loads(done.stdout)["task"] == "runbooks"
    refused = shell(f"redeploy {closed}")
    assert (refused.returncode, refused.stdout) == (2, b"")


@pytest.mark.parametrize("flags", ["--bogus --json", "-j --env"])
def test_a_command_line_that_is_not_understood_is_a_document_with_json(flags):
    """One, with the refusal and the exit code; the message stands on standard error as well."""
    done = shell(f"check-deps {flags}")
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_code"] == 2 and document["task"] == "check-deps"
    assert document["error"]["what"].startswith("refused: ") and document["error"]["fix"]
    assert done.stderr.decode().startswith("refused: ")


def test_what_follows_two_dashes_asks_for_no_document():
    """It is another program's."""
    assert shell("lab.status --bogus -- --json").stdout == b""


@pytest.mark.parametrize("env", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}])
def test_an_encoding_that_lacks_our_symbols_is_no_error(env):
    """Lists, help, reports and refusals."""
    for task in ("--list", "runbooks"):
        done = shell(task, **env)
        assert done.returncode == 0 and done.stdout, done.stderr
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("env", "is_ascii"),
    [
        ({}, False),
        ({"LC_ALL": "C"}, True),
        ({"LANG": "C"}, True),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True),
        ({"LANG": "C", "LC_ALL": "C.UTF-8"}, False),
        ({"LANG": "en_US.UTF-8"}, False),
        ({"LANG": "C", "PYTHONIOENCODING": "utf-8"}, False),
    ],
)
def test_the_locale_c_asks_for_ascii(monkeypatch, env, is_ascii):
    """Python would write UTF-8 there, and sets LC_CTYPE by itself. Without any locale, as in a container, it may."""
    for name in ("LC_ALL", "LC_CTYPE", "LANG", "PYTHONIOENCODING"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    stream = io.StringIO()
    show_checks(
        [CheckResult("a/b", "t", Verdict.OK, "", "", "", "", "", datetime.now(UTC), 0.0)], "", False, console_of(stream)
    )
    assert stream.getvalue().isascii() == is_ascii


def test_a_word_that_the_encoding_lacks_becomes_question_marks():
    """What somebody has named in Redis ends no report."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    layout.make_safe(stream)
    stream.write("Größe … ✓ 日本")
    stream.flush()
    assert raw.getvalue() == b"Gr??e ... + ??"


COLOURS = ("\x1b[31", "\x1b[32", "\x1b[33", "\x1b[1;31", "\x1b[1;33", "\x1b[36")


@pytest.mark.parametrize("no_color", ["", "1"])
def test_no_color_takes_the_colour_and_leaves_the_live_lines(monkeypatch, no_color):
    """A clock and a reason are no colour."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("NO_COLOR", no_color)
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        for watcher in (ProgressPrinter(terminal), LiveChecks(("a/b",), terminal)):
            watcher(Event(EventKind.STARTED, "a/b", "working", "it waits"))
            watcher(Event(EventKind.FINISHED, "a/b", "fail", "it failed"))
            watcher.close()
    output = b"".join(until_closed(ours)).decode()
    os.close(ours)
    assert "it failed" in output and "\x1b[2K" in output
    assert any(colour in output for colour in COLOURS) != bool(no_color)


@pytest.mark.parametrize("width", ["0", "60", "500"])
def test_live_lines_fit_whatever_columns_says(monkeypatch, width):
    """COLUMNS=0 is no width; a line that is longer than the terminal could not be drawn over."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", width)
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        progress = ProgressPrinter(terminal)
        progress(Event(EventKind.PROGRESS, "install/parts", "working", "long words " * 80))
        (stage,) = progress._stages.values()
        assert len(stage.__rich__().plain) <= (int(width) or 80)
        assert stage.__rich__().plain.endswith("… 0 s")
        progress.close()
    os.close(ours)


def test_progress_without_a_standard_error_is_silent(monkeypatch, capsys):
    """It never goes among the data."""
    monkeypatch.setattr(sys, "stderr", None)
    ProgressPrinter()(Event(EventKind.NOTE, "a", "", "news"))
    assert capsys.readouterr().out == ""


RUBBISH = ["NaN", "Infinity", "-Infinity", "1e999", "1" * 5000, "[" * 100_000, "1e300", "-1", "true", '"9"', "null"]


@pytest.mark.parametrize("number", RUBBISH)
def test_a_time_that_cannot_be_makes_a_run_damaged(tmp_path, number):
    """It is told with its folder, and all other runs are as they were."""
    for run_id, time in (("20260101t000000z-local-1", number), ("20260102t000000z-local-1", "12.5")):
        run = RunFolder(tmp_path / run_id)
        run.path.mkdir()
        run.write_json("plan.json", {"mode": "repair"})
        run.write_text("report.json", '{"timings": {"recovery": ' + time + "}}")
    runs, damaged = runs_kept(tmp_path, "", "me@here")
    assert [run.recovery_s for run in runs] == [12.5] and len(damaged) == 1


@pytest.mark.parametrize("text", ["NaN", "1e999", "[" * 100_000, "1" * 5000, "{"])
def test_what_is_kept_is_read_strictly(tmp_path, text):
    """An incident's document that nobody can read is left out; a line of a journal as well."""
    with pytest.raises(ValueError):
        read_kept(text)
    incident = Incident.open_(tmp_path, cluster_of("local"), "why", "me")
    incident.keep("a", {"x": 1})
    (incident.path / "002-b.json").write_text(text)
    with (incident.path / "journal.jsonl").open("a") as journal:
        journal.write(text + "\n")
    assert incident.documents() == [{"x": 1}] and len(incident.entries) == 1 and incident.story()


def test_a_document_holds_no_number_that_is_none():
    """NaN is not JSON: other programs refuse the whole of it."""
    parts = {"a": float("nan"), "b": [float("inf"), {"c": 1.5}], "d": (1,)}
    document = json.loads(as_json.document("t", "e", 0, as_json.Began(), parts), parse_constant=pytest.fail)
    assert document["schema"] == as_json.SCHEMA
    assert {key: document[key] for key in parts} == {"a": None, "b": [None, {"c": 1.5}], "d": [1]}


READ_ONLY = ["unshare", "--user", "--map-root-user", "--mount", "--"]
HOLD = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'


def read_only(folder, *argv, **env):
    """Run a program while a folder is read-only for everybody, also for root."""
    line = [*READ_ONLY, "sh", "-c", HOLD, "sh", str(folder), *map(str, argv)]
    return subprocess.run(line, cwd="/", env={**os.environ, **env}, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def mount_namespaces(tmp_path_factory):
    if read_only(tmp_path_factory.mktemp("ro"), "true").returncode:
        pytest.skip("this machine lets nobody make a mount namespace")


def test_a_read_only_clone_without_its_environment_says_so(mount_namespaces, tmp_path):
    """What to do stands beside it; pip and venv are not blamed."""
    for name in ("run", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    done = read_only(tmp_path, tmp_path / "run", "--list")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith(f"run: {tmp_path}/.venv cannot be made: ") and "Copy" in done.stderr


@pytest.mark.parametrize("program", ["true", "[ \"$2\" != 'import bcrypt' ]", "false"])
def test_an_environment_whose_packages_cannot_be_loaded_is_made_anew(tmp_path, program):
    """It may come from a container with another Python, which starts here as well and finds nothing."""
    shutil.copy(ROOT / "run", tmp_path / "run")
    (tmp_path / "requirements.lock").touch()
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries.parent / "made-from.lock").touch()
    (binaries / "python").write_text(f"#!/bin/sh\n{program}\n")
    (binaries / "python").chmod(0o755)
    path = tmp_path / "path"
    path.mkdir()
    for name in ("bash", "cmp", "dirname", "env", "readlink"):
        (path / name).symlink_to(shutil.which(name))
    done = subprocess.run(
        [tmp_path / "run", "--list"], env={"PATH": str(path)}, capture_output=True, text=True, timeout=60
    )
    assert ("Python 3.11 or newer is not on the PATH" in done.stderr) == (program != "true"), done.stderr


def test_a_read_only_clone_that_has_its_environment_works(mount_namespaces):
    """Nothing of a look is written into it."""
    done = read_only(ROOT, sys.executable, TASKS, "runbooks")
    assert done.returncode == 0 and "keda-gone" in done.stdout, done.stderr


def test_a_state_folder_without_rights_is_one_refusal(mount_namespaces, tmp_path):
    """Before anything is done: what cannot be written down cannot be resumed."""
    argv = [sys.executable, TASKS, "note", "seen", "--env", "prod"]
    done = read_only(tmp_path, *argv, XDG_STATE_HOME=str(tmp_path))
    assert done.returncode == 2 and done.stderr.startswith("refused: "), done.stderr
    assert (
        str(tmp_path) in done.stderr and "Read-only file system" in done.stderr and len(done.stderr.splitlines()) == 2
    )
