"""check-deps needs exactly the rights of the shipped Role: with them it is green, without each one it says which is missing."""

from __future__ import annotations

import copy
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from prompt_keda.clients.kube.resources import NAMESPACES, SERVICE_ACCOUNTS
from prompt_keda.clients.systems import Systems
from prompt_keda.components.catalogue import ALL_CHECKS
from prompt_keda.core.errors import DeadlinePassed
from prompt_keda.core.event import nobody
from prompt_keda.core.rights import Right
from prompt_keda.core.run_checks import run_checks
from prompt_keda.environment.loading import load_environment
from prompt_keda.lab import kubeconfig

from .conftest import NOT_HERE, ROOT, at_the_stack_only, until

pytestmark = at_the_stack_only  # an administrator makes the identity; the checks are the same at the desk
SHIPPED = list(yaml.safe_load_all((ROOT / "environments" / "rbac" / "check-deps.yaml").read_text()))
OBJECTS = [obj for obj in SHIPPED if obj["metadata"].get("namespace") != "argocd"]
"""Argo CD delivers nothing on this stack."""
LOOKING = [check for check in ALL_CHECKS if not check.deep]
READ, REDEPLOY, NAMESPACE = "identity/may-read", "identity/may-redeploy", "prompt-keda-test-rights"
GIVEN_TO_ALL = {"selfsubjectreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews"}
"""Kubernetes lets everybody ask about themselves (ClusterRole system:basic-user); the Role says it all the same."""


ASKED_WHEN_NAMED = {"serviceaccounts", "clustertriggerauthentications"}
"""Read where a pod names no pull secret, or a ScaledJob a shared login: on this stack none does."""


def single_rights():
    """Yield each right of the Role alone: the number of its object and rule, verb, kind and name."""
    for where, obj in enumerate(OBJECTS):
        for number, rule in enumerate(obj.get("rules", [])):
            for verb in rule["verbs"]:
                for name in rule.get("resourceNames", [None]):
                    if rule["resources"][0] not in GIVEN_TO_ALL:
                        yield where, number, verb, rule["resources"][0], name


def without(where, number, verb, name):
    """Return a role without one right."""
    role = copy.deepcopy(OBJECTS[where])
    rule = role["rules"][number]
    if name and len(rule["resourceNames"]) > 1:
        rule["resourceNames"].remove(name)
    elif len(rule["verbs"]) > 1:
        rule["verbs"].remove(verb)
    else:
        del role["rules"][number]
    return role


@pytest.fixture(scope="module")
def look(deployed, admin, endpoints, tmp_path_factory):
    """A ServiceAccount with the shipped Role and nothing else, and a way to run all checks as it."""
    admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    account = {"name": "looks", "namespace": NAMESPACE}
    admin.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    for obj in OBJECTS:
        bound = {"subjects": [{"kind": "ServiceAccount", **account}]} if "subjects" in obj else {}
        admin.apply({**obj, **bound}, force=True)
    path = SERVICE_ACCOUNTS.path(NAMESPACE, "looks") + "/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    user = {"token": admin.request("POST", path, body=body)["status"]["token"]}
    file = tmp_path_factory.mktemp("rights") / "kubeconfig"
    kubeconfig.write(file, admin.address, Path(endpoints["ca_file"]), endpoints["context"], user)
    environment = load_environment(ROOT / "environments" / "local.yaml", {**endpoints, "kubeconfig": str(file)})

    def run():
        systems = Systems(environment, endpoints)
        try:
            return {result.id: result for result in run_checks(LOOKING, systems, nobody, timedelta(seconds=30))}
        finally:
            systems.close()

    yield run
    for obj in OBJECTS:
        metadata = obj["metadata"]
        admin.delete(admin.resource_of(obj), metadata["name"], metadata.get("namespace"))
    admin.delete(NAMESPACES, NAMESPACE)


def not_green(results):
    return {
        id_: result.verdict.value for id_, result in results.items() if result.verdict.value not in ("ok", "skipped")
    }


def until_it_is_so(look, wanted):
    """Run the checks until the API server has heard of the change; it takes it a moment."""
    last = {}

    def reached():
        last.clear()
        last.update(look())
        return wanted(last)

    try:
        until(reached, 90, "a change of the rights")
    except DeadlinePassed as error:
        raise AssertionError({id_: last[id_].observed for id_ in not_green(last)}) from error
    return last


def only_looks(results):
    return not_green(results) == {REDEPLOY: "warn"}


def test_with_the_shipped_role_all_is_seen(look):
    """As green as for the person oncall, but that a reader may not redeploy: amber, with what is missing."""
    results = until_it_is_so(look, only_looks)
    assert {id_ for id_, result in results.items() if result.verdict.value == "skipped"} == NOT_HERE
    assert "not allowed: create" in results[REDEPLOY].observed


@pytest.mark.exhaustive  # some minutes for all of them
@pytest.mark.parametrize(
    ("where", "number", "verb", "kind", "name"),
    list(single_rights()),
    ids=lambda value: str(value).replace("/", ".") if value is not None else "",
)
def test_without_a_single_right_it_is_named(look, admin, where, number, verb, kind, name):
    """The check that needs it is not green and says verb and kind; the one that looks at the rights names it alone."""
    rule, namespace = OBJECTS[where]["rules"][number], OBJECTS[where]["metadata"].get("namespace", "")
    plural, _, subresource = kind.partition("/")
    right = Right(verb, rule["apiGroups"][0], plural, namespace, name or "", subresource)
    admin.apply(without(where, number, verb, name), force=True)
    try:
        results = until_it_is_so(look, lambda results: results[READ].observed == f"not allowed: {right}")
    finally:
        admin.apply(OBJECTS[where], force=True)
    if kind in ASKED_WHEN_NAMED:
        assert not_green(results) == {READ: "fail", REDEPLOY: "warn"}
        return
    texts = {id_: result.observed for id_, result in results.items() if id_ in not_green(results)}
    own = {id_: observed for id_, observed in texts.items() if id_ not in (READ, REDEPLOY)}
    assert any(verb in observed and kind in observed.replace('"', "") for observed in own.values()), own
