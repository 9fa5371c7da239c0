"""What drills have shown is kept on this machine, and told by history: as lines with bars, as a page, and as JSON."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from prompt_keda.commands.history import history
from prompt_keda.core.errors import DeadlinePassed, Refusal, Unreachable
from prompt_keda.core.event import nobody
from prompt_keda.core.places import drills_folder
from prompt_keda.lab import drilling, faults
from prompt_keda.lab import state as lab_state
from prompt_keda.lab.drilling import Selection
from prompt_keda.records.drill_history import begin_drills, drills_kept
from prompt_keda.records.drill_record import DrillRecord
from prompt_keda.records.record import Record
from prompt_keda.report import as_text, drills_as_text, history_page
from tests.runs import cluster_of
from tests.unit.world import World

from .test_incident_story import HOSTILE

ALL, REST = Selection(all_of_them=True), Selection(rest=True)
FAULTS = ("keda/gone", "keda/gone-too", "redis/gone")
BEGAN_AT = "2025-01-01T00:00:00+00:00"
GOOD = DrillRecord(
    began_at=BEGAN_AT,
    passed=True,
    fault="keda/gone",
    title="KEDA is gone",
    expected_checks={"keda/parts-ready": "fail"},
    detected_s=10.0,
    runbook="keda-gone",
    answered_by="runbook",
    recovered_s=40.0,
    lost=(),
)
BAD = DrillRecord(
    began_at=BEGAN_AT,
    passed=False,
    fault="redis/gone",
    title="Redis is gone",
    lost=("j1 is gone",),
    problems=("lost: j1 is gone", "more"),
)


def record(day, drilled=GOOD):
    return drilled.model_copy(update={"began_at": f"2025-01-0{day}T00:00:00+00:00"})


@pytest.fixture
def state(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return drills_folder()


def put(state, day, drilled=GOOD, environment="local"):
    folder = Record(state / f"2025010{day}t000000z-{environment}-7")
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.keep(drilled.fault, record(day, drilled).to_json())
    return folder


def nowhere(page):
    """No file is named for the table."""


def stop(wanted=ALL):
    """Begin drills that a stack stops which is not green."""
    with pytest.raises(DeadlinePassed):
        drilling.run(wanted, nowhere, nobody)


def grow_old(state):
    """Let the drills that are kept be of another time: an id tells the second and the process, here one for all."""
    (folder,) = state.iterdir()
    folder.rename(state / "20250101t000000z-local-7")


def known(monkeypatch, ids):
    """Let these faults be all."""
    for module in (drilling, faults):
        monkeypatch.setattr(module, "ALL_FAULTS", [SimpleNamespace(id=id_, needs=frozenset()) for id_ in ids])


@pytest.fixture
def drills(monkeypatch, state, tmp_path):
    """Drills without a stack: each fault's result, in their order."""
    results = []

    def drill(fault, *arguments):
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(drilling, "drill", drill)
    monkeypatch.setattr(drilling, "read_environment", lambda name: None)
    kube, lab = SimpleNamespace(find=lambda *arguments: {}), SimpleNamespace(state=tmp_path, name="one")
    environment = SimpleNamespace(**vars(cluster_of("local")), observing=None)
    stack = SimpleNamespace(kube=kube, lab=lab, environment=environment, endpoints={})
    monkeypatch.setattr(drilling, "Stage", lambda environment: stack)
    known(monkeypatch, FAULTS)
    return results


def test_each_drill_is_kept_for_this_user_alone(drills, state):
    """Also the same fault twice in one command; history tells what the drill told."""
    drills += [record(1), record(2), record(3, BAD)]
    drilling.run(ALL, nowhere, nobody)
    listed = history(None).parts.drills
    assert [drill.fault for drill in listed] == ["redis/gone", "keda/gone", "keda/gone"]
    assert [drill.passed for drill in listed] == [False, True, True]
    assert (listed[0].lost, listed[0].problems, listed[0].recovered_s) == (BAD.lost, BAD.problems, None)
    assert (listed[1].detected_s, listed[1].recovered_s, listed[1].runbook) == (10.0, 40.0, "keda-gone")
    (folder,) = state.iterdir()
    assert [path.stat().st_mode & 0o777 for path in (state, folder)] == [0o700] * 2
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_what_was_drilled_before_one_that_could_not_be_is_kept(drills, state):
    """A stack that is not green."""
    drills += [GOOD, DeadlinePassed("the steady state", 90, "red")]
    stop()
    assert [drill.fault for drill in drills_kept(state, "")[0]] == ["keda/gone"]


def test_the_table_is_written_after_each_drill(drills):
    """A person who stops them has what was drilled."""
    drills += [GOOD, DeadlinePassed("the steady state", 90, "red")]
    written = []
    with pytest.raises(DeadlinePassed):
        drilling.run(ALL, written.append, nobody)
    assert [page.count(GOOD.title) for page in written] == [1]


def test_nothing_is_broken_where_nothing_can_be_kept(drills, state):
    """It is refused before the first fault."""
    drills += [GOOD]
    state.parent.mkdir()
    state.write_text("a file")
    with pytest.raises(Refusal, match="drills"):
        drilling.run(ALL, nowhere, nobody)
    assert drills == [GOOD]


def test_drills_that_were_stopped_are_gone_on_with(drills, state):
    """What was drilled is not drilled again, and stands in the table and in the result."""
    drills += [GOOD, DeadlinePassed("the steady state", 90, "red"), BAD, GOOD]
    stop()
    written = []
    result = drilling.run(REST, written.append, nobody)
    assert (drills, result.exit_code) == ([], 1)
    assert result.parts.drills == [GOOD, BAD, GOOD]
    assert [page.count(GOOD.title) for page in written] == [1, 2] and len(list(state.iterdir())) == 1
    with pytest.raises(Refusal, match="were stopped"):
        drilling.run(REST, nowhere, nobody)


def test_only_the_faults_that_were_chosen_are_left(drills, state):
    """And a command that has ended since hides none that was stopped."""
    drills += [DeadlinePassed("the steady state", 90, "red"), BAD, GOOD, GOOD]
    stop(Selection("keda/"))
    grow_old(state)
    drilling.run(Selection("redis/gone"), nowhere, nobody)
    assert len(drilling.run(REST, nowhere, nobody).parts.drills) == 2 and drills == []


@pytest.mark.parametrize("gone", [0, 1])
def test_a_fault_that_is_there_no_more_is_named_before_anything_is_broken(drills, monkeypatch, gone):
    """The toolkit may have changed since. What was drilled already needs no fault."""
    drills += [GOOD, DeadlinePassed("the steady state", 90, "red"), GOOD]
    stop(Selection("keda/"))
    known(monkeypatch, [fault for fault in FAULTS if fault != FAULTS[gone]])
    if gone:
        with pytest.raises(Refusal, match="gone-too"):
            drilling.run(REST, nowhere, nobody)
        assert drills == [GOOD]
    else:
        drilling.run(REST, nowhere, nobody)


def test_what_cannot_be_read_is_not_gone_on_with(drills, state):
    """A table without one of its rows would not be whole."""
    drills += [GOOD, DeadlinePassed("the steady state", 90, "red"), GOOD]
    stop()
    (folder,) = state.iterdir()
    (folder / "001-keda-gone.json").write_text("{")
    with pytest.raises(Refusal, match="001-keda-gone"):
        drilling.run(REST, nowhere, nobody)
    assert drills == [GOOD]


def test_one_that_has_ended_hides_none_that_was_stopped(drills, state):
    """Also where one of its records is damaged: nothing is left of it."""
    drills += [GOOD, DeadlinePassed("the steady state", 90, "red"), BAD, GOOD]
    stop()
    grow_old(state)
    newer = begin_drills(state, "local", "one", ["keda/gone"])
    newer.record.path.rename(state / "20990101t000000z-local-7")
    (state / "20990101t000000z-local-7" / "001-keda-gone.json").write_text("{")
    assert len(drilling.run(REST, nowhere, nobody).parts.drills) == 3


def test_the_drills_of_another_stack_are_not_gone_on_with(drills, state):
    """Several of one user are all of environment local; those of one may be at work."""
    begin_drills(state, "local", "another", ["keda/gone"])
    with pytest.raises(Refusal, match="no drills"):
        drilling.run(REST, nowhere, nobody)


def test_a_choice_that_cannot_be_read_is_refused(drills, state):
    """It is damaged."""
    begin_drills(state, "local", "one", ["keda/gone"]).record.path.joinpath("chosen.txt").write_bytes(b"\xff")
    with pytest.raises(Refusal, match="damaged"):
        drilling.run(REST, nowhere, nobody)


def test_who_drills_is_reported_before_the_cluster_is_asked(drills, monkeypatch):
    """Another drill may have taken the API server away."""
    drills += [GOOD]

    def away(*arguments):
        raise Unreachable("Kubernetes", "https://k", "refused")

    with drilling.alone() as stage:
        monkeypatch.setattr(stage.kube, "find", away)
        with pytest.raises(Refusal, match="another drill"):
            drilling.run(ALL, nowhere, nobody)
    with pytest.raises(Unreachable):
        drilling.run(ALL, nowhere, nobody)
    with drilling.alone(is_marked=True):
        lab_state.write_faults(stage.lab, ["cluster/api-server-killed"])
    with pytest.raises(Unreachable) as refused:
        drilling.run(ALL, nowhere, nobody)
    assert "faults --revert" in refused.value.fix


def test_a_folder_that_cannot_be_written_is_refused(drills, tmp_path):
    """Before anything is broken."""
    (tmp_path / "drill.lock").mkdir()
    with pytest.raises(Refusal, match="cannot be written"):
        drilling.run(ALL, nowhere, nobody)


def test_two_drills_are_not_at_work_at_once(drills):
    """Neither injects a fault into the stack of the other; once it has ended, the next may."""
    drills += [GOOD] * 3
    with drilling.alone(), pytest.raises(Refusal, match="another drill"):
        drilling.run(ALL, nowhere, nobody)
    assert len(drilling.run(ALL, nowhere, nobody).parts.drills) == 3


DAMAGES = {
    "torn": lambda file: file.write_text(file.read_text()[:-9]),
    "no object": lambda file: file.write_text("[]"),
    "no number": lambda file: changed(file, detected_s="soon"),
    "a number in quotes": lambda file: changed(file, recovered_s="40"),
    "no such number": lambda file: changed(file, recovered_s=float("nan")),
    "below nothing": lambda file: changed(file, recovered_s=-1.0),
    "no time": lambda file: changed(file, began_at="yesterday"),
    "no zone": lambda file: changed(file, began_at="2025-01-02T00:00:00"),
    "more": lambda file: changed(file, more=1),
    "bytes": lambda file: file.write_bytes(b"\xff\xfe"),
    "a folder": lambda file: [file.unlink(), file.mkdir()],
}


def changed(file, **fields):
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_record_is_named_and_hides_no_other(state, damage):
    """Neither of its own command nor of another."""
    put(state, 1)
    folder = put(state, 2)
    put(state, 2, BAD)
    damage(folder.path / "001-keda-gone.json")
    parts = history(None).parts
    assert [drill.fault for drill in parts.drills] == ["redis/gone", "keda/gone"]
    (damaged,) = parts.damaged
    assert "001-keda-gone.json" in damaged and "20250102" in damaged


def test_what_is_no_drill_is_named_too(state):
    """A name that no command has."""
    put(state, 1)
    (state / "notes").mkdir()
    drills, (damaged,) = drills_kept(state, "")
    assert len(drills) == 1 and "notes" in damaged


def test_only_the_drills_of_the_environment_are_reported(state):
    """Those of the local stack say nothing of another cluster."""
    put(state, 1)
    world = World()
    assert len(history(world.session).parts.drills) == 1
    world.systems.environment = world.systems.environment.model_copy(update={"name": "prod"})
    assert history(world.session).parts.drills == []


def shown(capsys):
    parts = history(None).parts
    as_text.show_history(parts)
    drills_as_text.show_kept(parts.drills)
    return capsys.readouterr().out


def test_drills_are_shown_as_lines_with_bars(state, capsys):
    """The longest has the whole width; what was not verified has none."""
    put(state, 1)
    put(state, 2, BAD)
    put(
        state,
        3,
        GOOD.model_copy(update={"fault": "a/b", "detected_s": 5.0, "answered_by": "people", "recovered_s": 20.0}),
    )
    lines = shown(capsys).splitlines()
    assert lines[1].startswith("drills: 2 of 3 passed")
    assert lines[2] == "2025-01-03 00:00:00  a/b         passed  detected after 5.0 s, recovered after 20.0 s, 0 lost"
    assert lines[3] == "  " + "▒" * 5 + "▇" * 15
    assert lines[4].endswith("failed  detected never, recovered never, 1 lost; lost: j1 is gone; more")
    assert lines[6] == "  " + "▒" * 10 + "▇" * 30 and len(lines) == 7


def test_drills_stand_on_the_page(state):
    """With their bars; what a record says makes no markup. What was not counted is not nought."""
    bad = BAD.model_copy(update={"fault": HOSTILE, "title": HOSTILE, "lost": None, "problems": (HOSTILE,)})
    page = history_page.to_html("local", history_page.History([], [record(1), record(2, bad)]))
    assert "1 of 2 passed" in page and "flex: 10.0" in page and "flex: 30.0" in page and "width: 100.0%" in page
    assert page.count("not counted") == 1 and "<script" not in page and "\x1b" not in page
    assert not any(word in page for word in ("src=", "href=", "url(", "@import"))


def test_no_record_forges_a_line(state, capsys):
    """Nor steers a terminal."""
    put(state, 1, BAD.model_copy(update={"problems": (HOSTILE, "x\nforged")}))
    output = shown(capsys)
    assert "\x1b" not in output and "\nforged" not in output


def test_without_a_drill_nothing_is_shown(state, capsys):
    """The page and the lines are as they were."""
    assert shown(capsys) == "no runs\n"
    assert "rill" not in history_page.to_html("local", history_page.History([], []))
