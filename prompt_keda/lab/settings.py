"""Names, folders and addresses of one local stack."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prompt_keda.core.private_folder import private_folder
from prompt_keda.environment.local_stack import current_stack, stack_folder

KUBERNETES_VERSION = "1.35.4"
KEDA_VERSION = "2.16.1"
ARGOCD_VERSION = "3.2.1"
REGISTRY_HOST = "registry.prompt-keda.test:5000"
"""As it stands in image names. Only the stack's containerd resolves it, by its own hosts file."""
NODE_NAME = "lab-node"
POD_CIDR = "10.244.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
API_SERVICE_IP = "10.96.0.1"
DNS_SERVICE_IP = "10.96.0.10"
PORTS = {"api": 6443, "vault": 8200, "registry": 5000, "ldap": 1636, "login": 5556}
"""None below 1024: who is not root may not listen there."""
PROGRAMS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
    "coredns",
)


def cache_home() -> Path:
    """Return the user's cache folder (XDG_CACHE_HOME, else ``~/.cache``)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@dataclass(frozen=True)
class Lab:
    """One local stack: where its files are, and what its parts are called.

    Parameters
    ----------
    name
        1 to 12 lower-case letters, digits and dashes; part of the names of namespaces, cgroups and folders.
    """

    name: str

    @property
    def state(self) -> Path:
        """Everything that outlives a process: keys, data, logs, pid files."""
        return stack_folder(self.name)

    @property
    def run(self) -> Path:
        """Sockets: a short path, because a Unix socket's may have 107 bytes. A stack in the user's engine has none."""
        return self.state / "run" if self.is_users else Path("/run") / f"prompt-keda-lab-{self.name}"

    @property
    def users_engine(self) -> Path:
        """Which container engine of the user's it lives in."""
        return self.state / "engine.json"

    @property
    def is_users(self) -> bool:
        """Whether it lives in a container engine of the user's, without root."""
        return self.users_engine.exists()

    @property
    def netns(self) -> str:
        """Name of the network namespace."""
        return f"prompt-keda-{self.name}"

    @property
    def netns_path(self) -> Path:
        """Where iproute2 keeps the network namespace."""
        return Path("/run/netns") / self.netns

    @property
    def cgroup(self) -> str:
        """Path of the stack's cgroup below each cgroup root."""
        return f"prompt-keda-{self.name}"

    def pod_cgroups(self) -> list[str]:
        """Return the paths of the cgroups of all containers that containerd has records of."""
        records = self.run / "containerd" / "io.containerd.runtime.v2.task" / "k8s.io"
        return sorted(f"k8s.io/{record.name}" for record in records.iterdir()) if records.exists() else []

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.state / "pki"

    @property
    def admin_kubeconfig(self) -> Path:
        """Kubeconfig with a client certificate: for the stack's own set-up and for looking at it when LDAP is broken."""
        return self.state / "admin.kubeconfig"

    @property
    def people_kubeconfig(self) -> Path:
        """Kubeconfig of people: a short-lived token by way of LDAP."""
        return self.state / "kubeconfig"

    @property
    def containerd_socket(self) -> Path:
        """The CRI endpoint."""
        return self.run / "containerd.sock"

    @property
    def audit_log(self) -> Path:
        """What the API server was asked: one JSON document a line, without the system's own reads."""
        return self.state / "logs" / "audit.log"

    def find_provider(self) -> str | None:
        """Return the name of who runs the stack's cluster; None if there is no stack."""
        try:
            return (self.state / "provider").read_text()
        except FileNotFoundError:
            return "native" if (self.state / "pids").exists() else None

    @property
    def redis_data(self) -> Path:
        """The volume of Prompt Redis."""
        return self.state / "redis-data"

    def link_programs(self, binary: Path, names: Sequence[str] = PROGRAMS) -> None:
        """Let the cluster's binary be each of its programs, by a link of the program's name. Idempotent: yes."""
        folder = private_folder(self.state / "bin")
        for name in names:
            link = folder / name
            if not link.is_symlink():
                link.symlink_to(binary)

    def program(self, name: str) -> str:
        """Return the path of a program of the cluster's binary (``kubectl``, ``kubelet`` …) once it is built."""
        return str(self.state / "bin" / name)


def current_lab() -> Lab:
    """Return the stack that ``$PROMPT_KEDA_LAB`` names, else ``local``.

    Raises
    ------
    Refusal
        When the name cannot be part of the names of namespaces and folders.
    """
    return Lab(current_stack())
