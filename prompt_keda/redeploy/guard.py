"""Stage guard: one redeploy at a time, and no running Job at risk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prompt_keda.clients.kube import Object
from prompt_keda.clients.kube_resources import LEASES, NAMESPACES, SCALED_JOBS
from prompt_keda.errors import BadAnswer, Refusal
from prompt_keda.model.environment import FillIn
from prompt_keda.model.plan import Progress, State, Step
from prompt_keda.redeploy import jobs
from prompt_keda.redeploy.context import RUN_ANNOTATION, Context

STATE_NAMESPACE = "prompt-keda-state"
LEASE = "prompt-keda-redeploy"


def check_identity(context: Context) -> None:
    """Make sure that this is the cluster that the environment means: its CA and its kube-system namespace's UID.

    Raises
    ------
    Refusal
        When it is another one, or the environment does not say which.
    """
    wanted = context.environment.kubernetes.identity
    kube = context.systems.kube
    found = {
        "ca_sha256": kube.ca_sha256 or "none",
        "kube_system_uid": str(kube.get(NAMESPACES, "kube-system")["metadata"]["uid"]),
    }
    for key, value in found.items():
        expected = getattr(wanted, key)
        if isinstance(expected, FillIn):
            raise Refusal(f"the environment does not say kubernetes.identity.{key}", f"Fill it in: {expected.wanted}")
        if expected != value:
            raise Refusal(
                f"{kube.address} is another cluster than environment {context.environment.name} means: "
                f"its {key} is {value}, expected {expected}",
                "Check the kubeconfig's context. If the cluster was rebuilt, correct the environment's identity.",
            )


def hold_lease_inspect(context: Context) -> Progress:
    """Whose is the lock?"""
    lease = context.systems.kube.find(LEASES, LEASE, STATE_NAMESPACE)
    if lease is None:
        return Progress(State.TODO, "no redeploy is under way")
    holder = lease["spec"].get("holderIdentity", "")
    if holder.startswith(f"{context.run_id} "):
        return Progress(State.DONE, f"held by {holder}")
    if _expired(lease):
        return Progress(State.TODO, f"the lock of {holder} has expired")
    return Progress(State.BROKEN, f"{holder} holds the lock until {_ends(lease):%H:%M:%S} UTC")


def hold_lease(context: Context) -> None:
    """Take the lock, in a namespace that no redeploy touches. Idempotent: yes."""
    kube = context.systems.kube
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": STATE_NAMESPACE}})
    lease = kube.find(LEASES, LEASE, STATE_NAMESPACE)
    if lease is not None and not _expired(lease):
        raise Refusal(f"another redeploy is under way: {hold_lease_inspect(context).detail}", "Wait for it.")
    body = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": LEASE, "namespace": STATE_NAMESPACE, "annotations": {RUN_ANNOTATION: context.run_id}},
        "spec": {
            "holderIdentity": f"{context.run_id} {context.systems.viewpoint}",
            "leaseDurationSeconds": int(context.environment.limits.redeploy.total_seconds()),
            "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        },
    }
    if lease is not None:
        kube.delete(LEASES, LEASE, STATE_NAMESPACE, uid=lease["metadata"]["uid"])
    try:
        kube.create(LEASES, body, STATE_NAMESPACE)
    except BadAnswer as error:
        raise Refusal(f"another redeploy took the lock just now: {error.detail}", "Wait for it.") from error


def release_lease(context: Context) -> None:
    """Give the lock back, if it is ours. Idempotent: yes."""
    lease = context.systems.kube.find(LEASES, LEASE, STATE_NAMESPACE)
    if lease and lease["spec"].get("holderIdentity", "").startswith(f"{context.run_id} "):
        context.systems.kube.delete(LEASES, LEASE, STATE_NAMESPACE, uid=lease["metadata"]["uid"])


def stamp_jobs_inspect(context: Context) -> Progress:
    """Would the operator's start delete a running Job?"""
    at_risk = jobs.at_risk(context.systems.kube)
    if not at_risk:
        return Progress(State.DONE, f"{len(context.before)} running Jobs and pods recorded, none at risk")
    return Progress(State.TODO, f"{len(at_risk)} running Jobs have another generation than their ScaledJob")


def stamp_jobs(context: Context) -> None:
    """Write the ScaledJob's present generation on every running Job that has another. Idempotent: yes."""
    kube = context.systems.kube
    for record in jobs.at_risk(kube):
        owner = kube.find(SCALED_JOBS, record.scaled_job, record.namespace)
        if owner is not None:
            jobs.stamp(kube, record, owner["metadata"]["generation"])


def _ends(lease: Object) -> datetime:
    renewed = datetime.fromisoformat(lease["spec"]["renewTime"].replace("Z", "+00:00"))
    return renewed + timedelta(seconds=lease["spec"]["leaseDurationSeconds"])


def _expired(lease: Object) -> bool:
    return datetime.now(UTC) > _ends(lease)


STEPS: tuple[Step[Context], ...] = (
    Step("guard/hold-lease", "hold the lock of this cluster", hold_lease_inspect, hold_lease),
    Step("guard/stamp-jobs", "make running Jobs safe from KEDA's restart", stamp_jobs_inspect, stamp_jobs),
)
