"""Chaos rounds as data: the same seed makes the same rounds, and a failing one is shrunk to what it needs."""

from __future__ import annotations

import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from prompt_keda.core.errors import DeadlinePassed, Interrupted, Refusal
from prompt_keda.core.event import nobody
from prompt_keda.core.exit_code import STOPPED
from prompt_keda.lab import chaos
from prompt_keda.lab.drills import chaos_acts
from prompt_keda.lab.drills.chaos import RoundOutcome
from prompt_keda.lab.drills.chaos_plan import (
    FREEZE,
    INJECT,
    KILL,
    KINDS,
    LAST_ENTRY,
    PAUSE,
    STOP,
    Act,
    Round,
    Targets,
    make_round,
    shrink,
)
from prompt_keda.runbooks.commands import Ran

TARGETS = Targets(["etcd", "vault"], ["Service/a", "Deployment/b"], ["b"], ["vault/stopped"])


def test_a_seed_and_a_number_give_the_same_round():
    """Others give others."""
    rounds = [make_round(1, number, TARGETS) for number in range(1, 40)]
    assert rounds == [make_round(1, number, TARGETS) for number in range(1, 40)]
    assert len({chaos_round.acts for chaos_round in rounds}) > 30 and rounds[0].acts != make_round(2, 1, TARGETS).acts


def test_every_kind_of_act_and_every_mode_comes():
    """In the order of the journal's entries; only a freeze takes a while."""
    rounds = [make_round(1, number, TARGETS) for number in range(200)]
    acts = [act for chaos_round in rounds for act in chaos_round.acts]
    assert {act.kind for act in acts} == set(KINDS) and len({chaos_round.mode for chaos_round in rounds}) == 4
    assert all(0 <= act.at_entry <= LAST_ENTRY for act in acts)
    assert all((act.seconds > 0) == (act.kind == FREEZE) for act in acts)
    assert all(
        [a.at_entry for a in chaos_round.acts] == sorted(a.at_entry for a in chaos_round.acts) for chaos_round in rounds
    )


def test_a_round_is_read_as_it_was_written():
    """So that a failing one can be run again from its print."""
    chaos_round = make_round(7, 3, TARGETS)
    assert Round.read(json.loads(json.dumps(chaos_round.to_json()))) == chaos_round


def written(**other):
    whole = {"kind": INJECT, "target": "vault/stopped", "at_entry": 3, "seconds": 0.0}
    act = {key: other.pop(key, value) for key, value in whole.items()}
    return json.dumps({"seed": 1, "number": 1, "mode": "auto", "events_a_second": 1.0, "acts": [act], **other})


def test_a_file_that_was_written_by_hand_is_read(tmp_path):
    """Else the refusals below could have another reason."""
    (tmp_path / "round.json").write_text(written())
    assert chaos._read(str(tmp_path / "round.json")).acts == (Act(INJECT, "vault/stopped", 3),)


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", '{"seed": 1}', '{"seed": 1, "number": 1, "mode": "auto", "acts": [{"x": 1}]}'),
        *(written(kind="burn"), written(target="vault/burnt"), written(mode="gentle"), written(events_a_second=0)),
        *(written(at_entry="3"), written(seconds=-1), written(events_a_second="x")),
    ],
)
def test_a_file_that_holds_no_round_is_refused(tmp_path, text):
    """With what it should hold."""
    file = tmp_path / "round.json"
    file.write_text(text)
    with pytest.raises(Refusal, match="holds no round"):
        chaos._read(str(file))


def acts(*names):
    return tuple(Act("delete", name, number) for number, name in enumerate(names))


@pytest.mark.parametrize(
    ("needed", "most", "left"),
    [("c", 20, "c"), ("bf", 30, "bf"), ("", 20, ""), ("abcdef", 30, "abcdef"), ("a", 1, "abcdef"), ("f", 1, "def")],
)
def test_a_failing_round_is_shrunk_to_what_it_needs(needed, most, left):
    """Each act that is left was needed, unless the tries were over before."""
    tried = []

    def fails(candidate):
        tried.append(candidate)
        return set(needed) <= {act.target for act in candidate.acts}

    smallest, tries = shrink(Round(1, 1, "auto", 1.0, acts(*"abcdef")), fails, most)
    assert "".join(act.target for act in smallest.acts) == left
    assert tries == len(tried) <= most


def test_chaos_rounds_draw_faults_of_the_chain():
    """What cuts it on other ways than the rest; and none that takes Jobs or events."""
    drawn = set(chaos_acts.FAULTS)
    assert {"scaling/jobs-refused", "admission/webhook-unserved", "links/reading-denied", "vault/stopped"} <= drawn
    assert not drawn & {"redis/streams-gone", "redis/unread-trimmed", "keda/jobs-limited", "scaling/jobs-suspended"}


def test_the_page_reports_each_round_and_what_was_not_kept():
    """What happened in words; a bar in a message does not break the table."""
    happened = (Act(KILL, "", 3), Act(FREEZE, "etcd", 5, 1.5), Act(INJECT, "vault/stopped", 9))
    made = Round(4, 2, "repair", 1.0, happened)
    page = chaos.page([RoundOutcome(made, 31.4, 3, 60), RoundOutcome(made, 2.0, 1, 1, problems=["a | b"])])
    assert "Seed 4: 1 of 2 rounds kept every promise; 61 events." in page
    assert "kill at entry 3; freeze etcd for 1.5 s at entry 5; inject vault/stopped at entry 9" in page
    assert page.splitlines()[-1].endswith("| 1 | 1 | 2 s | a / b |")


STAGE = SimpleNamespace(environment=SimpleNamespace(observing=None))


def test_the_page_reports_what_was_not_done_and_not_seen():
    """Else a kill that never came would stand there as one that was survived."""
    made = Round(4, 2, "repair", 1.0, (Act(KILL, "", 3),))
    row = chaos.page([RoundOutcome(made, 1.0, 1, 5, 2, ["kill at entry 3: it had ended | before"])]).splitlines()[-1]
    assert "kill at entry 3. Not done: kill at entry 3: it had ended / before | 1 | 5, 2 unseen |" in row


def test_the_table_is_written_after_each_round(monkeypatch):
    """An hour of rounds may be stopped."""
    monkeypatch.setattr(chaos.drilling, "alone", lambda: nullcontext(STAGE))
    monkeypatch.setattr(chaos.chaos_acts, "targets", lambda stage: TARGETS)
    monkeypatch.setattr(chaos, "StackRuns", lambda stage: None)
    monkeypatch.setattr(chaos, "run_command", lambda words: Ran(0, {}, 1.0))
    monkeypatch.setattr(chaos, "run_round", lambda chaos_round, *_: RoundOutcome(chaos_round, 1.0, 1, 1))
    written = []
    chaos.run(2, 1, None, "", written.append, nobody)
    assert ["1 of 1 rounds" in written[0], "2 of 2 rounds" in written[1], len(written)] == [True, True, 2]


@pytest.fixture
def chaos_run(monkeypatch):
    """Runs a round of three acts whose outcomes are these; what it told, and its result."""
    monkeypatch.setattr(chaos.drilling, "alone", lambda: nullcontext(STAGE))
    monkeypatch.setattr(chaos, "StackRuns", lambda stage: None)
    monkeypatch.setattr(chaos, "run_command", lambda words: Ran(0, {}, 1.0))
    chaos_round = Round(1, 1, "repair", 1.0, (Act(KILL, "", 3), Act(STOP, "", 4), Act(PAUSE, "", 5)))
    monkeypatch.setattr(chaos, "_read", lambda file: chaos_round)

    def run(run_round):
        messages = []
        monkeypatch.setattr(chaos, "run_round", lambda chaos_round, *_: run_round(chaos_round))
        result = chaos.run(1, 1, None, "round.json", lambda page: None, lambda event: messages.append(event.detail))
        return result, messages

    return run


def test_a_round_that_fails_is_printed_and_shrunk(chaos_run):
    """Whoever reads it can run it again, also when it cannot be made smaller."""
    result, messages = chaos_run(
        lambda chaos_round: RoundOutcome(
            chaos_round, problems=["lost"] * any(act.kind == KILL for act in chaos_round.acts)
        )
    )
    (smallest,) = result.parts.smallest
    assert [act.kind for act in smallest.round.acts] == [KILL] and result.exit_code == 1
    assert json.dumps(result.parts.rounds[0].round.to_json()) in messages[0] and "still fails after" in messages[-1]


def test_a_round_that_leaves_the_stack_broken_is_not_shrunk_and_ends_no_chaos_run(chaos_run):
    """No redeploy repairs it: nothing can be said of a smaller one."""
    outcomes = [RoundOutcome, None]

    def run_round(chaos_round):
        if outcomes.pop(0) is None:
            raise DeadlinePassed("the steady state", 90, "vault/unsealed fail")
        return RoundOutcome(chaos_round, problems=["lost"])

    result, messages = chaos_run(run_round)
    assert len(result.parts.rounds) == 1 and result.parts.smallest == [] and "cannot be made smaller" in messages[-1]


def test_a_person_who_stops_the_redeploy_before_a_round_stops_the_chaos_run(monkeypatch):
    """Nothing is broken after a Ctrl-C."""
    monkeypatch.setattr(chaos.drilling, "alone", lambda: nullcontext(STAGE))
    monkeypatch.setattr(chaos.chaos_acts, "targets", lambda stage: TARGETS)
    monkeypatch.setattr(chaos, "StackRuns", lambda stage: None)
    monkeypatch.setattr(chaos, "run_command", lambda words: Ran(STOPPED, {}, 1.0))
    monkeypatch.setattr(chaos, "run_round", lambda chaos_round, *_: RoundOutcome(chaos_round))
    with pytest.raises(Interrupted, match="stopped after 0 of 1 rounds"):
        chaos.run(1, 1, None, "", lambda page: None, nobody)


def test_who_stops_a_chaos_run_keeps_the_rounds_that_are_done(monkeypatch):
    """In the document as well: an hour of them was lost. What is left is named, and the exit code is 130."""
    monkeypatch.setattr(chaos.drilling, "alone", lambda: nullcontext(STAGE))
    monkeypatch.setattr(chaos.chaos_acts, "targets", lambda stage: TARGETS)
    monkeypatch.setattr(chaos, "StackRuns", lambda stage: None)
    monkeypatch.setattr(chaos, "run_command", lambda words: Ran(0, {}, 1.0))

    def run_round(chaos_round, *_):
        if chaos_round.number == 3:
            raise KeyboardInterrupt
        return RoundOutcome(chaos_round, problems=["lost"] * (chaos_round.number == 2))

    monkeypatch.setattr(chaos, "run_round", run_round)
    monkeypatch.setattr(chaos, "shrink", lambda chaos_round, *_: (chaos_round, 1))
    with pytest.raises(Interrupted) as caught:
        chaos.run(5, 7, None, "", lambda page: None, nobody)
    assert [outcome.round.number for outcome in caught.value.parts.rounds] == [1, 2]
    assert "stopped after 2 of 5 rounds, 1 of which kept every promise" in caught.value.what
    assert caught.value.fix.endswith("--seed 7 --only 3") and caught.value.exit_code == STOPPED


def test_a_chaos_run_without_a_round_is_refused():
    """Nothing is broken by mistake."""
    with pytest.raises(Refusal, match="without a round"):
        chaos._made(0, 1, None, TARGETS)
    assert [chaos_round.number for chaos_round in chaos._made(3, 1, None, TARGETS)] == [1, 2, 3]
    assert [chaos_round.number for chaos_round in chaos._made(0, 1, 7, TARGETS)] == [7]
