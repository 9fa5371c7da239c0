"""Whoever has the roles of check-deps.yaml and redeploy.yaml, and nothing else, can redeploy."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from prompt_keda.clients.kube.resources import NAMESPACES, SERVICE_ACCOUNTS
from prompt_keda.lab import kubeconfig

from .conftest import ROOT, at_the_stack_only, changed_environment, run_json, until

pytestmark = [pytest.mark.exhaustive, at_the_stack_only]  # an administrator makes the identity
NAMESPACE = "prompt-keda-test-redeploys"
OBJECTS = [
    obj
    for name in ("check-deps", "redeploy")
    for obj in yaml.safe_load_all((ROOT / "environments" / "rbac" / f"{name}.yaml").read_text())
    if obj["metadata"].get("namespace") != "argocd"
]


@pytest.fixture
def as_bound(deployed, admin, endpoints, tmp_path):
    """The suite's environment with the login of a ServiceAccount that has these roles; approved by digest, as in production."""
    admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    account = {"name": "redeploys", "namespace": NAMESPACE}
    admin.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    given = [obj for obj in OBJECTS if obj["kind"] != "Namespace"]
    for obj in OBJECTS:
        bound = {"subjects": [{"kind": "ServiceAccount", **account}]} if "subjects" in obj else {}
        admin.apply({**obj, **bound}, force=True)
    path = SERVICE_ACCOUNTS.path(NAMESPACE, "redeploys") + "/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    user = {"token": admin.request("POST", path, body=body)["status"]["token"]}
    file = tmp_path / "kubeconfig"
    kubeconfig.write(file, admin.address, Path(endpoints["ca_file"]), endpoints["context"], user)
    words = [("${lab:kubeconfig}", str(file)), ("approval: none", "approval: digest")]
    yield changed_environment(tmp_path, environment=words)
    for obj in given:
        metadata = obj["metadata"]
        admin.delete(admin.resource_of(obj), metadata["name"], metadata.get("namespace"))
    admin.delete(NAMESPACES, NAMESPACE)
    until(lambda: admin.find(NAMESPACES, NAMESPACE) is None, what="a namespace that is gone")


def may_all(env):
    """Return whether the checks of the rights are green; the API server hears of new roles a moment later."""
    code, document = run_json("check-deps", "--env", env, "--only", "identity/may")
    return code == 0 and [result["verdict"] for result in document["results"]] and document


@pytest.mark.parametrize("mode", ["reinstall", "purge"])
def test_with_the_shipped_roles_keda_is_redeployed(as_bound, mode):
    """Its CRDs and roles, too: who is bound to them has not KEDA's rights, and may give them away."""
    until(lambda: may_all(as_bound), 60, "the rights")
    _, plan = run_json("plan", "--env", as_bound, "--mode", mode)
    code, document = run_json("redeploy", "--env", as_bound, "--mode", mode, "--approve", plan["plan"]["digest"])
    assert code == 0, document.get("error")
