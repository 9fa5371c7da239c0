"""What delivers on a local stack: one of two, and which it is stays with the stack."""

from types import SimpleNamespace

import pytest

from prompt_keda.core.errors import LabError, Refusal
from prompt_keda.lab import argocd, stack, state
from prompt_keda.lab.settings import current_lab


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("PROMPT_KEDA_LAB", "other")
    current_lab().state.mkdir(parents=True)
    return current_lab()


def never(*arguments):
    raise AssertionError("something was started")


@pytest.fixture(autouse=True)
def _nothing_starts(monkeypatch):
    monkeypatch.setattr(stack.requirements, "check", never)
    monkeypatch.setattr(stack, "_Bringup", never)


def test_an_unknown_delivery_is_refused(lab):
    """The refusal names those that are known, before anything is changed."""
    with pytest.raises(Refusal, match="nix") as refused:
        stack.up(delivery="nix")
    assert "argocd, helm" in refused.value.fix


def test_a_stack_has_one_delivery(lab):
    """Helm does not come beside Argo CD: two would own the same objects. The refusal says how to get another stack."""
    state.write_endpoints(lab, {"address": "10.0.0.1", "delivery": "argocd"})
    with pytest.raises(Refusal, match="argocd already") as refused:
        stack.up(delivery="helm")
    assert "lab.up --with helm" in refused.value.fix


@pytest.fixture
def added(lab, monkeypatch):
    """The stacks to which Argo CD was added; the stack's own parts come up at once."""
    added = []
    state.write_endpoints(lab, {"address": "10.0.0.1", "delivery": "argocd"})
    monkeypatch.setattr(stack.state, "endpoints", lambda lab: {"address": "10.0.0.1"})
    monkeypatch.setattr(stack, "Authority", lambda folder: None)
    monkeypatch.setattr(stack.people, "write_kubeconfigs", lambda *arguments: None)
    monkeypatch.setattr(stack.requirements, "check", lambda modules, **needs: None)
    monkeypatch.setattr(stack, "_Bringup", lambda *arguments: SimpleNamespace(run=lambda: None))
    monkeypatch.setattr(stack.argocd, "up", lambda lab, observer: added.append(lab.name))
    return added


def test_a_plain_lab_up_brings_the_delivery_back(added, monkeypatch):
    """What was added once comes back with the stack, for example after one of its processes was killed."""
    monkeypatch.setattr(stack.state, "status", lambda lab: SimpleNamespace(state="partial"))
    stack.up()
    assert added == ["other"]


def test_a_stack_that_stands_is_left_alone_unless_the_delivery_is_asked_for(added, monkeypatch):
    """A redeploy, which ensures that the stack is up, brings nothing back that a drill has taken from Argo CD."""
    monkeypatch.setattr(stack.state, "status", lambda lab: SimpleNamespace(state="up"))
    stack.up()
    assert added == []
    stack.up(delivery="argocd")
    assert added == ["other"]


def test_a_sync_that_failed_is_an_error_with_argo_cds_words():
    """Who needs a sync to succeed is told why it has not."""
    with pytest.raises(LabError, match="Error: Failed to load target state"):
        argocd.require({"phase": "Error", "message": "Failed to load target state"})
    assert argocd.require({"phase": "Succeeded"}) == {"phase": "Succeeded"}
