"""Vault: can it be read, and does it have every key? Its table holds the checks of the Kubernetes Secrets too."""

from __future__ import annotations

from prompt_keda.clients.systems import Systems, filled
from prompt_keda.components.identity.login import LONGEST_REDEPLOY
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.errors import Missing, Refused
from prompt_keda.core.outcomes import all_of, fail, ok, unknown, warn
from prompt_keda.environment.model import FillIn


@check(
    "vault/unsealed",
    "Vault is unsealed",
    fix="Is this its address, and are you in its network? Then ask Vault's owners.",
    runbook="vault-sealed",
)
def unsealed(systems: Systems) -> Outcome:
    """Ask Vault how it is. A standby (429) and a performance standby (473) may be read from; sealed (503),
    uninitialised (501) and a disaster-recovery secondary (472) give nothing (F36).

    Cause: Vault was restarted and not unsealed, is new, or the address is that of a secondary.

    Fix: Ask Vault's owners.
    """
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


@check(
    "vault/login-works",
    "The login to Vault works",
    needs=("vault/unsealed",),
    fix="Log in to Vault again, or get a new secret id. After five refusals Vault locks an AppRole for 15 minutes.",
    runbook="vault-sealed",
)
def login_works(systems: Systems) -> Outcome:
    """Log in, and let Vault say that it knows the token.

    Cause: No credential on this machine, or it has expired or was revoked. What takes its password from Vault is
    UNKNOWN then: that Redis or a registry is broken was not seen.
    """
    ttl_s = systems.vault.token().ttl_s
    return ok(f"token with {ttl_s} s left" if ttl_s is not None else "a token that does not expire")


@check(
    "vault/token-lives-on",
    "The Vault token outlives a redeploy",
    needs=("vault/login-works",),
    runbook="vault-sealed",
)
def token_lives_on(systems: Systems) -> Outcome:
    """Look at the token's time and at how often it may still be used. WARN below 10 minutes, or when its uses are
    counted.

    Cause: An old login. The token of an AppRole is new with each run.

    Fix: Log in again (`vault login`), or `vault token renew` where the result says that it can be renewed.
    """
    token = systems.vault.token()
    fix = "Log in to Vault again (vault login)."
    if token.uses:
        return warn(f"the token is good for {token.uses} more requests alone", fix)
    if token.ttl_s is None:
        return ok("it does not expire")
    message = f"it expires in {token.ttl_s // 60} min {token.ttl_s % 60} s and can {'' if token.renewable else 'not '}be renewed"
    if token.ttl_s >= LONGEST_REDEPLOY.total_seconds():
        return ok(message)
    renew = "vault token renew, or log in again." if token.renewable else fix
    return warn(f"{message}; a redeploy may take {LONGEST_REDEPLOY.total_seconds() // 60:.0f} min", renew)


@check(
    "vault/kv-version-as-configured",
    "Vault's KV engine has the configured version",
    needs=("vault/login-works",),
    runbook="vault-sealed",
)
def kv_version_as_configured(systems: Systems) -> Outcome:
    """Ask Vault for the mount's version, as the vault command does before it reads (`sys/internal/ui/mounts/…`). Where
    that is denied, a secret that can be read as named proves it; else UNKNOWN.

    Cause: The environment's `kv_version` is wrong, or the engine was upgraded. Version 1 reads `mount/path`,
    version 2 `mount/data/path`, and policies name those paths (F33): the result shows both.

    Fix: Write the real version into the environment, and let the policy name its path.

    Notes
    -----
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
    message = f"{settings.mount} is version {real}, the environment says {settings.kv_version}"
    paths = f"version 1 reads {_api_path(settings.mount, path, 1)}, version 2 {_api_path(settings.mount, path, 2)}"
    return fail(f"{message}: {paths}", f"Write kv_version: {real} into the environment.")


@check(
    "vault/paths-readable",
    "The Vault policy allows reading every path",
    needs=("vault/login-works",),
    runbook="vault-sealed",
)
def paths_readable(systems: Systems) -> Outcome:
    """Ask `sys/capabilities-self` for all paths in one request. It answers by the policy alone, so it tells denied from
    missing (F35).

    Cause: The policy does not name the API path. UNKNOWN: the token may not ask for its own capabilities.

    Fix: The result names the rule that the policy needs.
    """
    settings = systems.environment.vault
    paths = list(_wanted(systems))
    known_paths = [path for path in paths if not isinstance(path, FillIn)]
    api_paths = {path: _api_path(settings.mount, path, settings.kv_version) for path in known_paths}
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


@check(
    "vault/secrets-not-deleted",
    "No secret in Vault is deleted",
    needs=("vault/login-works",),
    runbook="secrets-missing",
)
def secrets_not_deleted(systems: Systems) -> Outcome:
    """Is the newest version of each secret neither deleted nor destroyed? UNKNOWN where nothing at all is there, or
    reading is denied. KV version 1 keeps no deleted version.

    Cause: Somebody deleted (`vault kv delete`) or destroyed the newest version; older ones may still be there.

    Fix: `vault kv undelete` for a deleted version; a destroyed one is written again.
    """
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
            return unknown(f"{path} is missing: never written, or deleted with its history", "Write it into Vault.")
        place, number = f"{settings.mount}/{path}", newest.version
        if newest.destroyed:
            return fail(
                f"{path}: version {number}, its newest, is destroyed", f"Write it again: vault kv put {place} …"
            )
        fix = f"vault kv undelete -versions={number} {place}, or write it again."
        return fail(f"{path}: version {number}, its newest, is deleted", fix)

    return all_of(((path, path) for path in wanted), look, f"{len(wanted)} secrets, none deleted")


@check(
    "vault/secrets-have-their-keys",
    "Every secret in Vault has its keys",
    needs=("vault/login-works",),
    runbook="secrets-missing",
)
def secrets_have_their_keys(systems: Systems) -> Outcome:
    """, and none is empty. Read each secret that the environment names (for Secrets, the smoke test's pull secret,
    Redis' password, the registries' pull secrets), and look for its keys.

    Cause: A path or key was renamed, emptied or deleted. Denied and missing look the same from outside (F35):
    vault/paths-readable tells them apart.
    """
    wanted, fix = _wanted(systems), "Add the missing keys in Vault by `vault kv patch`: `put` drops the others."

    def look(path: str) -> Outcome:
        try:
            keys = systems.secret_keys(filled(path, "vault_path"))
        except (Missing, Refused) as error:
            return fail(f"{path}: {error.detail}", fix)
        missing = sorted(key for key in wanted[path] if not keys.get(key))
        return fail(f"{path} has no {', '.join(missing)}, or it is empty", fix) if missing else ok(path)

    return all_of(((path, path) for path in wanted), look, f"{len(wanted)} secrets with all their keys")


def _wanted(systems: Systems) -> dict[str, set[str]]:
    """Return every path that the environment names, with the keys: of Secrets, of Redis, of registries."""
    known, wanted = systems.environment, dict[str, set[str]]()
    for sync in (*known.secrets, known.smoke.pull_secret):
        if sync:
            wanted.setdefault(sync.vault_path, set()).update(sync.keys)
    for key in (known.redis.password, *(registry.pull_secret for registry in known.registries)):
        if key:
            wanted.setdefault(key.path, set()).add(key.key)
    return wanted


def _api_path(mount: str, path: str, kv_version: int) -> str:
    return f"{mount}/data/{path}" if kv_version == 2 else f"{mount}/{path}"
