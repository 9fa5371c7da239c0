"""What a Lease says of its holder. Text from a cluster: what makes no sense has expired."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prompt_keda.clients.kube.objects import Object


def holder_of(lease: Object) -> str:
    """Return who holds a lock: run, user, host and process. Text from the cluster."""
    return str(_spec(lease).get("holderIdentity") or "somebody")


def run_of(lease: Object) -> str:
    """Return the run that a lock is held for. Text from the cluster."""
    return holder_of(lease).partition(" ")[0]


def renewal(lease: Object) -> tuple[object, object]:
    """Return what is another with each renewal, and with each new lock."""
    return lease["metadata"]["uid"], _spec(lease).get("renewTime")


def ends(lease: Object) -> datetime:
    """Return when a lock expires; one that does not say it in a way that makes sense has expired."""
    try:
        renewed = datetime.fromisoformat(str(_spec(lease).get("renewTime")))
        return renewed.astimezone(UTC) + timedelta(seconds=int(_spec(lease).get("leaseDurationSeconds") or 0))
    except (ValueError, TypeError, OverflowError):
        return datetime.min.replace(tzinfo=UTC)


def _spec(lease: Object) -> Object:
    return lease.get("spec") or {}
