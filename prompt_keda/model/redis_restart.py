"""What a Redis lost in its last restart, by what it says of itself (failure mode F28)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

RECENT = timedelta(days=1)
"""What is absent from a Redis that has run for longer was not lost in its last restart: somebody would have noticed."""
REMOVING = ("del", "unlink", "rename", "flushall", "flushdb", "xgroup|destroy")
"""Commands that take a stream or group away."""
SECOND_MS = 1000
"""INFO tells how long it has been up in whole seconds."""
SECTIONS = ("server", "stats", "commandstats")
"""The sections of INFO that tell it."""


def up_for(info: Mapping[str, Any]) -> timedelta:
    """Give how long it has been up. Raises `KeyError` without the section ``server``."""
    return timedelta(seconds=int(info["uptime_in_seconds"]))


def lost_what_is_absent(info: Mapping[str, Any]) -> bool:
    """Tell whether a stream or group that is absent was lost in the last restart: since then nobody took any away.

    Parameters
    ----------
    info
        INFO with the sections `SECTIONS`. One that is absent counts as if nothing had been taken away.
    """
    called = any(info.get(f"cmdstat_{one}", {}).get("calls") for one in REMOVING)
    removed = int(info.get("evicted_keys", 0)) or int(info.get("expired_keys", 0))
    return up_for(info) <= RECENT and not called and not removed


def came_after_restart(info: Mapping[str, Any], first_id: str | None) -> bool:
    """Tell whether all that a stream holds came after the last restart, by the id of its first event.

    A Redis that comes back with an old snapshot may have the stream without its group: what is in it may have been read.

    Parameters
    ----------
    info
        INFO with the section ``server``. Without its clock (Redis before 7) nothing is known: False.
    first_id
        ``milliseconds-number``, by Redis' own clock; None: it holds nothing.

    Source: Redis, "INFO": ``server_time_usec``; "Streams": entry ids.
    """
    if first_id is None:
        return True
    if "server_time_usec" not in info:
        return False
    started_ms = int(info["server_time_usec"]) // 1000 - int(up_for(info).total_seconds() * 1000)
    return int(first_id.partition("-")[0]) >= started_ms - SECOND_MS
