"""Vault, and the Kubernetes Secrets that come from it. Names of keys are told, values never."""

from __future__ import annotations

from prompt_keda.checks.outcomes import all_of, fail, ok
from prompt_keda.clients.kube_resources import SECRETS
from prompt_keda.clients.systems import Systems
from prompt_keda.errors import Missing, Refused
from prompt_keda.model.check import Check, Outcome
from prompt_keda.model.environment import SecretSync

API = "cluster/api-answers"


def unsealed(systems: Systems) -> Outcome:
    """Ask Vault how it is; a standby may be read from."""
    url, health = systems.environment.vault.url, systems.vault_health()
    if not health.initialized:
        return fail(f"{url} is not initialised", "Ask Vault's owners.")
    if health.sealed:
        return fail(f"{url} is sealed", "Ask Vault's owners to unseal it.")
    return ok(f"{url} is unsealed{', a standby' if health.standby else ''}, {health.version}")


def login_works(systems: Systems) -> Outcome:
    """Log in, and look at how long the token lives."""
    ttl = systems.vault.token_ttl_s()
    return ok(f"token with {ttl} s left" if ttl is not None else "a token that does not expire")


def secrets_have_their_keys(systems: Systems) -> Outcome:
    """Read each secret that the environment names, and look for its keys."""
    wanted, fix = _wanted(systems), "Write the missing keys into Vault."

    def look(path: str) -> Outcome:
        try:
            found = systems.secret_keys(path)
        except (Missing, Refused) as error:
            return fail(f"{path}: {error.detail}", fix)
        absent = sorted(key for key in wanted[path] if not found.get(key))
        return fail(f"{path} has no {', '.join(absent)}", fix) if absent else ok(path)

    return all_of(((path, path) for path in wanted), look, f"{len(wanted)} secrets with all their keys")


def cluster_secrets_present(systems: Systems) -> Outcome:
    """Is each Kubernetes Secret there, with its keys?"""
    wanted, fix = systems.environment.secrets, "./run redeploy writes them."

    def look(one: SecretSync) -> Outcome:
        live = systems.kube.find(SECRETS, one.name, one.namespace)
        if live is None:
            return fail(f"{one.namespace}/{one.name} is absent", fix)
        absent = sorted(set(one.keys) - set(live.get("data") or {}))
        return fail(f"{one.namespace}/{one.name} has no {', '.join(absent)}", fix) if absent else ok(one.name)

    named = ((f"{one.namespace}/{one.name}", one) for one in wanted)
    return all_of(named, look, f"{len(wanted)} Secrets with all their keys")


def _wanted(systems: Systems) -> dict[str, set[str]]:
    wanted: dict[str, set[str]] = {}
    for one in systems.environment.secrets:
        wanted.setdefault(one.vault_path, set()).update(one.keys)
    password = systems.environment.redis.password
    if password:
        wanted.setdefault(password.path, set()).add(password.key)
    return wanted


CHECKS: tuple[Check[Systems], ...] = (
    Check("vault/unsealed", "Vault is unsealed", unsealed, runbook="secrets-missing"),
    Check("vault/login-works", "the login to Vault works", login_works, ("vault/unsealed",), runbook="secrets-missing"),
    Check(
        "vault/secrets-have-their-keys",
        "Vault has every key that is needed",
        secrets_have_their_keys,
        ("vault/login-works",),
        runbook="secrets-missing",
    ),
    Check(
        "vault/cluster-secrets-present",
        "every Kubernetes Secret is there",
        cluster_secrets_present,
        (API,),
        runbook="secrets-missing",
    ),
)
