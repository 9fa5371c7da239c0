"""Run folders and journals: private, whole, and readable after a crash."""

from __future__ import annotations

import os
import stat

import pytest

from prompt_keda.core.errors import PromptKedaError, Refusal
from prompt_keda.records.record import JournalFile, RunFolder


@pytest.fixture
def folder(tmp_path):
    old = os.umask(0)
    yield RunFolder.create(tmp_path / "runs", "local")
    os.umask(old)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_files_are_private_under_any_umask(folder):
    """0700 and 0600, also with umask 000."""
    folder.write_json("plan.json", {"a": 1})
    JournalFile(folder).append("s", "begin")
    assert mode(folder.path) == 0o700
    assert mode(folder.path / "plan.json") == mode(folder.path / "journal.jsonl") == 0o600


def test_a_torn_last_line_is_left_out(folder):
    """A crash in the middle of a write loses that entry alone."""
    journal = JournalFile(folder)
    journal.append("s", "begin")
    with (folder.path / "journal.jsonl").open("a") as file:
        file.write('{"step": "t", "eve')
    assert [entry["event"] for entry in journal.entries()] == ["begin"]
    journal.append("t", "again")
    assert [entry["event"] for entry in journal.entries()] == ["begin", "again"], "the next entry was lost with it"


def test_a_symbolic_link_is_not_followed(folder, tmp_path):
    """Somebody else's file is not written through a link."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (folder.path / "journal.jsonl").symlink_to(victim)
    with pytest.raises(PromptKedaError):
        JournalFile(folder).append("s", "begin")
    (folder.path / "plan.json").symlink_to(victim)
    folder.write_json("plan.json", {})
    assert victim.read_text() == "mine"


def test_only_a_run_with_a_plan_is_one(folder):
    """And nothing that tries to leave the folder, or is named otherwise."""
    runs = folder.path.parent
    assert RunFolder.find(runs, folder.id) is None
    folder.write_json("plan.json", {})
    assert RunFolder.find(runs, folder.id).id == folder.id
    (runs / "other").mkdir()
    (runs / "other" / "plan.json").write_text("{}")
    for name in ("20250101t000000z-local-1", "../runs/" + folder.id, "other", "", "."):
        assert RunFolder.find(runs, name) is None, name
        with pytest.raises(Refusal, match="there is no run"):
            RunFolder.open_(runs, name)


def test_a_run_of_another_machine_gets_its_folder(folder):
    """Private, whole, with the plan last; an id that is none names no folder."""
    runs, entry = folder.path.parent, {"at": "t", "step": "run", "event": "begin", "detail": "d"}
    made = RunFolder.adopt(runs, "20250101t000000z-local-7", {"mode": "cold"}, {"jobs": []}, [entry, entry])
    assert JournalFile(made).entries() == [entry, entry] and made.read_json("plan.json") == {"mode": "cold"}
    assert {mode(path) for path in made.path.iterdir()} == {0o600} and mode(made.path) == 0o700
    for name in ("../20250101t000000z-local-7", "20259901t000000z-local-7", "20250101t000000z-a/b-7"):
        with pytest.raises(Refusal, match="not a run's id"):
            RunFolder.adopt(runs, name, {}, {}, [])


@pytest.mark.parametrize("line", ["[]", "3", '{"at": 1}', '{"at": "t", "step": "s", "event": "e"}', "[" * 100_000])
def test_a_line_of_the_journal_that_is_no_entry_is_left_out(folder, line):
    """Whatever was done to the file, it can be read."""
    JournalFile(folder).append("s", "begin")
    with (folder.path / "journal.jsonl").open("a") as file:
        file.write(line + "\n")
    assert [entry["event"] for entry in JournalFile(folder).entries()] == ["begin"]


def test_nothing_begins_without_a_journal(tmp_path):
    """A state folder that cannot be made refuses the run."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Refusal):
        RunFolder.create(tmp_path / "file" / "runs", "local")
