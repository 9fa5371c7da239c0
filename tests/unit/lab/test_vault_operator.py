"""The local stack's operator of VaultSecrets: it makes what is not there, says how that went, and fights nobody."""

import base64

import pytest

from prompt_keda.clients.kube.resources import NAMESPACES, SECRETS, VAULT_SECRETS
from prompt_keda.core.errors import ClientError
from prompt_keda.core.secret import Secret
from prompt_keda.lab.vault_operator import reconcile
from tests.contracts.fakes.kube import FakeKube

NAME, NAMESPACE = "pull-secret", "keda"


@pytest.fixture
def kube():
    kube = FakeKube((NAMESPACES, SECRETS, VAULT_SECRETS))
    kube.apply({**NAMESPACES.head, "metadata": {"name": NAMESPACE}})
    metadata = {"name": NAME, "namespace": NAMESPACE}
    kube.apply({**VAULT_SECRETS.head, "metadata": metadata, "spec": {"path": "secret/a/b", "type": "Opaque"}})
    return kube


def read(path):
    assert path == "secret/a/b"
    return {"key": Secret("value")}


def condition(kube):
    return kube.get(VAULT_SECRETS, NAME, NAMESPACE)["status"]["conditions"][0]


def test_a_secret_is_made_that_belongs_to_its_vault_secret(kube):
    """It holds what Vault has, goes with its VaultSecret, and the condition says that it was made."""
    reconcile(kube, read)
    secret = kube.get(SECRETS, NAME, NAMESPACE)
    assert base64.b64decode(secret["data"]["key"]) == b"value"
    assert (
        secret["metadata"]["ownerReferences"][0]["uid"] == kube.get(VAULT_SECRETS, NAME, NAMESPACE)["metadata"]["uid"]
    )
    assert condition(kube)["status"] == "True"


def test_a_secret_that_is_gone_is_made_again(kube):
    """Whoever deletes it: the next look makes it."""
    reconcile(kube, read)
    kube.delete(SECRETS, NAME, NAMESPACE)
    reconcile(kube, read)
    assert kube.find(SECRETS, NAME, NAMESPACE)


def test_a_secret_that_is_there_is_left_as_it_is(kube):
    """What the toolkit or a person has written since is not overwritten, and Vault is not asked."""
    reconcile(kube, read)
    reconcile(kube, lambda path: pytest.fail("Vault was asked"))


def test_what_vault_refuses_stands_on_the_vault_secret(kube):
    """No Secret is made; the condition is what vault/vaultsecret-healthy reads."""

    def refuse(path):
        raise ClientError("Vault", "https://vault.test", "secret/a/b: Forbidden")

    reconcile(kube, refuse)
    assert kube.find(SECRETS, NAME, NAMESPACE) is None
    assert (condition(kube)["status"], condition(kube)["reason"]) == ("False", "FetchFailed")
