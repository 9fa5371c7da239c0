"""A cluster that was rebuilt is another one, until somebody enrols it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.terminal import until_closed

from .conftest import AT_DESK, ENV, ROOT, at_desk, changed_environment, command, run_json, run_task

pytestmark = pytest.mark.desk_first  # the file is somebody else's there, and an approval is asked for
OLD = {"ca_sha256": "a" * 64, "kube_system_uid": "11111111-aaaa-bbbb-cccc-000000000000"}


@pytest.fixture
def rebuilt(shared, endpoints):
    """An environment's file that knows the cluster as it was before it was rebuilt."""
    words = [(f"${{lab:{key}}}", f"{value} # of the old one") for key, value in OLD.items()]
    file = Path(changed_environment(shared, environment=words))
    file.chmod(0o666)
    return file


def identity(file):
    return yaml.safe_load(file.read_text())["kubernetes"]["identity"]


def test_until_it_is_enrolled_every_write_is_refused(rebuilt, endpoints, admin):
    """redeploy names enrol; enrol shows old and new, and changes nothing without an approval; then the plan works."""
    new = {key: endpoints[key] for key in OLD}
    before = rebuilt.read_text()
    done = subprocess.run(
        [*enrolling("redeploy", rebuilt)], cwd=ROOT, capture_output=True, text=True, env=no_terminal()
    )
    assert done.returncode == 2 and "is another cluster" in done.stderr and "./run enrol --env" in done.stderr
    code, refused = run_json("enrol", "--env", str(rebuilt))
    assert code == 2 and (refused["old"], refused["new"], refused["written"]) == (OLD, new, False)
    assert rebuilt.read_text() == before
    code, document = run_json("enrol", "--env", str(rebuilt), "--approve", refused["digest"])
    assert code == 0 and document["written"] and identity(rebuilt) == new
    changed = before
    for key in OLD:
        changed = changed.replace(OLD[key], new[key])
    assert rebuilt.read_text() == changed, "more than the two values has changed"
    assert run_task("plan", "--env", str(rebuilt)).returncode == 0
    again = run_task("enrol", "--env", str(rebuilt))
    assert again.returncode == 0 and "has this identity already: nothing to do" in again.stdout


def enrolling(task, file):
    return (at_desk if AT_DESK else command)(task, "--env", str(file))


def no_terminal():
    return {**os.environ, "CI": "true"}


@pytest.mark.parametrize(("answer", "code"), [("{name}", 0), ("yes", 2)])
def test_on_a_terminal_the_environments_name_is_typed(rebuilt, endpoints, answer, code):
    """Old and new stand side by side above the question."""
    leader, follower = pty.openpty()
    env = {key: value for key, value in os.environ.items() if key != "CI"} | {"NO_COLOR": "1"}
    with subprocess.Popen(
        enrolling("enrol", rebuilt), cwd=ROOT, stdin=follower, stdout=follower, stderr=follower, env=env
    ) as running:
        os.close(follower)
        os.write(leader, f"{answer.format(name=ENV)}\n".encode())
        output = b"".join(until_closed(leader)).decode()
    os.close(leader)
    assert running.returncode == code, output
    assert "type the environment's name" in output
    shown = "".join(output.split())  # on 80 columns a hash goes over two lines
    assert OLD["ca_sha256"] in shown and endpoints["ca_sha256"] in shown
    assert (identity(rebuilt) == OLD) is (code == 2)


def test_the_local_stacks_own_environment_is_not_enrolled(endpoints):
    """Its identity is filled in by the stack."""
    done = run_task("enrol", "--env", ENV, "--json")
    assert done.returncode == 2 and "the local stack's own" in json.loads(done.stdout)["error"]["what"]
