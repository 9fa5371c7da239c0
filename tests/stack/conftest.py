"""What the stack tests share: the running local stack, its clients, and ways to run the toolkit as a person does.

The suite runs as the stack's own user in the environment local, and with PROMPT_KEDA_TEST_ENV=prodlike at the stack's desk: not
root, only API server, Vault and registry reachable, tokens of some minutes, and no write without an approval. A test is marked
where that makes a difference (the markers are explained in pyproject.toml); else `./run test` runs it as the stack's user alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.resources import JOBS, PODS
from prompt_keda.clients.systems import Systems
from prompt_keda.components.catalogue import ALL_CHECKS
from prompt_keda.core import waiting
from prompt_keda.core.errors import Refusal
from prompt_keda.core.places import runs_folder as own_runs_folder
from prompt_keda.environment.loading import load_environment
from prompt_keda.lab import desk, settings, stack, state, vault_contents, vcluster
from prompt_keda.lab.drilling import find_lack
from prompt_keda.lab.faults.fault import Stage
from prompt_keda.lab.testing import second_stack

if os.environ.get("PYTEST_XDIST_WORKER") == "gw1":
    os.environ.update(second_stack())

ROOT = Path(__file__).parents[2]
TASKS = str(ROOT / "tasks.py")
INSTRUMENT = "prompt-keda-lsstcam"
ENV = os.environ.get("PROMPT_KEDA_TEST_ENV", "local")
AT_DESK = ENV == "prodlike"
IN_VCLUSTER = ENV == "vcluster"
CLUSTER = ROOT / "environments" / ("vcluster.yaml" if IN_VCLUSTER else "local.yaml")
"""The environment whose cluster the suite works on, as the stack's own user."""
NOT_HERE = {check.id for check in ALL_CHECKS if check.id.startswith(("argocd/", "cluster/host-"))}
"""SKIPPED on this stack, and meant so: Argo CD delivers nothing here, and there is no vCluster with a host."""
at_the_stack_only = pytest.mark.stack_only


def pytest_addoption(parser):
    """Take who is to run the stack's cluster."""
    text = "the suite's stack is brought up by it, and taken down at the end, unless it stands: native or kind"
    parser.addoption("--provider", default="", help=text)


def pytest_collection_modifyitems(config, items):
    """Leave out what is meant for the other viewpoint alone."""
    other = "stack_only" if AT_DESK else "desk_only"
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker(other)])
    items[:] = [item for item in items if not item.get_closest_marker(other)]


def runs_folder():
    """Return the folder of the runs of whoever runs the toolkit in this suite."""
    return desk.home(settings.current_lab()) / "state/prompt-keda/runs" if AT_DESK else own_runs_folder()


@pytest.fixture
def shared(tmp_path):
    """A folder that whoever runs the toolkit can read and write."""
    if not AT_DESK:
        yield tmp_path
        return
    with TemporaryDirectory(dir=desk.shared_folder(settings.current_lab())) as folder:
        path = Path(folder)
        path.chmod(0o777)
        yield path


@pytest.fixture(scope="session", autouse=True)
def of_provider(request):
    """With --provider the stack is that provider's: what stands by another one is never tested instead."""
    asked = request.config.getoption("provider")
    if not asked:
        yield
        return
    before = state.status().state
    try:
        stack.up(provider=asked)
        yield
    except Refusal as error:
        pytest.exit(f"{error.what}. {error.fix}", returncode=2)
    finally:
        if before == "down":
            stack.down()


@pytest.fixture(scope="session")
def endpoints():
    """Where the stack is. `./run test` brings it up; by hand: ./run lab.up, or --provider."""
    return state.endpoints()


@pytest.fixture
def systems(endpoints):
    """All clients of the suite's cluster, as the person oncall."""
    made = Systems(load_environment(CLUSTER, endpoints))
    yield made
    made.close()


@pytest.fixture(scope="session")
def admin(endpoints):
    """The API server as its administrator: to inject faults and to look, independent of the toolkit's own login."""
    return Kube.connect(admin_kubeconfig(), None, timedelta(seconds=10))


def admin_kubeconfig():
    """Return the kubeconfig of the administrator of the cluster that the suite works on."""
    lab = settings.current_lab()
    return vcluster.admin_kubeconfig(lab) if IN_VCLUSTER else lab.admin_kubeconfig


def command(*arguments):
    """Return the command line of a task."""
    if not AT_DESK:
        return [sys.executable, TASKS, *arguments]
    return at_desk(*arguments, *(approval(*arguments) if arguments[0] in ("redeploy", "smoke") else ()))


def at_desk(*arguments):
    return desk.command(settings.current_lab(), [sys.executable, TASKS, *arguments])


def approval(*arguments):
    """Return --approve with the digest that a refusal names, as a person reads it; nothing if there is none to approve."""
    asked = [*arguments, *(() if "--json" in arguments else ("--json",))]
    refused = subprocess.run(
        at_desk(*asked), cwd=ROOT, capture_output=True, text=True, timeout=60, env={**os.environ, "CI": "true"}
    )
    digest = json.loads(refused.stdout).get("digest")
    return ("--approve", digest) if digest else ()


def run_task(*arguments, timeout=300, before=()):
    """Run a task to its end as a person would; ``before`` is what runs it. One that takes too long is told to tidy up."""
    env, argv = {**os.environ, "CI": "true"}, [*before, *command(*arguments)]
    with subprocess.Popen(
        argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as running:
        try:
            out, err = running.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            out, err = _told_to_stop(running)
            raise AssertionError(f"{argv} took more than {timeout} s: {out[-2000:]}{err[-2000:]}") from None
    return subprocess.CompletedProcess(argv, running.returncode, out, err)


def _told_to_stop(running):
    running.terminate()
    try:
        return running.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        running.kill()
        return running.communicate()


def run_json(*arguments, before=(), timeout=300):
    """Run a task with --json, and give its exit code and its document."""
    done = run_task(*arguments, "--json", before=before, timeout=timeout)
    assert done.stdout.strip(), f"no document; standard error: {done.stderr}"
    return done.returncode, json.loads(done.stdout)


def until(look, timeout_s=90, what="the state"):
    """Look four times a second until something is true: for what only a client from outside can see."""
    return waiting.until(look, what, timeout_s)


def active_workers(admin):
    """Return name → UID of the instrument's running Jobs and pods."""
    uids = {}
    for resource in (JOBS, PODS):
        for obj in admin.list(resource, INSTRUMENT):
            phase = obj.get("status", {}).get("phase")
            busy = phase == "Running" if resource is PODS else obj.get("status", {}).get("active")
            if busy:
                uids[(resource.kind, obj["metadata"]["name"])] = obj["metadata"]["uid"]
    return uids


@pytest.fixture(scope="session")
def deployed(endpoints):
    """KEDA stands, as `redeploy` leaves it; what that redeploy said, and when it began."""
    began = datetime.now(UTC)
    done = run_task("redeploy", "--env", ENV)
    done.began = began
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="session")
def argocd_stage():
    """A stack on which Argo CD delivers; where it does not the test is skipped."""
    known = state.endpoints()
    if known.get("delivery") != "argocd":
        pytest.skip("this stack has no Argo CD: PROMPT_KEDA_LAB=argo ./run lab.up --with argocd")
    return Stage(load_environment(ROOT / "environments" / "argocd.yaml", known))


@contextmanager
def sealed(endpoints):
    """Seal the stack's Vault for a while."""
    lab, url, ca_file = settings.current_lab(), endpoints["vault_url"], Path(endpoints["ca_file"])
    vault_contents.unseal(lab, url, ca_file).sys.seal()
    try:
        yield
    finally:
        vault_contents.unseal(lab, url, ca_file)


def skip_where_lacking(fault):
    """Skip the test of a fault that the stack cannot have, with what it lacks."""
    if lack := find_lack(fault, Stage(load_environment(CLUSTER, state.endpoints()))):
        pytest.skip(lack.what)


def dependents(ids):
    """Return every check that needs one of these, itself or by way of another."""
    dependent = set(ids)
    while more := {check.id for check in ALL_CHECKS if set(check.needs) & dependent and not check.deep} - dependent:
        dependent |= more
    return dependent


@pytest.fixture(scope="module")
def planted(deployed, endpoints, admin, tmp_path_factory):
    """The stack with planted secrets in it, and an environment that uses them."""
    from .planted_stack import PlantedStack

    owner = Systems(load_environment(CLUSTER, endpoints))
    made = PlantedStack(tmp_path_factory.mktemp("planted"), endpoints, admin, owner.redis)
    with made.all_planted():
        yield made
    owner.close()


def changed_environment(folder, *, environment=(), manifest=()):
    """Write the suite's environment into a folder, with some words replaced in it or in its instrument's manifest.

    Parameters
    ----------
    environment, manifest
        Pairs of words: each old one, which has to be there, and the new one.
    """
    own, name = folder / "worker.yaml", "local/prompt-keda-lsstcam.yaml"
    own.write_text(_replaced((ROOT / "environments" / name).read_text(), manifest))
    file = folder / f"{ENV}.yaml"
    text = (ROOT / "environments" / f"{ENV}.yaml").read_text()
    file.write_text(_replaced(text, [*environment, (name, str(own))]))
    return str(file)


def _replaced(text, pairs):
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


def work_time(seconds):
    """Return the words of the manifest that let a worker work so long on each event."""
    return (('{name: WORK_TIME, value: "5"}', f'{{name: WORK_TIME, value: "{seconds}"}}'),)


def forget_what_is_pending(redis, stream="instrument:lsstcam", group="lsstcam_consumer_group"):
    """Acknowledge what a worker had read when it was deleted: other tests look at what is pending.

    For Redis a deleted pod's connection lives on for minutes, and would be given the next events: all are cut first.
    """
    redis.client_kill_filter(_type="normal", skipme=True)
    pending = redis.xpending_range(stream, group, "-", "+", 1000)
    if pending:
        redis.xack(stream, group, *(event["message_id"] for event in pending))
