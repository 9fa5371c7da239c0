"""What the clients of Kubernetes, Vault and registry promise, on the real servers of the local stack."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from prompt_keda.clients.kube import Kube
from prompt_keda.clients.kube_resources import CONFIG_MAPS, NAMESPACES, PODS, SECRETS
from prompt_keda.clients.kube_watch import Watch
from prompt_keda.clients.registry import Registry, parse_image
from prompt_keda.clients.vault import Vault
from prompt_keda.errors import BadAnswer, Missing, Refused, Unreachable
from prompt_keda.lab import settings, state
from prompt_keda.model.secret import Secret

SECONDS = timedelta(seconds=5)
NAMESPACE = "contract"


@pytest.fixture(scope="module")
def endpoints():
    return state.endpoints()


@pytest.fixture(scope="module")
def kube(endpoints):
    """The API server as the person oncall, with a namespace for these tests alone."""
    made = Kube.connect(Path(endpoints["kubeconfig"]), None, SECONDS)
    made.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    yield made
    made.delete(NAMESPACES, NAMESPACE)


def config_map(name, **data):
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def test_a_person_comes_in_through_the_directory(kube):
    """Person → LDAP → token → API server."""
    user = kube.whoami()
    assert user["username"] == "ldap:oncall" and "ldap:prompt-keda-operators" in user["groups"]


def test_apply_is_idempotent_and_tells_a_conflict(kube):
    """The second apply changes nothing; a field that another manager owns is not taken."""
    first = kube.apply(config_map("a", key="1"))
    assert kube.apply(config_map("a", key="1"))["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    body = json.dumps(config_map("a", key="2")).encode()
    query = {"fieldManager": "somebody", "force": "true"}
    path = CONFIG_MAPS.path(NAMESPACE, "a")
    kube.open("PATCH", path, query=query, data=body, content_type="application/apply-patch+yaml")
    with pytest.raises(BadAnswer, match="somebody"):
        kube.apply(config_map("a", key="1"))


def test_a_deletion_by_uid_spares_another_object(kube):
    """The UID is a precondition; what is absent is fine."""
    kube.apply(config_map("b"))
    kube.delete(CONFIG_MAPS, "b", NAMESPACE, uid="00000000-0000-0000-0000-000000000000")
    assert kube.find(CONFIG_MAPS, "b", NAMESPACE) is not None
    kube.delete(CONFIG_MAPS, "b", NAMESPACE)
    kube.delete(CONFIG_MAPS, "b", NAMESPACE)
    assert kube.find(CONFIG_MAPS, "b", NAMESPACE) is None
    with pytest.raises(Missing):
        kube.get(CONFIG_MAPS, "b", NAMESPACE)


def test_a_watch_wakes_up_on_a_change(kube):
    """And only says that something changed."""
    watch = Watch(kube, [(CONFIG_MAPS, NAMESPACE)])
    try:
        while watch.wait(1.0):
            pass  # what is there already counts as a change
        kube.apply(config_map("c"))
        assert watch.wait(5.0)
    finally:
        watch.close()


def test_what_a_person_may_not_do_is_refused_by_name(endpoints):
    """A reader may list pods, and is told which right is missing for Secrets."""
    reader = Kube.connect(settings.current_lab().state / "reader.kubeconfig", None, SECONDS)
    reader.list(PODS)
    with pytest.raises(Refused, match="secrets"):
        reader.list(SECRETS)


def test_a_wrong_password_is_told_in_one_line(endpoints, tmp_path):
    """The exec plugin's own words reach the person; the password does not."""
    login = json.loads((settings.current_lab().state / "login-oncall.json").read_text())
    (tmp_path / "password").write_text("wrong-password")
    (tmp_path / "login.json").write_text(json.dumps({**login, "password_file": str(tmp_path / "password")}))
    text = Path(endpoints["kubeconfig"]).read_text()
    changed = tmp_path / "kubeconfig"
    changed.write_text(
        text.replace(str(settings.current_lab().state / "login-oncall.json"), str(tmp_path / "login.json"))
    )
    with pytest.raises(Refused) as caught:
        Kube.connect(changed, None, SECONDS)
    assert "401" in caught.value.what and "wrong-password" not in caught.value.what


def test_a_kubeconfig_or_context_that_is_absent_is_named(endpoints, tmp_path):
    """Missing, with the file."""
    with pytest.raises(Missing, match="nowhere"):
        Kube.connect(tmp_path / "nowhere", None, SECONDS)
    with pytest.raises(Missing, match="strange"):
        Kube.connect(Path(endpoints["kubeconfig"]), "strange", SECONDS)


@pytest.fixture
def vault(endpoints):
    made = Vault.connect(endpoints["vault_url"], Path(endpoints["ca_file"]), SECONDS)
    role, secret = (Path(endpoints[f"vault_{one}_id_file"]).read_text() for one in ("role", "secret"))
    made.login_approle(Secret(role), Secret(secret))
    return made


def test_vault_gives_secrets_that_do_not_show_themselves(vault):
    """Keys by name; the values' repr is blank; the token is short-lived."""
    keys = vault.read_keys("secret", "rubin/prompt-keda-local/prompt-keda-lsstcam", 2)
    assert "db-auth_file" in keys and keys["db-auth_file"].reveal() not in repr(keys)
    assert 0 < vault.token_ttl_s() <= 1200


def test_vault_denies_what_the_policy_does_not_name(vault):
    """F35: denied and absent look the same, and the message says so."""
    with pytest.raises(Refused, match="denied, or no such mount"):
        vault.read_keys("secret", "rubin/other", 2)


def test_vault_without_trust_or_login_is_told(endpoints):
    """TLS is not weakened: a CA that is not known is Unreachable; a wrong AppRole is Refused."""
    with pytest.raises(Unreachable, match="TLS"):
        Vault.connect(endpoints["vault_url"], None, SECONDS).health()
    made = Vault.connect(endpoints["vault_url"], Path(endpoints["ca_file"]), SECONDS)
    with pytest.raises(Refused):
        made.login_approle(Secret("x"), Secret("y"))


def connect(endpoints, credentials):
    image = parse_image(endpoints["worker_image"])
    ca = Path(endpoints["ca_file"])
    return image, Registry.connect(image.host, endpoints["registry_url"], ca, credentials, SECONDS)


def test_the_registry_tells_absent_from_denied(endpoints):
    """With the password an absent tag is Missing; without it everything is Refused."""
    password = state.ensure_secret(settings.current_lab(), "registry-password")
    image, registry = connect(endpoints, ("puller", password))
    assert registry.manifest_digest(image.repository, image.reference) == image.reference
    with pytest.raises(Missing):
        registry.manifest_digest(image.repository, "never")
    for credentials in (None, ("puller", Secret("wrong"))):
        with pytest.raises(Refused):
            connect(endpoints, credentials)[1].manifest_digest(image.repository, image.reference)


@pytest.mark.parametrize(
    ("name", "host", "repository", "reference"),
    [
        ("redis", "docker.io", "library/redis", "latest"),
        ("ghcr.io/kedacore/keda:2.16.1", "ghcr.io", "kedacore/keda", "2.16.1"),
        ("r:5000/a/b:t@sha256:12", "r:5000", "a/b", "sha256:12"),
    ],
)
def test_an_image_name_is_taken_apart(name, host, repository, reference):
    """Docker's rules."""
    found = parse_image(name)
    assert (found.host, found.repository, found.reference) == (host, repository, reference)
