"""A Vault in memory: KV version 2 under one policy, an AppRole, and a seal."""

from __future__ import annotations

from prompt_keda.clients.vault import SecretVersion, VaultHealth
from prompt_keda.errors import BadAnswer, Missing, Refused
from prompt_keda.model.secret import Secret

ROLE_ID, SECRET_ID = "fake-role", "fake-secret-id"


class FakeVault:
    """Behaves as `Vault` does. ``contents``: path → key → value; ``allowed``: the paths that the policy names."""

    def __init__(self, contents=None, allowed=None):
        self.endpoint = "https://vault.test:8200"
        self.contents = dict(contents or {})
        self.allowed = set(self.contents if allowed is None else allowed)
        self.versions = dict.fromkeys(self.contents, 1)
        self.deleted = set()
        self.initialized, self.sealed, self.standby = True, False, False
        self._logged_in = False

    def health(self):
        return VaultHealth(self.initialized, self.sealed or not self.initialized, self.standby, "1.21.0")

    def login_approle(self, role_id, secret_id):
        self._open()
        if (role_id.reveal(), secret_id.reveal()) != (ROLE_ID, SECRET_ID):
            raise Refused("Vault", self.endpoint, "the login or request was not accepted")
        self._logged_in = True

    def use_token(self, token):
        self._logged_in = bool(token)

    def token_ttl_s(self):
        self._may("auth/token/lookup-self", {"auth/token/lookup-self"})
        return 1200

    def read_keys(self, mount, path, kv_version):
        self._may(path, self.allowed)
        if path not in self.contents or path in self.deleted:
            raise Missing("Vault", self.endpoint, "no such secret, or its newest version is deleted")
        return {key: Secret(value) for key, value in self.contents[path].items()}

    def metadata(self, mount, path, kv_version):
        self._may(path, self.allowed)
        if path not in self.contents:
            raise Missing("Vault", self.endpoint, "no such secret, or its newest version is deleted")
        return SecretVersion(self.versions[path], "2026-01-01T00:00:00Z", path in self.deleted)

    def _open(self):
        if self.sealed or not self.initialized:
            raise BadAnswer("Vault", self.endpoint, "it is sealed", "Unseal it, then try again.")

    def _may(self, path, allowed):
        self._open()
        if not self._logged_in or path not in allowed:
            raise Refused("Vault", self.endpoint, "denied, or no such mount (Vault does not tell them apart)")
