"""What is refused is refused before any write: another cluster, no approval, an open value, a wrong number."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.commands import redeploy as redeploying
from prompt_keda.commands import smoke as smoke_command
from prompt_keda.core.errors import JournalMismatch, Refusal, Refused, Unexpected
from prompt_keda.core.event import nobody
from prompt_keda.core.places import runs_folder
from prompt_keda.core.plan import Step
from prompt_keda.core.run_plan import GO_ON, run_plan
from prompt_keda.records.lock import STATE_NAMESPACE
from prompt_keda.records.record import JournalFile, RunFolder
from prompt_keda.records.run_record import portable_plan
from prompt_keda.redeploy import planner
from prompt_keda.redeploy.approval import MARKER, smoke_digest
from prompt_keda.redeploy.cluster_copy import GREEN, PLAN, STATE, ClusterCopy
from prompt_keda.redeploy.modes import RedeployOptions
from prompt_keda.report import failure
from tests.runs import unfinished_run
from tests.unit.redeploy.test_cluster_copy import packed
from tests.unit.world import World

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

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return made


def change(world, **values):
    world.systems.environment = world.systems.environment.model_copy(update=values)


def made_anew(world):
    """Make the cluster another one, which the environment knows."""
    key = (kinds.NAMESPACES, None, "kube-system")
    world.kube._objects[key]["metadata"]["uid"] = "another"
    kubernetes(world, kube_system_uid="another")


def redeploy(world, approve="", ask=None):
    return redeploying.redeploy(world.session, RedeployOptions(), approve, nobody, ask)


def resume(world, run_id="", approve="", ask=None):
    return redeploying.resume(world.session, run_id, approve, nobody, ask)


def smoke(world, approve="", ask=None, events=0):
    return smoke_command.run_smoke(world.session, events, approve, nobody, ask)


def full_smoke(world, approve="", ask=None, only=""):
    return smoke_command.run_full_smoke(world.session, smoke_command.choose_cases(only), approve, nobody, ask)


def kubernetes(world, **values):
    settings = world.systems.environment.kubernetes
    identity = settings.identity.model_copy(update=values)
    change(world, kubernetes=settings.model_copy(update={"identity": identity}))


def with_an_open_value(world):
    change(world, smoke=world.systems.environment.smoke.model_copy(update={"image": toolkit_fill_in()}))


def toolkit_fill_in():
    from prompt_keda.environment.model import FillIn

    return FillIn("FILL-IN: ask the owners")


def without_marker(world):
    world.kube._objects = {k: v for k, v in world.kube._objects.items() if k[2] != MARKER}


CASES = [
    (lambda world: kubernetes(world, ca_sha256="1" * 64), "another cluster"),
    (lambda world: kubernetes(world, kube_system_uid="another"), "another cluster"),
    (with_an_open_value, "does not say smoke.image"),
    (without_marker, "no local stack"),
    (lambda world: change(world, approval="confirm"), "no terminal to ask"),
    (lambda world: change(world, approval="digest"), "no terminal to ask"),
]


@pytest.mark.parametrize("work", [redeploy, smoke, full_smoke])
@pytest.mark.parametrize(("inject", "message"), CASES)
def test_it_is_refused_before_any_write(world, work, inject, message):
    """Exit code 2, and one message that says why."""
    inject(world)
    with pytest.raises(Refusal, match=message):
        work(world)
    assert unfinished_run(runs_folder(), "local") is None


@pytest.mark.parametrize("work", [redeploy, smoke, full_smoke])
@pytest.mark.parametrize(
    ("approval", "approve", "answer"),
    [("digest", "0123456789abcdef", None), ("digest", "", "prod\n"), ("confirm", "", "y\n"), ("confirm", "", "")],
)
def test_another_digest_and_another_answer_do_not_approve(world, work, approval, approve, answer):
    """The environment's name in full, yes in full, and the very digest."""
    change(world, approval=approval)
    with pytest.raises(Refusal) as caught:
        work(world, approve, (lambda question: answer) if answer is not None else None)
    assert len(caught.value.parts.digest) == 16


@pytest.mark.parametrize("work", [redeploy, smoke, full_smoke])
@pytest.mark.parametrize(("approval", "answer"), [("digest", "local\n"), ("confirm", "yes\n"), ("digest", None)])
def test_what_is_approved_goes_on_to_write(world, work, approval, answer, monkeypatch):
    """Typed, or by the digest that the refusal named: the first write is then tried."""
    change(world, approval=approval)
    digest = ""
    if answer is None:
        with pytest.raises(Refusal) as caught:
            work(world)
        digest = caught.value.parts.digest
    with pytest.raises(pytest.fail.Exception, match="was called"):
        work(world, digest, (lambda question: answer) if answer else None)


@pytest.mark.parametrize("events", [-1, 101])
def test_a_number_of_events_out_of_its_range_is_refused(world, events):
    """Below, it means nothing; above, the history limit would eat the evidence (F48)."""
    with pytest.raises(Refusal, match="between 1 and 100"):
        smoke(world, events=events)


def test_a_case_that_is_not_there_is_refused(world):
    """With the ids of those that are."""
    with pytest.raises(Refusal, match="no case fits 'egaer'") as caught:
        full_smoke(world, only="strategy,egaer")
    assert "strategy/eager" in caught.value.fix


def test_the_acceptance_suite_has_a_digest_of_its_own(world):
    """Who approved the smoke test has not approved the suite, nor who approved some cases all of them."""
    change(world, approval="digest")
    digests = {smoke_digest(world.systems.environment)}
    for only in ("", "lag", "strategy/eager"):
        with pytest.raises(Refusal, match="acceptance suite") as caught:
            full_smoke(world, only=only)
        digests.add(caught.value.parts.digest)
    assert len(digests) == 4
    with pytest.raises(Refusal, match="is not the digest"):
        full_smoke(world, approve=smoke_digest(world.systems.environment))


def interrupted_run(world):
    """Return the folder of a run that was killed before its first write."""
    with pytest.raises(pytest.fail.Exception):
        redeploy(world)
    return unfinished_run(runs_folder(), "local")


def test_a_run_whose_inputs_have_changed_is_not_resumed(world):
    """And the difference is named."""
    assert interrupted_run(world)
    change(world, description="another")
    with pytest.raises(JournalMismatch, match="changed since it was planned: environment"):
        resume(world)


def test_a_run_of_a_toolkit_with_other_steps_is_not_resumed(world, monkeypatch):
    """A step or stage was renamed since: what its journal says is done cannot be told any more."""
    assert interrupted_run(world)
    renamed = [replace(step, id=step.id.replace("finalize/", "free/")) for step in planner.STEPS]
    monkeypatch.setattr(planner, "STEPS", tuple(renamed))
    with pytest.raises(JournalMismatch, match="changed since it was planned: steps"):
        resume(world)


def test_a_run_of_another_environment_is_not_resumed(world):
    """Its approval was for that one."""
    run = interrupted_run(world)
    change(world, name="other")
    with pytest.raises(Refusal, match="is one of environment local, not of other"):
        resume(world, run.id)


def test_a_run_on_another_cluster_of_the_same_name_is_not_resumed(world):
    """A second local stack, or one that was recreated: its runs are its own."""
    assert interrupted_run(world)
    made_anew(world)
    with pytest.raises(Refusal, match="no interrupted run"):
        resume(world)


def test_a_run_that_was_refused_does_not_hide_an_interrupted_one(world, monkeypatch):
    """The lock was held by somebody: that run wrote nothing, and resume goes on with the one before."""
    first = interrupted_run(world)
    monkeypatch.setattr(redeploying, "run_plan", refuse)
    monkeypatch.setattr("prompt_keda.records.record.os.getpid", lambda: 4_000_000)
    with pytest.raises(Refusal):
        redeploy(world)
    assert unfinished_run(runs_folder(), "local").id == first.id
    with pytest.raises(Refusal):
        resume(world)
    assert unfinished_run(runs_folder(), "local").id == first.id


def refuse(*arguments):
    raise Refusal("another redeploy is under way")


SECRET = "hunter" + str(2)


def fails(*arguments):
    raise KeyError(SECRET)


def in_a_step(steps, context, journal, observer):
    context.lock = SimpleNamespace(was_held=True, release=lambda: None)
    return run_plan([Step("install/x", "x", fails, fails)], context, journal, observer)


def beside_the_steps(steps, context, journal, observer):
    context.lock = SimpleNamespace(was_held=True, release=lambda: None)
    fails()


@pytest.mark.parametrize(("ends", "where"), [(in_a_step, "install/x"), (beside_the_steps, "run")])
def test_an_unexpected_error_of_a_run_is_journaled_and_resume_goes_on(world, monkeypatch, ends, where):
    """By its type alone: its text may hold a value. The run is not taken for one that wrote nothing."""
    monkeypatch.setattr(redeploying, "run_plan", ends)
    for name in WRITES:
        monkeypatch.delattr(world.kube, name)  # the copy in the cluster is written
    with pytest.raises(Unexpected) as caught:
        redeploy(world)
    what, fix = failure.explain(caught.value)
    assert "KeyError, an unexpected error" in what and GO_ON in fix and "Please send" in fix
    Path(fix.removeprefix("Please send ").partition(". ")[0]).unlink()
    folder = unfinished_run(runs_folder(), "local")
    assert caught.value.parts.run == folder.id
    (last,) = (
        entry
        for entry in JournalFile(folder).entries()
        if entry["event"] == "failed" and entry["step"] != "cluster-copy"
    )
    assert (last["step"], last["detail"]) == (where, "KeyError, an unexpected error")
    assert SECRET not in what + fix + repr(caught.value.parts)


def copied(world, run, forged=None):
    """Copy a run into the cluster, as its process did; a forged copy is changed first."""
    kube = world.kube
    with_writes = {name: kube.__dict__.pop(name) for name in WRITES}
    try:
        kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": STATE_NAMESPACE}})
        ClusterCopy(kube, run, "them").write()
        if forged:
            kube.patch(kinds.CONFIG_MAPS, f"run-{run.id}", STATE_NAMESPACE, forged)
    finally:
        kube.__dict__.update(with_writes)


def on_another_machine(world, monkeypatch, tmp_path, forged=None):
    """Return the run that was begun here, as who sits at another machine comes upon it."""
    run = interrupted_run(world)
    copied(world, run, forged)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    return run


def runs_here():
    return sorted(path.name for path in runs_folder().glob("*"))


def test_a_run_of_another_machine_goes_on_here(world, monkeypatch, tmp_path):
    """With a folder of its own, whose journal says where it was begun and where it went on."""
    run = on_another_machine(world, monkeypatch, tmp_path)
    with pytest.raises(pytest.fail.Exception, match="was called"):
        resume(world)
    assert runs_here() == [run.id]
    entries = JournalFile(RunFolder.find(runs_folder(), run.id)).entries()
    begun = [entry["detail"].split()[0] for entry in entries if (entry["step"], entry["event"]) == ("run", "begin")]
    assert begun == ["redeploy", "resume"]


@pytest.mark.parametrize("approval", ["confirm", "digest"])
def test_without_an_approval_a_run_of_another_machine_is_not_resumed(world, monkeypatch, tmp_path, approval):
    """What it may remove is named, and the digest; nothing is kept here until somebody agrees."""
    change(world, approval=approval)
    digest = refused_digest(lambda: redeploy(world))
    begun(world, digest)
    run = unfinished_run(runs_folder(), "local")
    copied(world, run)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    events = []
    with pytest.raises(Refusal, match=f"resume of run {run.id}, begun on another machine") as caught:
        redeploying.resume(world.session, "", "", events.append, None)
    assert caught.value.parts.digest == digest and runs_here() == []
    details = [event.detail for event in events]
    assert [event for event in details if event.startswith("may remove Lease operator.keda.sh (uid ")], details
    for wrong in ("0123456789abcdef", ""):
        with pytest.raises(Refusal):
            resume(world, approve=wrong, ask=lambda question: "no\n")
    assert runs_here() == []
    with pytest.raises(pytest.fail.Exception, match="was called"):
        resume(world, approve=digest)
    assert runs_here() == [run.id]


def refused_digest(work):
    with pytest.raises(Refusal) as caught:
        work()
    return caught.value.parts.digest


def begun(world, digest):
    with pytest.raises(pytest.fail.Exception):
        redeploy(world, digest)


def test_the_longer_journal_wins(world):
    """Another machine went on with this machine's run, and was killed too."""
    run = interrupted_run(world)
    journal = JournalFile(run)
    longer = [*journal.entries(), *[{**journal.entries()[0], "step": "elsewhere"}] * 3]
    shorter = journal.entries()
    journal.replace(longer)
    copied(world, run)
    journal.replace(shorter)
    with pytest.raises(pytest.fail.Exception):
        resume(world)
    assert journal.entries()[: len(longer)] == longer
    journal.replace([*longer, longer[-1]])
    with pytest.raises(pytest.fail.Exception):
        resume(world)
    assert journal.entries()[: len(longer) + 1] == [*longer, longer[-1]]


def test_a_run_that_was_finished_elsewhere_is_over(world):
    """Nothing is left to resume, although this machine does not know it yet."""
    run = interrupted_run(world)
    copied(world, run, {"metadata": {"labels": {STATE: GREEN}}})
    with pytest.raises(Refusal, match="no interrupted run"):
        resume(world)


def test_a_damaged_copy_does_not_hide_what_this_machine_knows(world):
    """Its own files count, and that is said."""
    run = interrupted_run(world)
    copied(world, run, {"data": {"journal-00000": "{"}})
    events = []
    with pytest.raises(pytest.fail.Exception, match="was called"):
        redeploying.resume(world.session, "", "", events.append, None)
    assert "damaged" in events[0].detail and events[0].detail.endswith("the files of this machine count")


def test_a_damaged_folder_is_made_good_by_the_copy(world):
    """Half a plan on a disk that was full."""
    run = interrupted_run(world)
    copied(world, run)
    (run.path / "plan.json").write_text('{"mode"')
    with pytest.raises(pytest.fail.Exception, match="was called"):
        resume(world)
    assert RunFolder.find(runs_folder(), run.id).read_json("plan.json")["digest"]


def test_a_damaged_run_without_a_copy_is_reported(world):
    """One message, and what to do."""
    run = interrupted_run(world)
    (run.path / "plan.json").write_text('{"mode"')
    with pytest.raises(Refusal, match=r"plan\.json cannot be read") as caught:
        resume(world)
    assert "begin a new redeploy" in caught.value.fix.lower()


def test_a_forged_copy_of_another_plan_is_not_taken(world):
    """Where this machine has the run, what it has approved counts."""
    run = interrupted_run(world)
    copied(world, run)
    key = next(obj for obj in world.kube._objects if obj[2] == f"run-{run.id}")
    plan = {**run.read_json("plan.json"), "digest": "f" * 16}
    world.kube._objects[key]["binaryData"][PLAN] = packed(portable_plan(plan))
    events = []
    with pytest.raises(pytest.fail.Exception, match="was called"):
        redeploying.resume(world.session, "", "", events.append, None)
    assert "is of another plan; the files of this machine count" in events[0].detail


def test_what_changed_is_named_on_another_machine_too(world, monkeypatch, tmp_path):
    """The cluster copy has no inputs, only their digests; that is enough."""
    on_another_machine(world, monkeypatch, tmp_path)
    change(world, description="another", registries=())
    with pytest.raises(
        JournalMismatch, match=r"changed since it was planned: environment\.description, environment\.registries"
    ):
        resume(world)


def test_another_clone_has_the_same_digest(world):
    """Paths differ from machine to machine; what they lead to is compared, or is a person's own."""
    before = refused_digest(lambda: with_approval(world))
    settings = world.systems.environment
    keda = settings.keda.model_copy(update={"manifests": settings.keda.manifests})
    vault = settings.vault.model_copy(update={"ca_file": Path("/elsewhere/ca.pem")})
    kubernetes = settings.kubernetes.model_copy(update={"kubeconfig": Path("/elsewhere/config")})
    change(world, keda=keda, vault=vault, kubernetes=kubernetes)
    assert refused_digest(lambda: with_approval(world)) == before


def with_approval(world):
    change(world, approval="digest")
    redeploy(world)


def test_a_cluster_copy_that_cannot_be_read_hides_no_run_of_this_machine(world):
    """It goes on with what it has, and says so; with nothing here it could not tell."""
    world.kube.denied.add(("list", "configmaps"))
    with pytest.raises(Refused):
        resume(world)
    interrupted_run(world)
    events = []
    with pytest.raises(pytest.fail.Exception, match="was called"):
        redeploying.resume(world.session, "", "", events.append, None)
    assert "could not be read" in events[0].detail
