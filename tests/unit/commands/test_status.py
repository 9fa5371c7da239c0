"""What stands is told without a verdict, and what could not be seen is said in its place. Without a cluster."""

from __future__ import annotations

import io
import os
import pty
import re
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.commands import status
from prompt_keda.components.scaled_jobs.objects import PAUSED
from prompt_keda.records.run_summary import RunSummary
from prompt_keda.report.status import ClusterState, InstrumentState, NotSeen, ScaledJobState, Status, StreamState
from prompt_keda.report.status_as_text import show_status
from prompt_keda.report.status_watch import StatusWatch
from tests.in_process import run_in_process
from tests.terminal import until_closed
from tests.unit.test_house_rules import ROOT
from tests.unit.world import SCALED_JOB, SPACE, World

RUN = RunSummary("20261124t030000z-local-7", "local", "2026-11-24T03:00:00+00:00", "repair", "green", 21.5)


def shown(capsys, world, runs=(), incident=""):
    standing = status.look(world.systems)
    show_status(Status(standing, list(runs), incident))
    return standing, capsys.readouterr().out


def test_a_cluster_that_stands_is_reported(capsys):
    """Parts, ScaledJob, stream, Jobs, runs and incident, a line each."""
    standing, text = shown(capsys, World(), [RUN], "20261124t030000z-local-9")
    assert not any(standing.not_seen())
    for line in (
        "1/1 ready, 0 restarts",
        f"ScaledJob {SCALED_JOB}: Ready=True",
        "lag 0",
        "run 20261124t030000z-local-7: green, mode repair, 21.5 s",
        "open incident 20261124t030000z-local-9",
    ):
        assert line in text, text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda world: world.remove(kinds.SCALED_JOBS, SCALED_JOB, SPACE), f"ScaledJob {SCALED_JOB}: missing"),
        (lambda world: world.kube.denied.add(("list", "deployments")), "KEDA: not seen:"),
        (
            lambda world: world.change(
                kinds.SCALED_JOBS, SCALED_JOB, SPACE, metadata={"annotations": {PAUSED: "true"}}
            ),
            "paused by somebody",
        ),
    ],
)
def test_what_is_not_as_it_was_is_reported(capsys, change, message):
    """Also what may not be seen: the rest is told all the same."""
    world = World()
    change(world)
    assert message in shown(capsys, world)[1]


def test_what_was_not_seen_is_not_all_seen():
    """Exit code 3 hangs on it."""
    standing = parts(running=1).status
    assert not any(standing.not_seen())
    unseen = replace(standing.instruments["LATISS"], jobs=NotSeen("why"))
    assert [*replace(standing, instruments={"LATISS": unseen}).not_seen()] == [NotSeen("why")]


NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


def parts(**jobs):
    """Return what a look saw: two instruments, of which one has these Jobs."""
    scaled_job = ScaledJobState("j", is_there=True, ready="True", active="True", generation=1)
    state = InstrumentState(scaled_job, StreamState("s", 3, 0, 0, True, NOW.isoformat()), {"running": 1})
    return Status(ClusterState([], {"LSSTCam": replace(state, jobs=jobs), "LATISS": state}), [], "")


def test_without_a_terminal_a_watch_prints_a_line_a_change():
    """First all, then what changed alone, with its instrument and the time. An age that grows is no change."""
    stream = io.StringIO()
    watch = StatusWatch("local", stream)
    watch.show(parts(running=1), NOW)
    first = stream.getvalue().splitlines()
    assert all(re.match(r"2026-11-24T03:00:00Z [ !?]", line) for line in first) and len(first) == 12
    watch.show(parts(running=1), NOW + timedelta(seconds=2))
    watch.show(parts(running=1, failed=1), NOW + timedelta(seconds=4))
    watch.close()
    assert stream.getvalue().splitlines()[len(first) :] == ["2026-11-24T03:00:04Z ! LSSTCam Jobs: 1 running, 1 failed"]


def test_on_a_terminal_a_watch_draws_in_place_and_marks_what_changed(monkeypatch):
    """A sign and bold print, on that row alone, and for some seconds."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        watch = StatusWatch("local", terminal)
        for second, running in ((0, 1), (2, 2), (60, 2)):
            watch.show(parts(running=running), NOW + timedelta(seconds=second))
        watch.close()
    screens = re.split(r"local at 03:", b"".join(until_closed(ours)).decode())[1:]
    os.close(ours)
    lines = [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen).splitlines() for screen in screens]
    marked = [[line.strip() for line in screen[1:] if line.startswith("~")] for screen in lines[:3]]
    assert marked == [[], ["~    Jobs: 2 running"], []]
    assert "\x1b[1A" in screens[0] and "\x1b[1m" in screens[1]


def test_a_watch_looks_until_it_is_stopped_and_after_a_gap_with_new_clients():
    """What has lost its connection may stay so; what is well is not connected again."""
    looks, opened = [], []

    class Stop(Exception):
        pass

    def show(shown):
        looks.append(shown)
        if len(looks) == 4:
            raise Stop

    world = World()
    denied = [False, True, False, False]

    class Session:
        def fresh_systems(self):
            opened.append(len(looks))
            return nullcontext(world.systems)

    def pause(_):
        world.kube.denied.clear()
        if denied[len(looks)]:
            world.kube.denied.add(("list", "deployments"))

    with pytest.raises(Stop):
        status.watch(Session(), show, pause)
    assert [any(look.status.not_seen()) for look in looks] == [False, True, False, False] and opened == [0, 2]


def test_a_watch_is_no_document(monkeypatch, capsys):
    """Refused before anything is asked."""
    code, _, err = run_in_process(monkeypatch, capsys, ROOT, "status", "--env", "prod", "--watch", "--json")
    assert code == 2 and "--watch is not for --json" in err


def test_where_something_is_not_well_the_next_command_stands_last(capsys):
    """Where all is well there is none."""
    world = World()
    show_status(Status(status.look(world.systems), [RUN], ""), env="prod")
    assert "next:" not in capsys.readouterr().out
    world.remove(kinds.SCALED_JOBS, SCALED_JOB, SPACE)
    show_status(Status(status.look(world.systems), [RUN], ""), env="prod")
    assert capsys.readouterr().out.splitlines()[-1].strip() == "next: ./run respond --env prod"


@pytest.mark.parametrize("state", ["interrupted", "failed"])
def test_a_run_that_stopped_is_marked_and_resume_is_next(capsys, state):
    """One that was refused after it hides nothing; one that ended green does."""
    stopped, refused, green = (replace(RUN, run_id=f"run-{word}", state=word) for word in (state, "refused", "green"))
    stands = Status(status.look(World().systems), [refused, stopped, green], "")
    show_status(stands, env="prod")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].strip() == "next: ./run resume --env prod"
    assert [line[0] for line in lines[-4:-1]] == [" ", "!", " "]
    show_status(replace(stands, runs=[green, stopped]), env="prod")
    assert "resume" not in capsys.readouterr().out
