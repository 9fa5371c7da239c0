"""What is refused is refused before any write: another cluster, no approval, Argo CD, an open value, a wrong number."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager

import pytest

from prompt_keda import toolkit
from prompt_keda.clients import kube_resources as kinds
from prompt_keda.errors import JournalMismatch, Refusal
from prompt_keda.model.event import nobody
from prompt_keda.redeploy.approval import MARKER
from prompt_keda.redeploy.modes import Wishes
from tests.runs import unfinished_run

from .world import World

WRITES = ("apply", "create", "patch", "delete")
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "keda"}}


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A cluster in order, whose every write is an error; runs are recorded in a folder of the test's own."""
    made = World()
    made.put(kinds.CONFIG_MAPS, MARKER, "kube-system")
    data = json.dumps([NAMESPACE]).encode()
    (tmp_path / "keda.json").write_bytes(data)
    pinned = {"source": str(tmp_path / "keda.json"), "sha256": hashlib.sha256(data).hexdigest()}
    keda = made.systems.environment.keda
    change(made, keda=keda.model_copy(update={"manifests": keda.manifests.model_copy(update=pinned)}), instruments=())
    for name in WRITES:
        monkeypatch.setattr(made.kube, name, lambda *a, _name=name, **k: pytest.fail(f"{_name} was called"))

    @contextmanager
    def systems(name):
        yield made.systems

    monkeypatch.setattr(toolkit, "_systems", systems)
    monkeypatch.setattr(toolkit, "load", lambda name: made.systems.environment)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return made


def change(world, **values):
    world.systems.environment = world.systems.environment.model_copy(update=values)


def made_anew(world):
    """Make the cluster another one, which the environment knows."""
    key = (kinds.NAMESPACES, None, "kube-system")
    world.kube._objects[key]["metadata"]["uid"] = "another"
    kubernetes(world, kube_system_uid="another")


def redeploy(approve="", ask=None):
    return toolkit.redeploy("local", Wishes(), approve, nobody, ask)


def resume(run_id="", approve="", ask=None):
    return toolkit.resume("local", run_id, approve, nobody, ask)


def smoke(approve="", ask=None, events=0):
    return toolkit.run_smoke("local", events, approve, nobody, ask)


def kubernetes(world, **values):
    settings = world.systems.environment.kubernetes
    identity = settings.identity.model_copy(update=values)
    change(world, kubernetes=settings.model_copy(update={"identity": identity}))


def delivered_by_argo_cd(world):
    change(world, keda=world.systems.environment.keda.model_copy(update={"delivery": "argocd"}))


def with_an_open_value(world):
    change(world, smoke=world.systems.environment.smoke.model_copy(update={"image": toolkit_fill_in()}))


def toolkit_fill_in():
    from prompt_keda.model.environment import FillIn

    return FillIn("FILL-IN: ask the owners")


def without_marker(world):
    world.kube._objects = {k: v for k, v in world.kube._objects.items() if k[2] != MARKER}


CASES = [
    (lambda world: kubernetes(world, ca_sha256="1" * 64), "another cluster"),
    (lambda world: kubernetes(world, kube_system_uid="another"), "another cluster"),
    (delivered_by_argo_cd, "Argo CD"),
    (with_an_open_value, "does not say smoke.image"),
    (without_marker, "no local stack"),
    (lambda world: change(world, approval="confirm"), "no terminal to ask"),
    (lambda world: change(world, approval="digest"), "no terminal to ask"),
]


@pytest.mark.parametrize("work", [redeploy, smoke])
@pytest.mark.parametrize(("break_it", "said"), CASES)
def test_it_is_refused_before_any_write(world, work, break_it, said):
    """Exit code 2, and one message that says why."""
    break_it(world)
    with pytest.raises(Refusal, match=said):
        work()
    assert unfinished_run(toolkit.runs_folder(), "local") is None


@pytest.mark.parametrize("work", [redeploy, smoke])
@pytest.mark.parametrize(
    ("approval", "approve", "answer"),
    [("digest", "0123456789abcdef", None), ("digest", "", "prod\n"), ("confirm", "", "y\n"), ("confirm", "", "")],
)
def test_another_digest_and_another_answer_do_not_approve(world, work, approval, approve, answer):
    """The environment's name in full, yes in full, and the very digest."""
    change(world, approval=approval)
    with pytest.raises(Refusal) as caught:
        work(approve, (lambda question: answer) if answer is not None else None)
    assert len(caught.value.parts["digest"]) == 16


@pytest.mark.parametrize("work", [redeploy, smoke])
@pytest.mark.parametrize(("approval", "answer"), [("digest", "local\n"), ("confirm", "yes\n"), ("digest", None)])
def test_what_is_approved_goes_on_to_write(world, work, approval, answer, monkeypatch):
    """Typed, or by the digest that the refusal named: the first write is then tried."""
    change(world, approval=approval)
    digest = ""
    if answer is None:
        with pytest.raises(Refusal) as caught:
            work()
        digest = caught.value.parts["digest"]
    with pytest.raises(pytest.fail.Exception, match="was called"):
        work(digest, (lambda question: answer) if answer else None)


@pytest.mark.parametrize("events", [-1, 101])
def test_a_number_of_events_out_of_its_range_is_refused(world, events):
    """Below, it means nothing; above, the history limit would eat the evidence (F48)."""
    with pytest.raises(Refusal, match="between 1 and 100"):
        smoke(events=events)


def interrupted_run(world):
    """Give the folder of a run that was killed before its first write."""
    with pytest.raises(pytest.fail.Exception):
        redeploy()
    return unfinished_run(toolkit.runs_folder(), "local")


def test_a_run_whose_inputs_have_changed_is_not_resumed(world):
    """And the difference is named."""
    assert interrupted_run(world)
    change(world, description="another")
    with pytest.raises(JournalMismatch, match="changed since it was planned: environment"):
        resume()


def test_a_run_of_another_environment_is_not_resumed(world):
    """Its approval was for that one."""
    run = interrupted_run(world)
    change(world, name="other")
    with pytest.raises(Refusal, match="is one of environment local, not of other"):
        resume(run.run_id)


def test_a_run_on_another_cluster_of_the_same_name_is_not_resumed(world):
    """A second local stack, or one that was made anew: its runs are its own."""
    assert interrupted_run(world)
    made_anew(world)
    with pytest.raises(Refusal, match="no interrupted run"):
        resume()


def test_a_run_that_was_refused_does_not_hide_an_interrupted_one(world, monkeypatch):
    """The lock was held by somebody: that run wrote nothing, and resume goes on with the one before."""
    first = interrupted_run(world)
    monkeypatch.setattr(toolkit, "run_plan", refuse)
    monkeypatch.setattr("prompt_keda.files.run_folder.os.getpid", lambda: 4_000_000)
    with pytest.raises(Refusal):
        redeploy()
    assert unfinished_run(toolkit.runs_folder(), "local").run_id == first.run_id
    with pytest.raises(Refusal):
        resume()
    assert unfinished_run(toolkit.runs_folder(), "local").run_id == first.run_id


def refuse(*arguments):
    raise Refusal("another redeploy is under way")
