"""What the Vault client promises: on the double, and on a real Vault of the test's own, which may be sealed."""

from __future__ import annotations

import json
from dataclasses import dataclass

import hvac
import pytest

from prompt_keda.clients.vault import Vault
from prompt_keda.core.errors import BadAnswer, Missing, Refused, Unreachable
from prompt_keda.core.event import nobody
from prompt_keda.core.secret import Secret
from prompt_keda.lab import go_builds, services
from tests.contracts.conftest import SECONDS, free_port, recording, serving
from tests.contracts.fakes.vault import ROLE_ID, SECRET_ID, FakeVault

VALUE = "canary-7d1f"
RULES = """
path "secret/data/there" { capabilities = ["read"] }
path "one/there" { capabilities = ["read"] }
path "secret/data/empty" { capabilities = ["read"] }
"""


@pytest.fixture(scope="session")
def vault_binary():
    """The Vault of the local stack, from the cache; it is built if the cache has none."""
    return go_builds.build(go_builds.VAULT, nobody) / "vault"


@dataclass
class Served:
    """One Vault: how to make a client, a valid login, and the administrator's ways to change it."""

    connect: object
    role_id: Secret
    secret_id: Secret
    delete: object
    destroy: object
    seal: object


def fake_vault():
    vault = FakeVault({"there": {"password": VALUE}}, allowed={"there", "empty"})
    return Served(
        lambda: vault,
        Secret(ROLE_ID),
        Secret(SECRET_ID),
        lambda: vault.deleted.add("there"),
        lambda: vault.destroyed.add("there"),
        lambda: setattr(vault, "sealed", True),
    )


def fill(url, ca_file):
    """Initialise a new Vault, put one secret into it, and give what the tests need."""
    admin = hvac.Client(url=url, verify=str(ca_file), timeout=10)
    keys = admin.sys.initialize(secret_shares=1, secret_threshold=1)
    admin.sys.submit_unseal_key(keys["keys"][0])
    admin.token = keys["root_token"]
    admin.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
    admin.sys.enable_secrets_engine("kv", path="one", options={"version": "1"})
    admin.sys.enable_auth_method("approle")
    admin.sys.create_or_update_policy("test", RULES)
    admin.auth.approle.create_or_update_approle("test", token_policies=["test"], token_ttl="20m")
    kv = admin.secrets.kv.v2
    kv.create_or_update_secret("there", {"password": VALUE}, mount_point="secret")
    admin.secrets.kv.v1.create_or_update_secret("there", {"password": VALUE}, mount_point="one")
    return Served(
        lambda: Vault.connect(url, ca_file, SECONDS),
        Secret(admin.auth.approle.read_role_id("test")["data"]["role_id"]),
        Secret(admin.auth.approle.generate_secret_id("test")["data"]["secret_id"]),
        lambda: kv.delete_latest_version_of_secret("there", mount_point="secret"),
        lambda: kv.destroy_secret_versions("there", [1], mount_point="secret"),
        admin.sys.seal,
    )


@pytest.fixture
def new_vault(vault_binary, authority, tmp_path):
    """A real Vault that nobody has initialised; gives its address."""
    port, pki = free_port(), authority.folder
    files = tmp_path / "vault", f"127.0.0.1:{port}", pki / "server.crt", pki / "server.key"
    with serving([vault_binary, *services.vault_arguments(*files)], port, tmp_path / "vault.log"):
        yield f"https://127.0.0.1:{port}"


@pytest.fixture(params=["fake", "real"])
def served(request):
    if request.param == "fake":
        return fake_vault()
    authority = request.getfixturevalue("authority")
    return fill(request.getfixturevalue("new_vault"), authority.ca_file)


@pytest.fixture
def vault(served):
    made = served.connect()
    made.login_approle(served.role_id, served.secret_id)
    return made


def test_it_gives_secrets_that_do_not_show_themselves(vault):
    """Keys by name; the values' repr is blank; the token is short-lived."""
    keys = vault.read_keys("secret", "there", 2)
    assert keys == {"password": Secret(VALUE)} and VALUE not in repr(keys)
    token = vault.token()
    assert 0 < token.ttl_s <= 1200 and token.renewable and token.uses == 0


def test_denied_and_absent_look_the_same_and_the_message_says_so(vault):
    """F35: what the policy does not name is Refused, be it there or not."""
    with pytest.raises(Refused, match="denied, or no such mount"):
        vault.read_keys("secret", "other", 2)


def test_what_is_allowed_and_not_there_is_missing(vault):
    """The policy names it, nobody has written it."""
    with pytest.raises(Missing):
        vault.read_keys("secret", "empty", 2)


@pytest.mark.parametrize("how", ["deleted", "destroyed"])
def test_a_version_that_is_gone_is_missing_and_says_how(served, vault, how):
    """A deleted or destroyed newest version gives nothing, and is told apart from a secret that is missing.

    The right to read it is enough: Vault answers 404 with the version's metadata.
    """
    before = vault.newest_version("secret", "there", 2)
    assert (before.version, before.deleted, before.destroyed) == (1, False, False)
    assert before.created_at.startswith("20")
    served.delete() if how == "deleted" else served.destroy()
    with pytest.raises(Missing, match=f"its newest version 1 is {how}"):
        vault.read_keys("secret", "there", 2)
    after = vault.newest_version("secret", "there", 2)
    assert (after.deleted, after.destroyed) == (True, how == "destroyed")
    with pytest.raises(Missing, match="no such secret"):
        vault.newest_version("secret", "empty", 2)


def test_the_real_version_of_a_mount_is_told_to_who_may_read_in_it(vault):
    """By the vault command's own preflight; a missing mount looks denied."""
    assert vault.kv_version("secret") == 2
    with pytest.raises(Refused, match="denied"):
        vault.kv_version("missing")


def test_what_a_token_may_read_is_reported_for_all_paths_at_once(vault):
    """F35: by the policy alone, whether there is anything or not."""
    asked = ["secret/data/there", "secret/data/empty", "secret/data/other"]
    assert [sorted(capabilities) for capabilities in vault.capabilities(asked).values()] == [
        ["read"],
        ["read"],
        ["deny"],
    ]


def test_version_1_is_read_by_its_own_path(new_vault, authority):
    """F33: the other version's path is refused or missing; what is named wrongly is never read half."""
    served = fill(new_vault, authority.ca_file)
    vault = served.connect()
    vault.login_approle(served.role_id, served.secret_id)
    assert vault.kv_version("one") == 1 and vault.newest_version("one", "there", 1) is None
    assert vault.read_keys("one", "there", 1) == {"password": Secret(VALUE)}
    for mount, version in (("one", 2), ("secret", 1)):
        with pytest.raises((Refused, Missing)):
            vault.read_keys(mount, "there", version)


def test_a_login_that_is_not_known_is_refused(served):
    """And what was tried stands in no message."""
    with pytest.raises(Refused) as caught:
        served.connect().login_approle(Secret("wrong-role"), Secret("wrong-secret"))
    assert "wrong" not in caught.value.what


def test_without_a_login_everything_is_refused(served):
    """No token, no secret."""
    with pytest.raises(Refused):
        served.connect().read_keys("secret", "there", 2)


def test_a_sealed_vault_says_so_and_gives_nothing(served, vault):
    """Sealed is an answer of its health, and BadAnswer for every read; it is not unreachable."""
    healthy = vault.health()
    assert (healthy.initialized, healthy.sealed, healthy.standby) == (True, False, False)
    served.seal()
    assert vault.health().sealed
    with pytest.raises(BadAnswer, match="sealed"):
        vault.read_keys("secret", "there", 2)
    with pytest.raises(BadAnswer, match="sealed"):
        vault.login_approle(served.role_id, served.secret_id)


def test_a_new_vault_says_that_it_is_not_initialised(new_vault, authority):
    """HTTP 501 of its health is an answer, not an error."""
    health = Vault.connect(new_vault, authority.ca_file, SECONDS).health()
    assert (health.initialized, health.sealed) == (False, True)


@pytest.mark.parametrize(
    ("status", "body", "standby", "replica"),
    [
        (429, {"standby": True}, True, False),
        (473, {"standby": False, "performance_standby": True}, True, False),
        (472, {"standby": True, "replication_dr_mode": "secondary"}, True, True),
    ],
)
def test_a_standby_is_an_answer(authority, status, body, standby, replica):
    """F36: by Vault's documentation of sys/health; a real cluster of several nodes is not at hand here."""
    known = json.dumps({"initialized": True, "sealed": False, "version": "1.21.0", **body}).encode()
    answer = status, {"Content-Type": "application/json"}, known
    with recording(authority, lambda path, headers: answer) as (port, _):
        health = Vault.connect(f"https://127.0.0.1:{port}", authority.ca_file, SECONDS).health()
    assert (health.initialized, health.sealed, health.standby, health.replica) == (True, False, standby, replica)


def test_a_certificate_that_is_not_trusted_is_unreachable(new_vault):
    """TLS is not weakened."""
    with pytest.raises(Unreachable, match="TLS"):
        Vault.connect(new_vault, None, SECONDS).health()


def test_nobody_there_and_no_such_name_are_told_apart():
    """TCP and DNS, both with the address that was tried."""
    port = free_port()
    with pytest.raises(Unreachable, match=f"127.0.0.1:{port}: no connection"):
        Vault.connect(f"https://127.0.0.1:{port}", None, SECONDS).health()
    with pytest.raises(Unreachable, match="cannot be resolved"):
        Vault.connect("https://vault.invalid", None, SECONDS).health()


def test_the_token_does_not_follow_a_redirect(authority):
    """The library would send the token along to whatever host the answer names."""
    with recording(authority, lambda path, headers: (404, {}, b"")) as (place, seen_there):
        away = 307, {"Location": f"https://localhost:{place}/x"}, b""
        with recording(authority, lambda path, headers: away) as (port, _):
            vault = Vault.connect(f"https://127.0.0.1:{port}", authority.ca_file, SECONDS)
            vault.use_token(Secret("canary-token"))
            with pytest.raises(BadAnswer, match="redirects to localhost") as caught:
                vault.read_keys("secret", "there", 2)
    assert seen_there == [] and "canary" not in caught.value.what
