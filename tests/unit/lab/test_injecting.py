"""Faults that people inject: each is known until it is reverted. Without a stack."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from prompt_keda.core.errors import LabError, Refusal
from prompt_keda.core.event import nobody
from prompt_keda.lab import as_text, faults, injecting, state
from prompt_keda.lab.faults import ALL_FAULTS
from prompt_keda.lab.faults.fault import Fault


@pytest.fixture
def stack(monkeypatch, tmp_path):
    """A stack of two faults that write down what they do."""
    done, lab = [], SimpleNamespace(state=tmp_path)

    def made(id_):
        acts = [lambda stage, word=word: done.append(f"{word} {id_}") for word in ("inject", "revert")]
        return Fault(id_, "F1", f"{id_} is broken", *acts, {"keda/parts-ready": "fail"}, "said", stops_scaling=True)

    faults = {id_: made(id_) for id_ in ("a/one", "b/two")}

    @contextmanager
    def alone(is_marked=False):
        done.extend([] if is_marked else ["look for the marker"])
        yield SimpleNamespace(lab=lab)

    monkeypatch.setattr(injecting.drilling, "alone", alone)
    monkeypatch.setattr(injecting, "current_lab", lambda: lab)
    monkeypatch.setattr(injecting, "ALL_FAULTS", [*faults.values()])
    monkeypatch.setattr(injecting, "OF_DELIVERY", ())
    monkeypatch.setattr(injecting, "fault_of", lambda id_: faults[id_])
    return SimpleNamespace(lab=lab, done=done, faults=faults)


def acts(stack):
    return [act for act in stack.done if act != "look for the marker"]


def there():
    return [fault.id for fault in injecting.list_faults().parts.faults if fault.is_there]


def test_what_is_brought_in_is_reported_until_it_is_reverted(stack):
    """Also by the list, and once where it was injected twice."""
    for _ in range(2):
        (row,) = injecting.inject("a/one", nobody).parts.faults
    assert (row.id, row.is_there, row.runbook, row.stops_scaling) == ("a/one", True, "keda-gone", True)
    assert there() == state.faults(stack.lab) == ["a/one"]
    injecting.revert("a/one", nobody)
    assert there() == [] and acts(stack) == ["inject a/one"] * 2 + ["revert a/one"]


def test_without_an_id_all_are_reverted_the_last_one_first(stack):
    """The last first. Then there is nothing to revert."""
    for id_ in ("a/one", "b/two"):
        injecting.inject(id_, nobody)
    injecting.revert_all(nobody)
    assert acts(stack)[2:] == ["revert b/two", "revert a/one"] and there() == []
    assert injecting.revert_all(nobody).parts.faults == [] and len(acts(stack)) == 4


def test_one_that_was_not_brought_in_so_can_be_reverted(stack):
    """A drill that was killed leaves it."""
    injecting.inject("b/two", nobody)
    injecting.revert("a/one", nobody)
    assert acts(stack)[1:] == ["revert a/one"] and there() == ["b/two"]


def test_what_is_noted_is_reverted_though_the_api_server_is_away(stack):
    """It may be what was broken: then nobody can look for the marker. What is not noted needs it."""
    injecting.inject("a/one", nobody)
    stack.done.clear()
    injecting.revert("a/one", nobody)
    assert stack.done == ["revert a/one"]
    injecting.revert("a/one", nobody)
    assert stack.done[1:] == ["look for the marker", "revert a/one"]


@pytest.mark.parametrize("act", ["inject", "revert"])
def test_one_that_fails_half_way_is_still_there(stack, act):
    """What it has done by then has to be reverted."""

    def fails(stage):
        raise LabError("half-way")

    object.__setattr__(stack.faults["a/one"], act, fails)
    with pytest.raises(LabError):
        injecting.inject("a/one", nobody)
        injecting.revert_all(nobody)
    assert there() == ["a/one"]


@pytest.mark.parametrize("id_", ["no/such", ""])
def test_a_fault_that_there_is_not_is_refused(id_):
    """Before anything is looked at; no id is not all of them."""
    for act in (injecting.inject, injecting.revert):
        with pytest.raises(Refusal, match="there is no fault"):
            act(id_, nobody)


def test_one_that_another_keeps_from_being_repaired_is_repaired_after_it(stack):
    """A stopped Vault takes no policy: though that came in later, it comes last."""
    reverted = []

    def reverts_after(stage):
        if "a/one" not in reverted:
            raise LabError("Vault does not answer")
        reverted.append("b/two")

    object.__setattr__(stack.faults["a/one"], "revert", lambda stage: reverted.append("a/one"))
    object.__setattr__(stack.faults["b/two"], "revert", reverts_after)
    for id_ in ("a/one", "b/two"):
        injecting.inject(id_, nobody)
    rows = injecting.revert_all(nobody).parts.faults
    assert reverted == ["a/one", "b/two"] and {row.id for row in rows} == set(reverted) and there() == []


def test_one_that_cannot_be_repaired_hides_no_other(stack, monkeypatch):
    """Nor does one that this toolkit does not know: the others are reverted, then its error is raised."""
    injecting.inject("a/one", nobody)
    state.write_faults(stack.lab, ["a/one", "of/another-version"])
    monkeypatch.setattr(injecting, "fault_of", lambda id_: stack.faults.get(id_) or faults.fault_of(id_))
    with pytest.raises(Refusal, match="of/another-version") as refused:
        injecting.revert_all(nobody)
    assert [fault.id for fault in refused.value.parts.faults] == ["a/one"]
    assert state.faults(stack.lab) == ["of/another-version"]


def test_what_cannot_be_noted_is_not_broken(stack, monkeypatch):
    """A full disk: nobody could revert it."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(state, "write_whole", full)
    with pytest.raises(LabError, match="cannot be written"):
        injecting.inject("a/one", nobody)
    assert acts(stack) == []


def test_all_faults_are_listed_with_what_answers_them(stack, capsys, monkeypatch):
    """A line for what is broken, and one for what detects and answers it."""
    injecting.inject("a/one", nobody)
    as_text.show_faults(injecting.list_faults().parts)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a/one: a/one is broken; scaling stops; INJECTED, NOT REVERTED"
    assert lines[1].strip() == "detected by keda/parts-ready FAIL; runbook keda-gone"
    assert "BROUGHT" not in lines[2] and len(lines) == 4
    monkeypatch.setattr(injecting, "ALL_FAULTS", ALL_FAULTS)
    assert all(fault.runbook for fault in injecting.list_faults().parts.faults)
