"""The checks: they read, and never write; the canary of --deep alone does. One file a category, its table at the end."""

from __future__ import annotations

from prompt_keda.checks import capacity, cluster, deep, identity, images, keda, redis, vault
from prompt_keda.clients.systems import Systems
from prompt_keda.model.check import Check

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
