"""The Jobs and pods of one ScaledJob, counted by how far they came."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from prompt_keda.clients.kube.conditions import conditions, has_condition
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import JOBS, PODS
from prompt_keda.clients.systems import Systems
from prompt_keda.components.cluster.clock import server_now
from prompt_keda.components.scaled_jobs.objects import SCALED_JOB_LABEL, is_finished, is_suspended
from prompt_keda.environment.model import Instrument

AT_ONCE = timedelta(seconds=1)
"""A worker whose container ran no longer has read nothing: one that waits for an event waits for seconds at least."""
LATELY = timedelta(minutes=1)
ENDS = ("Complete", "Failed")


@dataclass(frozen=True)
class Worker:
    """A Job of a ScaledJob, and its newest pod. Ages are by the API server's clock; None: it is not so far.

    Parameters
    ----------
    name, pod_name
        The Job's, and its pod's; empty: it has none.
    made
        Age of the Job.
    ended
        How long ago the Job was Complete or Failed.
    has_failed
        It ended, and not well.
    is_suspended
        It is not finished, and gets no pod.
    pod
        Age of its pod.
    scheduled
        How long its pod has a node.
    is_at_work
        All its containers run.
    over
        How long ago its pod has ended; the Job hears of it a moment later.
    ran
        How long the containers of its pod ran, where all have ended.
    """

    name: str
    made: timedelta
    ended: timedelta | None = None
    has_failed: bool = False
    is_suspended: bool = False
    pod: timedelta | None = None
    scheduled: timedelta | None = None
    is_at_work: bool = False
    over: timedelta | None = None
    ran: timedelta | None = None
    pod_name: str = ""

    @property
    def has_run(self) -> bool:
        """Whether it is at work, or was."""
        return self.is_at_work or self.over is not None or self.ended is not None

    @property
    def is_open(self) -> bool:
        """Whether it is at work or may be soon."""
        return self.ended is None and not self.is_suspended

    @property
    def ended_at_once(self) -> bool:
        """Whether its containers ended, well or not, before they could have read an event."""
        return self.ran is not None and self.ran <= AT_ONCE


@dataclass(frozen=True)
class Workers:
    """All Jobs of one ScaledJob that are there, in counts and ages."""

    all: tuple[Worker, ...] = field(default=())

    @property
    def open(self) -> tuple[Worker, ...]:
        """Those that are at work or may be soon."""
        return tuple(worker for worker in self.all if worker.is_open)

    @property
    def at_work_count(self) -> int:
        """How many run."""
        return sum(worker.is_at_work for worker in self.open)

    @property
    def suspended_count(self) -> int:
        """How many are suspended: KEDA counts them, and none of them takes an event."""
        return sum(worker.is_suspended for worker in self.all)

    @property
    def newest_made(self) -> timedelta | None:
        """Age of the newest Job."""
        return min((worker.made for worker in self.all), default=None)

    def starting_count(self, within: timedelta) -> int:
        """Return how many are to be at work soon: so young a Job may still start."""
        return sum(worker.made <= within for worker in self.open if not worker.is_at_work)

    def left_count(self, within: timedelta) -> int:
        """Return how many have ended well in so short a time that KEDA may not have replaced them.

        Nor may KEDA replace one before its Job hears that its pod has ended.
        """
        ends = [(worker, worker.over if worker.ended is None else worker.ended) for worker in self.all]
        ended = [worker for worker, since in ends if since is not None and since <= within]
        return sum(not (worker.has_failed or worker.ended_at_once) for worker in ended)

    def ended_at_once(self) -> list[Worker]:
        """Return the workers that ended lately, as soon as they had begun."""
        return [worker for worker in self.all if worker.ended_at_once and worker.made <= LATELY]


def workers_of(systems: Systems, instrument: Instrument) -> Workers:
    """Read the Jobs and pods of an instrument's ScaledJob, in pages. Raises as `Kube.each` does."""
    now, label = server_now(systems), f"{SCALED_JOB_LABEL}={instrument.scaled_job}"
    pods: dict[str, Object] = {}
    for pod in systems.kube.each(PODS, instrument.namespace):
        for owner in pod["metadata"].get("ownerReferences") or []:
            newest = pods.get(owner["uid"])
            if newest is None or _made(newest) < _made(pod):
                pods[owner["uid"]] = pod
    jobs = systems.kube.each(JOBS, instrument.namespace, label)
    return Workers(tuple(_worker(job, pods.get(job["metadata"]["uid"]), now) for job in jobs))


def _made(obj: Object) -> str:
    return str(obj["metadata"]["creationTimestamp"])


def _worker(job: Object, pod: Object | None, now: datetime) -> Worker:
    def age(stamp: str | None) -> timedelta | None:
        return max(timedelta(0), now - datetime.fromisoformat(stamp)) if stamp else None

    made, states = age(_made(job)) or timedelta(0), conditions(job)
    end = next((states[kind] for kind in ENDS if states.get(kind, {}).get("status") == "True"), {})
    ended = (age(end.get("lastTransitionTime")) or timedelta(0)) if end else None
    scheduled = conditions(pod or {}).get("PodScheduled", {})
    return Worker(
        name=job["metadata"]["name"],
        made=made,
        ended=ended,
        has_failed=has_condition(job, "Failed"),
        is_suspended=is_suspended(job) and not is_finished(job),
        pod=age(_made(pod)) if pod else None,
        scheduled=age(scheduled.get("lastTransitionTime")) if scheduled.get("status") == "True" else None,
        is_at_work=pod is not None and _is_at_work(pod),
        over=age(_ended_at(pod)) if pod else None,
        ran=_ran(pod) if pod else None,
        pod_name=pod["metadata"]["name"] if pod else "",
    )


def _is_at_work(pod: Object) -> bool:
    """Return whether all containers of a pod run; one that crashes again and again does not, though its pod is Running."""
    status = pod.get("status") or {}
    states = [container.get("state") or {} for container in status.get("containerStatuses") or []]
    return status.get("phase") == "Running" and not any("waiting" in state for state in states)


def _ended_at(pod: Object) -> str | None:
    """Return when the last container of a pod that is over ended; None: it is not over, or does not say."""
    status = pod.get("status") or {}
    if status.get("phase") not in ("Succeeded", "Failed"):
        return None
    states = [container.get("state") or {} for container in status.get("containerStatuses") or []]
    return max((state["terminated"]["finishedAt"] for state in states if "terminated" in state), default=_made(pod))


def _ran(pod: Object) -> timedelta | None:
    spans = list(_spans(pod))
    return max(spans) if spans and None not in spans else None  # type: ignore[type-var]


def _spans(pod: Object) -> Iterator[timedelta | None]:
    """Yield how long each container ran last; None for one that runs."""
    for container in (pod.get("status") or {}).get("containerStatuses") or []:
        state = container.get("state") or {}
        ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
        if "running" in state or not (ended.get("startedAt") and ended.get("finishedAt")):
            yield None
        else:
            yield datetime.fromisoformat(ended["finishedAt"]) - datetime.fromisoformat(ended["startedAt"])
