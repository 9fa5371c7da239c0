"""What became of every Job and pod of the instruments: seen by watches that run throughout, not by two lists."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import JOBS, PODS, SCALED_JOBS, Resource
from prompt_keda.clients.kube.watch import events
from prompt_keda.components.scaled_jobs import running_jobs
from prompt_keda.components.scaled_jobs.objects import SCALED_JOB_LABEL, is_finished
from prompt_keda.core.decisions import JobRecord
from prompt_keda.core.errors import DeadlinePassed, Missing, PromptKedaError

QUERIES = {JOBS: {}, PODS: {"labelSelector": running_jobs.POD_LABEL}}
"""What is watched. All Jobs: one that loses KEDA's label would look deleted to a watch of those that have it."""
FIRST_LOOK_S = 20.0
AGAIN_S = 0.5
WATCH_S = 60


@dataclass
class Watched:
    """One Job or pod as it was seen last.

    Parameters
    ----------
    has_ended
        It is Complete or Failed by itself: whoever removes it then takes nothing away. Or it was being deleted before the first
        look, and so by nobody whom this is about.
    is_running, has_run
        It is a pod whose containers run, or ran.
    lost_in
        The phase in which it was deleted while it worked; empty: it did not.
    owner
        UID of the ScaledJob that owns a Job; empty: none does.
    is_doubtful
        A look after a gap did not find it, or found it ended and being deleted: the API server's events have to say whether it
        ended by itself.
    """

    record: JobRecord
    has_ended: bool = False
    is_running: bool = False
    has_run: bool = False
    lost_in: str = ""
    owner: str = ""
    is_doubtful: bool = False


class JobWatcher:
    """Follows the Jobs and pods of namespaces. Where the API server is away, it looks again as soon as it can.

    Parameters
    ----------
    connect
        Gives the API server, as its administrator.
    namespaces
        Those of the instruments. What the smoke test makes is its own, and not looked at.
    """

    def __init__(self, connect: Callable[[], Kube], namespaces: Sequence[str]) -> None:
        self._connect = connect
        self._phase = ""
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._seen: dict[str, Watched] = {}
        targets = [(kind, namespace) for kind in QUERIES for namespace in namespaces]
        self._looked = {target: threading.Event() for target in targets}
        for target in targets:
            threading.Thread(target=self._follow, args=target, daemon=True, name=f"job watcher of {target[1]}").start()

    @classmethod
    @contextmanager
    def at_work(cls, connect: Callable[[], Kube], namespaces: Sequence[str]) -> Iterator[JobWatcher]:
        """Follow for a while. Raises `DeadlinePassed` when a first look is not possible within 20 s."""
        job_watcher = cls(connect, namespaces)
        try:
            for (kind, namespace), looked in job_watcher._looked.items():
                if not looked.wait(FIRST_LOOK_S):
                    raise DeadlinePassed(f"a first look at {kind.plural} of {namespace}", FIRST_LOOK_S, "no answer")
            yield job_watcher
        finally:
            job_watcher._over.set()

    def phase(self, name: str) -> None:
        """Record what is going on from now: what is lost is counted for it."""
        with self._lock:
            self._phase = name

    def at_work_now(self) -> set[str]:
        """Return the UIDs of the Jobs and pods that work now."""
        with self._lock:
            return {uid for uid, watched in self._seen.items() if not (watched.has_ended or watched.lost_in)}

    def workers_count(self) -> int:
        """Return how many pods run now: one that waits for its node or its image does not."""
        with self._lock:
            return sum(
                watched.is_running and not (watched.has_ended or watched.lost_in) for watched in self._seen.values()
            )

    def have_run(self) -> set[str]:
        """Return the UIDs of the pods that ran at any time, and of their Jobs."""
        with self._lock:
            pods = {uid: watched.record.job_uid for uid, watched in self._seen.items() if watched.has_run}
        return {*pods, *pods.values()}

    def lost(self) -> dict[str, tuple[str, str]]:
        """Return UID → phase and words of each that was lost. Raises as `Kube.list` does: what is not known is never green.

        It looks once more: a watch whose connection hangs is silent for a minute, and does not know that. A Job whose owner is
        gone counts as well: the garbage collector deletes it, be it minutes later, as it tries again less and less often while the
        owner's CRD is missing.
        """
        kube = self._connect()
        for kind, namespace in self._looked:
            self._look(kube, kind, namespace)
        owners = _scaled_jobs(kube)
        with self._lock:
            lost = {
                uid: (watched.lost_in, _name(watched.record)) for uid, watched in self._seen.items() if watched.lost_in
            }
            lost |= {
                uid: (self._phase or "before", f"{_name(watched.record)}, whose ScaledJob is gone,")
                for uid, watched in self._seen.items()
                if watched.owner
                and watched.owner not in owners
                and not (watched.has_ended or watched.is_doubtful or watched.lost_in)
            }
            doubtful = {uid: watched for uid, watched in self._seen.items() if watched.is_doubtful and uid not in lost}
        names = (
            set(running_jobs.lost(kube, tuple(watched.record for watched in doubtful.values()))) if doubtful else set()
        )
        for uid, watched in doubtful.items():
            if any(words.startswith(f"{_name(watched.record)} ") for words in names):
                lost[uid] = ("while nobody could look", _name(watched.record))
        return lost

    def _follow(self, kind: Resource, namespace: str) -> None:
        while not self._over.is_set():
            try:
                self._look_and_watch(self._connect(), kind, namespace)
            except _broken():
                self._over.wait(AGAIN_S)

    def _look_and_watch(self, kube: Kube, kind: Resource, namespace: str) -> None:
        query = {**QUERIES[kind], "watch": "1", "resourceVersion": self._look(kube, kind, namespace)}
        self._looked[kind, namespace].set()
        answer = kube.open("GET", kind.path(namespace), query=query, timeout_s=WATCH_S, stream=True)
        for event in events(answer):
            if self._over.is_set() or event["type"] == "ERROR":
                return
            self._note(kind, event["object"], event["type"] == "DELETED")

    def _look(self, kube: Kube, kind: Resource, namespace: str) -> str:
        """Note what is there, and return the version from which a watch goes on."""
        listed = kube.get_raw(kind.path(namespace), QUERIES[kind])
        items = listed.get("items") or []
        if not self._looked[kind, namespace].is_set():
            with self._lock:
                going = [obj for obj in items if "deletionTimestamp" in obj["metadata"]]
                self._seen |= {obj["metadata"]["uid"]: Watched(self._record(kind, obj), True) for obj in going}
        self._note_list(kind, namespace, items)
        return str(listed["metadata"]["resourceVersion"])

    def _note_list(self, kind: Resource, namespace: str, items: Sequence[Object]) -> None:
        for obj in items:
            self._note(kind, obj, False)
        live = {obj["metadata"]["uid"] for obj in items}
        with self._lock:
            for uid, watched in self._seen.items():
                is_here = (watched.record.kind, watched.record.namespace) == (kind.kind, namespace)
                if is_here and uid not in live and not watched.has_ended:
                    watched.is_doubtful = True

    def _note(self, kind: Resource, obj: Object, is_deleted: bool) -> None:
        uid = obj["metadata"]["uid"]
        with self._lock:
            watched = self._seen.get(uid)
            if watched is None:
                if kind == JOBS and SCALED_JOB_LABEL not in obj["metadata"].get("labels", {}):
                    return
                watched = self._seen[uid] = Watched(self._record(kind, obj))
            watched.owner = _owner(obj, SCALED_JOBS.kind)
            watched.is_running = kind == PODS and obj.get("status", {}).get("phase") == "Running"
            watched.has_run = watched.has_run or watched.is_running
            goes = is_deleted or "deletionTimestamp" in obj["metadata"]
            if _has_ended(kind, obj) and not (watched.has_ended or watched.lost_in):
                watched.has_ended, watched.is_doubtful = True, goes and not self._job_has_ended(watched)
            if goes and not watched.has_ended and not watched.lost_in and not self._job_has_ended(watched):
                watched.lost_in = self._phase or "before"

    def _record(self, kind: Resource, obj: Object) -> JobRecord:
        return running_jobs.record(kind.kind, obj, _owner(obj, JOBS.kind))

    def _job_has_ended(self, known: Watched) -> bool:
        """Return whether a pod's Job is known to have ended: the two watches are not in step."""
        job = self._seen.get(known.record.job_uid)
        return job is not None and job.has_ended


def _owner(obj: Object, kind: str) -> str:
    """Return the UID of an object's owner of a kind; empty if it has none."""
    owners = obj["metadata"].get("ownerReferences") or []
    return next((str(owner["uid"]) for owner in owners if owner["kind"] == kind), "")


def _scaled_jobs(kube: Kube) -> set[str]:
    """Return the UIDs of all ScaledJobs; none while their CRD is missing."""
    try:
        return {live["metadata"]["uid"] for live in kube.list(SCALED_JOBS)}
    except Missing:
        return set()


def _has_ended(kind: Resource, obj: Object) -> bool:
    if kind == JOBS:
        return is_finished(obj)
    return obj.get("status", {}).get("phase") in ("Succeeded", "Failed")


def _name(record: JobRecord) -> str:
    return f"{record.kind} {record.namespace}/{record.name}"


def _broken() -> tuple[type[Exception], ...]:
    from urllib3.exceptions import HTTPError

    # AttributeError: urllib3's own, when an answer is closed while it is read
    return (PromptKedaError, OSError, ValueError, KeyError, AttributeError, HTTPError)
