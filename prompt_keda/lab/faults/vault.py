"""Faults of Vault, and of the Kubernetes Secrets that come from it."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable

import hvac

from prompt_keda.clients.kube.resources import SECRETS
from prompt_keda.core.errors import LabError
from prompt_keda.core.secret import Secret
from prompt_keda.core.waiting import until
from prompt_keda.environment.model import SecretSync
from prompt_keda.lab import contents, processes, services, state, vault_contents
from prompt_keda.lab.faults.fault import Fault, InChaos, Stage
from prompt_keda.lab.settings import PORTS

ROLE, SECRET_ID = vault_contents.POLICY, "vault-secret-id"


def admin(stage: Stage) -> hvac.Client:
    """Return the stack's Vault, unsealed, as its administrator.

    Raises
    ------
    LabError
        When it does not answer: in a chaos round it may be stopped.
    """
    try:
        return vault_contents.unseal(stage.lab, stage.endpoints["vault_url"], stage.ca_file)
    except (hvac.exceptions.VaultError, OSError) as error:  # requests' errors are OSErrors
        raise LabError(f"the stack's Vault does not answer ({type(error).__name__})") from error


def worker_secret(stage: Stage) -> SecretSync:
    """Return the workers' Secret: nothing but the workers needs it, so what is done to it disturbs no other check."""
    return next(sync for sync in stage.environment.secrets if len(sync.keys) > 1)


def seal(stage: Stage) -> None:
    """Seal Vault."""
    admin(stage).sys.seal()


def unseal(stage: Stage) -> None:
    """Unseal it."""
    admin(stage)


def stop(stage: Stage) -> None:
    """Stop Vault."""
    processes.stop(stage.lab, "vault")


def start(stage: Stage) -> None:
    """Start it again, and unseal it."""
    processes.start_again(stage.lab, "vault")
    until(lambda: contents.answers(stage.endpoints["address"], PORTS["vault"]), "Vault", 30)
    admin(stage)


def delete_newest(stage: Stage) -> None:
    """Delete the newest version of the workers' secret."""
    path = worker_secret(stage).vault_path
    admin(stage).secrets.kv.v2.delete_latest_version_of_secret(path, mount_point=stage.environment.vault.mount)


def write_without(key: str) -> Callable[[Stage], None]:
    """Return what writes the workers' secret without one key."""
    return lambda stage: _write(stage, {name: value for name, value in _live(stage).items() if name != key})


def write_other(key: str) -> Callable[[Stage], None]:
    """Return what writes the workers' secret with another value of one key, each time a new one: a redeploy takes it over."""
    return lambda stage: _write(stage, _live(stage) | {key: secrets.token_urlsafe(12)})


def write_back(stage: Stage) -> None:
    """Write into Vault what the Kubernetes Secret has kept."""
    _write(stage, _live(stage))


def narrow_policy(stage: Stage) -> None:
    """Let the policy name no path of the workers."""
    vault = admin(stage)
    mark = worker_secret(stage).vault_path
    rules = vault.sys.read_policy(ROLE)["data"]["rules"]
    kept = "\n".join(rule for rule in rules.splitlines() if mark not in rule)
    vault.sys.create_or_update_policy(ROLE, kept)


def shorten_token(stage: Stage) -> None:
    """Let the login give tokens that end soon."""
    ttl = "4m"
    admin(stage).auth.approle.create_or_update_approle(ROLE, token_policies=[ROLE], token_ttl=ttl)


def fill_again(stage: Stage) -> None:
    """Give policy and login back as the stack makes them; no secret is changed."""
    password = state.ensure_secret(stage.lab, "redis-password") if stage.endpoints["redis_password"] else None
    vault_contents.fill(stage.lab, admin(stage), password, services.docker_config(stage.lab))


def revoke_login(stage: Stage) -> None:
    """Destroy the secret id with which the toolkit logs in."""
    secret_id = state.secret_file(stage.lab, SECRET_ID).read_text()
    admin(stage).auth.approle.destroy_secret_id(ROLE, secret_id)


def renew_login(stage: Stage) -> None:
    """Make a new one."""
    made = admin(stage).auth.approle.generate_secret_id(ROLE)["data"]["secret_id"]
    state.store_secret(stage.lab, SECRET_ID, Secret(made))


def _live(stage: Stage) -> dict[str, str]:
    sync = worker_secret(stage)
    data = stage.kube.get(SECRETS, sync.name, sync.namespace)["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def _write(stage: Stage, values: dict[str, str]) -> None:
    path, mount = worker_secret(stage).vault_path, stage.environment.vault.mount
    admin(stage).secrets.kv.v2.create_or_update_secret(path, values, mount_point=mount)


IMAGES = ("images/keda-images-present", "images/instrument-images-present", "images/smoke-image-present")
WITHOUT = dict.fromkeys(("redis/answers", *IMAGES), "unknown")
"""What takes its password from Vault: it cannot be seen, which is not the same as broken."""
OF_WORKERS = "the workers' secret in Vault"
FAULTS: tuple[Fault, ...] = (
    Fault("vault/sealed", "F36", "Vault is sealed", seal, unseal, {"vault/unsealed": "fail", **WITHOUT}, "is sealed"),
    Fault(
        "vault/stopped",
        "",
        "Vault does not answer",
        stop,
        start,
        {"vault/unsealed": "unknown", **WITHOUT},
        "no connection: refused",
        chaos=InChaos(is_repaired=False),
    ),
    Fault(
        "vault/login-revoked",
        "",
        "the login to Vault was revoked",
        revoke_login,
        renew_login,
        {"vault/login-works": "fail", **WITHOUT},
        "the login or request was not accepted",
    ),
    Fault(
        "vault/token-short",
        "F32",
        "the Vault token ends within a redeploy",
        shorten_token,
        fill_again,
        {"vault/token-lives-on": "warn"},
        "a redeploy may take",
    ),
    Fault(
        "vault/policy-lost",
        "F35",
        "the policy does not name a path any more",
        narrow_policy,
        fill_again,
        {
            "vault/paths-readable": "fail",
            "vault/secrets-have-their-keys": "fail",
            "vault/secrets-not-deleted": "unknown",
        },
        "do not let it read",
        chaos=InChaos(is_repaired=False),
    ),
    Fault(
        "vault/newest-deleted",
        "",
        "the newest version of a secret is deleted",
        delete_newest,
        write_back,
        {"vault/secrets-not-deleted": "fail", "vault/secrets-have-their-keys": "fail"},
        "its newest, is deleted",
        chaos=InChaos(is_repaired=False, writes=OF_WORKERS),
    ),
    Fault(
        "vault/key-removed",
        "",
        "a secret has lost a key",
        write_without("alert_stream_pass"),
        write_back,
        {"vault/secrets-have-their-keys": "fail"},
        "has no alert_stream_pass",
        chaos=InChaos(is_repaired=False, writes=OF_WORKERS),
    ),
    Fault(
        "vault/secret-stale",
        "F38",
        "a Kubernetes Secret is older than Vault",
        write_other("alert_stream_pass"),
        write_back,
        {"vault/cluster-secrets-fresh": "fail"},
        "differs from Vault in alert_stream_pass",
        chaos=InChaos(writes=OF_WORKERS),
    ),
)
