"""What a Redis lost in its last restart, by what it says of itself (failure mode F28)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

RECENT = timedelta(days=1)
"""What is absent from a Redis that has run for longer was not lost in its last restart: somebody would have noticed."""
REMOVING = ("del", "unlink", "rename", "flushall", "flushdb", "xgroup|destroy")
"""Commands that take a stream or group away."""
SECTIONS = ("server", "stats", "commandstats")
"""The sections of INFO that tell it."""


def up_for(info: Mapping[str, Any]) -> timedelta:
    """Give how long it has been up. Raises `KeyError` without the section ``server``."""
    return timedelta(seconds=int(info["uptime_in_seconds"]))


def lost_what_is_absent(info: Mapping[str, Any]) -> bool:
    """Tell whether a stream or group that is absent was lost in the last restart: since then nobody took any away.

    What its streams hold then came after the restart.

    Parameters
    ----------
    info
        INFO with the sections `SECTIONS`. One that is absent counts as if nothing had been taken away.
    """
    called = any(info.get(f"cmdstat_{one}", {}).get("calls") for one in REMOVING)
    removed = int(info.get("evicted_keys", 0)) or int(info.get("expired_keys", 0))
    return up_for(info) <= RECENT and not called and not removed
