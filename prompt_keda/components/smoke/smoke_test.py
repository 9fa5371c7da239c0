"""The smoke test: events on a stream of its own become Jobs, and all of them are acknowledged.

It verifies by UIDs and acknowledgements, on objects of its own, and removes them whatever happens.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import timedelta

from prompt_keda.clients.kube.conditions import conditions
from prompt_keda.clients.kube.resources import JOBS, PODS, SCALED_JOBS, Resource
from prompt_keda.clients.kube.watch import Watch
from prompt_keda.clients.systems import Systems, filled
from prompt_keda.components.cluster.clock import server_now
from prompt_keda.components.cluster.readiness import worst_reason
from prompt_keda.components.event_source.choice import event_source
from prompt_keda.components.scaled_jobs.objects import SCALED_JOB_LABEL
from prompt_keda.components.smoke import smoke_objects
from prompt_keda.components.smoke.place import SmokePlace
from prompt_keda.components.smoke.result import SmokeResult
from prompt_keda.core.errors import DeadlinePassed, StepBroken
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.core.waiting import LOOK_S, looks

SUBJECT = "verify/smoke"
LIMIT = timedelta(seconds=180)
"""More than the smoke test's own deadline: it ends itself."""
MOST_JOBS = 100
"""The history limit of the test's ScaledJob: with more Jobs KEDA would tidy the evidence away (failure mode F48)."""
MOST_SENT_AGAIN = 3


def run_smoke(
    systems: Systems,
    events_count: int,
    observer: Observer,
    run_id: str,
    obstacle: Callable[[], str | None] = lambda: None,
) -> SmokeResult:
    """Verify that KEDA turns events into Jobs, and clean up.

    Parameters
    ----------
    events_count
        Jobs wanted, 1 to 100; one event more is sent, because activation is strictly greater (failure mode F19).
    obstacle
        Tells why waiting for KEDA is hopeless, or None; asked while it has not looked at the test's ScaledJob.

    Raises
    ------
    DeadlinePassed
        When a point is not reached in time; with what was seen last.
    StepBroken
        When a state is seen that cannot heal, such as an image that cannot be pulled, or a command that Redis denies to KEDA.
    """
    return _Smoke(systems, events_count, observer, run_id, obstacle).run()


class _Smoke:
    def __init__(
        self,
        systems: Systems,
        events_count: int,
        observer: Observer,
        run_id: str,
        obstacle: Callable[[], str | None],
    ) -> None:
        self.obstacle = obstacle
        self.systems = systems
        self.source = event_source(systems)
        self.environment = systems.environment
        self.namespace = self.environment.smoke.namespace
        self.jobs_wanted = events_count
        self.observer = observer
        self.run_id = run_id
        self.name = f"smoke-{secrets.token_hex(4)}"
        self.place = SmokePlace(systems, run_id, self._say)
        self.sent_again_count = 0
        self.result = SmokeResult(events_count + smoke_objects.ACTIVATION)
        self.begun = time.monotonic()
        self.end = self.begun + self.environment.smoke.deadline.total_seconds()

    def run(self) -> SmokeResult:
        filled(self.environment.smoke.image, "smoke.image")
        # KEDA may ask for the lag, with the login that it is given and that this has: else it is waited for in vain
        self.source.require_access(self.name)
        try:
            self.place.prepare()
            self.place.put_login(self.name)
            # before any event: then the lag is known from the first on (F16)
            self.source.ensure_group(self.name, self.name, "0")
            self._verify()
            return self.result
        finally:
            self.place.remove(self.name)

    def _verify(self) -> None:
        targets: list[tuple[Resource, str | None]] = [
            (SCALED_JOBS, self.namespace),
            (JOBS, self.namespace),
            (PODS, self.namespace),
        ]
        watch = Watch(self.systems.kube, targets)  # opened before the events, so that no Job is missed (F48)
        try:
            started = time.monotonic()
            body = smoke_objects.scaled_job(self.systems, self.name, self.jobs_wanted, self.run_id)
            self.systems.kube.apply(body)
            self._until("ready", self._is_ready, watch, started)
            sent = time.monotonic()
            self._send(self.result.events_count)
            self._until("first_job", lambda: self._jobs_made(1), watch, sent)
            self.result.first_job_s = round(time.monotonic() - self.begun, 2)
            self._until("all_jobs", self._all_jobs_made, watch, sent)
            self._until("pods_ran", self._pods_ran, watch, sent)
            self._until("acknowledged", self._all_acknowledged, watch, sent)
            self._until("inactive", self._is_inactive, watch, sent)
        finally:
            watch.close()

    def _until(self, name: str, look: Callable[[], tuple[bool, str]], watch: Watch, since: float) -> None:
        shown = ""
        detail = ""
        for _ in looks(self.end - time.monotonic(), watch, LOOK_S):  # Redis cannot be watched
            reached, detail = look()
            if reached:
                self.result.intervals_s[name] = round(time.monotonic() - since, 2)
                message = f"{name.replace('_', ' ')} after {self.result.intervals_s[name]:.1f} s: {detail}"
                self._say(message)
                return
            if detail != shown:
                shown = detail
                self._say(detail)
        limit = self.environment.smoke.deadline.total_seconds()
        raise DeadlinePassed(f"smoke test: {name.replace('_', ' ')}", limit, detail)

    def _is_ready(self) -> tuple[bool, str]:
        live = self.systems.kube.find(SCALED_JOBS, self.name, self.namespace) or {}
        if ready := conditions(live).get("Ready"):
            return ready["status"] == "True", f"ScaledJob Ready={ready['status']}: {ready.get('message', '')}"
        if why := self.obstacle():
            raise StepBroken(f"smoke test: KEDA does not work: {why}")
        return False, "KEDA has not seen the smoke test's ScaledJob yet"

    def _jobs_made(self, wanted: int) -> tuple[bool, str]:
        selector = f"{SCALED_JOB_LABEL}={self.name}"
        made = {job["metadata"]["uid"] for job in self.systems.kube.each(JOBS, self.namespace, selector)}
        uids = set(self.result.job_uids) | made
        self.result.job_uids = sorted(uids)
        return len(uids) >= wanted, f"{len(uids)} of {self.jobs_wanted} Jobs made by KEDA"

    def _all_jobs_made(self) -> tuple[bool, str]:
        """Return whether all Jobs were made. If too few events wait for KEDA to make the rest, more are sent.

        KEDA breaks off in the middle of making Jobs when it reconciles a new ScaledJob a second time; on a slow cluster
        its first workers then have taken all events before it polls again (docs/decisions/0003).
        """
        made, detail = self._jobs_made(self.jobs_wanted)
        group = self.source.find_group(self.name, self.name)
        if made or group is None or group.lag is None or group.lag > smoke_objects.ACTIVATION:
            return made, detail
        missing = self.jobs_wanted - len(self.result.job_uids)
        if self.sent_again_count < MOST_SENT_AGAIN:
            self.sent_again_count += 1
            self.result.events_count += missing + smoke_objects.ACTIVATION
            self._send(missing + smoke_objects.ACTIVATION)
        return made, f"{detail}; {group.lag} events wait, {group.pending} are worked on"

    def _send(self, count: int) -> None:
        events = [{"smoke": self.run_id, "number": str(n)} for n in range(count)]
        self.source.add(self.name, events)
        self._say(f"{count} events sent to stream {self.name}")

    def _pods_ran(self) -> tuple[bool, str]:
        pods = self.systems.kube.list(PODS, self.namespace, f"{smoke_objects.SMOKE_LABEL}={self.name}")
        ran = [pod for pod in pods if pod.get("status", {}).get("phase") in ("Running", "Succeeded")]
        self.result.pod_uids = sorted(set(self.result.pod_uids) | {pod["metadata"]["uid"] for pod in ran})
        count = len(self.result.pod_uids)
        why = worst_reason(pods, server_now(self.systems))
        if why and why.hopeless:
            raise StepBroken(f"smoke test: {why.text}")
        waits = f"; {why.text}" if why else ""
        return count >= self.jobs_wanted, f"{count} of {self.jobs_wanted} pods have run{waits}"

    def _all_acknowledged(self) -> tuple[bool, str]:
        group = self.source.find_group(self.name, self.name)
        if group is None:
            raise StepBroken("smoke test: its consumer group is gone")
        read = group.entries_read or 0
        self.result.acknowledged_count = max(0, read - group.pending)
        total = self.result.events_count
        done = group.lag == 0 and group.pending == 0 and read == total
        return done, f"{self.result.acknowledged_count} of {total} events acknowledged, lag {group.lag}"

    def _is_inactive(self) -> tuple[bool, str]:
        live = self.systems.kube.find(SCALED_JOBS, self.name, self.namespace) or {}
        active = conditions(live).get("Active", {}).get("status")
        return active == "False", f"ScaledJob Active={active}"

    def _say(self, detail: str) -> None:
        self.observer(Event(EventKind.PROGRESS, SUBJECT, "working", detail))
