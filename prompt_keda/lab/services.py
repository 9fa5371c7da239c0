"""The servers beside the cluster: registry, directory, login and Vault. Each listens on the stack's own address."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import bcrypt

from prompt_keda.core.errors import LabError
from prompt_keda.core.private_folder import private_folder
from prompt_keda.core.secret import Secret
from prompt_keda.core.waiting import looks
from prompt_keda.lab import packages, processes, state
from prompt_keda.lab.settings import PORTS, REGISTRY_HOST, Lab, cache_home

REGISTRY = Path("/usr/bin/docker-registry")
REGISTRY_USER = "puller"


def start_registry(lab: Lab, address: str) -> None:
    """Start the registry: TLS, and no image without the password.

    Its blobs lie in the user's cache, because they are the same for every stack and each time.
    """
    password = state.ensure_secret(lab, "registry-password")
    hashed = bcrypt.hashpw(password.reveal().encode(), bcrypt.gensalt(rounds=5)).decode()
    users = lab.state / "registry-users"
    users.touch(mode=0o600)
    users.write_text(f"{REGISTRY_USER}:{hashed}\n")
    config = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(registry_storage())}},
        "http": {
            "addr": f"{address}:{PORTS['registry']}",
            "tls": {"certificate": str(lab.pki / "registry.crt"), "key": str(lab.pki / "registry.key")},
        },
        "auth": {"htpasswd": {"realm": "prompt-keda local stack", "path": str(users)}},
    }
    file = lab.state / "registry.json"
    file.write_text(json.dumps(config))
    processes.start(lab, "registry", [packages.program(lab, REGISTRY), "serve", str(file)])


def registry_storage() -> Path:
    """Return the folder with the blobs and repositories of every stack's registry."""
    return private_folder(cache_home() / "prompt-keda" / "registry")


def docker_config(lab: Lab) -> Secret:
    """Return the docker config JSON that opens the registry."""
    password = state.ensure_secret(lab, "registry-password").reveal()
    auth = base64.b64encode(f"{REGISTRY_USER}:{password}".encode()).decode()
    entry = {"username": REGISTRY_USER, "password": password, "auth": auth}
    return Secret(json.dumps({"auths": {REGISTRY_HOST: entry}}))


def start_vault(lab: Lab, program: Path, address: str) -> None:
    """Start Vault with its files in the stack's state folder. It starts sealed."""
    certificate, key = lab.pki / "vault.crt", lab.pki / "vault.key"
    arguments = vault_arguments(lab.state / "vault", f"{address}:{PORTS['vault']}", certificate, key)
    processes.start(lab, "vault", [str(program), *arguments])


def vault_arguments(folder: Path, listen: str, certificate: Path, key: Path) -> list[str]:
    """Write the configuration of a Vault that keeps all in a folder, beside it, and return what its program is started with."""
    config = {
        "listener": {"tcp": {"address": listen, "tls_cert_file": str(certificate), "tls_key_file": str(key)}},
        "storage": {"file": {"path": str(folder)}},
        "disable_mlock": True,
        "log_level": "warn",
    }
    file = folder.with_suffix(".json")
    file.write_text(json.dumps(config))
    return ["server", f"-config={file}"]


def wait_until(what: str, is_true: Callable[[], bool], timeout_s: float, lab: Lab, process: str) -> None:
    """Look every tenth of a second until something that nothing can watch is true: a server that only just starts.

    Raises
    ------
    LabError
        When it is not true after ``timeout_s`` seconds, or its process has ended.
    """
    for _ in looks(timeout_s, every_s=0.1):
        if is_true():
            return
        processes.require(lab, process)
    raise LabError(f"{what} did not come up within {timeout_s:.0f} s", processes.where_to_look(lab, process))
