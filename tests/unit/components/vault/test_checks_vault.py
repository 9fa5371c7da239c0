"""The checks of Vault: each is seen red for its reason, and green where nothing is wrong."""

from __future__ import annotations

import base64
import hashlib

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.clients.vault import Token
from prompt_keda.environment.model import FillIn
from tests.unit.faults import (
    attribute,
    both,
    broken_verdict,
    change,
    denied,
    environment,
    fails_for,
    own_secret,
    remove,
    turns_red,
)
from tests.unit.world import SPACE, World, now


def nothing_secret(world):
    known = world.systems.environment
    redis, smoke = (
        part.model_copy(update={key: None}) for part, key in ((known.redis, "password"), (known.smoke, "pull_secret"))
    )
    environment(secrets=(), redis=redis, smoke=smoke, registries=())(world)


def unfilled_path(world):
    """Let the first Secret's place in Vault be one that is to be filled in."""
    first, *others = world.systems.environment.secrets
    environment(secrets=(first.model_copy(update={"vault_path": FillIn("FILL-IN: where")}), *others))(world)


def vault(**values):
    return attribute("vault", **values)


def in_vault(path, **keys):
    return lambda world: world.vault.contents[path].update(keys)


def vault_secret(*conditions, **metadata):
    """Let vault-secrets-operator be served, and bring the Secret of Redis."""

    def apply(world):
        world.put(kinds.VAULT_SECRETS, "prompt-redis-auth", SPACE, status={"conditions": list(conditions)})
        if metadata:
            world.change(kinds.VAULT_SECRETS, "prompt-redis-auth", SPACE, metadata=metadata)

    return apply


OWNED = own_secret(metadata={"ownerReferences": [{"kind": "VaultSecret", "name": "prompt-redis-auth", "uid": "u"}]})
CREATED = {"type": "SecretCreated", "status": "True", "reason": "Updated"}
FETCH_FAILED = {"type": "SecretCreated", "status": "False", "reason": "FetchFailed", "message": "permission denied"}
FRESH = "vault/cluster-secrets-fresh"
DELETED = "vault/secrets-not-deleted"
SYNC_HEALTHY = "vault/vaultsecret-healthy"
KEY = "rubin/prompt-keda-local/prompt-redis"
OTHER_KEY = "rubin/prompt-keda-local/pull-secret"
API_PATH = f"secret/data/{KEY}"
SECRETS_OF_THE_ENVIRONMENT = "vault/secrets-have-their-keys"
RED = [
    ("vault/unsealed", attribute("vault", sealed=True), "fail", "sealed"),
    ("vault/unsealed", attribute("vault", initialized=False), "fail", "not initialised"),
    ("vault/login-works", lambda world: world.vault.use_token(""), "fail", "denied"),
    (SECRETS_OF_THE_ENVIRONMENT, lambda world: world.vault.contents.update({KEY: {}}), "fail", "no redis-password"),
    (SECRETS_OF_THE_ENVIRONMENT, lambda world: world.vault.deleted.add(KEY), "fail", "deleted"),
    (SECRETS_OF_THE_ENVIRONMENT, lambda world: world.vault.allowed.discard(KEY), "fail", "denied"),
    (
        "vault/cluster-secrets-present",
        remove(kinds.SECRETS, "pull-secret", "keda"),
        "fail",
        "keda/pull-secret is missing",
    ),
    (
        "vault/cluster-secrets-present",
        change(kinds.SECRETS, "prompt-redis-auth", SPACE, data={"redis-password": None}),
        "fail",
        "has no redis-password",
    ),
    ("vault/cluster-secrets-present", environment(secrets=()), "unknown", "names none"),
    (SECRETS_OF_THE_ENVIRONMENT, nothing_secret, "unknown", "names none"),
    (
        SECRETS_OF_THE_ENVIRONMENT,
        lambda world: [world.vault.deleted.add(KEY), fails_for("vault", "read_keys", OTHER_KEY)(world)],
        "fail",
        f"{KEY}: its newest version 1 is deleted",
    ),
    (SECRETS_OF_THE_ENVIRONMENT, fails_for("vault", "read_keys", OTHER_KEY), "unknown", OTHER_KEY),
    (
        "vault/cluster-secrets-present",
        lambda world: [
            remove(kinds.SECRETS, "prompt-redis-auth", SPACE)(world),
            fails_for("kube", "find", "pull-secret")(world),
        ],
        "fail",
        "prompt-redis-auth is missing",
    ),
    ("vault/unsealed", vault(replica=True), "fail", "disaster-recovery secondary"),
    (
        "vault/token-lives-on",
        vault(token_is=Token(240, True)),
        "warn",
        "expires in 4 min 0 s and can be renewed; a redeploy",
    ),
    ("vault/token-lives-on", vault(token_is=Token(599, False)), "warn", "can not be renewed"),
    ("vault/token-lives-on", vault(token_is=Token(None, False, 3)), "warn", "good for 3 more requests"),
    ("vault/kv-version-as-configured", vault(kv=1), "fail", f"version 1 reads secret/{KEY[:6]}"),
    ("vault/kv-version-as-configured", vault(kv=1), "fail", "version 2 secret/data/"),
    ("vault/kv-version-as-configured", vault(kv=1, tells_mounts=False), "unknown", "cannot be seen: denied"),
    ("vault/paths-readable", lambda world: world.vault.allowed.discard(KEY), "fail", f"not let it read {API_PATH}"),
    ("vault/paths-readable", vault(tells_capabilities=False), "unknown", "does not say what this token may"),
    ("vault/paths-readable", unfilled_path, "unknown", "FILL-IN: where: the environment does not say vault_path"),
    (
        "vault/paths-readable",
        both(unfilled_path, lambda world: world.vault.allowed.discard(KEY)),
        "fail",
        "not let it read",
    ),
    ("vault/paths-readable", nothing_secret, "unknown", "names none"),
    (DELETED, lambda world: world.vault.deleted.add(KEY), "fail", f"{KEY}: version 1, its newest, is deleted"),
    (DELETED, lambda world: world.vault.destroyed.add(KEY), "fail", "is destroyed"),
    (DELETED, lambda world: world.vault.contents.pop(KEY), "unknown", "missing: never written, or deleted with"),
    (DELETED, lambda world: world.vault.allowed.discard(KEY), "unknown", "denied"),
    (DELETED, nothing_secret, "unknown", "names none"),
    (SECRETS_OF_THE_ENVIRONMENT, in_vault(KEY, **{"redis-password": ""}), "fail", "no redis-password, or it is empty"),
    (
        FRESH,
        in_vault(KEY, **{"redis-password": "new"}),
        "fail",
        "prompt-redis-auth differs from Vault in redis-password",
    ),
    (FRESH, in_vault(KEY, **{"redis-password": "new"}), "fail", "version 1 is of 2026-01-01T00:00:00Z"),
    (FRESH, own_secret(data={"redis-password": "bmV3"}), "fail", "differs from Vault in redis-password"),
    (FRESH, own_secret(data={"redis-password": "no base64"}), "fail", "differs from Vault in redis-password"),
    (FRESH, own_secret(type="kubernetes.io/tls"), "fail", "is of type kubernetes.io/tls, not Opaque"),
    (FRESH, environment(secrets=()), "unknown", "names none"),
    (SYNC_HEALTHY, vault_secret(FETCH_FAILED), "fail", "FetchFailed: permission denied"),
    (SYNC_HEALTHY, vault_secret(), "unknown", "has not looked at it"),
    (SYNC_HEALTHY, vault_secret(CREATED, deletionTimestamp=now()), "fail", "is being deleted"),
    (SYNC_HEALTHY, OWNED, "fail", "which is missing: nobody brings it up to date"),
    (SYNC_HEALTHY, denied("get", "vaultsecrets"), "unknown", "cannot get"),
    (SYNC_HEALTHY, environment(secrets=()), "unknown", "names none"),
]


test_a_check_turns_red_for_its_reason = turns_red(RED)


@pytest.mark.parametrize(
    ("check", "fault"),
    [
        ("vault/unsealed", vault(standby=True)),
        ("vault/token-lives-on", vault(token_is=Token(None, False))),
        ("vault/kv-version-as-configured", vault(tells_mounts=False)),
        (SYNC_HEALTHY, both(OWNED, vault_secret(CREATED))),
    ],
)
def test_vault_is_green_in_other_ways_too(check, fault):
    """A standby, a token forever, a mount that is not told."""
    outcome = broken_verdict(check, fault)
    assert outcome.verdict.value == "ok", outcome


@pytest.mark.parametrize(
    "fault", [in_vault(KEY, **{"redis-password": "new"}), own_secret(data={"redis-password": "bmV3"})]
)
def test_a_stale_secret_is_reported_without_a_value(fault):
    """Neither value, nor its base64 form, nor a hash of it."""
    world = World()
    fault(world)
    verdict = repr(world.verdict(FRESH))
    for value in (b"value", b"new"):
        forms = base64.b64encode(value).decode(), hashlib.sha256(value).hexdigest()
        assert not any(form in verdict for form in (*forms, "'new'", "'value'"))
