"""The acts of a chaos round are reverted, whatever their order, and nothing is left frozen. Without a stack."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import pytest

from prompt_keda.core.errors import Unreachable
from prompt_keda.core.waiting import until
from prompt_keda.lab import faults
from prompt_keda.lab.drills import chaos_acts as module
from prompt_keda.lab.drills.chaos_acts import Acts
from prompt_keda.lab.drills.chaos_plan import FREEZE, INJECT, Act
from prompt_keda.lab.faults import ALL_FAULTS, admission, scaling, signals
from prompt_keda.lab.faults.fault import Fault, InChaos
from prompt_keda.lab.faults.vault import write_back

STRIKES_VAULT = ("vault/policy-lost", "vault/newest-deleted", "vault/key-removed", "vault/secret-stale")


@pytest.fixture
def stage(tmp_path):
    return SimpleNamespace(lab=SimpleNamespace(state=tmp_path))


class Vault:
    """It can be stopped, and lose a policy: which nobody can take or give back while it is stopped."""

    def __init__(self, monkeypatch):
        self.runs, self.has_policy = True, True
        self.faults = [self.fault("vault/stopped", "runs"), self.fault("vault/policy-lost", "has_policy", True)]
        monkeypatch.setattr(faults, "ALL_FAULTS", self.faults)

    def fault(self, id_, what, needs_it=False):
        def change(value):
            if needs_it and not self.runs:
                raise Unreachable("Vault", "v", "the connection is refused")
            setattr(self, what, value)

        return Fault(id_, "", id_, lambda _: change(False), lambda _: change(True), {}, "")


@pytest.mark.parametrize("order", [["vault/stopped", "vault/policy-lost"], ["vault/policy-lost", "vault/stopped"]])
def test_all_is_reverted_in_whatever_order_it_can_be(monkeypatch, order, stage):
    """The last first; what another fault keeps from being reverted comes after that one."""
    vault = Vault(monkeypatch)
    acts = Acts(stage)
    for fault_id in order:
        acts.disrupt(Act(INJECT, fault_id, 0))
    acts.undo()
    assert vault.runs and vault.has_policy and acts.still_injected == []


def test_what_could_not_be_reverted_is_reported_and_tried_again_at_the_end(monkeypatch, stage):
    """Nothing of a chaos round stays because the stack did not answer for a moment."""
    vault = Vault(monkeypatch)
    with Acts.of(stage) as acts:
        acts.disrupt(Act(INJECT, "vault/policy-lost", 0))
        vault.runs = False
        with pytest.raises(Unreachable):
            acts.undo()
        vault.runs = True
    assert vault.has_policy


def test_what_cannot_be_reverted_at_the_end_does_not_hide_why_the_chaos_run_ended(monkeypatch, stage):
    """A Ctrl-C stays one."""
    vault = Vault(monkeypatch)
    with pytest.raises(KeyboardInterrupt), Acts.of(stage) as acts:
        acts.disrupt(Act(INJECT, "vault/policy-lost", 0))
        vault.runs = False
        raise KeyboardInterrupt


@pytest.mark.parametrize("fault", STRIKES_VAULT)
def test_what_strikes_a_vault_that_is_stopped_is_not_done(fault, stage):
    """Another act may have stopped it: that is noted, and the round goes on."""
    endpoints = {"vault_url": "http://127.0.0.1:1", "redis_password": False}
    secret = SimpleNamespace(keys=("a", "b"), vault_path="x", name="s", namespace="n")
    environment = SimpleNamespace(secrets=[secret], vault=SimpleNamespace(mount="secret"))
    kube = SimpleNamespace(get=lambda *_: {"data": {"alert_stream_pass": "eA=="}})
    broken = {"endpoints": endpoints, "ca_file": "/none", "environment": environment, "kube": kube}
    acts = Acts(SimpleNamespace(lab=stage.lab, **broken))
    acts.disrupt(Act(INJECT, fault, 0))
    (noted,) = acts.not_done
    assert "the stack's Vault does not answer" in noted and acts.still_injected == []


def test_of_the_acts_that_take_each_other_back_only_the_first_strikes(monkeypatch, stage):
    """Else a check that is green again would be told as one that does not see what is broken."""
    chaos = InChaos(is_repaired=False, writes="the secret")
    known = [Fault(f"a/{number}", "", "", lambda _: None, lambda _: None, {}, "", chaos=chaos) for number in range(3)]
    monkeypatch.setattr(faults, "ALL_FAULTS", known)
    acts = Acts(stage)
    for fault in known:
        acts.disrupt(Act(INJECT, fault.id, 0))
    assert [fault.id for fault in acts.still_injected] == ["a/0"] and len(acts.not_done) == 2
    for act in (write_back, scaling.remove_policy, admission.stop_webhook):
        writers = [fault.chaos for fault in ALL_FAULTS if fault.chaos and act in (fault.revert, fault.chaos.revert)]
        assert len({fault.writes for fault in writers}) == 1 and writers[0].writes


def test_a_fault_whose_symptom_takes_a_minute_is_not_waited_for(monkeypatch, stage):
    """Nor has its check to be red by the end of the redeploy; what it waits for to come back is not asked for either."""
    done = []
    quick = InChaos(is_repaired=False, inject=lambda _: done.append("in"), revert=lambda _: done.append("out"))
    slow = Fault("a/slow", "", "", lambda _: done.append("?"), lambda _: done.append("?"), {}, "", chaos=quick)
    monkeypatch.setattr(faults, "ALL_FAULTS", [slow])
    acts = Acts(stage)
    for _ in range(2):
        acts.disrupt(Act(INJECT, "a/slow", 0))
    assert acts.still_injected == []
    acts.undo()
    assert done == ["in", "out"]


def test_a_freeze_of_what_does_not_run_is_not_done(monkeypatch):
    """Another act has stopped it: nothing may be said about this one."""
    monkeypatch.setattr(module.processes, "pid_of", lambda lab, name: None)
    acts = Acts(SimpleNamespace(lab=None))
    acts.disrupt(Act(FREEZE, "vault", 0, 1.0))
    assert acts.not_done == ["freeze vault for 1.0 s at entry 0: it does not run"]


@pytest.fixture
def asleep(monkeypatch):
    """A process that acts can freeze."""
    with subprocess.Popen(["sleep", "60"]) as process:
        monkeypatch.setattr(module.processes, "pid_of", lambda lab, name: process.pid)
        yield process.pid
        process.kill()


def test_what_was_frozen_is_thawed_whatever_ends_the_round(asleep):
    """And what should have thawed it later ends with it."""
    with pytest.raises(ZeroDivisionError), Acts.of(SimpleNamespace(lab=None)) as acts:
        acts.disrupt(Act(FREEZE, "etcd", 0, 60.0))
        until(lambda: signals.is_stopped(asleep), "the freeze", 5)
        ((thaw, _),) = acts._thaws
        raise ZeroDivisionError
    assert thaw.poll() is not None
    until(lambda: not signals.is_stopped(asleep), "the thaw", 5)


def test_what_was_frozen_is_thawed_though_nobody_takes_it_back(asleep):
    """A chaos run that is killed cannot."""
    acts = Acts(SimpleNamespace(lab=None))
    acts.disrupt(Act(FREEZE, "etcd", 0, 2.0))
    until(lambda: signals.is_stopped(asleep), "the freeze", 1)
    until(lambda: not signals.is_stopped(asleep), "the thaw", 10)
    acts.undo()
