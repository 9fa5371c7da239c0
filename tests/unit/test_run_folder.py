"""Run folders and journals: private, whole, and readable after a crash."""

from __future__ import annotations

import os
import stat

import pytest

from prompt_keda.errors import PromptKedaError, Refusal
from prompt_keda.files.run_folder import JournalFile, RunFolder


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
    assert [one["event"] for one in journal.entries()] == ["begin"]
    journal.append("t", "again")
    assert [one["event"] for one in journal.entries()] == ["begin", "again"], "the next entry was lost with it"


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


def test_only_an_unfinished_run_is_resumed(folder):
    """A run with a report is over; one without a plan never began."""
    runs = folder.path.parent
    assert RunFolder.latest_unfinished(runs, "local") is None
    folder.write_json("plan.json", {})
    assert RunFolder.latest_unfinished(runs, "local").run_id == folder.run_id
    folder.write_json("report.json", {})
    assert RunFolder.latest_unfinished(runs, "local") is None


def test_a_run_that_does_not_exist_is_refused(folder):
    """Also one that tries to leave the folder."""
    for name in ("absent", "../../etc"):
        with pytest.raises(Refusal):
            RunFolder.open_(folder.path.parent, name)


def test_nothing_begins_without_a_journal(tmp_path):
    """A state folder that cannot be made refuses the run."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Refusal):
        RunFolder.create(tmp_path / "file" / "runs", "local")
