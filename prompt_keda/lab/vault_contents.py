"""Starts the stack's Vault for the first time and fills it: KV version 2, a policy with exact paths, AppRole."""

from __future__ import annotations

import secrets
from pathlib import Path

import hvac

from prompt_keda.core.secret import Secret
from prompt_keda.lab import state
from prompt_keda.lab.settings import Lab

PREFIX = "rubin/prompt-keda-local"
POLICY = "prompt-keda"
TOKEN_TTL = "20m"  # noqa: S105  a duration
ANSWER_S = 60
"""A busy machine takes more than 10 s (seen). Who gives up while Vault initialises itself has lost its key for good."""


def unseal(lab: Lab, url: str, ca_file: Path) -> hvac.Client:
    """Initialise Vault if it is new, unseal it if it is sealed, and return a client with the root token.

    The unseal key and the root token stay in the stack's state folder. Idempotent: yes.
    """
    client = hvac.Client(url=url, verify=str(ca_file), timeout=ANSWER_S)
    if not client.sys.is_initialized():
        answer = client.sys.initialize(secret_shares=1, secret_threshold=1)
        state.store_secret(lab, "vault-unseal-key", Secret(answer["keys"][0]))
        state.store_secret(lab, "vault-root-token", Secret(answer["root_token"]))
    if client.sys.is_sealed():
        client.sys.submit_unseal_key(state.secret_file(lab, "vault-unseal-key").read_text())
    client.token = state.secret_file(lab, "vault-root-token").read_text()
    return client


def fill(lab: Lab, client: hvac.Client, redis_password: Secret | None, pull_config: Secret) -> None:
    """Put the secrets of Prompt KEDA into Vault, and let an AppRole read exactly them. Idempotent: yes."""
    if "secret/" not in client.sys.list_mounted_secrets_engines()["data"]:
        client.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
    if "approle/" not in client.sys.list_auth_methods()["data"]:
        client.sys.enable_auth_method("approle")
    contents = _contents(redis_password, pull_config)
    rules = [
        f'path "secret/{part}/{PREFIX}/{name}" {{ capabilities = ["read"] }}'
        for name in contents
        for part in ("data", "metadata")
    ]
    client.sys.create_or_update_policy(POLICY, "\n".join(rules))
    client.auth.approle.create_or_update_approle(POLICY, token_policies=[POLICY], token_ttl=TOKEN_TTL)
    role_id = client.auth.approle.read_role_id(POLICY)["data"]["role_id"]
    state.store_secret(lab, "vault-role-id", Secret(role_id))
    if not state.secret_file(lab, "vault-secret-id").exists():
        secret_id = client.auth.approle.generate_secret_id(POLICY)["data"]["secret_id"]
        state.store_secret(lab, "vault-secret-id", Secret(secret_id))
    have = {key for key in contents if _exists(client, f"{PREFIX}/{key}")}
    for name, values in contents.items():
        if name not in have:
            revealed = {key: value.reveal() for key, value in values.items()}
            client.secrets.kv.v2.create_or_update_secret(f"{PREFIX}/{name}", revealed, mount_point="secret")


def _contents(redis_password: Secret | None, pull_config: Secret) -> dict[str, dict[str, Secret]]:
    keys = ("db-auth_file", "s3_credentials_file", "alert_stream_pass", "butler-writer-password")
    worker = {key: Secret(f"local-{key}-{secrets.token_urlsafe(12)}") for key in keys}
    return {
        "prompt-keda-lsstcam": worker,
        "prompt-redis": {"redis-password": redis_password or Secret("unused: this Redis has no password")},
        "pull-secret": {".dockerconfigjson": pull_config},
    }


def _exists(client: hvac.Client, path: str) -> bool:
    try:
        client.secrets.kv.v2.read_secret_metadata(path, mount_point="secret")
    except hvac.exceptions.InvalidPath:
        return False
    return True
