"""The witness: whatever goes while it works is lost, whatever has ended before is not."""

from __future__ import annotations

import json
import threading

import pytest

from prompt_keda.clients.kube.resources import JOBS, PODS
from prompt_keda.lab.drills import witness as module
from prompt_keda.lab.drills.witness import Witness

NAMESPACE = "prompt-keda-lsstcam"


@pytest.fixture
def witness():
    made = Witness(lambda: None, [])
    made.phase("the recovery")
    return made


def job(condition="", dies=False):
    conditions = [{"type": condition, "status": "True"}] if condition else []
    return made("j", {"conditions": conditions}, dies)


def pod(phase="Running", dies=False):
    return made("p", {"phase": phase}, dies, [{"kind": "Job", "uid": "uid-j"}])


def made(name, status, dies, owners=()):
    metadata = {"namespace": NAMESPACE, "name": name, "uid": f"uid-{name}", "ownerReferences": list(owners)}
    if dies:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": metadata, "status": status}


LOST = {"uid-j": ("the recovery", f"Job {NAMESPACE}/j")}


@pytest.mark.parametrize(
    ("seen", "lost"),
    [
        ([(job(), False), (job("Complete"), False), (job("Complete"), True)], {}),
        ([(job(), False), (job("Failed"), False), (job("Failed"), True)], {}),
        ([(job(), False), (job(), True)], LOST),
        ([(job(), False), (job(dies=True), False)], LOST),
        ([(job(), False), (job(dies=True), False), (job("Failed", dies=True), False)], LOST),
    ],
)
def test_a_job_is_lost_if_it_goes_before_it_has_ended(witness, seen, lost):
    """Also one that is told to go and fails because of that."""
    for one, is_deleted in seen:
        witness._note(JOBS, one, is_deleted)
    assert witness.lost() == lost


def test_a_pod_whose_job_has_ended_is_not_lost(witness):
    """The two watches are not in step."""
    witness._note(JOBS, job("Complete"), False)
    witness._note(PODS, pod(), False)
    witness._note(PODS, pod(dies=True), False)
    assert witness.lost() == {}


def test_a_pod_that_is_told_to_go_is_lost(witness):
    """Its Job lives on: it will make another one, and the visit is gone."""
    witness._note(JOBS, job(), False)
    witness._note(PODS, pod(), False)
    witness._note(PODS, pod(dies=True), False)
    assert list(witness.lost()) == ["uid-p"] and witness.at_work_now() == {"uid-j"}


@pytest.mark.parametrize("said", [[], [f"Job {NAMESPACE}/j is gone"]])
def test_of_one_that_went_while_nobody_could_look_the_clusters_events_tell(witness, monkeypatch, said):
    """As `jobs.lost` reads them."""
    asked = []
    monkeypatch.setattr(module.running_jobs, "lost", lambda kube, records: asked.extend(records) or said)
    witness._note(JOBS, job(), False)
    witness._note_list(JOBS, NAMESPACE, [])
    assert [one for _, one in witness.lost().values()] == [one.removesuffix(" is gone") for one in said]
    assert [one.name for one in asked] == ["j"]


class Server:
    """An API server that has these objects, by kind, and whose watches tell this."""

    def __init__(self, has, told=()):
        self.has, self.told = has, told

    def get_raw(self, path, query):
        return {"items": self.has.get(path.rpartition("/")[2], []), "metadata": {"resourceVersion": "1"}}

    def open(self, *_, **__):
        return [json.dumps({"type": kind, "object": one}) for kind, one in self.told]


def test_what_was_told_to_go_before_the_first_look_is_nobodys_loss(witness):
    """It is still on its way out from a drill before; another that is told to go from then on is one."""
    going, working = job(dies=True), made("k", {}, False)
    ends = [("DELETED", going), ("MODIFIED", made("k", {}, True))]
    witness._looked = {(JOBS, NAMESPACE): threading.Event()}
    server = Server({"jobs": [going, working]}, told=ends)
    witness._connect = lambda: server
    witness._look_and_watch(server, JOBS, NAMESPACE)
    assert witness.at_work_now() == set() and list(witness.lost()) == ["uid-k"]


@pytest.mark.parametrize("said", [[], [f"Pod {NAMESPACE}/p is being deleted"]])
def test_of_one_that_was_told_to_go_and_ended_while_nobody_could_look_the_clusters_events_tell(
    witness, monkeypatch, said
):
    """It may have ended because of that: a pod that is killed is Failed then."""
    monkeypatch.setattr(module.running_jobs, "lost", lambda kube, records: said)
    witness._note(PODS, pod(), False)
    witness._note_list(PODS, NAMESPACE, [pod("Failed", dies=True)])
    assert [one for _, one in witness.lost().values()] == [f"Pod {NAMESPACE}/p" for _ in said]


def test_what_went_while_a_watch_hangs_is_seen_by_a_last_look(monkeypatch):
    """A connection that nobody answers is told only after a minute: what is not known may not be green."""
    monkeypatch.setattr(module.running_jobs, "lost", lambda kube, records: [f"Job {NAMESPACE}/j is gone"])
    server = Server({"jobs": [job()]})
    hangs = threading.Event()
    monkeypatch.setattr(server, "open", lambda *_, **__: iter(lambda: hangs.wait(30), True))
    with Witness.at_work(lambda: server, [NAMESPACE]) as witness:
        assert witness.at_work_now() == {"uid-j"}
        server.has = {}
        assert list(witness.lost()) == ["uid-j"]
    hangs.set()


def test_workers_are_pods_that_run(witness):
    """One that waits for its image, and one that has ended, do no work."""
    for phase, count in (("Pending", 0), ("Running", 1), ("Succeeded", 0)):
        witness._note(PODS, pod(phase), False)
        assert witness.workers_count() == count
    witness._note(JOBS, job(), False)
    assert witness.workers_count() == 0
