"""The lock of a redeploy, without a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from prompt_keda.errors import BadAnswer, Missing, Refusal, StepBroken
from prompt_keda.model.plan import State
from prompt_keda.redeploy.lease import LEASE, Lock

ME = "me@here"


class Cluster:
    """Just enough of a Kube: one Lease, with UIDs and their preconditions."""

    def __init__(self):
        self.lease = None
        self.made = 0
        self.patches = 0

    def find(self, resource, name, namespace=None):
        return self.lease

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


def held_by(cluster, holder, age_s=0):
    renewed = (datetime.now(UTC) - timedelta(seconds=age_s)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 60, "renewTime": renewed}
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


@pytest.mark.parametrize("holder", ["other someone@elsewhere 7", f"run {ME} {os.getppid()}", "other someone@elsewhere"])
def test_a_lock_that_is_at_work_is_respected(holder):
    """Another run's, and this run's own other process: refused, and neither taken nor given back."""
    cluster = held_by(Cluster(), holder)
    lock = Lock(cluster, "run", ME)
    with pytest.raises(Refusal):
        lock.take()
    lock.release()
    assert cluster.lease["metadata"]["uid"] == "uid-other" and not lock.was_held


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
