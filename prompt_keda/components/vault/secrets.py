"""The Kubernetes Secrets that come from Vault, and who brings them. Names of keys are shown, values never."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from contextlib import suppress

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import SECRETS, VAULT_SECRETS
from prompt_keda.clients.systems import Systems
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.errors import ClientError, Refused
from prompt_keda.core.outcomes import all_of, fail, ok, unknown
from prompt_keda.environment.model import SecretSync

KIND = "VaultSecret"
CONDITION = "SecretCreated"
"""The one condition that ricoberger/vault-secrets-operator keeps (internal/controller/vaultsecret_controller.go)."""


@check(
    "vault/cluster-secrets-present",
    "Every Kubernetes Secret that Vault delivers exists",
    needs=("cluster/api-answers",),
    runbook="secrets-missing",
)
def cluster_secrets_present(systems: Systems) -> Outcome:
    """Is each Kubernetes Secret there, with its keys?

    Cause: vault-secrets-operator is down, or the namespace is new.
    """
    fix = "./run redeploy writes them."

    def look(sync: SecretSync) -> Outcome:
        live = systems.kube.find(SECRETS, sync.name, sync.namespace)
        if live is None:
            return fail(f"{_place(sync)} is missing", fix)
        missing = sorted(set(sync.keys) - set(live.get("data") or {}))
        return fail(f"{_place(sync)} has no {', '.join(missing)}", fix) if missing else ok(sync.name)

    return all_of(_named(systems), look, f"{len(systems.environment.secrets)} Secrets with all their keys")


@check(
    "vault/cluster-secrets-fresh",
    "Every Kubernetes Secret matches Vault",
    needs=("vault/secrets-have-their-keys", "vault/cluster-secrets-present"),
    runbook="secrets-missing",
)
def cluster_secrets_fresh(systems: Systems) -> Outcome:
    """(F38). Compare each key by a keyed hash, with a key that is made for this one look; names of keys are shown,
    never values. The Secret's type is compared too.

    Cause: Vault was changed, and whoever writes the Secret has not followed: the operator keeps the old Secret when
    it fails. Pods that start get the old credentials.

    Fix: `./run redeploy` writes them; a Secret of another type has to be deleted first, because its type cannot be
    changed.

    Notes
    -----
    Compared are keyed hashes, with a key that is made for this one look: no value and no plain hash is kept or shown.
    """
    key = secrets.token_bytes(32)

    def look(sync: SecretSync) -> Outcome:
        live = systems.kube.find(SECRETS, sync.name, sync.namespace)
        if live is None:
            return unknown(f"{_place(sync)} is missing")
        if live.get("type") != sync.type:
            message = f"{_place(sync)} is of type {live.get('type')}, not {sync.type}"
            return fail(message, "Delete it: a Secret's type cannot be changed. Then ./run redeploy writes it.")
        wanted, data = systems.secret_keys(sync.vault_path), live.get("data") or {}
        stale = [name for name in sync.keys if _hash(key, wanted[name].reveal().encode()) != _hash_of(key, data, name)]
        if not stale:
            return ok(sync.name)
        message = f"{_place(sync)} differs from Vault in {', '.join(sorted(stale))}{_written(systems, sync)}"
        return fail(message, "./run redeploy writes it; where vault-secrets-operator does, look why it does not.")

    return all_of(_named(systems), look, f"{len(systems.environment.secrets)} Secrets as Vault has them")


@check(
    "vault/vaultsecret-healthy",
    "Every VaultSecret is synchronised by vault-secrets-operator",
    needs=("vault/cluster-secrets-present",),
    runbook="secrets-missing",
)
def vaultsecret_healthy(systems: Systems) -> Outcome:
    """Look at the condition SecretCreated of the VaultSecret (ricoberger.de/v1alpha1) behind each Secret. OK where no
    VaultSecret is behind it and the Secret has no owner of that kind: then nobody but this toolkit brings it.
    UNKNOWN where VaultSecrets may not be seen, or the operator has not looked.

    Cause: The operator's Vault token was not renewed (F37), or a path is wrong; the Secret stays as it was. FAIL as
    well when the VaultSecret that the Secret belongs to is missing, or going: Kubernetes deletes the Secret with
    it (F39).

    Fix: Renew the operator's token, and restart it; apply the VaultSecret again.

    Notes
    -----
    Where no VaultSecret stands behind a Secret and the Secret has no owner of that kind, nobody but this toolkit brings
    it: that is seen, and well.
    """

    def look(sync: SecretSync) -> Outcome:
        live = systems.kube.find(SECRETS, sync.name, sync.namespace) or {}
        owners = live.get("metadata", {}).get("ownerReferences") or []
        owner = next((owner["name"] for owner in owners if owner.get("kind") == KIND), None)
        try:
            vault_secret = systems.kube.find(VAULT_SECRETS, owner or sync.name, sync.namespace)
        except Refused as error:  # it is this person who may not look
            return unknown(f"{_place(sync)}: {error.detail}", error.fix)
        if vault_secret is not None:
            return _health(vault_secret)
        if owner is None:
            return ok(f"{_place(sync)} has no {KIND}")
        message = f"{_place(sync)} belongs to {KIND} {owner}, which is missing: nobody brings it up to date"
        return fail(message, "Apply the VaultSecret again: Kubernetes deletes a Secret without its owner.")

    return all_of(_named(systems), look)


def _health(vault_secret: Object) -> Outcome:
    name = f"{vault_secret['metadata']['namespace']}/{vault_secret['metadata']['name']}"
    if "deletionTimestamp" in vault_secret["metadata"]:
        return fail(f"{KIND} {name} is being deleted, and its Secret with it", "Apply it again.")
    conditions = (vault_secret.get("status") or {}).get("conditions") or []
    health = next((condition for condition in conditions if condition.get("type") == CONDITION), None)
    if health is None:
        return unknown(f"{KIND} {name}: the operator has not looked at it", "Does vault-secrets-operator run?")
    if health.get("status") == "True":
        return ok(f"{KIND} {name}: {health.get('reason')}")
    since = f", since {health['lastTransitionTime']}" if health.get("lastTransitionTime") else ""
    why = f"{health.get('reason')}: {health.get('message')}{since}"
    fix = "The operator keeps the Secret as it was. Is its Vault token still valid? If not, restart it."
    return fail(f"{KIND} {name}: {why}", fix)


def _written(systems: Systems, sync: SecretSync) -> str:
    """Return when Vault's version was written, where that can be seen."""
    settings = systems.environment.vault
    with suppress(ClientError):
        newest = systems.vault.newest_version(settings.mount, sync.vault_path, settings.kv_version)
        return f"; Vault's version {newest.version} is of {newest.created_at}" if newest else ""
    return ""


def _hash_of(key: bytes, data: dict[str, str], name: str) -> bytes:
    try:
        return _hash(key, base64.b64decode(data.get(name) or ""))
    except binascii.Error:
        return b""


def _hash(key: bytes, value: bytes) -> bytes:
    return hmac.digest(key, value, "sha256")


def _place(sync: SecretSync) -> str:
    return f"{sync.namespace}/{sync.name}"


def _named(systems: Systems) -> list[tuple[str, SecretSync]]:
    return [(_place(sync), sync) for sync in systems.environment.secrets]
