"""What the stack tests share: the running local stack, its clients, and ways to run the toolkit as a person does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from prompt_keda.clients.kube import Kube
from prompt_keda.clients.kube_resources import JOBS, PODS
from prompt_keda.clients.systems import Systems
from prompt_keda.files.environment_file import load_environment
from prompt_keda.lab import state

ROOT = Path(__file__).parents[2]
INSTRUMENT = "prompt-keda-lsstcam"


@pytest.fixture(scope="session")
def endpoints():
    """Where the stack is. `./run test` brings it up; by hand: ./run lab.up."""
    return state.endpoints()


@pytest.fixture
def systems(endpoints):
    """All clients of the environment local, as the person oncall."""
    made = Systems(load_environment(ROOT / "environments" / "local.yaml", endpoints))
    yield made
    made.close()


@pytest.fixture(scope="session")
def admin(endpoints):
    """The API server as its administrator: to break things and to look, independent of the toolkit's own login."""
    return Kube.connect(Path(endpoints["admin_kubeconfig"]), None, timedelta(seconds=10))


def command(*arguments):
    """Give the command line of a task."""
    return [sys.executable, "-m", "invoke", *arguments]


def run_task(*arguments, timeout=300):
    """Run a task to its end as a person would."""
    env = {**os.environ, "CI": "true"}
    return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=timeout, env=env)


def run_json(*arguments):
    """Run a task with --json, and give its exit code and its document."""
    done = run_task(*arguments, "--json")
    assert done.stdout.strip(), f"no document; standard error: {done.stderr}"
    return done.returncode, json.loads(done.stdout)


def until(look, timeout_s=90, what="the state"):
    """Look four times a second until something is true: for what only a client from outside can see."""
    end = time.monotonic() + timeout_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"{what} was not seen within {timeout_s} s"
        time.sleep(0.25)


def active_workers(admin):
    """Give name → UID of the instrument's running Jobs and pods."""
    found = {}
    for resource in (JOBS, PODS):
        for one in admin.list(resource, INSTRUMENT):
            phase = one.get("status", {}).get("phase")
            busy = phase == "Running" if resource is PODS else one.get("status", {}).get("active")
            if busy:
                found[(resource.kind, one["metadata"]["name"])] = one["metadata"]["uid"]
    return found


@pytest.fixture(scope="session")
def deployed(endpoints):
    """KEDA stands, as `redeploy` leaves it."""
    done = run_task("redeploy", "--env", "local")
    assert done.returncode == 0, done.stderr
    return done
