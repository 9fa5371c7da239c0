"""No ScaledJob is changed, made or left in a way that lets KEDA delete its running Jobs. Without a cluster."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.components.keda.names import FINALIZER, PARTS
from prompt_keda.components.run import Context
from prompt_keda.components.scaled_jobs import running_jobs, unpause
from prompt_keda.components.scaled_jobs.objects import GENERATION, PAUSED, SCALED_JOB_LABEL, is_paused
from prompt_keda.core.decisions import Decisions, Deletion
from prompt_keda.core.errors import EnvironmentFileError
from prompt_keda.core.marks import RUN_ANNOTATION
from prompt_keda.core.plan import State
from prompt_keda.redeploy import guard, planner, restore, verify
from tests.contracts.fakes.kube import FakeKube
from tests.unit.faults import change
from tests.unit.world import METRICS, OPERATOR, SCALED_JOB, World, conditions, now

DEFAULT, GRADUAL = {"rollout": {"strategy": "default"}}, {"rollout": {"strategy": "gradual"}}
SERVED = [resource for resource in vars(kinds).values() if isinstance(resource, kinds.Resource)]
KEY = (kinds.SCALED_JOBS, "sj", "n")
SEEN_PAUSED = {"status": {"conditions": [{"type": "Paused", "status": "True"}]}}


class Cluster(FakeKube):
    """With one ScaledJob that KEDA has settled at generation 2, and Jobs that run."""

    def __init__(self, live=DEFAULT, running=("2",), settled=True):
        super().__init__(SERVED)
        self.create(kinds.NAMESPACES, {"metadata": {"name": "n"}})
        if live is not None:
            metadata = {"name": "sj", "generation": 2, "finalizers": [FINALIZER] if settled else []}
            self.create(kinds.SCALED_JOBS, {"metadata": metadata, "spec": live}, "n")
        for number, generation in enumerate(running):
            annotations = {GENERATION: generation} if generation else {}
            metadata = {"name": f"j{number}", "labels": {SCALED_JOB_LABEL: "sj"}, "annotations": annotations}
            self.create(kinds.JOBS, {"metadata": metadata, "status": {"active": 1}}, "n")

    def apply(self, obj, *options, **more):
        made = super().apply(obj, *options, **more)
        return self.patch(*KEY, {"metadata": {"generation": made["metadata"].get("generation", 1)}})

    def generations(self):
        return [job["metadata"]["annotations"].get(GENERATION) for job in self.list(kinds.JOBS)]

    def annotations(self):
        return self.get(*KEY)["metadata"].get("annotations") or {}

    def keda_reconciles(self, generation):
        """What KEDA does with a ScaledJob that is paused: it settles, and says that it has seen the pause."""
        metadata = {"generation": generation, "finalizers": [FINALIZER]}
        self.patch(*KEY, {"metadata": metadata, **SEEN_PAUSED})


@pytest.fixture(autouse=True)
def no_hold(monkeypatch):
    """Nothing has a copy of its own here."""
    monkeypatch.setattr(unpause, "HOLD", timedelta(0))
    monkeypatch.setattr(unpause, "PATIENCE", timedelta(0))


def restoring(cluster, wanted):
    instrument = SimpleNamespace(name="i", namespace="n", scaled_job="sj")
    parts = {"keda": SimpleNamespace(namespace="keda"), "smoke": SimpleNamespace(namespace="smoke")}
    systems = SimpleNamespace(kube=cluster, environment=SimpleNamespace(instruments=[instrument], **parts))
    body = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledJob"}
    wanted = {**body, "metadata": {"name": "sj", "namespace": "n"}, "spec": wanted}
    return Context(systems, [], {"i": [wanted]}, run_id="run-1")


@pytest.mark.parametrize(
    ("live", "wanted", "running"),
    [
        (GRADUAL, DEFAULT, ("2",)),
        (DEFAULT, {**DEFAULT, "maxReplicaCount": 9}, ("2",)),
        (DEFAULT, {**DEFAULT, "maxReplicaCount": 9}, ()),
        (None, DEFAULT, ("2",)),
    ],
)
def test_a_scaled_job_that_changes_or_comes_back_is_applied_paused(live, wanted, running):
    """F1 and F2. A live one also without Jobs: an operator at work may make one at any moment."""
    cluster = Cluster(live, running)
    context = restoring(cluster, wanted)
    restore.apply_scaled_jobs(context)
    assert cluster.annotations() == {PAUSED: "true", RUN_ANNOTATION: "run-1"}
    assert restore.scaled_jobs_inspect(context).state is State.DONE
    assert unpause.unpause_inspect(context).state is State.TODO


EXTRA = {"jobTargetRef": {"suspend": True, "template": {"spec": {"nodeName": "n1"}}}}


@pytest.mark.parametrize(
    ("wanted", "extra"),
    [
        (DEFAULT, EXTRA),
        ({**DEFAULT, "maxReplicaCount": 9}, EXTRA),
        ({**DEFAULT, "triggers": [{"type": "a"}]}, {"triggers": [{"type": "a"}, {"type": "b"}], "minReplicaCount": 0}),
    ],
)
def test_what_nobody_wanted_is_taken_away(wanted, extra):
    """Applying leaves what others have added. It is paused for that, as its generation changes."""
    cluster = Cluster({**wanted, **extra})
    context = restoring(cluster, wanted)
    inspection = restore.scaled_jobs_inspect(context)
    assert inspection.state is State.TODO and inspection.detail, inspection
    restore.apply_scaled_jobs(context)
    assert {key: value for key, value in cluster.get(*KEY)["spec"].items() if value not in ({}, None)} == wanted
    assert cluster.annotations() == {PAUSED: "true", RUN_ANNOTATION: "run-1"}
    assert restore.scaled_jobs_inspect(context).state is State.DONE


def test_an_extra_field_is_named_with_who_has_set_it():
    """The plan says what will be taken away."""
    cluster = Cluster({**DEFAULT, "jobTargetRef": {"suspend": True}})
    owned = {"manager": "kubectl-patch", "fieldsV1": {"f:spec": {"f:jobTargetRef": {"f:suspend": {}}}}}
    cluster.patch(*KEY, {"metadata": {"managedFields": [owned]}})
    detail = restore.scaled_jobs_inspect(restoring(cluster, {**DEFAULT, "jobTargetRef": {"parallelism": 1}})).detail
    assert "differs at" in detail, "what is missing is told first"
    detail = restore.scaled_jobs_inspect(restoring(cluster, DEFAULT)).detail
    assert "jobTargetRef, which its source does not have (set by kubectl-patch)" in detail


@pytest.mark.parametrize(
    ("kind", "namespace", "state"),
    [
        ("Deployment", "keda", State.DONE),
        ("Deployment", "another-keda", State.TODO),
        ("ClusterRole", "", State.TODO),
        ("ServiceAccount", "keda", State.TODO),
    ],
)
def test_only_a_new_operator_looks_by_itself(kind, namespace, state):
    """F21: a repair may replace what has the operator's name, and leave this operator at work."""
    cluster = Cluster()
    cluster.patch(*KEY, {"status": {"conditions": [{"type": "Ready", "status": "False"}]}})
    context = restoring(cluster, DEFAULT)
    context.decisions = Decisions(deletions=(Deletion(kind, namespace, "keda-operator", "u"),))
    assert unpause.requeue_inspect(context).state is state


@pytest.mark.parametrize(
    ("ready", "state"),
    [
        ({"status": "Unknown", "reason": "PartialTriggerError"}, State.TODO),
        ({"status": "Unknown"}, State.DONE),
        ({"status": "True"}, State.DONE),
    ],
)
def test_what_the_check_takes_for_not_ready_is_requeued(ready, state):
    """KEDA 2.16.1 says Unknown of a trigger that it saw fail; of one that it has not looked at, too."""
    cluster = Cluster()
    cluster.patch(*KEY, {"status": {"conditions": [{"type": "Ready", **ready}]}})
    assert unpause.requeue_inspect(restoring(cluster, DEFAULT)).state is state


def test_jobs_that_were_born_suspended_are_let_run():
    """KEDA counts them as running, and would make no others; where the source wants it so they are left."""
    cluster = Cluster(running=("2", "2"))
    cluster.patch(kinds.JOBS, "j0", "n", {"spec": {"suspend": True}})
    context = restoring(cluster, DEFAULT)
    assert restore.scaled_jobs_inspect(context).detail == "1 Jobs are suspended, and nobody wants that: n/j0"
    restore.apply_scaled_jobs(context)
    assert cluster.get(kinds.JOBS, "j0", "n")["spec"]["suspend"] is False
    assert restore.scaled_jobs_inspect(context).state is State.DONE and cluster.annotations() == {}
    wanted = {**DEFAULT, "jobTargetRef": {"suspend": True}}
    cluster = Cluster(wanted)
    cluster.patch(kinds.JOBS, "j0", "n", {"spec": {"suspend": True}})
    assert restore.scaled_jobs_inspect(restoring(cluster, wanted)).state is State.DONE


def test_a_scaled_job_whose_jobs_cannot_run_is_not_verified_whoever_delivers_it():
    """KEDA calls it Ready all the same."""
    cluster = Cluster({**DEFAULT, "jobTargetRef": {"suspend": True}})
    cluster.patch(*KEY, {"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    inspection = verify.scaled_jobs_inspect(restoring(cluster, DEFAULT))
    assert inspection.state is State.BROKEN and "born suspended" in inspection.detail


def test_a_new_scaled_job_without_jobs_and_one_that_is_as_it_should_be_are_not_paused():
    """The first is applied as it is, the second not at all."""
    cluster = Cluster(None, ())
    restore.apply_scaled_jobs(restoring(cluster, DEFAULT))
    assert cluster.annotations() == {}
    cluster = Cluster()
    before = cluster.get(*KEY)
    restore.apply_scaled_jobs(restoring(cluster, DEFAULT))
    assert cluster.get(*KEY) == before


def test_it_is_unpaused_only_when_its_jobs_carry_the_generation_that_keda_has_settled_at():
    """Before KEDA has looked nothing is annotated; then the Jobs are, and only at the next look it is unpaused."""
    cluster = Cluster(None, ("2", "4", None))
    context = restoring(cluster, DEFAULT)
    restore.apply_scaled_jobs(context)
    live = cluster.get(*KEY)
    assert not unpause._is_seen_paused(live)
    cluster.keda_reconciles(7)
    unpause._annotate_or_unpause(context, cluster.get(*KEY))
    assert cluster.generations() == ["7", "7", "7"] and is_paused(cluster.get(*KEY))
    unpause._annotate_or_unpause(context, cluster.get(*KEY))
    assert cluster.annotations() == {}
    assert unpause.unpause_inspect(context).state is State.DONE


def test_jobs_are_annotated_and_their_scaled_job_unpaused_in_one_go():
    """As the step does it."""
    cluster = Cluster(running=("1",))
    context = restoring(cluster, {**DEFAULT, "maxReplicaCount": 9})
    restore.apply_scaled_jobs(context)
    cluster.keda_reconciles(3)
    unpause.unpause_scaled_jobs(context)
    assert cluster.generations() == ["3"] and cluster.annotations() == {}


def test_what_somebody_else_has_paused_stays_paused_with_its_jobs_annotated():
    """Their mark is not made ours; when they unpause it, no Job goes."""
    cluster = Cluster(running=("1",))
    cluster.patch(*KEY, {"metadata": {"annotations": {PAUSED: "true"}}, **SEEN_PAUSED})
    context = restoring(cluster, {**DEFAULT, "maxReplicaCount": 9})
    restore.apply_scaled_jobs(context)
    unpause.unpause_scaled_jobs(context)
    assert cluster.annotations() == {PAUSED: "true"} and cluster.generations() == ["2"]
    assert cluster.get(*KEY)["spec"]["maxReplicaCount"] == 9
    assert unpause.unpause_inspect(context).state is State.DONE


class LateWriter(Cluster):
    """Whose KEDA sees each unpause; after the first one its scale loop writes the old condition back."""

    def __init__(self):
        super().__init__()
        self.patch(*KEY, SEEN_PAUSED)
        self.unpaused = 0

    def patch(self, resource, name, namespace, body):
        marks = (body.get("metadata") or {}).get("annotations") or {}
        if resource is kinds.SCALED_JOBS and PAUSED in marks and marks[PAUSED] is None:
            self.unpaused += 1
            body = {**body, "status": {"conditions": [{"type": "Paused", "status": "False"}]}}
        return super().patch(resource, name, namespace, body)


def test_what_keda_goes_on_to_take_for_paused_is_paused_again_and_unpaused():
    """KEDA 2.16.1's scale loop writes an old condition back (seen after the return of a ScaledJob)."""
    cluster = LateWriter()
    context = restoring(cluster, DEFAULT)
    assert unpause.unpause_inspect(context).state is State.DONE
    inspection = unpause.settle_inspect(context)
    assert inspection.state is State.TODO and inspection.detail == "unpaused, and KEDA still takes it for paused: sj"
    unpause.settle_scaled_jobs(context)
    assert cluster.unpaused == 1 and cluster.annotations() == {}
    assert unpause.settle_inspect(context).state is State.DONE


def test_what_belongs_to_nobody_here_is_not_paused():
    """A ScaledJob of others that KEDA takes for paused is theirs."""
    cluster = LateWriter()
    context = restoring(cluster, DEFAULT)
    context.environment.instruments[0].scaled_job = "other"
    assert unpause.settle_inspect(context).state is State.DONE


def test_a_job_that_has_finished_is_annotated_too():
    """KEDA deletes finished Jobs of another generation as it does others: the logs of their pods would be gone."""
    cluster = Cluster(running=("1", "1"))
    context = restoring(cluster, {**DEFAULT, "maxReplicaCount": 9})
    for name in ("j0", "j1"):
        done = {"conditions": [{"type": "Complete", "status": "True"}]}
        cluster.patch(kinds.JOBS, name, "n", {"status": done})
    restore.apply_scaled_jobs(context)
    cluster.keda_reconciles(3)
    unpause.unpause_scaled_jobs(context)
    assert cluster.generations() == ["3", "3"] and cluster.annotations() == {}


def test_before_the_restart_jobs_are_annotated_with_a_settled_generation():
    """F2, F3: and then none is at risk."""
    cluster = Cluster(running=("1", None, "2"))
    context = restoring(cluster, DEFAULT)
    assert guard.annotate_jobs_inspect(context).detail.startswith("2 Jobs")
    guard.annotate_jobs(context)
    assert cluster.generations() == ["2", "2", "2"]
    assert guard.annotate_jobs_inspect(context).state is State.DONE


def test_a_scaled_job_that_keda_has_never_seen_is_paused_instead():
    """Its generation may change at KEDA's first reconcile: Jobs that were annotated with today's would be deleted then."""
    cluster = Cluster(running=("1",), settled=False)
    context = restoring(cluster, DEFAULT)
    guard.annotate_jobs(context)
    assert cluster.generations() == ["1"] and cluster.annotations()[PAUSED] == "true"
    assert guard.annotate_jobs_inspect(context).state is State.DONE
    cluster.keda_reconciles(3)
    unpause.unpause_scaled_jobs(context)
    assert cluster.generations() == ["3"] and cluster.annotations() == {}


def test_a_job_that_is_tidied_away_while_others_are_annotated_is_fine():
    """Of two Jobs the first goes in between."""
    cluster = Cluster(running=("1", "1"))
    first, _ = running_jobs.at_risk(cluster)
    cluster.delete(kinds.JOBS, "j0", "n")
    running_jobs.annotate(cluster, first, 2)


def test_a_scaled_job_that_others_deliver_is_verified_too():
    """Absent and paused are broken, also where this toolkit applies nothing."""
    cluster = Cluster(None)
    context = restoring(cluster, DEFAULT)
    context.instrument_objects = {}
    assert verify.scaled_jobs_inspect(context).state is State.BROKEN
    cluster.create(kinds.SCALED_JOBS, {"metadata": {"name": "sj"}, "spec": DEFAULT}, "n")
    assert verify.scaled_jobs_inspect(context).state is State.WORKING
    cluster.patch(*KEY, {"metadata": {"annotations": {PAUSED: "true"}}})
    assert verify.scaled_jobs_inspect(context).state is State.BROKEN


@pytest.mark.parametrize("objects", [[], [("n", "other")], [("m", "sj")], [("n", "sj"), ("n", "sj2")]])
def test_a_manifest_about_another_scaled_job_is_refused(objects):
    """The guard looks at the name in the environment; what is applied has to be that."""
    instrument = SimpleNamespace(name="i", namespace="n", scaled_job="sj", manifest="m.yaml", prepared=None)
    made = [{"kind": "ScaledJob", "metadata": {"namespace": where, "name": name}} for where, name in objects]
    with pytest.raises(EnvironmentFileError, match="instrument i is n/sj"):
        planner._check_scaled_job(instrument, [*made, {"kind": "ConfigMap", "metadata": {}}])


def test_a_manifest_that_holds_nothing_is_refused_and_none_at_all_is_not():
    """An empty file would say that the ScaledJob is as it should be."""
    instrument = SimpleNamespace(name="i", namespace="n", scaled_job="sj", manifest="m.yaml", prepared=None)
    with pytest.raises(EnvironmentFileError, match="holds no ScaledJob"):
        planner._check_scaled_job(instrument, [])
    instrument.manifest = None
    planner._check_scaled_job(instrument, [])


def loops(world, late_s="0.1", names=(SCALED_JOB,)):
    """Let the operator's metrics say how late the last poll of each ScaledJob was."""
    world.put_metrics(names=names)
    key = ("keda", OPERATOR, 8080, "/metrics")
    world.kube.pages[key] = world.kube.pages[key].replace("} 0.1", f"}} {late_s}")


def test_a_scaled_job_is_verified_only_when_it_is_polled_again():
    """F15, F21: a condition Ready and a metric that does not move may both be a memory."""
    world = World()
    context = Context(world.systems, [], {})
    assert verify.loops_inspect(context).state is State.WORKING
    assert verify.loops_inspect(context).detail == f"{SCALED_JOB}: not polled yet since the first look"
    loops(world, "0.2")
    assert verify.loops_inspect(context).state is State.DONE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda world: loops(world, names=()), "the operator has no loop for it"),
        (lambda world: world.kube.denied.add(("get", "pods/portforward")), "may not be read"),
        (lambda world: world.remove(kinds.PODS, OPERATOR, "keda"), "is no pod"),
    ],
)
def test_metrics_that_do_not_say_it_verify_nothing(change, message):
    """Unknown is never green."""
    world = World()
    context = Context(world.systems, [], {})
    verify.loops_inspect(context)
    loops(world, "0.2")
    change(world)
    inspection = verify.loops_inspect(context)
    assert inspection.state is State.WORKING and message in inspection.detail


@pytest.mark.parametrize(
    ("inspect", "inject", "message"),
    [
        (
            verify.parts_inspect,
            change(kinds.DEPLOYMENTS, "keda-operator", "keda", status={"replicas": 2, "updatedReplicas": 1}),
            "a pod of an older form still works",
        ),
        (
            verify.parts_inspect,
            change(kinds.API_SERVICES, METRICS, status=conditions(Available="False")),
            "3/3 ready; v1beta1.external.metrics.k8s.io: not available: why",
        ),
        (
            verify.leader_inspect,
            change(kinds.LEASES, "operator.keda.sh", "keda", spec={"renewTime": now(minutes=5)}),
            "every status of KEDA is stale",
        ),
        (
            verify.leader_inspect,
            change(kinds.LEASES, "operator.keda.sh", "keda", spec={"holderIdentity": "gone-1_u"}),
            "held by gone-1, and there is no such pod",
        ),
    ],
)
def test_a_run_ends_only_when_the_checks_would_be_green(inspect, inject, message):
    """Verification and check look with one function: what check-deps would warn of is waited for, in its words."""
    world = World()
    parts = [{"kind": "Deployment", "metadata": {"name": name}} for name in PARTS]
    context = Context(world.systems, parts, {})
    assert verify.parts_inspect(context).state is State.DONE
    inject(world)
    inspection = inspect(context)
    assert inspection.state is State.WORKING and message in inspection.detail, inspection
