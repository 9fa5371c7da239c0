"""What an error of an API server means where that is a vCluster's: its syncer answers for it, a pod on a host cluster."""

from __future__ import annotations

from prompt_keda.clients.kube.errors import NO_IMPERSONATION
from prompt_keda.core.errors import ClientError, LoggedOut, Refused, Unreachable

SKIP_BACKSYNC = "vcluster.loft.sh/skip-backsync"
"""The annotation of a pod that a syncer leaves alone on its host when it does not find it in its store, where it is "true".
Source: vCluster 0.26.0, pkg/syncer/syncer.go."""
OWNERS = "Ask the vCluster's owners"
REBUILT = (
    "Was the vCluster rebuilt? It has a new CA then: fetch its new kubeconfig (on its host: Secret vc-NAME), then"
    " ./run enrol."
)
AWAY = (
    "Check VPN and login. In a vCluster this is its syncer or its host, and the workers may well run on:"
    " ask the vCluster's owners how its pod does in the host's namespace."
)
NO_RIGHT = (
    "Ask for that right. Was the vCluster's store lost or rebuilt? People's rights go with it. Who has its own kubeconfig"
    " (on its host: Secret vc-NAME) can bind them again."
)


HOST_RIGHT = "Ask the owners of the vCluster's host for the rights of environments/rbac/vcluster-host.yaml."


def explain_of_host(error: ClientError) -> None:
    """Add to an error of a vCluster's host what to do about it."""
    if is_forbidden(error):
        error.fix = HOST_RIGHT


def explain(error: ClientError) -> None:
    """Add to an error what to do about it in a vCluster, unless it says that of a proxy or of impersonation already."""
    if isinstance(error, Unreachable) and not error.fix:
        is_untrusted = error.detail.startswith("TLS: ") and "authority" in error.detail
        error.fix = REBUILT if is_untrusted else AWAY
    elif is_forbidden(error) and NO_IMPERSONATION not in error.detail:
        error.fix = NO_RIGHT


def is_forbidden(error: ClientError) -> bool:
    """Return whether the API server knows who asks, and does not allow it."""
    return isinstance(error, Refused) and not isinstance(error, LoggedOut)
