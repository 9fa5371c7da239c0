"""The local stack with planted secrets in Vault, Redis and registry, and an environment that uses them.

Everything of it has names of its own beside the stack's, but for the Kubernetes Secrets that the environment delivers:
those are put back as they were.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import bcrypt

from prompt_keda.clients.kube.resources import CONFIG_MAPS, SCALED_JOBS, SECRETS
from prompt_keda.lab import settings, vault_contents
from prompt_keda.lab.settings import REGISTRY_HOST
from prompt_keda.records.lock import STATE_NAMESPACE
from tests.leaks import SPECIAL, leaks, planted
from tests.terminal import run_on_terminal

from . import planted_environment
from .conftest import INSTRUMENT, ROOT, TASKS, sealed

PREFIX, ROLE = "rubin/prompt-keda-planted", "planted"
POLICY = "\n".join(f'path "secret/{part}/{PREFIX}/*" {{ capabilities = ["read"] }}' for part in ("data", "metadata"))
WORKER_KEYS = ("db-auth_file", "s3_credentials_file", "alert_stream_pass", "butler-writer-password")
DEFECTIVE = str(Path(__file__).parent / "defective.py")
IN_A_HEADER = "".join(char for char in SPECIAL if char.isascii())
"""A token travels in an HTTP header, which the library writes as Latin-1 and Vault reads as bytes."""


def docker_config(user, password):
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    return json.dumps({"auths": {REGISTRY_HOST: {"username": user, "password": password, "auth": auth}}})


class PlantedStack:
    """Two planted values each for Vault's keys, its logins, Redis and registry; ``run`` runs the toolkit with them."""

    def __init__(self, folder, endpoints, admin, redis):
        self.folder, self.endpoints, self.admin, self.redis = folder, endpoints, admin, redis
        self.lab = settings.current_lab()
        self.out, self.state = folder / "out", folder / "state"
        for name in ("out", "state", "tmp", "home", "environments"):
            (folder / name).mkdir()
        names = ("key-1", "key-2", "role-id", "secret-id", "redis-1", "redis-2", "registry-1", "registry-2")
        self.values = {name: planted() for name in names} | {"token": planted(IN_A_HEADER)}
        self.logs = (self.lab.state / "logs", self.lab.state / "pod-logs")
        self._seen_bytes = {}
        for path in (path for place in self.logs for path in files(place)):
            with suppress(FileNotFoundError):  # pods end, and their logs with them
                self._seen_bytes[path] = path.stat().st_size
        self.vault = self._vault()

    def _vault(self):
        return vault_contents.unseal(self.lab, self.endpoints["vault_url"], Path(self.endpoints["ca_file"]))

    @contextmanager
    def all_planted(self):
        """Put everything where it belongs; what is not deleted with its place is taken away at the end."""
        with ExitStack() as undo:
            self._fill_vault(undo)
            undo.enter_context(self.redis_lets_in("redis-1", "redis-2"))
            undo.enter_context(self.registry_lets_in("registry-1", "registry-2"))
            for namespace in ("keda", INSTRUMENT, "prompt-keda-smoke"):
                undo.enter_context(self._kept(namespace, "pull-secret"))
            for name in ("prompt-redis-auth", "prompt-keda-lsstcam-secret"):
                undo.enter_context(self._kept(INSTRUMENT, name))
            self.into_cluster("prompt-redis-auth", "redis-password", self.values["redis-2"])
            self.into_cluster(
                "pull-secret", ".dockerconfigjson", docker_config("registry-2", self.values["registry-2"])
            )
            self.write_environment()
            yield self

    def _fill_vault(self, undo):
        values, vault = self.values, self.vault
        vault.sys.create_or_update_policy(ROLE, POLICY)
        undo.callback(vault.sys.delete_policy, ROLE)
        approle = vault.auth.approle
        approle.create_or_update_approle(ROLE, token_policies=[ROLE], token_ttl="20m")
        undo.callback(approle.delete_role, ROLE)
        approle.update_role_id(ROLE, values["role-id"])
        approle.create_custom_secret_id(ROLE, values["secret-id"])
        vault.auth.token.create(id=values["token"], policies=[ROLE], ttl="1h")
        undo.callback(vault.auth.token.revoke, values["token"])
        worker = dict(zip(WORKER_KEYS, (values["key-1"], values["key-2"], "other", "other"), strict=True))
        self.into_vault("prompt-keda-lsstcam", worker)
        self.into_vault("prompt-redis", {"redis-password": values["redis-1"]})
        self.into_vault("pull-secret", {".dockerconfigjson": docker_config("registry-1", values["registry-1"])})
        for name in ("prompt-keda-lsstcam", "prompt-redis", "pull-secret"):
            undo.callback(vault.secrets.kv.v2.delete_metadata_and_all_versions, f"{PREFIX}/{name}", "secret")

    def into_vault(self, name, values):
        self.vault.secrets.kv.v2.create_or_update_secret(f"{PREFIX}/{name}", values, mount_point="secret")

    def into_cluster(self, name, key, value):
        self._write(INSTRUMENT, name, {key: base64.b64encode(value.encode()).decode()})

    def _write(self, namespace, name, data):
        """Write a Secret as a redeploy does: what another field manager had written would be a conflict for it."""
        secret = self.admin.get(SECRETS, name, namespace)
        metadata = {"namespace": namespace, "name": name}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": secret["type"], "data": data}
        self.admin.apply(body, force=True)

    @contextmanager
    def _kept(self, namespace, name):
        data = self.admin.get(SECRETS, name, namespace)["data"]
        try:
            yield
        finally:
            self._write(namespace, name, data)

    @contextmanager
    def redis_lets_in(self, *names, let_in=">", shut_out="<"):
        """Give the default user these passwords beside its own."""
        self.redis.run(["ACL", "SETUSER", "default", *(let_in + self.values[name] for name in names)])
        try:
            yield
        finally:
            self.redis.run(["ACL", "SETUSER", "default", *(shut_out + self.values[name] for name in names)])

    def redis_refuses(self, *names):
        return self.redis_lets_in(*names, let_in="<", shut_out=">")

    @contextmanager
    def registry_lets_in(self, *names):
        """Let users of these names in beside the stack's own; the registry reads its file again when it is newer."""
        hashed = [bcrypt.hashpw(self.values[name].encode(), bcrypt.gensalt(rounds=5)).decode() for name in names]
        lines = "".join(f"{name}:{hashed_password}\n" for name, hashed_password in zip(names, hashed, strict=True))
        with self._registry_users(lambda before: before + lines):
            yield

    def registry_refuses(self):
        return self._registry_users(lambda before: before.splitlines(keepends=True)[0])

    @contextmanager
    def _registry_users(self, change):
        users = self.lab.state / "registry-users"
        before = users.read_text()
        users.write_text(change(before))
        try:
            yield
        finally:
            users.write_text(before)

    @contextmanager
    def vault_holds(self, name, values):
        """Let Vault have other values of one secret for a while."""
        kept = self.vault.secrets.kv.v2.read_secret(
            f"{PREFIX}/{name}", mount_point="secret", raise_on_deleted_version=True
        )["data"]["data"]
        self.into_vault(name, values)
        try:
            yield
        finally:
            self.into_vault(name, kept)

    @contextmanager
    def vault_denies(self):
        self.vault.sys.create_or_update_policy(ROLE, POLICY.replace(PREFIX, "elsewhere"))
        try:
            yield
        finally:
            self.vault.sys.create_or_update_policy(ROLE, POLICY)

    @contextmanager
    def token(self, text):
        """Let the person have this token of Vault, as ``vault login`` leaves it."""
        file = self.folder / "home/.vault-token"
        file.write_text(text)
        try:
            yield
        finally:
            file.unlink()

    @contextmanager
    def password_in_the_open(self):
        """Let the ScaledJob's trigger name its password itself, as people sometimes leave it."""
        before = self.admin.get(SCALED_JOBS, INSTRUMENT, INSTRUMENT)["spec"]["triggers"]
        changed = [
            {**trigger, "metadata": {**trigger["metadata"], "password": self.values["redis-2"]}} for trigger in before
        ]
        try:
            self.admin.patch(SCALED_JOBS, INSTRUMENT, INSTRUMENT, {"spec": {"triggers": changed}})
            yield
        finally:
            self.admin.patch(SCALED_JOBS, INSTRUMENT, INSTRUMENT, {"spec": {"triggers": before}})

    def vault_sealed(self):
        return sealed(self.endpoints)

    def write_environment(self, **changes):
        """Write the environment, with the parts that a scene changes: see `planted_environment.write`."""
        planted_environment.write(self.folder, self.endpoints, self.values, changes, PREFIX)

    def run(self, *arguments, on_terminal=False, defect=""):
        """Run a task with this environment; gives its exit code and all that it said."""
        env = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "VAULT_"))}
        env |= {"CI": "true", "HOME": str(self.folder / "home"), "TMPDIR": str(self.folder / "tmp")}
        env |= {"XDG_STATE_HOME": str(self.state)}
        program = [DEFECTIVE, defect] if defect else [TASKS]
        argv = [sys.executable, *program, *arguments, "--env", str(self.folder / "environments/planted.yaml")]
        if on_terminal:
            code, output = run_on_terminal(argv, env, ROOT)
            return SimpleNamespace(code=code, stdout=output, stderr=b"")
        done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, timeout=300, check=False)
        return SimpleNamespace(code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def leaks(self, *outputs):
        """Return (place, value's name, form) of each leak: in what was printed, in what the toolkit wrote, in the stack's logs."""
        texts = {f"output {number}": text for number, text in enumerate(outputs)}
        for place in (self.out, self.state, self.folder / "tmp"):
            texts |= {str(path): path.read_bytes() for path in files(place)}
        texts |= {str(path): self._new(path) for place in self.logs for path in files(place)}
        texts |= self.copied()
        return [(name, *leak) for name, text in texts.items() for leak in leaks(text, self.values)]

    def copied(self):
        """Return what the runs of this environment have left in the cluster, unpacked."""
        texts = {}
        for config_map in self.admin.list(CONFIG_MAPS, STATE_NAMESPACE):
            name, packed = config_map["metadata"]["name"], config_map.get("binaryData") or {}
            if planted_environment.NAME in name:
                texts[name] = json.dumps(config_map).encode()
                texts |= {f"{name} {key}": gzip.decompress(base64.b64decode(text)) for key, text in packed.items()}
        return texts

    def _new(self, log):
        """Return what a log has more than at the last look, and a little before."""
        with suppress(FileNotFoundError), log.open("rb") as file:  # pods end, and their logs with them
            file.seek(max(0, self._seen_bytes.get(log, 0) - 1000))
            text = file.read()
            self._seen_bytes[log] = file.tell()
            return text
        return b""


def files(place):
    """os.walk passes over a folder that goes meanwhile, as a pod's logs do; Path.rglob raises."""
    paths = (Path(folder) / name for folder, _, names in os.walk(place) for name in names)
    return [path for path in paths if path.is_file()]
