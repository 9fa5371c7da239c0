"""What a Redis lost in its last restart, by what it says of itself (failure mode F28)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

RECENT = timedelta(days=1)
"""What is missing from a Redis that has run for longer was not lost in its last restart: somebody would have noticed."""
LEAVES_EVENTS = ("rename", "renamenx", "xgroup|destroy")
"""Commands that take a group away from events that stay, or put events where there was another stream."""
TAKES_EVENTS = ("del", "unlink", "flushall", "flushdb")
"""Commands that take a stream away with its events and groups."""
SECOND_MS = 1000
"""INFO gives the uptime in whole seconds."""
SECTIONS = ("server", "commandstats")
"""The sections of INFO that `started_ms` and `took_groups_alone` read."""


def up_for(info: Mapping[str, Any]) -> timedelta:
    """Return how long it has been up. Raises `KeyError` without the section ``server``."""
    return timedelta(seconds=int(info["uptime_in_seconds"]))


def lost_what_is_absent(info: Mapping[str, Any]) -> bool:
    """Return whether a stream or group that is missing was lost in the last restart: since then nobody took any away.

    Parameters
    ----------
    info
        INFO with the sections ``server``, ``stats`` and ``commandstats``. One that is missing counts as if nothing had been
        taken away.
    """
    removed = int(info.get("evicted_keys", 0)) or int(info.get("expired_keys", 0))
    return up_for(info) <= RECENT and not removed and not _called(info, *LEAVES_EVENTS, *TAKES_EVENTS)


def took_groups_alone(info: Mapping[str, Any]) -> bool:
    """Return whether since the last restart somebody may have taken a group away from events that it had read."""
    return _called(info, *LEAVES_EVENTS)


def started_ms(info: Mapping[str, Any]) -> int | None:
    """Return when it started by its own clock, in ms since 1970 and at most a second too early; None where it gives no clock.

    Source: Redis, "INFO": ``server_time_usec``.
    """
    if "server_time_usec" not in info:
        return None
    return int(info["server_time_usec"]) // 1000 - int(up_for(info).total_seconds() * 1000) - SECOND_MS


def _called(info: Mapping[str, Any], *commands: str) -> bool:
    return any(info.get(f"cmdstat_{command}", {}).get("calls") for command in commands)
