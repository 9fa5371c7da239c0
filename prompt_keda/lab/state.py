"""What a running local stack says about itself: its endpoints, its secrets' files and its state."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prompt_keda.core.errors import LabError
from prompt_keda.core.private_folder import private_folder
from prompt_keda.core.secret import Secret
from prompt_keda.core.whole_file import write_whole
from prompt_keda.environment import local_stack
from prompt_keda.lab import go_builds, packages, place, processes
from prompt_keda.lab.provider import NATIVE
from prompt_keda.lab.settings import KEDA_VERSION, KUBERNETES_VERSION, POD_CIDR, SERVICE_CIDR, Lab, current_lab


def ensure_secret(lab: Lab, name: str) -> Secret:
    """Return one of the stack's own passwords; it is made at random, and kept in a file with mode 0600."""
    path = secret_file(lab, name)
    if not path.exists():
        store_secret(lab, name, Secret(secrets.token_urlsafe(18)))
    return Secret(path.read_text())


def store_secret(lab: Lab, name: str, value: Secret) -> None:
    """Keep a secret of the stack in a file with mode 0600, whole or not at all."""
    path = secret_file(lab, name)
    private_folder(path.parent)
    write_whole(path, value.reveal())


def secret_file(lab: Lab, name: str) -> Path:
    """Return the file that holds one of the stack's secrets."""
    return lab.state / "secrets" / name


def write_endpoints(lab: Lab, endpoints: dict[str, Any]) -> None:
    """Say that the stack is up, and where its parts are: the values for ``${lab:NAME}`` in environments/local.yaml."""
    stands_while = place.of(lab).stands_while(lab, processes.pid_of(lab, processes.NODE))
    published = {**endpoints, local_stack.STANDS_WHILE: str(stands_while)}
    write_whole(local_stack.endpoints_file(lab.name), json.dumps(published, indent=1))


def endpoints(lab: Lab | None = None) -> dict[str, Any]:
    """Return a stack's endpoints, and `reach_directly`; the current one's unless named. Raises as `local_stack.endpoints` does."""
    published = local_stack.endpoints((lab or current_lab()).name)
    reach_directly(published["address"])
    return published


def reach_directly(address: str) -> None:
    """Let no proxy of the environment stand before a stack, for this process and what it starts. Idempotent: yes.

    Its pods and Services are its servers' to reach: the API server asks KEDA, by its name or its pod's address.
    """
    local_stack.reach_directly(address, ".svc", POD_CIDR, SERVICE_CIDR, "127.0.0.1", "localhost")


def write_faults(lab: Lab, ids: Sequence[str]) -> None:
    """Note which faults are in the stack, by their ids; whole or not at all. Raises `LabError` when it cannot be written."""
    path = lab.state / "faults.txt"
    try:
        write_whole(path, "".join(f"{id_}\n" for id_ in ids))
    except OSError as error:
        raise LabError(f"{path} cannot be written: {error.strerror}", "Make room.") from error


def faults(lab: Lab) -> list[str]:
    """Return the ids of the faults that were injected and not reverted, in their order. Raises `LabError` if damaged."""
    path = lab.state / "faults.txt"
    try:
        return path.read_text().split()
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise LabError(f"{path} cannot be read, or is damaged", "Run ./run lab.down, then lab.up.") from error


def versions() -> dict[str, str | None]:
    """Return the versions of what the stack is built from; Redis has its Debian package's, None if that is not installed."""
    return {
        "kubernetes": KUBERNETES_VERSION,
        "keda": KEDA_VERSION,
        "etcd": go_builds.required_version(go_builds.KUBE, "go.etcd.io/etcd/server/v3"),
        "coredns": go_builds.required_version(go_builds.KUBE, "github.com/coredns/coredns"),
        "vault": go_builds.required_version(go_builds.VAULT, "github.com/hashicorp/vault"),
        "redis": packages.find_version("redis-server"),
    }


@dataclass(frozen=True)
class LabStatus:
    """What stands of a local stack.

    Parameters
    ----------
    state
        ``up``, ``partial`` (some processes have ended, or lab.up did not finish) or ``down``.
    versions
        As `versions` returns them.
    processes
        Name → process id; None: it has ended.
    faults
        The ids of those that were injected and not reverted.
    cpu_s
        CPU seconds since the start.
    memory_bytes
        Memory without the page cache.
    """

    name: str
    provider: str
    state: str
    kubeconfig: str
    admin_kubeconfig: str
    endpoints: Mapping[str, Any]
    versions: Mapping[str, str | None]
    processes: Mapping[str, int | None]
    faults: Sequence[str]
    state_folder: str
    cpu_s: float
    memory_bytes: int


def status(lab: Lab | None = None) -> LabStatus:
    """Return what stands of a stack; of the current one unless named."""
    lab = lab or current_lab()
    running = {name: processes.pid_of(lab, name) for name in processes.names(lab)}
    endpoints = local_stack.read_endpoints(lab.name)
    finished = endpoints is not None
    up = finished and bool(running) and all(running.values())
    cpu_s, memory_bytes = processes.usage(lab)
    return LabStatus(
        name=lab.name,
        provider=lab.find_provider() or NATIVE,
        state="up" if up else "partial" if any(running.values()) or finished else "down",
        kubeconfig=str(lab.people_kubeconfig),
        admin_kubeconfig=str(lab.admin_kubeconfig),
        endpoints=endpoints or {},
        versions=versions(),
        processes=running,
        faults=faults(lab),
        state_folder=str(lab.state),
        cpu_s=cpu_s,
        memory_bytes=memory_bytes,
    )
