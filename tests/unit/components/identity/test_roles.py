"""The shipped roles give the rights that the code lists, and no others."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
import yaml

from prompt_keda.components.identity import roles
from prompt_keda.components.identity.check_rights import REVIEWS, rights_to_look
from prompt_keda.components.identity.redeploy_rights import GROUPS, redeploy_rights
from prompt_keda.core.decisions import Decisions, Deletion
from prompt_keda.core.places import ENVIRONMENTS
from prompt_keda.core.rights import Right, gives
from prompt_keda.delivery.choice import delivery
from prompt_keda.delivery.manifests import load_instrument_manifest
from prompt_keda.lab import keda_manifests
from tests.unit.faults import delivered_by_argo_cd
from tests.unit.world import SPACE, World

ALL = "*"


@cache
def shipped(name):
    return list(yaml.safe_load_all((ENVIRONMENTS / "rbac" / f"{name}.yaml").read_text()))


def rules(name):
    """Yield each rule of a file with the namespace in which it holds; empty: in all."""
    for obj in shipped(name):
        for rule in obj.get("rules", []):
            yield obj["metadata"].get("namespace", ""), rule


def is_given(right, *names):
    """Return whether the roles of some files give a right."""
    return any(where in ("", right.namespace) and gives(rule, right) for name in names for where, rule in rules(name))


def test_the_role_of_check_deps_gives_what_the_checks_need():
    """Of an environment that the stack and production resemble; test_rights.py beside it holds the list to the checks."""
    world = World()
    delivered_by_argo_cd(world)
    assert [right for right in rights_to_look(world.systems.environment) if not is_given(right, "check-deps")] == []


def test_the_role_of_check_deps_lets_nobody_write_or_read_secrets_that_are_not_named():
    """No wildcard, no right over rights, and only reviews and port-forwards to Redis and KEDA are created."""
    for where, rule in rules("check-deps"):
        assert ALL not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
        assert not {"bind", "escalate", "impersonate", "patch", "update", "delete"} & set(rule["verbs"])
        if "create" in rule["verbs"]:
            reviews = (rule["apiGroups"][0], rule["resources"][0]) in REVIEWS
            assert reviews or (where in ("prompt-redis", "keda") and rule["resources"] == ["pods/portforward"])
        if "secrets" in rule["resources"]:
            assert where and rule["verbs"] == ["get"] and rule["resourceNames"]


def keda_objects():
    """Return KEDA's objects as the double's manifests have them, and the local stack's but for CRDs and roles of KEDA's own."""
    made = json.loads(Path(World().systems.environment.keda.manifests.source).read_text())
    return made + [obj for obj in yaml.safe_load_all(keda_manifests.PARTS.read_text()) if obj]


def needed_to_redeploy():
    """Return what a redeploy needs that removes each of KEDA's objects and brings a ScaledJob of somebody else back."""
    world = World()
    delivered_by_argo_cd(world)
    environment, keda = world.systems.environment, keda_objects()
    deletions = [
        Deletion(obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"], "u")
        for obj in keda
        if obj["kind"] in GROUPS
    ]
    decisions = Decisions(tuple(deletions), saved=("ScaledJob elsewhere/theirs", "ClusterTriggerAuthentication shared"))
    own = load_instrument_manifest(ENVIRONMENTS / "local" / "prompt-keda-lsstcam.yaml", {"worker_image": "w"})
    rights = redeploy_rights(environment, keda, {"LSSTCam": own}, decisions)
    return {*rights, *delivery(world.systems).rights()}


def test_the_role_of_redeploy_gives_what_a_redeploy_needs():
    """Beside that of check-deps; test_redeploy_rights.py beside it holds the list to the steps."""
    wanted = needed_to_redeploy()
    assert [right for right in sorted(wanted) if not is_given(right, "check-deps", "redeploy")] == []
    assert any(right.verb == "patch" and right.plural == "applications" for right in wanted)


@pytest.mark.parametrize(
    ("verb", "kind"), [("create", "clusterrolebindings"), ("patch", "secrets"), ("delete", "jobs")]
)
def test_a_role_that_lacks_a_right_is_seen(verb, kind, monkeypatch):
    """The look above is not green for another reason."""
    less = [
        (where, {**rule, "verbs": [word for word in rule["verbs"] if word != verb or kind not in rule["resources"]]})
        for where, rule in rules("redeploy")
    ]
    own = list(rules("check-deps"))
    monkeypatch.setitem(globals(), "rules", lambda name: less if name == "redeploy" else own)
    assert [right for right in needed_to_redeploy() if not is_given(right, "check-deps", "redeploy")]


def test_the_role_of_redeploy_gives_nothing_away_by_the_way():
    """No wildcard; Secrets outside of the namespaces that are its own, and other people's CRDs, are out of its reach."""
    homes = {"keda", "prompt-keda-smoke", SPACE, "prompt-keda-state"}
    for where, rule in rules("redeploy"):
        assert ALL not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
        assert "impersonate" not in rule["verbs"]
        assert "secrets" not in rule["resources"] or where in homes
        if rule["resources"] == ["customresourcedefinitions"] and {"delete", "patch"} & set(rule["verbs"]):
            assert all(name.endswith("keda.sh") for name in rule["resourceNames"])


def test_roles_may_be_given_away_and_only_they():
    """The API server asks for it, because KEDA's roles give more than who applies them has."""
    over = {(where, rule["resources"][0], verb) for where, rule in rules("redeploy") for verb in rule["verbs"]}
    assert {each for each in over if each[2] in ("bind", "escalate")} == {
        *(("", "clusterroles", verb) for verb in ("bind", "escalate")),
        *(("keda", "roles", verb) for verb in ("bind", "escalate")),
        ("kube-system", "roles", "bind"),
    }


def test_the_namespaces_of_its_roles_are_made_with_them():
    """But for those that only their own owners make."""
    objects = shipped("redeploy")
    made = {obj["metadata"]["name"] for obj in objects if obj["kind"] == "Namespace"}
    places = {obj["metadata"]["namespace"] for obj in objects if obj["kind"] == "Role"}
    assert places - made == {"argocd", "kube-system"} and made <= places


@pytest.mark.parametrize("rights", [{Right("get", "", "secrets", "n", "a"), Right("patch", "", "secrets", "n", "b")}])
def test_a_rule_gives_none_of_its_verbs_on_a_name_that_has_another(rights):
    """One rule for both would let somebody patch a, and get b."""
    made = roles.rules_of(rights)
    given = {
        Right(verb, "", "secrets", "n", name)
        for verb in ("get", "patch")
        for name in ("a", "b")
        if any(gives(rule, Right(verb, "", "secrets", "n", name)) for rule in made)
    }
    assert given == rights
