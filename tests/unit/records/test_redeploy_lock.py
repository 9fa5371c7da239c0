"""The lock of a redeploy, without a cluster."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from prompt_keda.core.errors import BadAnswer, Missing, Refusal, StepBroken
from prompt_keda.core.plan import State
from prompt_keda.records.lock import LEASE, Lock, find_run_at_work
from prompt_keda.records.lock_lease import ends

ME = "me@here"


class Cluster:
    """Just enough of a Kube: one Lease, with UIDs and their preconditions."""

    def __init__(self):
        self.lease = None
        self.made = 0
        self.patches = 0
        self.time = datetime.now(UTC)
        self.waited_s = 0
        self.meanwhile = lambda: None

    def server_time(self):
        return self.time

    def watch(self, targets):
        return self

    def wait(self, timeout_s):
        """Time passes, as this cluster's clock tells it, and what happens meanwhile happens after ten seconds."""
        self.time += timedelta(seconds=timeout_s)
        self.waited_s += timeout_s
        if self.waited_s > 10:
            self.meanwhile()

    def close(self):
        self.meanwhile = None

    def find(self, resource, name, namespace=None):
        return copy.deepcopy(self.lease)

    def create(self, resource, body, namespace=None):
        if self.lease is not None:
            raise BadAnswer("Kubernetes", "x", "409 on POST: there already")
        self.made += 1
        self.lease = {**body, "metadata": {**body["metadata"], "uid": f"uid-{self.made}"}}
        return self.lease

    def patch(self, resource, name, namespace, body):
        if self.lease is None:
            raise Missing("Kubernetes", "x", "404 on PATCH")
        if body["metadata"]["uid"] != self.lease["metadata"]["uid"]:
            raise BadAnswer("Kubernetes", "x", "409 on PATCH: Precondition failed")
        self.lease["spec"].update(body["spec"])
        self.patches += 1

    def delete(self, resource, name, namespace=None, uid=None):
        assert name == LEASE
        if self.lease is not None and self.lease["metadata"]["uid"] == uid:
            self.lease = None


def held_by(cluster, holder, age_s=0, duration_s=60):
    renewed = (cluster.time - timedelta(seconds=age_s)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": holder, "leaseDurationSeconds": duration_s, "renewTime": renewed}
    cluster.lease = {"metadata": {"name": LEASE, "uid": "uid-other"}, "spec": spec}
    return cluster


def dead_pid():
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
    ended.wait()
    return ended.pid


def soon(look):
    end = time.monotonic() + 5
    while not look():
        assert time.monotonic() < end
        time.sleep(0.005)
    return True


def test_a_free_lock_is_taken_and_given_back():
    """And what is left is nothing."""
    cluster = Cluster()
    lock = Lock(cluster, "run", ME)
    assert lock.inspect().state is State.TODO
    lock.take()
    assert lock.inspect().state is State.DONE and lock.was_held
    lock.release()
    assert cluster.lease is None


def patient(cluster, run="run"):
    """Return a lock on a cluster's own clock, and what is reported meanwhile."""
    events = []
    return Lock(cluster, run, ME, events.append), events


@pytest.mark.parametrize(
    ("holder", "duration_s"),
    [(f"run {ME} {os.getppid()}", 60), (f"other {ME} 1", 60), ("other someone@elsewhere", 600)],
)
def test_a_lock_that_is_at_work_here_or_lasts_long_is_respected_at_once(holder, duration_s):
    """A live process of this machine, of whatever run, and one that no killed process keeps: refused, and left alone."""
    cluster = held_by(Cluster(), holder, duration_s=duration_s)
    lock, events = patient(cluster)
    with pytest.raises(Refusal, match=r"at work|someone@elsewhere"):
        lock.take()
    lock.release()
    assert cluster.lease["metadata"]["uid"] == "uid-other" and not lock.was_held
    assert events == [] and cluster.waited_s == 0


@pytest.mark.parametrize("run", ["run", "other"])
def test_the_lock_of_a_process_killed_elsewhere_is_taken_when_it_expires(run):
    """Its own run's, for resume, and another's: the wait names the holder, and says how long it will be."""
    cluster = held_by(Cluster(), f"{run} someone@elsewhere 7", age_s=30)
    lock, events = patient(cluster)
    assert lock.inspect().state is State.TODO
    lock.take()
    assert cluster.lease["metadata"]["uid"] == "uid-1" and cluster.waited_s == pytest.approx(30, abs=0.1)
    assert events[0].detail.startswith(f"waits for the lock of {run} someone@elsewhere 7, expires in 30 s")
    assert len(events) == 6, "a line each five seconds"


def test_a_holder_that_renews_its_lock_is_alive():
    """Refused as soon as that is seen, naming it; its lock is left alone."""
    cluster = held_by(Cluster(), "run someone@elsewhere 7")
    cluster.meanwhile = lambda: cluster.lease["spec"].update(renewTime="2999-01-01T00:00:00.000000Z")
    lock, _ = patient(cluster)
    with pytest.raises(Refusal, match="run someone@elsewhere 7 holds the lock, and renews it"):
        lock.take()
    assert cluster.lease["metadata"]["uid"] == "uid-other" and cluster.waited_s < 15 and not lock.was_held


def test_a_holder_that_ends_meanwhile_has_changed_what_was_planned_on():
    """Its redeploy is over: this one looks again instead of going on with an old plan."""
    cluster = held_by(Cluster(), "other someone@elsewhere 7")
    cluster.meanwhile = lambda: setattr(cluster, "lease", None)
    lock, _ = patient(cluster)
    with pytest.raises(Refusal, match="has just ended"):
        lock.take()
    assert cluster.lease is None


@pytest.mark.parametrize("spec", [None, {}, {"renewTime": "soon", "leaseDurationSeconds": 60}, {"holderIdentity": "x"}])
def test_a_lock_that_makes_no_sense_has_expired(spec):
    """Nobody renews such a thing."""
    cluster = Cluster()
    cluster.lease = {"metadata": {"name": LEASE, "uid": "uid-other"}, "spec": spec}
    lock, _ = patient(cluster)
    lock.take()
    assert cluster.lease["metadata"]["uid"] == "uid-1" and cluster.waited_s == 0


def test_the_lock_of_a_killed_process_of_the_same_run_is_taken_at_once():
    """So that resume need not wait."""
    cluster = held_by(Cluster(), f"run {ME} {dead_pid()}")
    Lock(cluster, "run", ME).take()
    assert cluster.lease["metadata"]["uid"] == "uid-1"


def test_an_expired_lock_is_taken():
    """Its holder was killed: a minute later the next one may work."""
    cluster = held_by(Cluster(), "other someone@elsewhere 7", age_s=61)
    Lock(cluster, "run", ME).take()
    assert cluster.lease["metadata"]["uid"] == "uid-1"


@pytest.mark.parametrize("apart_h", [-1, 1])
def test_two_machines_need_not_agree_on_the_time(apart_h):
    """The API server's clock alone counts: a lock that was just taken has not expired, and does not last for an hour."""
    cluster = Cluster()
    cluster.time += timedelta(hours=apart_h)
    lock = Lock(cluster, "run", "other@there")
    lock.take()
    assert ends(cluster.lease) == cluster.time + timedelta(seconds=60)
    inspection = Lock(cluster, "another", ME).inspect()
    assert inspection.state is State.TODO and "expires in 60 s" in inspection.detail
    assert find_run_at_work(cluster) == "run"
    lock.release()


def test_a_lock_is_renewed_while_it_is_held():
    """So a redeploy may take longer than the lock lasts."""
    cluster = Cluster()
    lock = Lock(cluster, "run", ME, renew_s=0.01)
    lock.take()
    assert soon(lambda: cluster.patches >= 3)
    lock.check()
    lock.release()


@pytest.mark.parametrize("taken", [True, False])
def test_a_lost_lock_stops_the_run(taken):
    """Taken over or deleted: nothing more is written, and the other's lock is left alone."""
    cluster = Cluster()
    lock = Lock(cluster, "run", ME, renew_s=0.01)
    lock.take()
    cluster.lease = None
    if taken:
        held_by(cluster, "other someone@elsewhere 7")

    def lost():
        try:
            lock.check()
        except StepBroken:
            return True
        return False

    assert soon(lost)
    lock.release()
    assert (cluster.lease is not None) is taken
