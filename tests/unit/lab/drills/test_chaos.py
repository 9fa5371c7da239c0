"""A chaos round: what it starts it ends, and what it reports is so. Without a stack; a file plays the toolkit."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import pytest

from prompt_keda.core.check import Verdict
from prompt_keda.core.event import nobody
from prompt_keda.core.process import is_alive
from prompt_keda.lab.drills import chaos as module
from prompt_keda.lab.drills import drill
from prompt_keda.lab.drills.chaos_plan import DELETE, KILL, STOP, Act, Round
from prompt_keda.lab.drills.delivery_audit import DeliveryReport
from prompt_keda.report.failure import UNEXPECTED
from tests.unit.lab.drills.test_drill import result
from tests.unit.world import World

LIKE_TASKS = """
import os, signal, sys
def stop(signum, frame):
    os._exit(130)
signal.signal(signal.SIGINT, stop)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
"""
"""As tasks.py begins."""
WAITS = f"""{LIKE_TASKS}
import pathlib, time
pathlib.Path("pid.new").write_text(str(os.getpid()))
os.rename("pid.new", "pid")
time.sleep(60)
"""


class Runs:
    """What this machine keeps: nothing before the round, then this run."""

    def __init__(self, *later):
        self.told = [None]
        self.later = later

    def newest(self):
        return self.told.pop() if self.told else self.later


class Disruptions:
    """Acts that do something of the test's."""

    not_done, still_injected = (), ()

    def __init__(self, disrupt=lambda act: None):
        self.disrupt = disrupt

    def undo(self):
        pass


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TASKS", tmp_path / "tasks.py")
    world = World()
    smoke = SimpleNamespace(namespace="prompt-keda-smoke")
    redis = SimpleNamespace(run=lambda command: [[]])
    stage = SimpleNamespace(kube=world.kube, redis=redis, environment=SimpleNamespace(smoke=smoke))

    def make(program, runs, *acts, disruptions=None):
        (tmp_path / "tasks.py").write_text(program)
        chaos_round = Round(1, 1, "auto", 1.0, acts)
        return module._Round(chaos_round, stage, None, runs, "local", nobody, disruptions or Disruptions(), tmp_path)

    return make


def test_a_stop_at_the_first_moment_is_none_of_the_toolkits_faults(made):
    """The interpreter is not up yet: as behind ./run, the signal waits until the toolkit can answer it."""
    chaos_round = made(WAITS, Runs("r", True, 0), Act(STOP, "", 0))
    chaos_round._disrupt()
    assert chaos_round.outcome.problems == [] and chaos_round.outcome.starts_count == 1


@pytest.mark.parametrize("end", [KeyboardInterrupt, ZeroDivisionError])
def test_what_a_round_has_started_does_not_outlive_it(made, tmp_path, end):
    """Ctrl-C, or an unexpected error: no redeploy goes on behind our back."""

    def disrupt(act):
        while not (tmp_path / "pid").exists():
            time.sleep(0.01)
        raise end

    chaos_round = made(WAITS, Runs("r", True, 0), Act(DELETE, "Service/a", 0), disruptions=Disruptions(disrupt))
    with pytest.raises(end):
        chaos_round._disrupt()
    pid = int((tmp_path / "pid").read_text())
    try:
        assert not is_alive(pid)
    finally:
        if is_alive(pid):
            os.kill(pid, 9)


@pytest.mark.parametrize(
    ("code", "message"), [(0, []), (2, ["no redeploy ended well"]), (1, ["no redeploy ended well"])]
)
def test_only_a_redeploy_that_ends_well_ends_the_recovery(made, code, message):
    """One that was refused has a folder that cannot be resumed as well."""
    chaos_round = made(f"raise SystemExit({code})", Runs("r", False, 0))
    chaos_round._recover()
    assert [problem[: len(message[0])] for problem in chaos_round.outcome.problems] == message
    assert chaos_round.outcome.starts_count == (module.MOST_TRIES if code else 1)


def test_a_job_that_is_lost_while_the_last_events_are_waited_for_is_reported(made):
    """The wait may take two minutes."""
    lost = {}

    def close():
        lost["1"] = ("the recovery", "Job a/j1")
        return DeliveryReport(3, [], [], 0, [])

    chaos_round = made("", Runs())
    chaos_round._count(SimpleNamespace(have_run=set, lost=lambda: lost), [SimpleNamespace(close=close)])
    assert chaos_round.outcome.problems == ["lost: Job a/j1 in the recovery"] and chaos_round.outcome.events_sent == 3


@pytest.mark.parametrize(("end", "message"), [("9", ["redeploy ended with -9"]), ("15", ["redeploy ended with -15"])])
def test_a_toolkit_that_is_killed_by_another_than_the_chaos_run_is_reported(made, end, message):
    """By the kernel, for want of memory: SIGKILL is known only where the chaos run has sent it."""
    chaos_round = made(f"import os; os.kill(os.getpid(), {end})", Runs("r", True, 0))
    chaos_round._disrupt()
    assert chaos_round.outcome.problems == message


def test_a_kill_by_the_chaos_run_itself_is_no_problem(made):
    """What was killed is resumed."""
    chaos_round = made(WAITS, Runs("r", True, 0), Act(KILL, "", 0))
    chaos_round._disrupt()
    assert chaos_round.outcome.problems == []


def test_an_event_that_is_lost_breaks_the_promise(made):
    """As a round counts it; and one without an event verifies nothing."""
    chaos_round = made("", Runs())
    reports = [DeliveryReport(3, ["7-0"], ["8-0"], 1, [])]
    chaos_round._count(SimpleNamespace(have_run=set, lost=dict), [SimpleNamespace(close=reports.pop)])
    assert chaos_round.outcome.problems == ["1 events lost, the first 7-0", "1 events duplicated, the first 8-0"]
    assert (chaos_round.outcome.events_sent, chaos_round.outcome.events_unseen) == (3, 1)
    other = made("", Runs())
    other._count(
        SimpleNamespace(have_run=set, lost=dict), [SimpleNamespace(close=lambda: DeliveryReport(0, [], [], 0, []))]
    )
    assert other.outcome.problems == ["no event was sent: nothing is known of events"]


@pytest.mark.parametrize("message", ["Traceback (most recent call last)", f"failed: KeyError, {UNEXPECTED}"])
def test_a_toolkit_that_fails_by_a_fault_of_its_own_is_reported(made, message):
    """Its exit code is that of something that could not be known."""
    chaos_round = made(f"import sys; print({message!r}, file=sys.stderr); raise SystemExit(3)", Runs("r", False, 0))
    chaos_round._disrupt()
    assert chaos_round.outcome.problems == [f"redeploy ended with an error of its own: {message}"]


def test_a_kill_whose_moment_never_comes_is_reported_as_not_done(made):
    """Nothing was killed or stopped: the table of chaos rounds may not say so. Others disrupt at the end."""
    disrupted = []
    acts = (Act(DELETE, "Service/a", 9), Act(KILL, "", 40), Act(STOP, "", 50))
    chaos_round = made("", Runs("r", True, 0), *acts, disruptions=Disruptions(disrupted.append))
    chaos_round._disrupt()
    assert disrupted == [acts[0]] and chaos_round.outcome.problems == []
    assert [words[:13] for words in chaos_round.outcome.not_done] == ["kill at entry", "stop at entry"]


class Calm:
    """The watcher and the audit of a round in which nothing is lost."""

    phase = staticmethod(lambda name: None)
    lost = staticmethod(dict)
    have_run = staticmethod(set)
    recovery_begins = staticmethod(lambda: None)
    close = staticmethod(lambda: DeliveryReport(1, [], [], 0, []))


@pytest.fixture
def calm(made):
    """Runs a whole round in which nothing goes wrong, with this toolkit and these acts."""

    def run(look=lambda: [], disruptions=None):
        chaos_round = made("", Runs("r", False, 0), disruptions=disruptions)
        chaos_round.toolkit = SimpleNamespace(look=look)
        return chaos_round.run(Calm, [Calm])

    return run


def test_a_round_in_which_nothing_goes_wrong_keeps_every_promise(calm):
    """So each of the next ones fails by one thing alone."""
    assert calm().problems == []


def test_what_is_broken_and_called_green_breaks_the_promise(calm):
    """Not known would be right."""
    disruptions = Disruptions()
    disruptions.still_injected = [
        SimpleNamespace(title="Vault is gone", expected_checks={"vault/unsealed": "fail", "redis/answers": "u"})
    ]
    results = [result("vault/unsealed", Verdict.OK), result("redis/answers", Verdict.UNKNOWN)]
    outcome = calm(lambda: [results[0], results.pop()] if len(results) > 1 else results, disruptions)
    assert outcome.problems == ["vault/unsealed is green while Vault is gone"]


@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.UNKNOWN, Verdict.WARN])
def test_a_stack_that_is_not_green_in_the_end_breaks_the_promise(calm, monkeypatch, verdict):
    """Also one of which nobody knows."""
    monkeypatch.setattr(drill, "STEADY_S", 0)
    (problem,) = calm(lambda: [result("vault/unsealed", verdict)]).problems
    assert problem.startswith("the steady state after it") and verdict.value in problem


def test_events_that_still_wait_for_their_turn_break_no_promise(calm, monkeypatch):
    """A round goes on sending them; amber of the symptom alone is that, and red is not."""
    monkeypatch.setattr(drill, "STEADY_S", 0)
    assert calm(lambda: [result("scaling/works", Verdict.WARN)]).problems == []
    (problem,) = calm(lambda: [result("scaling/works", Verdict.FAIL)]).problems
    assert "scaling/works fail" in problem


def test_what_the_toolkit_leaves_behind_breaks_the_promise(calm, monkeypatch):
    """What was there before is not its own."""
    left = [["old"], ["old", "ScaledJob a/b is paused", "the lock of x"]]
    monkeypatch.setattr(module, "leftovers", lambda stage: left.pop(0))
    assert calm().problems == ["left behind: ScaledJob a/b is paused, the lock of x"]
