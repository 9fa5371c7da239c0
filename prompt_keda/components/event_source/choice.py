"""Which event source an environment has."""

from __future__ import annotations

from collections.abc import Callable

from prompt_keda.clients.systems import Systems
from prompt_keda.components.event_source.base import EventSource
from prompt_keda.components.event_source.redis_streams import RedisStreamsSource

SOURCES: dict[str, Callable[[Systems], EventSource]] = {"redis-streams": RedisStreamsSource}
"""``event_source`` of the environment → what stands behind the port."""


def event_source(systems: Systems) -> EventSource:
    """Return where the environment's events wait."""
    return SOURCES[systems.environment.event_source](systems)
