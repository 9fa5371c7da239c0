"""Faults of the Kubernetes Secrets that come from Vault, and of the operator that makes them."""

from __future__ import annotations

from prompt_keda.clients.kube.conditions import has_condition
from prompt_keda.clients.kube.resources import CRDS, VAULT_SECRETS
from prompt_keda.core.waiting import until
from prompt_keda.lab.delivered import vault_secret_kind
from prompt_keda.lab.faults import kept_secrets
from prompt_keda.lab.faults.fault import Fault, InChaos, Stage
from prompt_keda.lab.faults.vault import worker_secret


def lose(stage: Stage) -> None:
    """Delete the workers' Secret; what runs has read it."""
    sync = worker_secret(stage)
    kept_secrets.take(stage, sync.name, sync.namespace)


def find_again(stage: Stage) -> None:
    """Put it back as it was."""
    sync = worker_secret(stage)
    kept_secrets.put_back(stage, sync.name, sync.namespace)


def fail_to_fetch(stage: Stage) -> None:
    """Let a VaultSecret stand behind the workers' Secret, and say that it could not be read, as its operator does."""
    sync = worker_secret(stage)
    if stage.kube.find(CRDS, vault_secret_kind()["metadata"]["name"]) is None:
        stage.kube.create(CRDS, vault_secret_kind())
    until(lambda: _served(stage), "the kind VaultSecret")
    condition = {"type": "SecretCreated", "status": "False", "reason": "FetchFailed", "message": "permission denied"}
    metadata = {"name": sync.name, "namespace": sync.namespace}
    body = {"apiVersion": VAULT_SECRETS.api_version, "kind": "VaultSecret", "metadata": metadata}
    stage.kube.apply({**body, "status": {"conditions": [condition]}}, force=True)


def remove_operator(stage: Stage) -> None:
    """Take the kind away, and the VaultSecret with it; where others are, its operator's next look says that all is well."""
    sync = worker_secret(stage)
    if any(item["metadata"]["name"] != sync.name for item in stage.kube.list(VAULT_SECRETS)):
        stage.kube.patch(VAULT_SECRETS, sync.name, sync.namespace, {"status": None})
        return
    name = vault_secret_kind()["metadata"]["name"]
    stage.kube.delete(CRDS, name)
    until(lambda: stage.kube.find(CRDS, name) is None, "the end of the kind VaultSecret")


def _served(stage: Stage) -> bool:
    return has_condition(stage.kube.find(CRDS, vault_secret_kind()["metadata"]["name"]) or {}, "Established")


FAULTS: tuple[Fault, ...] = (
    Fault(
        "vault/secret-gone",
        "F39",
        "a Kubernetes Secret is gone",
        lose,
        find_again,
        {"vault/cluster-secrets-present": "fail"},
        "is missing",
        stops_scaling=True,
        chaos=InChaos(),
    ),
    Fault(
        "vault/operator-fails",
        "F37",
        "vault-secrets-operator cannot read a secret",
        fail_to_fetch,
        remove_operator,
        {"vault/vaultsecret-healthy": "fail"},
        "FetchFailed",
    ),
)
