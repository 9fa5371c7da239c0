"""The rights that the checks need are those that are listed: no check asks for more, and none is idle."""

from __future__ import annotations

from datetime import timedelta

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.clients.kube.access_reviews import missing_rights
from prompt_keda.clients.redis_streams import ready_pod
from prompt_keda.components.identity.check_rights import rights_to_look
from prompt_keda.core.event import nobody
from prompt_keda.core.rights import Right, gives, named, plural_of
from prompt_keda.core.run_checks import run_checks
from tests.contracts.fakes.recorder import Recorder
from tests.unit.faults import delivered_by_argo_cd
from tests.unit.world import CHECKS, SCALED_JOB, SERVED, SPACE, World

LONG = timedelta(seconds=30)


def other_world():
    """Return a world in which pods get their pull secrets, and triggers their login, from where others have them too."""
    world = World()
    reference = {"secretKeyRef": {"name": "prompt-redis-auth", "key": "redis-password"}}
    live = world.kube.get(kinds.SCALED_JOBS, SCALED_JOB, SPACE)["spec"]
    (container,) = live["jobTargetRef"]["template"]["spec"]["containers"]
    pod = {"imagePullSecrets": None, "containers": [{**container, "env": [{"name": "P", "valueFrom": reference}]}]}
    authentication = {"authenticationRef": {"name": "shared", "kind": "ClusterTriggerAuthentication"}}
    spec = {"jobTargetRef": {"template": {"spec": pod}}, "triggers": [{**live["triggers"][0], **authentication}]}
    world.change(kinds.SCALED_JOBS, SCALED_JOB, SPACE, spec=spec)
    shared = {"env": [{"parameter": "password", "name": "P"}]}
    world.put(kinds.CLUSTER_TRIGGER_AUTHENTICATIONS, "shared", spec=shared)
    for deployment in world.kube.list(kinds.DEPLOYMENTS, "keda"):
        spec = {"template": {"spec": {"imagePullSecrets": None}}}
        world.change(kinds.DEPLOYMENTS, deployment["metadata"]["name"], "keda", spec=spec)
    for namespace in ("keda", SPACE):
        world.change(kinds.SERVICE_ACCOUNTS, "default", namespace, imagePullSecrets=[{"name": "pull-secret"}])
    return world


def asked_by_the_checks():
    """Run every check on doubles of two kinds, and give the rights that this needed; events are read where something is wrong."""
    world = World()
    delivered_by_argo_cd(world)
    worlds = [_asked_in(world), _asked_in(other_world(), {"keda/specs-as-wanted"})]
    stuck = World()
    stuck.remove(kinds.JOBS, "j1", SPACE)
    stuck.change(kinds.SCALED_JOBS, SCALED_JOB, SPACE, metadata={"creationTimestamp": "2026-01-01T00:00:00Z"})
    made = {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}
    for namespace in ("keda", "prompt-redis", SPACE):
        stuck.put_pod("stuck", namespace, "n1", seconds=200, **made)
    red = {"scaling/works", "cluster/pods-start", "images/running-as-named"}
    return worlds[0][0] | worlds[1][0] | _asked_in(stuck, red)[0], worlds[0][1]


def _asked_in(world, red=frozenset()):
    recorder = world.systems._made["kube"] = Recorder(world.kube)
    world.kube.denied.add(("no such verb", "nothing"))  # then the rules prove nothing, and access reviews are asked for
    world.put_service("prompt-redis", "prompt-redis")
    redis = world.systems.environment.redis
    recorder.port_forward(redis.namespace, ready_pod(recorder, redis.namespace, redis.service, redis.port), redis.port)
    results = run_checks([check for check in CHECKS.values() if not check.deep], world.systems, nobody, LONG)
    assert {result.id for result in results if result.verdict.value not in ("ok", "skipped")} == set(red)
    return recorder.asked, rights_to_look(world.systems.environment)


def test_the_checks_ask_for_what_is_listed_and_nothing_else():
    """Each right that a check needs is listed, and each that is listed is needed."""
    asked, listed = asked_by_the_checks()
    assert sorted(needed for needed in asked if not any(right.covers(needed) for right in listed)) == []
    assert [right for right in listed if not any(right.covers(needed) for needed in asked)] == []


@pytest.mark.parametrize(
    ("rule", "right", "given"),
    [
        ((["get"], [""], ["secrets"], ["a"]), Right("get", "", "secrets", "n", "a"), True),
        ((["get"], [""], ["secrets"], ["a"]), Right("get", "", "secrets", "n", "b"), False),
        ((["get"], [""], ["secrets"], ["a"]), Right("get", "", "secrets", "n"), False),
        ((["*"], ["*"], ["*"], []), Right("create", "", "pods", "n", "", "portforward"), True),
        ((["create"], [""], ["*/portforward"], []), Right("create", "", "pods", "n", "", "portforward"), True),
        ((["create"], [""], ["pods"], []), Right("create", "", "pods", "n", "", "portforward"), False),
        ((["list"], ["apps"], ["deployments"], []), Right("list", "", "deployments"), False),
    ],
)
def test_a_rule_gives_what_rbac_lets_it_give(rule, right, given):
    """Names, groups, subresources and wildcards."""
    verbs, groups, resources, names = rule
    rbac_rule = {"verbs": verbs, "apiGroups": groups, "resources": resources, "resourceNames": names}
    assert gives(rbac_rule, right) is given


def test_what_the_rules_prove_is_not_asked_again():
    """One review for a namespace, and access reviews for the rest alone."""

    asked = []

    class Some:
        def rules(self, namespace):
            return [{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}] if namespace == "a" else []

        def can_i(self, *arguments):
            asked.append(arguments)
            return arguments[2] == "nodes"

    rights = [Right("get", "", "secrets", resource, "s") for resource in ("a", "b")] + [Right("list", "", "nodes")]
    assert missing_rights(Some(), rights) == [rights[1]]
    assert sorted(asked) == [("get", "", "secrets", "b", "s", ""), ("list", "", "nodes", "", "", "")]


def test_rights_are_named_together_and_the_many_are_counted():
    """So that the line can be pasted into a chat."""
    rights = [Right(verb, "", "secrets", "n", "s") for verb in ("get", "patch")]
    assert named(rights) == "get, patch secrets s in n"
    assert named([Right("get", "", f"kind{number}") for number in range(6)]).endswith("get kind3 (and 2 more)")


def test_kinds_have_the_plural_that_the_server_gives_them():
    """Those of this project, without asking a server."""
    assert [kind.kind for kind in SERVED if plural_of(kind.kind) != kind.plural] == []
