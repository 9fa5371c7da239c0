"""The lock of a cluster: one redeploy at a time, renewed while it works, free again soon after it was killed.

Whether a lock has expired is decided by the API server's clock, as is when it was renewed: two machines need not agree. Whoever
comes waits until it expires, or until its holder renews it, and so is alive.
"""

from __future__ import annotations

import os
import re
import threading

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.errors import has_changed, is_conflict
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import LEASES
from prompt_keda.core.errors import BadAnswer, ClientError, Missing, Refusal, StepBroken
from prompt_keda.core.event import Event, EventKind, Observer, nobody
from prompt_keda.core.marks import RUN_ANNOTATION
from prompt_keda.core.plan import Progress, State
from prompt_keda.core.process import is_alive
from prompt_keda.records.lock_lease import ends, holder_of, renewal, run_of

STATE_NAMESPACE = "prompt-keda-state"
LEASE = "prompt-keda-redeploy"
DURATION_S = 60
RENEW_S = 15
REPORT_S = 5
"""Seconds between two lines about the wait."""
STEP = "guard/hold-lease"


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
    observer
        Gets the wait for another's lock.
    renew_s
        Seconds between two renewals.
    """

    def __init__(
        self,
        kube: Kube,
        run_id: str,
        viewpoint: str,
        observer: Observer = nobody,
        renew_s: float = RENEW_S,
    ) -> None:
        self._kube = kube
        self._run_id = run_id
        self._viewpoint = viewpoint
        self._observer = observer
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
        """Whose is it? BROKEN if it is somebody else's for longer than a killed process keeps it, or of a live one here."""
        lease = self._kube.find(LEASES, LEASE, STATE_NAMESPACE)
        if lease is None:
            return Progress(State.TODO, "no redeploy is under way")
        holder = holder_of(lease)
        if self._uid and lease["metadata"]["uid"] == self._uid:
            return Progress(State.DONE, f"held by {holder}")
        left_s = self._left_s(lease)
        if left_s <= 0:
            return Progress(State.TODO, f"the lock of {holder} has expired")
        if pid := self._process_here(lease):
            this = run_of(lease) == self._run_id
            if is_alive(pid):
                whose = "this run is" if this else f"run {run_of(lease)} is"
                return Progress(State.BROKEN, f"{whose} still at work, in process {pid}")
            if this:
                return Progress(State.TODO, f"this run's process {pid} has ended without giving its lock back")
        if left_s > DURATION_S:
            until = f"{ends(lease):%H:%M:%S} UTC"
            return Progress(State.BROKEN, f"{holder} holds the lock until {until}, unless it is renewed")
        return Progress(State.TODO, _waits_for(lease, left_s))

    def take(self) -> None:
        """Take the lock and keep renewing it; its namespace has to be there. Idempotent: yes.

        The lock of a process that was killed elsewhere is taken once it has expired; until then this waits.

        Raises
        ------
        Refusal
            When somebody else holds it, who is at work.
        """
        progress = self.inspect()
        if progress.state is State.DONE:
            return
        if progress.state is State.BROKEN:
            raise Refusal(f"another redeploy is under way: {progress.detail}", "Wait for it.")
        lease = self._until_free()
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

    def _until_free(self) -> Object | None:
        """Wait until the lock has expired, and return what stands of it; None if there is none.

        A holder that renews the lock or gives it back meanwhile is alive, and what this run was planned on no longer holds.
        """
        first = self._kube.find(LEASES, LEASE, STATE_NAMESPACE)
        if first is None or self._is_free(first):
            return first
        reported_left_s = self._left_s(first) + REPORT_S
        signal = self._kube.watch([(LEASES, STATE_NAMESPACE)])
        try:
            while True:  # a loop of its own: its time is the Lease's, by the API server's clock
                lease = self._kube.find(LEASES, LEASE, STATE_NAMESPACE)
                if lease is None:
                    message = f"another redeploy was under way, and has just ended: that of {holder_of(first)}"
                    raise Refusal(message, "Begin again.")
                if renewal(lease) != renewal(first):
                    message = f"another redeploy is under way: {holder_of(lease)} holds the lock, and renews it"
                    raise Refusal(message, "Wait for it.")
                left_s = self._left_s(lease)
                if left_s <= 0:
                    return lease
                if left_s <= reported_left_s - REPORT_S:
                    reported_left_s = left_s
                    self._observer(Event(EventKind.PROGRESS, STEP, State.WORKING.value, _waits_for(lease, left_s)))
                signal.wait(min(left_s, 1.0))
        finally:
            signal.close()

    def _is_free(self, lease: Object) -> bool:
        """Whether nobody is behind it: it has expired, or it is of this run's process here, which has ended."""
        pid = self._process_here(lease)
        ended = run_of(lease) == self._run_id and pid is not None and not is_alive(pid)
        return ended or self._left_s(lease) <= 0

    def _process_here(self, lease: Object) -> int | None:
        """Return the holder's process if it is one of this user on this machine."""
        viewpoint, _, pid = holder_of(lease).partition(" ")[2].rpartition(" ")
        return int(pid) if viewpoint == self._viewpoint and re.fullmatch("[1-9][0-9]{0,9}", pid) else None

    def _left_s(self, lease: Object) -> float:
        return (ends(lease) - self._kube.server_time()).total_seconds()

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
            if not has_changed(error):
                raise
            how = "it was deleted" if isinstance(error, Missing) else "somebody else took it"
            message = f"this run lost its lock, and must not go on: {how}"
            raise StepBroken(message, "./run resume takes it again.") from error

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
            "spec": {"holderIdentity": self.holder, "leaseDurationSeconds": DURATION_S, "renewTime": self._now()},
        }

    def _renew(self) -> None:
        """Write the time. The UID is the precondition: 404 and 409 say that the lock is no longer this process's."""
        body = {"metadata": {"uid": self._uid}, "spec": {"renewTime": self._now()}}
        self._kube.patch(LEASES, LEASE, STATE_NAMESPACE, body)

    def _keep(self) -> None:
        while not self._stop.wait(self._renew_s):
            try:
                self._renew()
            except ClientError as error:
                if has_changed(error):
                    return  # the next check tells

    def _now(self) -> str:
        return self._kube.server_time().strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _waits_for(lease: Object, left_s: float) -> str:
    return f"waits for the lock of {holder_of(lease)}, expires in {left_s:.0f} s unless it is renewed"


def find_run_at_work(kube: Kube) -> str | None:
    """Return the run that holds this cluster's lock, or None. Raises as `Kube.find` does."""
    lease = kube.find(LEASES, LEASE, STATE_NAMESPACE)
    return run_of(lease) if lease is not None and ends(lease) > kube.server_time() else None
