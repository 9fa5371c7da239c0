"""How old something of the cluster is, by this machine's clock: the local stack has no other."""

from __future__ import annotations

from datetime import UTC, datetime


def age_s(stamp: str) -> float:
    """Return how long ago a time of the API server was."""
    return (datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds()
