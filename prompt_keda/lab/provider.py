"""What the local stack needs of whoever runs its cluster: the port `Provider`, and what a provider may be able to do.

Everything beside the cluster (registry, directory, login, Vault, Redis, KEDA's objects) is described once, in `stack` and what
it calls, and is the same with each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from prompt_keda.core.event import Observer
from prompt_keda.lab.commands import Children
from prompt_keda.lab.go_builds import GoModule
from prompt_keda.lab.pki import Authority
from prompt_keda.lab.settings import Lab

NATIVE, KIND = "native", "kind"
HOST_PROCESSES = "HOST_PROCESSES"
"""What runs in pods and servers are processes of this machine, which the stack's user can freeze and kill."""
NETWORK_NAMESPACE = "NETWORK_NAMESPACE"
"""Servers listen in a network namespace of the stack's own, where firewall rules cut them off."""
CONTROL_PLANE = "CONTROL_PLANE"
"""The control plane's parts can be killed so that they stay away, and started again."""
DELIVERY = "DELIVERY"
"""Argo CD or Helm can be added (`lab.up --with`)."""


@dataclass(frozen=True)
class Infrastructure:
    """What stands when the cluster is started: the stack's network, its keys, its registry and its people.

    Parameters
    ----------
    authentication
        An AuthenticationConfiguration: which issuer's tokens the API server is to believe.
    folder_of
        Gives the folder with a module's programs, once they are built.
    """

    lab: Lab
    address: str
    authority: Authority
    authentication: dict[str, Any]
    folder_of: Callable[[GoModule], Path]
    children: Children
    observer: Observer


class Provider(Protocol):
    """Who runs the stack's cluster.

    Parameters
    ----------
    name
        As ``--provider`` takes it.
    modules
        The Go modules that the cluster needs, what is needed first at the front. The first has ``kubectl``.
    capabilities
        What it is able to do, beside running a cluster; faults say which of these they need.
    needs_root
        False: it runs in the user's own container engine.
    brings
        What this machine need not have, because it is pulled: by the names of images (`image_list`) Go and Debian's packages, and
        the names of Go modules.
    """

    name: str
    modules: tuple[GoModule, ...]
    capabilities: frozenset[str]
    needs_root: bool
    brings: frozenset[str]

    def fetch(self, lab: Lab, module: GoModule, observer: Observer, children: Children) -> Path | None:
        """Return the folder with a module's programs if they come from elsewhere; None: they are built, and Go is here.

        Idempotent: yes. Two threads may call it.

        Raises
        ------
        LabError
            When they, or Go, do not come.
        """

    def provide_packages(self, lab: Lab, observer: Observer, children: Children) -> None:
        """Have Debian's packages at hand for a stack (`packages.program`). Idempotent: yes.

        Raises
        ------
        LabError
            When they cannot be fetched.
        """

    def start_cluster(self, infrastructure: Infrastructure) -> None:
        """Start control plane and node, and wait until the API server is ready. Idempotent: yes.

        Raises
        ------
        LabError
            When a part does not start.
        """

    def clear(self, lab: Lab) -> None:
        """Take away what is left outside of the stack's folders, cgroup and namespaces once these are gone. Idempotent: yes."""
