"""The runs in a line each: how they ended is told by what was written, and what is damaged is named."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.clients.systems import viewpoint
from prompt_keda.commands.history import history
from prompt_keda.core.process import is_alive
from prompt_keda.lab.processes import _start_time
from prompt_keda.records.lock import LEASE, STATE_NAMESPACE
from prompt_keda.records.record import JournalFile, RunFolder
from prompt_keda.records.run_history import runs_kept
from prompt_keda.redeploy.cluster_copy import ClusterCopy
from prompt_keda.redeploy.history import runs_copied
from prompt_keda.report import as_text
from tests.unit.records.test_redeploy_lock import dead_pid
from tests.unit.redeploy.test_cluster_copy import a_run, kube  # noqa: F401  a fixture
from tests.unit.world import World, now

TIMINGS = {"recovery": 27.6, "install/a": 1.25, "install/b": 2.5, "verify/c": 20, "removal": 3}
ENDS = {
    "green": [("verify/smoke", "done"), ("run", "done")],
    "failed": [("install/a", "begin"), ("install/a", "failed"), ("run", "lock-kept"), ("cluster-copy", "failed")],
    "interrupted": [("install/a", "begin"), ("install/a", "interrupted")],
    "at work": [("install/a", "begin")],
    "refused": [("preflight/prerequisites", "failed")],
}


def put(runs, number, state, pid=None, who=None):
    """Keep a run that has ended so; the newer, the higher its number."""
    run = a_run(runs, run_id=f"2025010{number}t000000z-local-7")
    journal = JournalFile(run)
    pid = os.getpid() if pid is None else pid
    journal.append("run", "begin", f"redeploy mode reinstall by {who or viewpoint()}, process {pid}")
    for entry in ENDS[state]:
        journal.append(*entry)
    if state == "green":
        run.write_json("report.json", {"timings": TIMINGS})
    if state == "refused":
        run.mark_refused("no")
    return run


@pytest.fixture
def runs(tmp_path):
    made = tmp_path / "state/prompt-keda/runs"
    made.mkdir(parents=True)
    return made


def kept(runs):
    return runs_kept(runs, "", viewpoint())


def test_each_run_says_how_it_ended(runs):
    """Newest first; a process that lives is at work, and one that was killed was interrupted, whatever it had begun."""
    pid = dead_pid()
    for number, state in enumerate(("green", "failed", "interrupted", "refused"), 1):
        put(runs, number, state, pid)
    put(runs, 5, "at work", pid)
    put(runs, 6, "at work", who="somebody@elsewhere")
    put(runs, 7, "at work")
    summaries, damaged = kept(runs)
    states = ["at work", "interrupted", "interrupted", "refused", "interrupted", "failed", "green"]
    assert [run.state for run in summaries] == states and damaged == []
    green = summaries[-1]
    assert (green.began_at, green.mode, green.environment) == ("2025-01-01T00:00:00+00:00", "reinstall", "local")
    assert (green.recovery_s, green.parts_s) == (27.6, {"install": 3.75, "verify": 20.0})
    assert green.spans_s == {"removal": 3.0} and summaries[0].recovery_s is None


def test_a_run_that_was_resumed_counts_its_starts(runs):
    """And its state is that of the last one."""
    run = put(runs, 1, "failed", dead_pid())
    JournalFile(run).append("run", "begin", f"resume mode reinstall by {viewpoint()}, process {dead_pid()}")
    JournalFile(run).append("verify/smoke", "begin")
    (summaries,), _ = kept(runs)
    assert (summaries.starts_count, summaries.state) == (2, "interrupted")


def no_mode(run):
    run.write_json("plan.json", [])


DAMAGES = {
    "plan": lambda run: (run.path / "plan.json").write_text("{"),
    "no plan": lambda run: (run.path / "plan.json").unlink(),
    "mode": no_mode,
    "report": lambda run: (run.path / "report.json").write_text(""),
    "timings": lambda run: run.write_json("report.json", {"timings": {"recovery": "soon"}}),
    "a link": lambda run: [(run.path / "plan.json").unlink(), (run.path / "plan.json").symlink_to("/nowhere")],
    "a folder": lambda run: [(run.path / "journal.jsonl").unlink(), (run.path / "journal.jsonl").mkdir()],
    "bytes": lambda run: (run.path / "plan.json").write_bytes(b"\xff\xfe"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_folder_is_named_and_hides_no_other(runs, damage):
    """A disk that was full, or somebody who tidied up."""
    put(runs, 1, "green")
    damage(put(runs, 2, "green"))
    summaries, (damaged,) = kept(runs)
    assert [run.run_id for run in summaries] == ["20250101t000000z-local-7"] and "20250102t000000z-local-7" in damaged


def test_what_is_no_run_is_named_too(runs):
    """A name that no run has."""
    (runs / "notes").mkdir()
    (runs / "20259901t000000z-local-7").mkdir()
    assert kept(runs)[0] == [] and len(kept(runs)[1]) == 2


def test_only_the_runs_of_the_environment_are_reported(runs):
    """Others are left out, and not damaged."""
    put(runs, 1, "green")
    assert runs_kept(runs, "prod", "me")[0] == [] and len(runs_kept(runs, "local", "me")[0]) == 1


def test_runs_of_another_cluster_are_no_runs_of_this_one(runs):
    """Of one environment's name: it was built again, or a second local stack stands."""
    run, identity = put(runs, 1, "green"), {"kube_system_uid": "this"}
    plan = run.read_json("plan.json")
    run.write_json("plan.json", {**plan, "inputs": {"environment": {"kubernetes": {"identity": identity}}}})
    assert len(runs_kept(runs, "local", "me", identity)[0]) == 1
    assert runs_kept(runs, "local", "me", {"kube_system_uid": "another"}) == ([], [])


def test_runs_that_only_the_cluster_has_are_listed(kube, tmp_path):  # noqa: F811
    """Green with its timings, one at work by the lock, and what is damaged by name."""
    for number, state in enumerate(("green", "failed", "at work"), 1):
        copy = ClusterCopy(kube, put(tmp_path, number, state), "me")
        if state == "green":
            copy.finish({"mode": "reinstall", "timings": TIMINGS})
        copy.write()
    ClusterCopy(kube, put(tmp_path, 4, "green"), "me").write()
    kube.patch(kinds.CONFIG_MAPS, "run-20250104t000000z-local-7", STATE_NAMESPACE, {"binaryData": None})
    summaries, (damaged,) = runs_copied(kube, "local")
    assert [run.state for run in summaries] == ["interrupted", "failed", "green"], "nobody holds the lock"
    assert summaries[-1].recovery_s == 27.6 and summaries[-1].places == ("cluster",)
    assert "20250104t000000z-local-7 in the cluster is damaged" in damaged


def hold(kube, run_id):  # noqa: F811
    spec = {"holderIdentity": f"{run_id} u@h 1", "leaseDurationSeconds": 60, "renewTime": now()}
    kube.create(kinds.NAMESPACES, {"metadata": {"name": STATE_NAMESPACE}})
    kube.create(kinds.LEASES, {"metadata": {"name": LEASE}, "spec": spec}, STATE_NAMESPACE)


@pytest.fixture
def world(monkeypatch, tmp_path, runs):
    """A cluster, and this machine's runs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return World()


def test_both_places_are_reported_as_one(world, runs, tmp_path, capsys):
    """A run that another machine has finished is green, one that only the cluster knows is told, each once."""
    hold(world.kube, "20250103t000000z-local-7")
    here = put(runs, 1, "interrupted", dead_pid())
    elsewhere = RunFolder.adopt(
        tmp_path / "b", here.id, here.read_json("plan.json"), here.read_json("snapshot.json"), []
    )
    JournalFile(elsewhere).append("run", "begin", "redeploy")
    copy = ClusterCopy(world.kube, elsewhere, "me")
    copy.finish({"mode": "reinstall", "timings": TIMINGS})
    copy.write()
    put(runs, 2, "failed", dead_pid())
    ClusterCopy(world.kube, put(tmp_path / "c", 3, "at work"), "me").write()
    result = history(world.session)
    listed = [(run.run_id[:8], run.state, run.places) for run in result.parts.runs]
    assert listed == [
        ("20250103", "at work", ("cluster",)),
        ("20250102", "failed", ("here",)),
        ("20250101", "green", ("here", "cluster")),
    ]
    assert result.exit_code == 0
    as_text.show_history(result.parts)
    output = capsys.readouterr().out
    assert "only in the cluster" in output and "27.6 s" in output and "install 3.8, verify 20.0" in output


@pytest.mark.parametrize(("pid", "state"), [(dead_pid, "interrupted"), (os.getpid, "at work")])
def test_a_killed_run_is_interrupted_while_its_lock_lives_on(world, runs, pid, state):
    """The cluster still names its lock; this machine saw its process end."""
    killed = put(runs, 1, "at work", pid())
    hold(world.kube, killed.id)
    ClusterCopy(world.kube, killed, "me").write()
    (summaries,) = history(world.session).parts.runs
    assert (summaries.state, summaries.places) == (state, ("here", "cluster"))


def test_a_killed_run_that_another_machine_goes_on_with_is_at_work(world, runs, tmp_path):
    """It was begun once more there, and holds the lock."""
    killed = put(runs, 1, "at work", dead_pid())
    elsewhere = put(tmp_path / "b", 1, "at work", dead_pid())
    JournalFile(elsewhere).append("run", "begin", "resume mode reinstall by u@elsewhere, process 7")
    hold(world.kube, killed.id)
    ClusterCopy(world.kube, elsewhere, "me").write()
    assert history(world.session).parts.runs[0].state == "at work"


def test_a_cluster_that_cannot_be_asked_for_copies_is_named_and_is_not_green(world, runs, capsys):
    """What this machine knows is told all the same; the exit code says that it is not all."""
    put(runs, 1, "green")
    world.kube.denied.add(("list", "configmaps"))
    result = history(world.session)
    assert result.exit_code == 3 and len(result.parts.runs) == 1
    as_text.show_history(result.parts)
    assert "not seen: the copies of runs in its cluster could not be read: Kubernetes at" in capsys.readouterr().out


def test_without_an_environment_no_cluster_is_asked(world, runs, capsys):
    """An incident may have no cluster."""
    put(runs, 1, "green")
    (runs / "x\x1b[31m").mkdir()
    result = history(None)
    as_text.show_history(result.parts)
    output = capsys.readouterr().out
    assert "green" in output and "damaged:" in output and "\x1b" not in output


def test_a_process_that_was_killed_and_not_asked_for_does_not_run():
    """A zombie: its number is still taken."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert is_alive(process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    os.kill(process.pid, 0)
    assert not is_alive(process.pid)
    process.communicate()


def test_a_process_whose_name_is_no_text_runs():
    """The number of a killed run may be used again by any program; then no run is damaged, and no lock unreadable."""
    named = "open('/proc/self/comm', 'wb').write(b'\\xff) Z'); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", named], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert is_alive(process.pid) and _start_time(process.pid)
        process.kill()
