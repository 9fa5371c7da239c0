"""The API server's clock: what the cluster has stamped is held against it, and not against this machine's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prompt_keda.clients.systems import Systems


def server_now(systems: Systems) -> datetime:
    """Return the time by the API server's clock, exact to a second. Raises as `Kube.server_time` does."""
    ahead: timedelta = systems.keep("server clock", lambda: systems.kube.server_time() - datetime.now(UTC))
    return datetime.now(UTC) + ahead


def age(systems: Systems, stamp: str) -> timedelta:
    """Return how long ago a time of the API server's objects was, by its own clock; not below 0. Raises as `server_now`."""
    return max(timedelta(0), server_now(systems) - datetime.fromisoformat(stamp))
