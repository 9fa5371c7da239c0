"""One case at work: its ScaledJob, stream and Jobs, what is sent to them and what is seen of them."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from prompt_keda.clients.kube.conditions import conditions
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import JOBS, PODS, SCALED_JOBS
from prompt_keda.clients.kube.watch import Watch
from prompt_keda.clients.systems import Systems
from prompt_keda.components.cluster.clock import server_now
from prompt_keda.components.cluster.readiness import worst_reason
from prompt_keda.components.event_source.choice import event_source
from prompt_keda.components.keda.operator_metrics import operator_metrics, samples, scale_loops
from prompt_keda.components.scaled_jobs.objects import PAUSED, SCALED_JOB_LABEL, is_finished
from prompt_keda.components.smoke import smoke_objects
from prompt_keda.components.smoke.acceptance.shape import Shape, scaled_job
from prompt_keda.components.smoke.place import SmokePlace
from prompt_keda.core.errors import DeadlinePassed, StepBroken
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.core.waiting import LOOK_S, looks

CaseLook = Callable[[], tuple[bool, str]]
READ_S = 1.0
"""The metrics come through a port-forward: they are read no more often than this, in seconds."""
WHOLE_POLLS = 2
ERRORS = "keda_scaled_job_errors_total"
"""The count of a ScaledJob's errors (KEDA 2.16.1, pkg/metricscollector/prommetrics.go)."""


class Stopped(Exception):
    """The suite is to stop: the case ends, and cleans up."""


@dataclass(frozen=True)
class Point:
    """One thing that a case has seen.

    Parameters
    ----------
    seconds
        From the begin of the wait until it was seen.
    """

    what: str
    expected: str
    observed: str
    seconds: float


class Trial:
    """One case at work. Use it as a context: at its end all that it made is removed, however it ended.

    Parameters
    ----------
    case_id, shape, deadline
        As its `prompt_keda.components.smoke.acceptance.case.Case` has them.
    run_id
        Of the suite's run; stands on every object.
    stop
        Set when the suite is to stop.
    """

    def __init__(
        self,
        systems: Systems,
        case_id: str,
        shape: Shape,
        deadline: timedelta,
        run_id: str,
        observer: Observer,
        stop: threading.Event,
    ) -> None:
        self.systems = systems
        self.source = event_source(systems)
        self.shape = shape
        self._case_id = case_id
        self._deadline_s = deadline.total_seconds()
        self.namespace = systems.environment.smoke.namespace
        self.name = f"smoke-{secrets.token_hex(4)}"
        self.points: list[Point] = []
        self._run_id = run_id
        self._observer = observer
        self._stop = stop
        self._place = SmokePlace(systems, run_id, self.say)
        self._held = smoke_objects.hold_stream(self.name)
        self._end = time.monotonic() + self._deadline_s
        self._uids: set[str] = set()

    def __enter__(self) -> Trial:
        targets = [(kind, self.namespace) for kind in (SCALED_JOBS, JOBS, PODS)]
        self._watch = Watch(self.systems.kube, list(targets))
        try:
            self._place.put_login(self.name)
            for stream in (self.name, self._held):  # before any event: then the lag is known from the first on (F16)
                self.source.ensure_group(stream, self.name, "0")
            self.change(self.shape)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.close()
        self._place.remove(self.name)

    def say(self, detail: str, kind: EventKind = EventKind.PROGRESS) -> None:
        """Report what is going on."""
        self._observer(Event(kind, f"acceptance/{self._case_id}", "working", detail))

    # What a case does.

    def change(self, shape: Shape) -> None:
        """Apply the ScaledJob in this shape. Idempotent: yes. Raises as `Kube.apply` does."""
        self.shape = shape
        self.systems.kube.apply(scaled_job(self.systems, self.name, shape, self._run_id))

    def pause(self, value: str | None) -> None:
        """Give the ScaledJob KEDA's annotation for a pause; None takes it away. Raises as `Kube.patch` does."""
        body = {"metadata": {"annotations": {PAUSED: value}}}
        self.systems.kube.patch(SCALED_JOBS, self.name, self.namespace, body)

    def send(self, count: int) -> None:
        """Send events, all at once. Raises as `EventSource.add` does."""
        self.source.add(self.name, [{"smoke": self._run_id, "number": str(n)} for n in range(count)])
        self.say(f"{count} events sent", EventKind.NOTE)

    def send_work_for(self, jobs_count: int) -> None:
        """Send as many events as make work for so many Jobs. Raises as `EventSource.add` does."""
        self.send(jobs_count * self.shape.lag_count)

    def take_all(self) -> None:
        """Take all events, as workers would that have begun to work. Raises as `EventSource.take` does."""
        count = self.source.take(self.name, self.name, 1000)
        self.say(f"{count} events taken")

    def release(self, count: int) -> None:
        """Let so many held workers end. Raises as `EventSource.add` does."""
        self.source.add(self._held, [{"end": "now"}] * count)

    # What a case sees.

    def until(self, what: str, expected: str, look: CaseLook) -> None:
        """Wait until a look says that it is so, and record it.

        Raises
        ------
        DeadlinePassed
            When the case's time is over; with what was seen last.
        """
        began, detail, shown = time.monotonic(), "", ""
        for _ in self._looks():
            reached, detail = look()
            if reached:
                self._record(Point(what, expected, detail, round(time.monotonic() - began, 2)))
                return
            if detail != shown:
                shown = detail
                self.say(f"{what}: {detail}")
        raise DeadlinePassed(f"{what}, expected {expected}", self._deadline_s, detail)

    def stays(self, what: str, expected: str, look: CaseLook) -> None:
        """See that it stays so while KEDA polls the ScaledJob twice, and record it.

        KEDA writes again how late it was at the begin of each poll, to the nanosecond: with the third, two have ended.

        Raises
        ------
        StepBroken
            When it does not stay so.
        DeadlinePassed
            When KEDA does not poll it within the case's time.
        """
        began, polls = time.monotonic(), Polls(self)
        for _ in self._looks():
            still, detail = look()
            if not still:
                raise StepBroken(f"{what}: expected {expected}, seen {detail}")
            if polls.begun() > WHOLE_POLLS:
                self._record(Point(what, expected, f"{detail}, over two polls", round(time.monotonic() - began, 2)))
                return
        raise DeadlinePassed(f"{what}: two polls of KEDA", self._deadline_s, f"{polls.count} begun")

    def stays_for(self, seconds: float, what: str, expected: str, look: CaseLook) -> None:
        """See that it stays so for some seconds, where no poll of KEDA can be seen. Raises `StepBroken` when it does not."""
        detail = ""
        for _ in self._looks(seconds):
            still, detail = look()
            if not still:
                raise StepBroken(f"{what}: expected {expected}, seen {detail}")
        self._record(Point(what, expected, f"{detail}, over {seconds:.0f} s", round(seconds, 2)))

    def settle(self) -> None:
        """Wait until KEDA takes the ScaledJob and has polled it: it looks at a new one twice. Raises as `until` does."""
        self.until("ScaledJob", "Ready", lambda: self.condition("Ready", "True"))
        polls = Polls(self)
        self.until("polls", "polled", lambda: (polls.begun() > 1, f"{polls.count} polls begun"))

    def makes(self, count: int) -> None:
        """Wait until so many Jobs are there at once, and none more. Raises as `until` does, and `StepBroken` when more are."""
        self.until("Jobs at once", str(count), lambda: self.at_once(count))

    def keeps(self, count: int) -> None:
        """See that there are so many Jobs at once over two polls. Raises as `stays` does."""
        self.stays("Jobs at once", f"still {count}", lambda: self.at_once(count))

    def runs(self, count: int) -> None:
        """Wait until the pods of so many Jobs run. Raises as `until` does, and `StepBroken` when one cannot start."""
        self.until("pods that run", str(count), lambda: self._pods_run(count))

    def makes_one_more(self, count: int) -> None:
        """Send work for one Job, and see that it runs: it is the Job of this number. Raises as `until` does."""
        self.send_work_for(1)
        self.makes(count)
        self.take_all()
        self.runs(count)

    def jobs(self) -> list[Object]:
        """List the Jobs that KEDA has made for this case. Raises as `Kube.each` does."""
        jobs = list(self.systems.kube.each(JOBS, self.namespace, f"{SCALED_JOB_LABEL}={self.name}"))
        self._uids |= {job["metadata"]["uid"] for job in jobs}
        return jobs

    @property
    def made_count(self) -> int:
        """How many Jobs were ever seen."""
        return len(self._uids)

    def pods(self) -> list[Object]:
        """List the pods of this case's Jobs. Raises as `Kube.list` does."""
        return self.systems.kube.list(PODS, self.namespace, f"{smoke_objects.SMOKE_LABEL}={self.name}")

    def at_once(self, count: int, most: int | None = None) -> tuple[bool, str]:
        """Return whether so many Jobs are there that have not ended. Raises `StepBroken` when more than ``most`` are.

        Parameters
        ----------
        most
            None: as ``count``.
        """
        most = count if most is None else most
        active = sum(not is_finished(job) for job in self.jobs())
        detail = f"{active} Jobs at once, {self.made_count} made"
        if active > most:
            raise StepBroken(f"Jobs at once: expected no more than {most}, seen {detail}")
        return active == count, detail

    def condition(self, kind: str, wanted: str) -> tuple[bool, str]:
        """Return whether KEDA says this of the ScaledJob: Ready, Active or Paused."""
        live = self.systems.kube.find(SCALED_JOBS, self.name, self.namespace) or {}
        state = conditions(live).get(kind)
        if state is None:
            return False, f"no condition {kind} yet"
        return state["status"] == wanted, f"{kind}={state['status']}: {state.get('message', '')}".rstrip(": ")

    def is_worked_off(self) -> tuple[bool, str]:
        """Return whether the workers have read and acknowledged all events."""
        group = self.source.find_group(self.name, self.name)
        if group is None:
            raise StepBroken(f"the consumer group {self.name} is gone")
        return group.lag == 0 and group.pending == 0, f"lag {group.lag}, {group.pending} not acknowledged"

    def loop_late_s(self) -> float | None:
        """Return how late KEDA's last poll of the ScaledJob was; None: it has never polled it. Raises as `operator_metrics`."""
        return scale_loops(self._metrics()).get((self.namespace, self.name))

    def errors_count(self) -> float:
        """Return how many errors KEDA counts for the ScaledJob. Raises as `operator_metrics` does."""
        wanted = {"namespace": self.namespace, "scaledJob": self.name}
        counts = (count for labels, count in samples(self._metrics(), ERRORS) if wanted.items() <= labels.items())
        return next(counts, 0.0)

    def _metrics(self) -> str:
        return operator_metrics(self.systems.kube, self.systems.environment.keda.namespace)

    def _pods_run(self, count: int) -> tuple[bool, str]:
        pods = self.pods()
        running = sum(pod.get("status", {}).get("phase") == "Running" for pod in pods)
        why = worst_reason(pods, server_now(self.systems))
        if why and why.hopeless:
            raise StepBroken(f"a worker cannot start: {why.text}")
        return running == count, f"{running} pods run" + (f"; {why.text}" if why else "")

    def _record(self, point: Point) -> None:
        self.points.append(point)
        self.say(f"{point.what}: {point.observed} ({point.seconds:.1f} s)", EventKind.NOTE)

    def _looks(self, timeout_s: float | None = None) -> Iterator[None]:
        """Yield as `looks` does, until the case's own end if no time is given. Raises `Stopped` when the suite is to stop."""
        for _ in looks(self._end - time.monotonic() if timeout_s is None else timeout_s, self._watch, LOOK_S):
            if self._stop.is_set():
                raise Stopped
            yield


class Polls:
    """Counts the polls of a trial's ScaledJob that begin after this was made. Raises as `operator_metrics` does."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._last = trial.loop_late_s()
        self._looked = time.monotonic()
        self.count = 0

    def begun(self) -> int:
        """Return how many have begun."""
        if time.monotonic() - self._looked >= READ_S:
            self._looked = time.monotonic()
            now = self._trial.loop_late_s()
            self.count += now != self._last
            self._last = now
        return self.count
