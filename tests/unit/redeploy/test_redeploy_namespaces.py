"""KEDA's namespace is deleted by somebody in the midst of a run: what holds it up goes, and the verification waits for nothing."""

from __future__ import annotations

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.components.keda.names import API_SERVICE
from prompt_keda.components.run import Context
from prompt_keda.components.smoke import smoke_test
from prompt_keda.redeploy import remove, verify
from tests.unit.world import World

DYING = {"deletionTimestamp": "2026-01-01T00:00:00Z"}


@pytest.fixture
def world():
    return World()


def context(world):
    deployment = {"kind": "Deployment", "metadata": {"name": "keda-operator", "namespace": "keda"}}
    return Context(world.systems, [deployment], {})


def stands(world):
    return world.kube.find(kinds.API_SERVICES, API_SERVICE) is not None


def test_the_metrics_api_service_goes_if_its_namespace_does(world):
    """It was recreated in this run, so that the plan knows nothing of it (F9)."""
    world.change(kinds.NAMESPACES, "keda", metadata=DYING)
    remove.let_namespaces_go(context(world))
    assert not stands(world)
    remove.let_namespaces_go(context(world))


def elsewhere(world):
    world.change(kinds.NAMESPACES, "keda", metadata=DYING)
    world.change(kinds.API_SERVICES, API_SERVICE, spec={"service": {"name": "metrics", "namespace": "other"}})


@pytest.mark.parametrize("change", [lambda world: None, elsewhere], ids=["a namespace that stays", "another's"])
def test_else_it_stays(world, change):
    """It serves."""
    change(world)
    remove.let_namespaces_go(context(world))
    assert stands(world)


def test_the_smoke_test_does_not_wait_for_a_keda_that_was_removed_again(world, monkeypatch):
    """What is missing is named at once, and not after two minutes."""
    monkeypatch.setattr(smoke_test, "run_smoke", lambda *given: given[-1]())
    made = context(world)
    verify.run_smoke(made)
    assert made.smoke is None
    world.kube.delete(kinds.DEPLOYMENTS, "keda-operator", "keda")
    verify.run_smoke(made)
    assert made.smoke == "keda-operator is gone again: somebody has removed it since the install"
