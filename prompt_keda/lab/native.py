"""The cluster as processes of this machine, built from their Go modules: for root on Debian, with no container engine."""

from __future__ import annotations

import subprocess

from prompt_keda.core.errors import LabError
from prompt_keda.core.event import Observer
from prompt_keda.lab import base_objects, contents, control_plane, node, packages, provider, services
from prompt_keda.lab.commands import Children, last_line
from prompt_keda.lab.go_builds import KUBE, WORKER, GoModule
from prompt_keda.lab.provider import Infrastructure
from prompt_keda.lab.settings import Lab

ADDRESS_IS_TAKEN = "provided IP is already allocated"


class NativeProvider:
    """Implements `provider.Provider`."""

    name: str = provider.NATIVE
    modules: tuple[GoModule, ...] = (KUBE,)
    capabilities = frozenset(
        {provider.HOST_PROCESSES, provider.NETWORK_NAMESPACE, provider.CONTROL_PLANE, provider.DELIVERY}
    )
    needs_root: bool = True
    brings: frozenset[str] = frozenset()

    def fetch(self, lab: Lab, module: GoModule, observer: Observer, children: Children) -> None:
        """Return None: all is built."""

    def provide_packages(self, lab: Lab, observer: Observer, children: Children) -> None:
        """Install them."""
        packages.install(observer)

    def start_cluster(self, infrastructure: Infrastructure) -> None:
        """Start etcd, containerd, the API server and all that follows, each as a process of the stack."""
        lab, address = infrastructure.lab, infrastructure.address
        lab.link_programs(infrastructure.folder_of(KUBE) / "kube")
        control_plane.start_etcd(lab)
        node.start_containerd(lab, address)
        control_plane.start_api_server(lab, address, infrastructure.authentication)
        contents.import_pause_image(lab, infrastructure.folder_of(WORKER))
        services.wait_until("the API server", lambda: is_ready(lab), 90, lab, "kube-apiserver")
        control_plane.start_controllers(lab)
        node.start_kubelet(lab, address)
        node.start_proxy(lab)
        node.start_dns(lab, address)
        services.wait_until("the Service of DNS", lambda: _has_dns(lab, address), 60, lab, "kube-apiserver")

    def clear(self, lab: Lab) -> None:
        """Do nothing: all is in the stack's own folders and namespaces."""


def _has_dns(lab: Lab, address: str) -> bool:
    """Apply what leads to CoreDNS, and return whether it stands. Raises `LabError` when it is not taken.

    The kubectl of a lab.up that was killed may just make the same Service: its address is taken then, and it is not there yet.
    """
    try:
        contents.apply(lab, base_objects.dns(address))
    except LabError as error:
        if ADDRESS_IS_TAKEN in error.what:
            return False
        raise
    return True


def is_ready(lab: Lab) -> bool:
    """Return whether the API server says that it is ready."""
    return not find_trouble(lab)


def find_trouble(lab: Lab) -> str:
    """Return what kubectl says last where the API server is not ready; empty: it is."""
    argv = [lab.program("kubectl"), "--kubeconfig", str(lab.admin_kubeconfig), "get", "--raw", "/readyz"]
    done = subprocess.run([*argv, "--request-timeout=2s"], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else last_line(done.stderr) or f"exit code {done.returncode}"
