"""Vault: can it be read, and does it have every key? Its table holds the checks of the Kubernetes Secrets too."""

from __future__ import annotations

from prompt_keda.clients.systems import Systems, filled
from prompt_keda.components.vault.secrets import cluster_secrets_fresh, cluster_secrets_present, vault_secret_healthy
from prompt_keda.core.check import Check, Outcome
from prompt_keda.core.errors import Missing, Refused
from prompt_keda.core.outcomes import all_of, fail, ok, unknown, warn
from prompt_keda.environment.model import FillIn

API = "cluster/api-answers"
REDEPLOY_S = 600
"""A redeploy reads its last secret within this time, with room for a person to answer."""


def unsealed(systems: Systems) -> Outcome:
    """Ask Vault how it is; a standby (429, 473) may be read from (failure mode F36)."""
    url, health = systems.environment.vault.url, systems.vault_health()
    if not health.initialized:
        return fail(f"{url} is not initialised", "Ask Vault's owners.")
    if health.sealed:
        return fail(f"{url} is sealed", "Ask Vault's owners to unseal it.")
    if health.replica:
        return fail(
            f"{url} is a disaster-recovery secondary: it answers nothing", "Ask Vault's owners for the primary."
        )
    return ok(f"{url} is unsealed{', a standby, which may be read from' if health.standby else ''}, {health.version}")


def login_works(systems: Systems) -> Outcome:
    """Log in, and let Vault say that it knows the token."""
    ttl_s = systems.vault.token().ttl_s
    return ok(f"token with {ttl_s} s left" if ttl_s is not None else "a token that does not expire")


def token_lives_on(systems: Systems) -> Outcome:
    """Does the token outlive a redeploy that would begin now? One with counted uses does not, whatever its time."""
    found = systems.vault.token()
    fix = "Log in to Vault again (vault login)."
    if found.uses:
        return warn(f"the token is good for {found.uses} more requests alone", fix)
    if found.ttl_s is None:
        return ok("it does not expire")
    said = (
        f"it ends in {found.ttl_s // 60} min {found.ttl_s % 60} s and can {'' if found.renewable else 'not '}be renewed"
    )
    if found.ttl_s >= REDEPLOY_S:
        return ok(said)
    renew = "vault token renew, or log in again." if found.renewable else fix
    return warn(f"{said}; a redeploy may take {REDEPLOY_S // 60} min", renew)


def kv_version_as_named(systems: Systems) -> Outcome:
    """Is the mount's real version the environment's (failure mode F33)? The two have other API paths.

    Who may not ask that sees it by the form of an answer: a secret that can be read as named is of that version.
    """
    settings, wanted = systems.environment.vault, _wanted(systems)
    path = next(iter(wanted), "PATH")
    try:
        real = systems.vault.kv_version(settings.mount)
    except Refused as error:
        try:
            systems.secret_keys(path)
        except (Missing, Refused):
            fix = f"Ask for read on sys/internal/ui/mounts/{settings.mount}, and look that the mount is there."
            return unknown(f"the version of {settings.mount} cannot be seen: {error.detail}", fix)
        return ok(f"{settings.mount} is read as version {settings.kv_version}")
    if real == settings.kv_version:
        return ok(f"{settings.mount} is version {real}")
    said = f"{settings.mount} is version {real}, the environment says {settings.kv_version}"
    paths = f"version 1 reads {_api_path(settings.mount, path, 1)}, version 2 {_api_path(settings.mount, path, 2)}"
    return fail(f"{said}: {paths}", f"Write kv_version: {real} into the environment.")


def paths_readable(systems: Systems) -> Outcome:
    """Does the token's policy let it read each path? All are asked in one request (failure mode F35)."""
    settings = systems.environment.vault
    paths = list(_wanted(systems))
    known = [path for path in paths if not isinstance(path, FillIn)]
    api_paths = {path: _api_path(settings.mount, path, settings.kv_version) for path in known}
    try:
        may = systems.vault.capabilities(list(api_paths.values())) if api_paths else {}
    except Refused as error:
        return unknown(f"Vault does not say what this token may: {error.detail}", "Ask for sys/capabilities-self.")

    def look(path: str) -> Outcome:
        if may[api_paths[filled(path, "vault_path")]] & {"read", "root"}:
            return ok(path)
        fix = f'Ask Vault\'s owners for: path "{api_paths[path]}" {{ capabilities = ["read"] }}'
        return fail(f"the token's policies do not let it read {api_paths[path]}", fix)

    return all_of(((path, path) for path in paths), look, f"{len(paths)} paths may be read")


def secrets_not_deleted(systems: Systems) -> Outcome:
    """Is the newest version of each secret there, and neither deleted nor destroyed? Version 1 keeps no deleted one."""
    settings, wanted = systems.environment.vault, _wanted(systems)

    def look(path: str) -> Outcome:
        try:
            systems.secret_keys(filled(path, "vault_path"))  # the other checks have read it anyhow
            return ok(path)
        except Refused as error:
            return unknown(f"{path}: {error.detail}", error.fix)
        except Missing:
            pass
        try:
            newest = systems.vault.newest_version(settings.mount, path, settings.kv_version)
        except Missing:
            newest = None
        if newest is None:
            return unknown(f"{path} is absent: never written, or deleted with its history", "Write it into Vault.")
        place, number = f"{settings.mount}/{path}", newest.version
        if newest.destroyed:
            return fail(f"{path}: version {number}, its newest, is destroyed", f"Write it anew: vault kv put {place} …")
        fix = f"vault kv undelete -versions={number} {place}, or write it anew."
        return fail(f"{path}: version {number}, its newest, is deleted", fix)

    return all_of(((path, path) for path in wanted), look, f"{len(wanted)} secrets, none deleted")


def secrets_have_their_keys(systems: Systems) -> Outcome:
    """Read each secret that the environment names, and look for its keys."""
    wanted, fix = _wanted(systems), "Add the missing keys in Vault by `vault kv patch`: `put` drops the others."

    def look(path: str) -> Outcome:
        try:
            found = systems.secret_keys(filled(path, "vault_path"))
        except (Missing, Refused) as error:
            return fail(f"{path}: {error.detail}", fix)
        absent = sorted(key for key in wanted[path] if not found.get(key))
        return fail(f"{path} has no {', '.join(absent)}, or it is empty", fix) if absent else ok(path)

    return all_of(((path, path) for path in wanted), look, f"{len(wanted)} secrets with all their keys")


def _wanted(systems: Systems) -> dict[str, set[str]]:
    """Give every path that the environment names, with the keys: of Secrets, of Redis, of registries."""
    known, wanted = systems.environment, dict[str, set[str]]()
    for sync in (*known.secrets, known.smoke.pull_secret):
        if sync:
            wanted.setdefault(sync.vault_path, set()).update(sync.keys)
    for one in (known.redis.password, *(registry.pull_secret for registry in known.registries)):
        if one:
            wanted.setdefault(one.path, set()).add(one.key)
    return wanted


def _api_path(mount: str, path: str, kv_version: int) -> str:
    return f"{mount}/data/{path}" if kv_version == 2 else f"{mount}/{path}"


_LOGIN, _KEYS, _PRESENT = "vault/login-works", "vault/secrets-have-their-keys", "vault/cluster-secrets-present"
_SILENT = "Is this its address, and are you in its network? Then ask Vault's owners."
_AGAIN = "Log in to Vault again, or get a new secret id. After five refusals Vault locks an AppRole for 15 minutes."
CHECKS: tuple[Check[Systems], ...] = (
    Check("vault/unsealed", "Vault is unsealed", unsealed, fix=_SILENT, runbook="vault-sealed"),
    Check(_LOGIN, "the login to Vault works", login_works, ("vault/unsealed",), fix=_AGAIN, runbook="vault-sealed"),
    Check("vault/token-lives-on", "the token outlives a redeploy", token_lives_on, (_LOGIN,), runbook="vault-sealed"),
    Check(
        "vault/kv-version-as-named",
        "the KV version is as named",
        kv_version_as_named,
        (_LOGIN,),
        runbook="vault-sealed",
    ),
    Check(
        "vault/paths-readable", "the policy lets every path be read", paths_readable, (_LOGIN,), runbook="vault-sealed"
    ),
    Check(
        "vault/secrets-not-deleted", "no secret is deleted", secrets_not_deleted, (_LOGIN,), runbook="secrets-missing"
    ),
    Check(_KEYS, "Vault has every key that is needed", secrets_have_their_keys, (_LOGIN,), runbook="secrets-missing"),
    Check(_PRESENT, "every Kubernetes Secret is there", cluster_secrets_present, (API,), runbook="secrets-missing"),
    Check(
        "vault/cluster-secrets-fresh",
        "every Kubernetes Secret is as Vault has it",
        cluster_secrets_fresh,
        (_KEYS, _PRESENT),
        runbook="secrets-missing",
    ),
    Check(
        "vault/vaultsecret-healthy",
        "vault-secrets-operator delivers what it should",
        vault_secret_healthy,
        (_PRESENT,),
        runbook="secrets-missing",
    ),
)
