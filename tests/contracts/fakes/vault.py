"""A Vault in memory: KV version 2 under one policy, an AppRole, and a seal."""

from __future__ import annotations

from prompt_keda.clients.vault import SecretVersion, Token, VaultHealth
from prompt_keda.core.errors import BadAnswer, Missing, Refused
from prompt_keda.core.secret import Secret

ROLE_ID, SECRET_ID = "fake-role", "fake-secret-id"


class FakeVault:
    """Behaves as `Vault` does. ``contents``: path → key → value; ``allowed``: the paths that the policy names."""

    def __init__(self, contents=None, allowed=None):
        self.endpoint = "https://vault.test:8200"
        self.contents = dict(contents or {})
        self.allowed = set(self.contents if allowed is None else allowed)
        self.versions = dict.fromkeys(self.contents, 1)
        self.deleted, self.destroyed = set(), set()
        self.kv, self.tells_mounts, self.tells_capabilities = 2, True, True
        self.token_is = Token(1200, True)
        self.replica = False
        self.initialized, self.sealed, self.standby = True, False, False
        self._logged_in = False

    def health(self):
        sealed = self.sealed or not self.initialized
        return VaultHealth(self.initialized, sealed, self.standby, "1.21.0", self.replica)

    def login_approle(self, role_id, secret_id):
        self._open()
        if (role_id.reveal(), secret_id.reveal()) != (ROLE_ID, SECRET_ID):
            raise Refused("Vault", self.endpoint, "the login or request was not accepted")
        self._logged_in = True

    def use_token(self, token):
        self._logged_in = bool(token)

    def token(self):
        self._may("auth/token/lookup-self", {"auth/token/lookup-self"})
        return self.token_is

    def kv_version(self, mount):
        self._may(mount, {"secret"} if self.tells_mounts else ())
        return self.kv

    def capabilities(self, paths):
        self._may("", {""} if self.tells_capabilities else ())
        return {path: {"read"} if path.removeprefix("secret/data/") in self.allowed else {"deny"} for path in paths}

    def read_keys(self, mount, path, kv_version):
        secret = self.newest_version(mount, path, kv_version)
        if secret.deleted:
            how = "destroyed" if secret.destroyed else "deleted"
            raise Missing("Vault", self.endpoint, f"its newest version {secret.version} is {how}")
        return {key: Secret(value) for key, value in self.contents[path].items()}

    def newest_version(self, mount, path, kv_version):
        self._may(path, self.allowed if (mount, kv_version) == ("secret", self.kv) else ())
        if path not in self.contents:
            raise Missing("Vault", self.endpoint, "no such secret")
        destroyed = path in self.destroyed
        return SecretVersion(self.versions[path], "2026-01-01T00:00:00Z", destroyed or path in self.deleted, destroyed)

    def _open(self):
        if self.sealed or not self.initialized:
            raise BadAnswer("Vault", self.endpoint, "it is sealed", "Unseal it, then try again.")

    def _may(self, path, allowed):
        self._open()
        if not self._logged_in or path not in allowed:
            raise Refused("Vault", self.endpoint, "denied, or no such mount (Vault does not tell them apart)")
