"""The lock of a cluster: one redeploy at a time, renewed while it works, free again soon after it was killed.

Whether a lock has expired is told by this machine's clock: clocks that differ by less than 45 s (the duration less one
renewal) do no harm.
"""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta

from prompt_keda.clients.kube import Kube, Object
from prompt_keda.clients.kube_errors import is_conflict
from prompt_keda.clients.kube_resources import LEASES
from prompt_keda.errors import BadAnswer, ClientError, Missing, Refusal, StepBroken
from prompt_keda.model.plan import Progress, State
from prompt_keda.redeploy.context import RUN_ANNOTATION

STATE_NAMESPACE = "prompt-keda-state"
LEASE = "prompt-keda-redeploy"
DURATION_S = 60
RENEW_S = 15


class Lock:
    """The lock, as one process of one run holds it.

    Parameters
    ----------
    kube
        The cluster.
    run_id
        The run.
    viewpoint
        ``user@host`` of this process.
    renew_s
        Seconds between two renewals.
    """

    def __init__(self, kube: Kube, run_id: str, viewpoint: str, renew_s: float = RENEW_S) -> None:
        self._kube = kube
        self._run_id = run_id
        self._viewpoint = viewpoint
        self._renew_s = renew_s
        self._uid = ""
        self._stop = threading.Event()

    @property
    def holder(self) -> str:
        """Who holds it, for people and for `resume`: run, user, host and process."""
        return f"{self._run_id} {self._viewpoint} {os.getpid()}"

    @property
    def was_held(self) -> bool:
        """Whether this process ever had it. If not, it has written nothing else."""
        return bool(self._uid)

    def inspect(self) -> Progress:
        """Whose is it? BROKEN if it is somebody else's, who is at work."""
        lease = self._kube.find(LEASES, LEASE, STATE_NAMESPACE)
        if lease is None:
            return Progress(State.TODO, "no redeploy is under way")
        holder = lease["spec"].get("holderIdentity", "")
        if self._uid and lease["metadata"]["uid"] == self._uid:
            return Progress(State.DONE, f"held by {holder}")
        if _expired(lease):
            return Progress(State.TODO, f"the lock of {holder} has expired")
        run, _, where = holder.partition(" ")
        viewpoint, _, pid = where.rpartition(" ")
        if run == self._run_id and viewpoint == self._viewpoint and pid.isdigit():
            if not _is_alive(int(pid)):
                return Progress(State.TODO, f"this run's process {pid} has ended without giving its lock back")
            return Progress(State.BROKEN, f"this run is still at work, in process {pid}")
        return Progress(
            State.BROKEN, f"{holder} holds the lock until {_ends(lease):%H:%M:%S} UTC, unless it is renewed"
        )

    def take(self) -> None:
        """Take the lock and keep renewing it; its namespace has to be there. Idempotent: yes.

        Raises
        ------
        Refusal
            When somebody else holds it.
        """
        seen = self.inspect()
        if seen.state is State.DONE:
            return
        lease = self._kube.find(LEASES, LEASE, STATE_NAMESPACE)
        if seen.state is State.BROKEN:
            raise Refusal(f"another redeploy is under way: {seen.detail}", "Wait for it.")
        if lease is not None:  # the UID as precondition: of two that come at once, one deletes it and one creates it
            self._kube.delete(LEASES, LEASE, STATE_NAMESPACE, uid=lease["metadata"]["uid"])
        try:
            made = self._kube.create(LEASES, self._body(), STATE_NAMESPACE)
        except BadAnswer as error:
            if not is_conflict(error):
                raise
            raise Refusal(f"another redeploy took the lock just now: {error.detail}", "Wait for it.") from error
        self._uid = made["metadata"]["uid"]
        threading.Thread(target=self._keep, name="renew lock", daemon=True).start()

    def check(self) -> None:
        """Renew it, before something is written: so it is this process's, whatever happened meanwhile.

        The renewing thread alone is not enough: after a machine has slept it wakes up later than the next write.

        Raises
        ------
        StepBroken
            When it was lost; with how.
        ClientError
            When the server does not answer; then nothing can be written either.
        """
        try:
            self._renew()
        except (Missing, BadAnswer) as error:
            if not _is_lost(error):
                raise
            how = "it was deleted" if isinstance(error, Missing) else "somebody else took it"
            said = f"this run lost its lock, and must not go on: {how}"
            raise StepBroken(said, "./run resume takes it again.") from error

    def release(self) -> None:
        """Stop renewing, and give the lock back if it is this process's. Idempotent: yes."""
        self._stop.set()
        if self._uid:
            self._kube.delete(LEASES, LEASE, STATE_NAMESPACE, uid=self._uid)

    def _body(self) -> Object:
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": LEASE, "namespace": STATE_NAMESPACE, "annotations": {RUN_ANNOTATION: self._run_id}},
            "spec": {"holderIdentity": self.holder, "leaseDurationSeconds": DURATION_S, "renewTime": _now()},
        }

    def _renew(self) -> None:
        """Write the time. The UID is the precondition: 404 and 409 say that the lock is no more this process's."""
        body = {"metadata": {"uid": self._uid}, "spec": {"renewTime": _now()}}
        self._kube.patch(LEASES, LEASE, STATE_NAMESPACE, body)

    def _keep(self) -> None:
        while not self._stop.wait(self._renew_s):
            try:
                self._renew()
            except ClientError as error:
                if _is_lost(error):
                    return  # the next check tells


def _is_lost(error: ClientError) -> bool:
    return isinstance(error, Missing) or (isinstance(error, BadAnswer) and is_conflict(error))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _ends(lease: Object) -> datetime:
    renewed = datetime.fromisoformat(lease["spec"]["renewTime"].replace("Z", "+00:00"))
    return renewed + timedelta(seconds=lease["spec"]["leaseDurationSeconds"])


def _expired(lease: Object) -> bool:
    return datetime.now(UTC) > _ends(lease)


def _is_alive(pid: int) -> bool:
    """Tell whether a process of this machine runs. A number used again says yes: then the lock expires by itself."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
