"""What somebody writes into the cluster or Redis can neither steer a terminal nor forge a line of ours."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from xml.etree import ElementTree

import pytest

from prompt_keda.core.untrusted import UNSAFE
from prompt_keda.environment.loading import load_environment
from prompt_keda.lab.faults.fault import Stage
from tests.terminal import run_on_terminal

from .conftest import ROOT, at_the_stack_only, command, run_task
from .hostile import FORGED, SHOWN_BY, everywhere, evil, lock

pytestmark = at_the_stack_only  # what is written into the stack needs its administrator
OURS = re.compile(r"\x1b\[(?:0|1|2|31|32|33)(?:;(?:1|2|31|32|33))*m|\x1b\[\?25[lh]|\x1b\[\d*A|\x1b\[2K")
"""The colours of a verdict, and how rich draws over its live lines."""


@pytest.fixture(scope="module")
def stage(deployed, endpoints):
    return Stage(load_environment(ROOT / "environments" / "local.yaml", endpoints))


@pytest.fixture(scope="module")
def hostile(stage, admin):
    """Each place holds a text that would steer a terminal."""
    with everywhere(admin, stage):
        yield


def on_terminal(*arguments):
    """Run a task on a terminal; gives its exit code and what was shown, without what is drawn by rich itself."""
    code, output = run_on_terminal(command(*arguments), {**os.environ, "CI": "true"}, ROOT)
    shown = re.sub(r"\r+\n|\r(?=\x1b\[(?:2K|\d*A))", "\n", output.decode())
    return code, OURS.sub("", shown)


def unsafe(text):
    """Return the names of all characters that must not be there; what ends a line of ours may."""
    return {repr(line) for line in text if unicodedata.category(line) in UNSAFE and line != "\n"}


def forged(text):
    return [line for line in text.split("\n") if line.strip().startswith(FORGED)]


def piped(*arguments):
    """Run a task without a terminal; gives its exit code and all that it said."""
    done = run_task(*arguments)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("terminal", [True, False])
def test_a_redeploy_that_is_refused_lets_no_text_through(deployed, admin, terminal):
    """Who holds the lock is a text of somebody's: in the progress, and in the refusal. Before anything else is hostile."""
    with lock(admin):
        code, text = (on_terminal if terminal else piped)("redeploy", "--env", "local")
    assert code == 2 and text.count("<holder>") >= 2, text
    assert unsafe(text) == set() and forged(text) == []


@pytest.mark.parametrize("terminal", [True, False])
def test_no_check_lets_a_text_through(hostile, terminal):
    """Annotations, messages, names in Redis: each is shown, and none of it does anything."""
    _, text = (on_terminal if terminal else piped)("check-deps", "--env", "local", "--verbose")
    missing = {marker for marker in SHOWN_BY if f"<{marker}>" not in text}
    assert missing == set() and unsafe(text) == set() and forged(text) == []


def test_each_text_is_shown_by_the_check_that_should(hostile):
    """Otherwise the test above would prove nothing; in JSON it stands as it is, and escaped."""
    done = run_task("check-deps", "--env", "local", "--json")
    texts = {result["id"]: f"{result['observed']} {result['detail']}" for result in json.loads(done.stdout)["results"]}
    assert {marker for marker, id_ in SHOWN_BY.items() if evil(marker) not in texts[id_]} == set()
    assert unsafe(done.stdout) == set() and done.stdout.isascii()


def test_no_report_lets_a_text_through(hostile, tmp_path):
    """JUnit and picture: they can be read, and hold no such character."""
    files = [tmp_path / "junit.xml", tmp_path / "picture.svg"]
    run_task("check-deps", "--env", "local", "--junit", str(files[0]), "--svg", str(files[1]))
    for file in files:
        text = file.read_text()
        assert ElementTree.fromstring(text) is not None
        assert "run" in text and unsafe(text) == set()


@pytest.mark.parametrize("terminal", [True, False])
def test_a_plan_lets_no_text_through(hostile, terminal):
    """What each step sees now, and which Jobs are annotated first."""
    _, text = (on_terminal if terminal else piped)("plan", "--env", "local", "--verbose")
    assert "<holder>" in text and "<generation>" in text
    assert unsafe(text) == set() and forged(text) == []
