"""The checks: they read, and never write; the canary of --deep alone does. One file a category, its table at the end."""

from __future__ import annotations

from prompt_keda.clients.systems import Systems
from prompt_keda.components.capacity import checks as capacity
from prompt_keda.components.cluster import checks as cluster
from prompt_keda.components.event_source import checks as redis
from prompt_keda.components.identity import checks as identity
from prompt_keda.components.images import checks as images
from prompt_keda.components.keda import checks as keda
from prompt_keda.components.smoke import deep_checks as deep
from prompt_keda.components.vault import checks as vault
from prompt_keda.core.check import Check

ALL_CHECKS: tuple[Check[Systems], ...] = (
    *cluster.CHECKS,
    *identity.CHECKS,
    *vault.CHECKS,
    *redis.CHECKS,
    *images.CHECKS,
    *keda.CHECKS,
    *capacity.CHECKS,
    *deep.CHECKS,
)
"""Every check, in the order in which results are shown."""
