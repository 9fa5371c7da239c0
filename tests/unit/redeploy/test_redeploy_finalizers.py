"""An object of KEDA's kinds that others keep from being deleted: all else comes back, and the end of the run tells of it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.components.keda import install
from prompt_keda.components.scaled_jobs import running_jobs, unpause
from prompt_keda.core.plan import State
from prompt_keda.redeploy import finalize, guard, planner, remove, restore, verify
from tests.unit.world import SCALED_JOB, SPACE

from .test_redeploy_modes import CRD, GOING, Standing

HOOK = "argocd.argoproj.io/hook-finalizer"
OPERATOR = "keda-operator"


@pytest.fixture
def standing():
    return Standing()


@pytest.fixture
def held(standing):
    """KEDA stands, and its ScaledJob is being deleted, held by what Argo CD has left."""
    hold(standing, HOOK)
    return standing


def hold(standing, *names):
    standing.put(kinds.SCALED_JOBS, SCALED_JOB, SPACE, metadata={**GOING, "finalizers": list(names)})


def finalizers(standing):
    return standing.kube.get(kinds.SCALED_JOBS, SCALED_JOB, SPACE)["metadata"].get("finalizers")


def test_nothing_is_replaced_for_it(held):
    """No mode removes it; the plan says who holds it."""
    plan = held.plan()
    assert plan.mode == "repair" and plan.decisions.deletions == ()
    assert any(SCALED_JOB in note and HOOK in note for note in plan.notes)


def test_the_install_does_not_wait_for_it(standing):
    """The operator is gone: its own finalizer goes, and the other one stays."""
    hold(standing, "finalizer.keda.sh", HOOK)
    standing.put(kinds.DEPLOYMENTS, OPERATOR, "keda", spec={"replicas": 0}, status={"availableReplicas": 0})
    assert standing.plan().mode == "reinstall"
    assert finalize.hanging_inspect(standing.context).state is State.WORKING
    finalize.remove_finalizers(standing.context)
    inspection = finalize.hanging_inspect(standing.context)
    assert inspection.state is State.DONE and f"left for last: ScaledJob {SPACE}/{SCALED_JOB}" in inspection.detail
    assert finalizers(standing) == [HOOK]


def test_what_holds_its_crd_up_is_waited_for(held):
    """Nothing can be made of a kind that is being deleted."""
    held.put(kinds.CRDS, CRD, metadata=GOING)
    assert finalize.hanging_inspect(held.context).state is State.WORKING


def test_the_garbage_collector_is_waited_for_for_a_while(standing, monkeypatch):
    """It takes its finalizer away once the Jobs are orphaned; one that it leaves holds up nobody else."""
    hold(standing, "foregroundDeletion")
    assert finalize.hanging_inspect(standing.context).state is State.WORKING
    monkeypatch.setattr(finalize, "LIMIT", timedelta(0))
    finalize.remove_finalizers(standing.context)
    assert finalize.hanging_inspect(standing.context).state is State.DONE


def test_kedas_own_finalizer_is_never_left_to_the_operator_that_comes(standing, monkeypatch):
    """It would let the ScaledJob go, and the garbage collector would take the Jobs that still refer to it."""
    hold(standing, "finalizer.keda.sh", HOOK)
    standing.context.finalizers_were_waited_for = True
    assert finalize.hanging_inspect(standing.context).state is State.WORKING


def test_it_is_neither_applied_nor_paused_nor_verified(held):
    """Whatever is written on it would go with it."""
    held.plan()
    held.put(kinds.SCALED_JOBS, SCALED_JOB, SPACE, spec={"maxReplicaCount": 1})
    held.put(kinds.JOBS, "j1", SPACE, metadata={"annotations": {running_jobs.GENERATION: "7"}})
    for obj in held.context.instrument_objects.values():
        obj[:] = [wanted for wanted in obj if wanted["kind"] == "ScaledJob"]
    assert restore.scaled_jobs_inspect(held.context).state is State.DONE
    before = held.kube.get(kinds.SCALED_JOBS, SCALED_JOB, SPACE)
    for act in (
        guard.annotate_jobs,
        restore.apply_scaled_jobs,
        unpause.requeue_scaled_jobs,
        unpause.unpause_scaled_jobs,
    ):
        act(held.context)
    assert held.kube.get(kinds.SCALED_JOBS, SCALED_JOB, SPACE) == before
    for look in (verify.scaled_jobs_inspect, verify.loops_inspect, verify.work_inspect):
        assert look(held.context).state is State.DONE


def test_the_end_says_what_is_left_and_who_can_let_it_go(held):
    """The last of all steps: what holds it, who takes that away, and the command of a person."""
    assert planner.STEPS[-1].id == restore.LEFT.id
    held.plan()
    inspection = restore.LEFT.inspect(held.context)
    assert inspection.state is State.BROKEN
    for words in (f"ScaledJob {SPACE}/{SCALED_JOB} is held by finalizer {HOOK}", "Argo CD takes it away", "kubectl -n"):
        assert words in inspection.detail, inspection.detail
    held.put(kinds.SCALED_JOBS, SCALED_JOB, SPACE, metadata={"deletionTimestamp": None, "finalizers": None})
    assert restore.LEFT.inspect(held.context).state is State.DONE


def test_one_that_others_deliver_is_reported_as_well(held):
    """Their delivery cannot bring it back while it is there."""
    held.context.instrument_objects = {}
    assert restore.LEFT.inspect(held.context).state is State.BROKEN


def test_a_finalizer_that_comes_after_the_preflight_stops_the_removal_before_it_begins(standing):
    """The operator works on."""
    standing.plan("reinstall")
    step = next(step for step in remove.STEPS if step.id == "remove/api-service")
    assert step.inspect(standing.context).state is State.WORKING
    standing.put(kinds.DEPLOYMENTS, OPERATOR, "keda", metadata={"finalizers": ["example.com/hold"]})
    inspection = step.inspect(standing.context)
    assert (
        inspection.state is State.BROKEN
        and "nothing more is removed: Deployment keda/keda-operator" in inspection.detail
    )


@pytest.fixture
def held_namespace(standing):
    """KEDA stands; the instrument's namespace is being deleted, and something in it is held."""
    message = f"Some content in the namespace has finalizers remaining: finalizer.keda.sh in 1 resource instances, {HOOK} in 1"
    conditions = [{"type": "NamespaceFinalizersRemaining", "status": "True", "message": message}]
    standing.put(kinds.NAMESPACES, SPACE, metadata=GOING, status={"conditions": conditions})
    for name in ("pull-secret", "prompt-redis-auth"):
        standing.kube.delete(kinds.SECRETS, name, SPACE)
    standing.kube.delete(kinds.SCALED_JOBS, SCALED_JOB, SPACE)
    return standing


def test_a_namespace_of_an_instrument_that_does_not_go_holds_nothing_else_up(held_namespace):
    """Nothing is replaced for it, waited for or made in it; the end tells of it."""
    plan, context = held_namespace.plan(), held_namespace.context
    assert plan.mode == "repair" and any(HOOK in note and "all else comes back first" in note for note in plan.notes)
    before = dict(held_namespace.kube._objects)
    assert remove.namespaces_inspect(context).state is State.DONE
    for act in (install.apply_secrets, restore.apply_scaled_jobs):
        act(context)
    assert held_namespace.kube._objects == before
    for look in (
        install.secrets_inspect,
        restore.scaled_jobs_inspect,
        verify.scaled_jobs_inspect,
        verify.loops_inspect,
    ):
        assert look(context).state is State.DONE
    inspection = restore.LEFT.inspect(context)
    assert (
        inspection.state is State.BROKEN
        and f"Namespace {SPACE} is Terminating" in inspection.detail
        and HOOK in inspection.detail
    )


def test_a_namespace_that_goes_is_waited_for(held_namespace):
    """Only KEDA's finalizers are in it, which a redeploy takes away."""
    held_namespace.put(kinds.NAMESPACES, SPACE, status={"conditions": []})
    assert remove.namespaces_inspect(held_namespace.context).state is State.WORKING
    assert held_namespace.plan().mode == "reinstall"
