"""The deep checks: green and red on doubles, and the canary that goes whatever happens."""

from __future__ import annotations

import hashlib
import json
import threading
from datetime import timedelta

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.components.catalogue import ALL_CHECKS
from prompt_keda.components.identity.check_rights import rights_to_look_deep
from prompt_keda.components.round import choose
from prompt_keda.components.smoke import canary
from prompt_keda.components.smoke.canary import Canary
from prompt_keda.core.errors import BadAnswer, Missing, Refusal, Refused, Unreachable
from prompt_keda.core.run_checks import look
from prompt_keda.environment.model import FillIn
from tests.contracts.fakes.recorder import Recorder
from tests.unit.world import CHECKS, SPACE, World

SMOKE = "prompt-keda-smoke"
APPLIES, RIGHTS, RUNS, DNS = (
    "deep/dry-run-applies",
    "deep/keda-may-work",
    "deep/canary-runs",
    "deep/dns-inside",
)
RUNNING = {"containerStatuses": [{"state": {"running": {"startedAt": "now"}}}]}
TOLD = '{"level":"ERROR","msg":"NOGROUP No such key"}'
LOST = '{"error":"dial tcp: lookup prompt-redis.prompt-redis on 10.96.0.10:53: no such host"}'
REFUSED = '{"error":"dial tcp 10.96.3.4:6379: connect: connection refused"}'
UNAUTHENTICATED = '{"level":"WARN","msg":"Redis does not answer: trying again","error":"ERR Protocol error: unauth"}'
OPERATOR = ("keda", "keda-operator")


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    """Whatever does not come at once does not come."""
    monkeypatch.setattr(canary, "TO_RUN", timedelta(seconds=0.2))
    monkeypatch.setattr(canary, "TO_SAY", timedelta(seconds=0.2))
    monkeypatch.setattr("prompt_keda.core.waiting.LOOK_AGAIN_S", 0.05)


@pytest.fixture
def world(tmp_path):
    """A cluster whose node runs what it is given, and manifests that it takes."""
    made = World()
    made.put(kinds.NAMESPACES, SMOKE)
    objects = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "keda"}, "data": {"a": "1"}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "metrics", "namespace": "keda"}},
    ]
    data = json.dumps(objects).encode()
    (tmp_path / "keda.json").write_bytes(data)
    pinned = {"source": str(tmp_path / "keda.json"), "sha256": hashlib.sha256(data).hexdigest()}
    change(made, keda={"manifests": made.systems.environment.keda.manifests.model_copy(update=pinned)})
    made.systems.placeholders = {"worker_image": "registry.test/worker:1"}
    for name, account in zip(PARTS, ("keda-operator", "keda-metrics-server", "keda-webhook"), strict=True):
        spec = {"template": {"spec": {"serviceAccountName": account}}}
        made.change(kinds.DEPLOYMENTS, name, "keda", spec=spec)
    node(made)
    return made


PARTS = ("keda-operator", "keda-operator-metrics-apiserver", "keda-admission-webhooks")


def change(world, **parts):
    """Change keys of parts of the environment."""
    now = world.systems.environment
    parts = {part: getattr(now, part).model_copy(update=keys) for part, keys in parts.items()}
    world.systems.environment = now.model_copy(update=parts)


def node(world, status=RUNNING, log=TOLD, where="n1", conditions=(), made=True):
    """Let a pod of each Job come that far, and say this."""
    create = type(world.kube).create.__get__(world.kube)

    def with_pod(resource, body, namespace=None):
        done = create(resource, body, namespace)
        if resource is kinds.JOBS and made:
            template = body["spec"]["template"]
            owner = [{"uid": done["metadata"]["uid"]}]
            metadata = {"name": f"{body['metadata']['name']}-x", **template["metadata"], "ownerReferences": owner}
            spec = {**template["spec"], **({"nodeName": where} if where else {})}
            pod = {"metadata": metadata, "spec": spec, "status": {**status, "conditions": list(conditions)}}
            create(kinds.PODS, {"apiVersion": "v1", "kind": "Pod", **pod}, namespace)
        return done

    world.kube.create = with_pod
    world.kube.logs = lambda namespace, pod: log


def verdict(world, check):
    return look(CHECKS[check], world.systems)


def waiting(reason, message):
    return {"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": message}}}]}


def ended(reason, message):
    return {"containerStatuses": [{"state": {"terminated": {"reason": reason, "message": message}}}]}


def denies(world, verb, plural, of=OPERATOR):
    world.kube.denied_to.add((*of, verb, plural))


def raises(error):
    def fail(*arguments, **options):
        raise error

    return fail


def answers_dry_runs(world, error):
    world.kube.apply = raises(error)


def confined(world, *places):
    """Confine the operator to namespaces, as watchNamespace does."""
    env = [{"name": "WATCH_NAMESPACE", "value": ",".join(places)}]
    spec = {"template": {"spec": {"containers": [{"image": "k:1", "env": env}]}}}
    world.change(kinds.DEPLOYMENTS, "keda-operator", "keda", spec=spec)


SOMEBODYS = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "a", "namespace": "keda"},
    "data": {"a": "2"},
}
NOT_SCHEDULED = [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}]
RED = [
    (APPLIES, lambda w: answers_dry_runs(w, BadAnswer("K", "a", "422 on PATCH: bad spec")), "fail", "bad spec"),
    (APPLIES, lambda w: answers_dry_runs(w, BadAnswer("K", "a", "500 on PATCH: etcd")), "unknown", "etcd"),
    (APPLIES, lambda w: w.kube.apply(SOMEBODYS, force=True, field_manager="somebody"), "warn", "data.a from somebody"),
    (APPLIES, lambda w: answers_dry_runs(w, Refused("K", "a", "403: a webhook says no")), "fail", "a webhook says no"),
    (APPLIES, lambda w: w.kube.denied.update({("patch", "configmaps")}), "unknown", "you may not patch it"),
    (APPLIES, lambda w: w.remove(kinds.NAMESPACES, SPACE), "fail", "namespaces 'prompt-keda-lsstcam' not found"),
    (APPLIES, lambda w: change(w, keda={"manifests": unfilled(w)}), "unknown", "keda.manifests.s"),
    (RIGHTS, lambda w: denies(w, "create", "jobs"), "fail", "keda-operator may not create jobs.batch in prompt-keda-l"),
    (RIGHTS, lambda w: denies(w, "get", "secrets"), "fail", "may not get secrets in keda"),
    (
        RIGHTS,
        lambda w: denies(w, "watch", "clustercloudeventsources"),
        "fail",
        "clustercloudeventsources.eventing.keda.sh in all",
    ),
    (RIGHTS, lambda w: [confined(w, SPACE), denies(w, "list", "scaledobjects")], "fail", "in prompt-keda-lsstcam"),
    (RIGHTS, lambda w: denies(w, "create", "tokenreviews", ("keda", "keda-metrics-server")), "fail", "tokenreviews"),
    (RIGHTS, lambda w: denies(w, "list", "scaledobjects", ("keda", "keda-webhook")), "fail", "webhooks may not list"),
    (RUNS, lambda w: node(w, {}), "fail", "it has node n1 and does not start: the kubelet"),
    (RUNS, lambda w: node(w, {}, where=""), "fail", "it has no node: the scheduler"),
    (RUNS, lambda w: node(w, {}, where="", conditions=NOT_SCHEDULED), "fail", "no node takes it: 0/1 nodes"),
    (RUNS, lambda w: node(w, waiting("ErrImagePull", "denied")), "fail", "ErrImagePull: denied"),
    (RUNS, lambda w: node(w, ended("StartError", "no such file")), "fail", "StartError: no such file"),
    (RUNS, lambda w: node(w, made=False), "fail", "no pod was made for it"),
    (RUNS, lambda w: w.remove(kinds.NAMESPACES, SMOKE), "unknown", "namespace prompt-keda-smoke is missing"),
    (RUNS, lambda w: change(w, smoke={"image": FillIn("FILL-IN: a worker")}), "unknown", "smoke.image"),
    (RUNS, lambda w: w.kube.denied.add(("create", "jobs")), "fail", "cannot create resource 'jobs'"),
    (RUNS, lambda w: w.kube.denied.add(("delete", "jobs")), "warn", "could not be deleted"),
    (DNS, lambda w: node(w, log=LOST), "fail", "cannot resolve prompt-redis.prompt-redis:6379: no such host"),
    (DNS, lambda w: node(w, log=""), "unknown", "said nothing"),
    (DNS, lambda w: node(w, log='{"level":"WARN","msg":"Redis does not answer"}'), "unknown", "does not show"),
    (DNS, lambda w: node(w, log="started"), "unknown", "does not show whether it resolved"),
]


def unfilled(world):
    return world.systems.environment.keda.manifests.model_copy(update={"sha256": FillIn("FILL-IN: its SHA-256")})


@pytest.mark.parametrize(("check", "fault", "word", "message"), RED, ids=[f"{result[0]}-{result[3]}" for result in RED])
def test_a_deep_check_turns_red_for_its_reason(world, check, fault, word, message):
    """One thing is broken; the verdict fits, and names it; no canary stays where it can be deleted."""
    fault(world)
    outcome = verdict(world, check)
    assert (outcome.verdict.value, message in outcome.observed) == (word, True), outcome
    assert ("delete", "jobs") in world.kube.denied or not world.kube.list(kinds.JOBS, SMOKE)


@pytest.mark.parametrize("check", [APPLIES, RIGHTS, RUNS, DNS])
def test_a_deep_check_is_green_when_all_is_as_it_should_be(world, check):
    """And leaves nothing."""
    before = world.kube.list(kinds.JOBS), world.kube.list(kinds.PODS), world.kube.list(kinds.CONFIG_MAPS)
    outcome = verdict(world, check)
    assert outcome.verdict.value == "ok", outcome
    assert before == (world.kube.list(kinds.JOBS), world.kube.list(kinds.PODS), world.kube.list(kinds.CONFIG_MAPS))


def test_every_deep_check_is_seen_red():
    """A new one needs a row above."""
    assert {result[0] for result in RED} == {check.id for check in ALL_CHECKS if check.deep}


def test_the_deep_checks_ask_for_what_is_listed_and_nothing_else(world):
    """Of these rights the shipped role is made. The dry runs are for who may redeploy."""
    recorder = world.systems._made["kube"] = Recorder(world.kube)
    for check in (RIGHTS, RUNS, DNS):
        assert verdict(world, check).verdict.value == "ok"
    listed = rights_to_look_deep(world.systems.environment)
    assert sorted(needed for needed in recorder.asked if not any(right.covers(needed) for right in listed)) == []
    assert [right for right in listed if not any(right.covers(needed) for needed in recorder.asked)] == []


@pytest.mark.parametrize("log", [REFUSED, UNAUTHENTICATED, '{"msg":"no event came: the worker ends","rounds":0}'])
def test_a_redis_that_is_away_or_refuses_does_not_make_dns_red(world, log):
    """Its name was resolved to an address; what is there is another check's matter."""
    node(world, log=log)
    assert verdict(world, DNS).verdict.value == "ok"


def test_a_canary_that_has_ended_already_has_run(world):
    """It may be quicker than the first look."""
    node(world, ended("Error", "exit 1"))
    assert verdict(world, RUNS).verdict.value == "ok"


def test_both_checks_look_at_one_canary(world):
    """It is made once a round."""
    made, create = [], world.kube.create
    world.kube.create = lambda resource, body, namespace: [made.append(resource), create(resource, body, namespace)]
    assert [verdict(world, check).verdict.value for check in (RUNS, DNS)] == ["ok", "ok"]
    assert made == [kinds.JOBS]


def test_the_canary_is_small_restricted_and_ends_by_itself(world):
    """Also when this program is killed: the cluster ends it, and removes it."""
    job = canary.job(world.systems, "canary-1")
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert job["metadata"]["namespace"] == SMOKE and spec["backoffLimit"] == 0
    assert spec["activeDeadlineSeconds"] == spec["ttlSecondsAfterFinished"] == 60
    assert pod["automountServiceAccountToken"] is False and pod["securityContext"]["runAsNonRoot"]
    (container,) = pod["containers"]
    assert "@sha256:" in container["image"] and container["imagePullPolicy"] == "Always"
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert "REDIS_PASSWORD" not in [variable["name"] for variable in container["env"]]


def test_a_round_that_ends_early_takes_its_canary_away(world, monkeypatch):
    """Ctrl-C: what is closed deletes it at once, and the thread that waits for it makes no other."""
    monkeypatch.setattr(canary, "TO_RUN", timedelta(seconds=30))
    node(world, {})
    there, create = threading.Event(), world.kube.create
    world.kube.create = lambda *arguments: [create(*arguments), there.set()]
    waits = threading.Thread(target=verdict, args=(world, RUNS), daemon=True)
    waits.start()
    assert there.wait(5)
    world.systems.close()
    assert world.kube.list(kinds.JOBS, SMOKE) == []
    waits.join(5)
    assert not waits.is_alive() and world.kube.list(kinds.JOBS, SMOKE) == []


def test_no_canary_is_made_after_the_end(world):
    """A check that comes too late."""
    late = Canary(world.systems)
    late.close()
    with pytest.raises(Refusal, match="ended"):
        late.look()
    assert world.kube.list(kinds.JOBS, SMOKE) == []


@pytest.mark.parametrize("lost", ["create", "list"])
def test_a_canary_whose_connection_breaks_is_deleted(world, lost):
    """Also where the answer to its creation was lost: it may have been a yes."""
    create = world.kube.create

    def fails(*arguments, **options):
        if lost == "create":
            create(*arguments, **options)
        raise Unreachable("Kubernetes", "a", "connection reset")

    before = type(world.kube).list.__get__(world.kube)
    setattr(world.kube, lost, fails)
    assert verdict(world, RUNS).verdict.value == "unknown"
    assert before(kinds.JOBS, SMOKE) == []


def test_a_log_that_is_not_there_yet_is_waited_for(world):
    """The kubelet serves it a moment after the start."""
    answers = iter([Missing("Kubernetes", "a", "404"), "", TOLD])

    def logs(namespace, pod):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    world.kube.logs = logs
    assert verdict(world, DNS).verdict.value == "ok"


@pytest.mark.parametrize(("deep", "only"), [(False, ""), (True, ""), (True, "deep")])
def test_deep_checks_run_only_when_they_are_asked_for(deep, only):
    """Without --deep they are neither in the round nor in its count."""
    ids = {check.id for check in choose(only, deep=deep) if check.id.startswith("deep/")}
    assert ids == ({check.id for check in ALL_CHECKS if check.deep} if deep else set())


def test_a_deep_check_that_is_named_without_the_flag_is_refused():
    """With what is missing."""
    with pytest.raises(Refusal, match="no check fits 'deep'") as caught:
        choose("deep")
    assert "--deep" in caught.value.fix


def test_what_others_own_and_have_as_it_should_be_would_be_taken(world):
    """The API server answers 409 for a default that it has filled in itself: a redeploy does not apply it."""
    conflict = '409 on PATCH: Apply failed with 1 conflict: conflict with "kubectl" using v1: .data.a'
    world.kube.apply({**SOMEBODYS, "data": {"a": "1"}}, force=True, field_manager="somebody")
    takes = world.kube.apply

    def refuses(obj, *options, **more):
        if obj["kind"] == "ConfigMap":
            raise BadAnswer("K", "a", conflict)
        return takes(obj, *options, **more)

    world.kube.apply = refuses
    assert verdict(world, APPLIES).verdict.value == "ok", verdict(world, APPLIES)
