"""The job watcher: a Job that goes while it works is lost, one that has ended before is not."""

from __future__ import annotations

import json
import threading

import pytest

from prompt_keda.clients.kube.resources import JOBS, PODS
from prompt_keda.components.scaled_jobs.objects import SCALED_JOB_LABEL
from prompt_keda.lab.drills import job_watcher as module
from prompt_keda.lab.drills.job_watcher import JobWatcher

NAMESPACE = "prompt-keda-lsstcam"


@pytest.fixture
def job_watcher():
    made = JobWatcher(lambda: Server({}), [])
    made.phase("the recovery")
    return made


def job(condition="", dies=False):
    conditions = [{"type": condition, "status": "True"}] if condition else []
    return made("j", {"conditions": conditions}, dies)


def pod(phase="Running", dies=False):
    return made("p", {"phase": phase}, dies, [{"kind": "Job", "uid": "uid-j"}])


def made(name, status, dies, owners=()):
    metadata = {"namespace": NAMESPACE, "name": name, "uid": f"uid-{name}", "ownerReferences": list(owners)}
    metadata["labels"] = {SCALED_JOB_LABEL: "s"}
    if dies:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": metadata, "status": status}


LOST = {"uid-j": ("the recovery", f"Job {NAMESPACE}/j")}


@pytest.mark.parametrize(
    ("events", "lost"),
    [
        ([(job(), False), (job("Complete"), False), (job("Complete"), True)], {}),
        ([(job(), False), (job("Failed"), False), (job("Failed"), True)], {}),
        ([(job(), False), (job(), True)], LOST),
        ([(job(), False), (job(dies=True), False)], LOST),
        ([(job(), False), (job(dies=True), False), (job("Failed", dies=True), False)], LOST),
    ],
)
def test_a_job_is_lost_if_it_goes_before_it_has_ended(job_watcher, events, lost):
    """Also one that is told to go and fails because of that."""
    for obj, is_deleted in events:
        job_watcher._note(JOBS, obj, is_deleted)
    assert job_watcher.lost() == lost


@pytest.mark.parametrize(("owner", "lost"), [("there", []), ("gone", ["uid-j"]), ("", [])])
def test_a_job_whose_scaled_job_is_gone_is_lost(job_watcher, owner, lost):
    """The garbage collector may come minutes later. One that was let go has no owner any more."""
    job_watcher._connect = lambda: Server({"scaledjobs": [{"metadata": {"uid": "there"}}]})
    job_watcher._note(JOBS, made("j", {}, False, [{"kind": "ScaledJob", "uid": "theirs"}]), False)
    job_watcher._note(JOBS, made("j", {}, False, [{"kind": "ScaledJob", "uid": owner}] * bool(owner)), False)
    assert list(job_watcher.lost()) == lost


def test_a_job_that_loses_kedas_label_is_followed_on(job_watcher):
    """It works on; lost is what is deleted. A Job that never had the label is somebody else's."""
    bare = job()
    bare["metadata"]["labels"] = {}
    job_watcher._note(JOBS, job(), False)
    job_watcher._note(JOBS, bare, False)
    assert job_watcher.lost() == {}
    job_watcher._note(JOBS, bare, True)
    assert job_watcher.lost() == LOST
    other = {"metadata": {**bare["metadata"], "uid": "uid-other"}, "status": {}}
    job_watcher._note(JOBS, other, False)
    job_watcher._note(JOBS, other, True)
    assert job_watcher.lost() == LOST


def test_a_pod_whose_job_has_ended_is_not_lost(job_watcher):
    """The two watches are not in step."""
    job_watcher._note(JOBS, job("Complete"), False)
    job_watcher._note(PODS, pod(), False)
    job_watcher._note(PODS, pod(dies=True), False)
    assert job_watcher.lost() == {}


def test_a_pod_that_is_told_to_go_is_lost(job_watcher):
    """Its Job lives on: it will make another one, and the visit is gone."""
    job_watcher._note(JOBS, job(), False)
    job_watcher._note(PODS, pod(), False)
    job_watcher._note(PODS, pod(dies=True), False)
    assert list(job_watcher.lost()) == ["uid-p"] and job_watcher.at_work_now() == {"uid-j"}


@pytest.mark.parametrize("message", [[], [f"Job {NAMESPACE}/j is gone"]])
def test_of_one_that_went_while_nobody_could_look_the_clusters_events_tell(job_watcher, monkeypatch, message):
    """As `jobs.lost` reads them."""
    asked = []
    monkeypatch.setattr(module.running_jobs, "lost", lambda kube, records: asked.extend(records) or message)
    job_watcher._note(JOBS, job(), False)
    job_watcher._note_list(JOBS, NAMESPACE, [])
    assert [obj for _, obj in job_watcher.lost().values()] == [obj.removesuffix(" is gone") for obj in message]
    assert [obj.name for obj in asked] == ["j"]


class Server:
    """An API server that has these objects, by kind, and whose watches tell this."""

    def __init__(self, has, watched=()):
        self.has, self.told = has, watched

    def get_raw(self, path, query):
        return {"items": self.has.get(path.rpartition("/")[2], []), "metadata": {"resourceVersion": "1"}}

    def list(self, kind):
        return self.has.get(kind.plural, [])

    def open(self, *_, **__):
        return [json.dumps({"type": kind, "object": obj}) for kind, obj in self.told]


def test_what_was_told_to_go_before_the_first_look_is_nobodys_loss(job_watcher):
    """It is still being deleted from a drill before; another that is told to go from then on is one."""
    going, working = job(dies=True), made("k", {}, False)
    ends = [("DELETED", going), ("MODIFIED", made("k", {}, True))]
    job_watcher._looked = {(JOBS, NAMESPACE): threading.Event()}
    server = Server({"jobs": [going, working]}, watched=ends)
    job_watcher._connect = lambda: server
    job_watcher._look_and_watch(server, JOBS, NAMESPACE)
    assert job_watcher.at_work_now() == set() and list(job_watcher.lost()) == ["uid-k"]


@pytest.mark.parametrize("message", [[], [f"Pod {NAMESPACE}/p is being deleted"]])
def test_of_one_that_was_told_to_go_and_ended_while_nobody_could_look_the_clusters_events_tell(
    job_watcher, monkeypatch, message
):
    """It may have ended because of that: a pod that is killed is Failed then."""
    monkeypatch.setattr(module.running_jobs, "lost", lambda kube, records: message)
    job_watcher._note(PODS, pod(), False)
    job_watcher._note_list(PODS, NAMESPACE, [pod("Failed", dies=True)])
    assert [obj for _, obj in job_watcher.lost().values()] == [f"Pod {NAMESPACE}/p" for _ in message]


def test_what_went_while_a_watch_hangs_is_seen_by_a_last_look(monkeypatch):
    """A connection that nobody answers is told only after a minute: what is not known may not be green."""
    monkeypatch.setattr(module.running_jobs, "lost", lambda kube, records: [f"Job {NAMESPACE}/j is gone"])
    server = Server({"jobs": [job()]})
    hangs = threading.Event()
    monkeypatch.setattr(server, "open", lambda *_, **__: iter(lambda: hangs.wait(30), True))
    with JobWatcher.at_work(lambda: server, [NAMESPACE]) as job_watcher:
        assert job_watcher.at_work_now() == {"uid-j"}
        server.has = {}
        assert list(job_watcher.lost()) == ["uid-j"]
    hangs.set()


def test_workers_are_pods_that_run(job_watcher):
    """One that waits for its image, and one that has ended, do no work."""
    for phase, count in (("Pending", 0), ("Running", 1), ("Succeeded", 0)):
        job_watcher._note(PODS, pod(phase), False)
        assert job_watcher.workers_count() == count
    job_watcher._note(JOBS, job(), False)
    assert job_watcher.workers_count() == 0


def test_what_has_run_is_known_with_its_job(job_watcher):
    """Also once it has ended; a pod that never began, and its Job, are not among them."""
    job_watcher._note(JOBS, job(), False)
    job_watcher._note(PODS, pod("Pending"), False)
    assert job_watcher.have_run() == set()
    for phase in ("Running", "Succeeded"):
        job_watcher._note(PODS, pod(phase), False)
    assert job_watcher.have_run() == {"uid-j", "uid-p"}
