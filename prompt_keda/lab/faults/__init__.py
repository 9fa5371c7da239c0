"""Faults of the local stack: each injects one failure as production has it, and reverts it. For tests and drills.

One file a category, its FAULTS table at the end.
"""

from __future__ import annotations

from prompt_keda.core.errors import Refusal
from prompt_keda.lab.faults import (
    admission,
    argocd,
    capacity,
    cluster,
    cluster_nodes,
    control_plane,
    frozen,
    identity,
    image_contents,
    images,
    keda,
    links,
    network,
    redis,
    redis_refusals,
    redis_streams,
    scaling,
    vault,
    vault_secrets,
    vcluster,
)
from prompt_keda.lab.faults.fault import Fault

ALL_FAULTS: tuple[Fault, ...] = (
    *cluster.FAULTS,
    *cluster_nodes.FAULTS,
    *control_plane.FAULTS,
    *identity.FAULTS,
    *vault.FAULTS,
    *vault_secrets.FAULTS,
    *redis.FAULTS,
    *redis_refusals.FAULTS,
    *redis_streams.FAULTS,
    *images.FAULTS,
    *image_contents.FAULTS,
    *keda.FAULTS,
    *capacity.FAULTS,
    *frozen.FAULTS,
    *network.FAULTS,
    *scaling.FAULTS,
    *admission.FAULTS,
    *links.FAULTS,
)
"""Those that each stack has."""
OF_DELIVERY: tuple[Fault, ...] = (*argocd.FAULTS, *vcluster.FAULTS)
"""Those of a stack that has what they need: ``lab.up --with`` brings it (``needs``)."""


def fault_of(id_: str) -> Fault:
    """Return the fault of an id. Raises `Refusal` when there is none."""
    for fault in (*ALL_FAULTS, *OF_DELIVERY):
        if fault.id == id_:
            return fault
    raise Refusal(f"there is no fault {id_!r}", "./run faults lists them.")
