"""Who delivers in an environment."""

from __future__ import annotations

from collections.abc import Callable

from prompt_keda.clients.systems import Systems
from prompt_keda.delivery.argocd import ArgoCdDelivery
from prompt_keda.delivery.base import Delivery
from prompt_keda.delivery.helm import HelmDelivery

DELIVERIES: dict[str, Callable[[Systems], Delivery]] = {
    "manifests": lambda systems: Delivery(),
    "argocd": ArgoCdDelivery,
    "helm": HelmDelivery,
}
"""``keda.delivery`` of the environment → what stands behind the port."""


def delivery(systems: Systems) -> Delivery:
    """Return how KEDA and the ScaledJobs of an environment are delivered."""
    return DELIVERIES[systems.environment.keda.delivery](systems)
