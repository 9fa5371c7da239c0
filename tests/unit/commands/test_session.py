"""A command opens one session: the environment's file is read once, and what it opened is closed."""

from __future__ import annotations

import os

import pytest

from prompt_keda.commands import runbooks, session
from prompt_keda.core.errors import Refusal
from prompt_keda.core.event import nobody
from prompt_keda.runbooks.commands import Ran


@pytest.fixture
def reads(monkeypatch, tmp_path):
    """The files that were read, in their order."""
    files, load = [], session.load_environment

    def counted(path, placeholders):
        files.append(path.name)
        return load(path, placeholders)

    monkeypatch.setattr(session, "load_environment", counted)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return files


def test_a_runbook_reads_its_environment_once(reads, monkeypatch):
    """Its plan, its approval, its incident and its run."""
    monkeypatch.setattr(runbooks, "run_command", lambda words: Ran(0, {}, 0.1))
    with session.open_session("prod") as opened:
        digest = runbooks.plan_runbook(opened, "keda-gone").parts.digest
        runbooks.run(opened, "keda-gone", "", digest, nobody, None)
    assert reads == ["prod.yaml"]


def test_what_is_opened_anew_is_read_anew(reads):
    """Somebody may have changed the file since: enrol does."""
    with session.open_session("prod") as opened, opened.reopened() as again:
        assert again.systems is not opened.systems and again.name == "prod"
    assert reads == ["prod.yaml", "prod.yaml"]


def test_a_session_closes_what_it_opened(monkeypatch):
    """Also when the command fails."""
    closed = []
    monkeypatch.setattr(session.Systems, "close", lambda systems: closed.append(systems))
    with pytest.raises(ZeroDivisionError), session.open_session("prod") as opened:
        raise ZeroDivisionError
    assert closed == [opened.systems]


def test_without_a_name_nothing_is_opened():
    """The message says where environments are."""
    with pytest.raises(Refusal, match="say which environment"), session.open_session(""):
        pass


@pytest.fixture
def own(tmp_path, monkeypatch):
    """An environment that a person has in the current folder."""
    folder = tmp_path / "environments"
    folder.mkdir()
    (folder / "prod.yaml").write_text((session.ENVIRONMENTS / "prod.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    return folder


def test_an_own_environment_counts_before_what_is_shipped(own):
    """A wheel's own files are not for editing."""
    with session.open_session("prod") as opened:
        assert opened.file.resolve() == own / "prod.yaml"


def test_an_environment_that_somebody_else_may_write_is_not_taken_by_its_name(own, monkeypatch):
    """In /tmp anybody can put one: its kubeconfig may run a program, and the person's token goes to the Vault that it names."""
    own.chmod(0o777)
    with pytest.raises(Refusal, match="somebody else may write") as caught, session.open_session("prod"):
        pass
    assert "--env ./environments/prod.yaml" in caught.value.fix
    own.chmod(0o755)
    if os.getuid() == 0:
        os.chown(own / "prod.yaml", 4711, -1)
    else:
        monkeypatch.setattr(session.os, "getuid", lambda: 4711)
    with pytest.raises(Refusal, match="somebody else"), session.open_session("prod"):
        pass
    with session.open_session("environments/prod.yaml") as opened:
        assert opened.file.name == "prod.yaml", "who names the file means it"


def test_the_header_names_a_file_that_is_not_a_shipped_one(tmp_path):
    """Two environments may have one name; what is shipped needs no path."""
    copy = tmp_path / "mine.yaml"
    copy.write_text((session.ENVIRONMENTS / "prod.yaml").read_text())
    with session.open_session(str(copy)) as opened:
        assert opened.header().startswith(f"environment prod from {copy} · ")
    with session.open_session("prod") as opened:
        assert opened.header().startswith("environment prod · ")
