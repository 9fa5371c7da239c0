"""A kind is looked for again before it is said not to be served; what is no answer says nothing. Without a cluster."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.resources import JOBS
from prompt_keda.core.errors import BadAnswer, Missing

SCALED_JOB = {"kind": "ScaledJob", "name": "scaledjobs", "namespaced": True}
AUTHENTICATION = {"kind": "TriggerAuthentication", "name": "triggerauthentications", "namespaced": True}
VERSION = "keda.sh/v1alpha1"


class Server(Kube):
    """Whose discovery gives one answer after the other, then the last again."""

    address = "https://fake.test"

    def __init__(self, *answers):
        self._plurals, self.answers, self.asked = {}, list(answers), 0

    def get_raw(self, path):
        self.asked += 1
        return {"resources": self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]}


def find(server, kind):
    return server.resource_of({"apiVersion": VERSION, "kind": kind}).plural


def test_a_kind_whose_crd_came_later_is_found():
    """A drill had shown a redeploy that failed: it had asked before its CRD was applied."""
    server = Server([SCALED_JOB], [SCALED_JOB, AUTHENTICATION])
    assert find(server, "ScaledJob") == "scaledjobs"
    assert find(server, "TriggerAuthentication") == "triggerauthentications"
    assert find(server, "ScaledJob") == "scaledjobs" and server.asked == 2


def test_a_kind_that_is_not_served_is_said_so():
    """Each time the server is asked again."""
    server = Server([SCALED_JOB])
    find(server, "ScaledJob")
    for asked in (2, 3):
        with pytest.raises(Missing, match="is not served"):
            find(server, "TriggerAuthentication")
        assert server.asked == asked


class Rubbish(Kube):
    """It answers everything with 200 and the same bytes."""

    address = "https://fake.test"

    def __init__(self, data):
        self.data = data

    def open(self, *arguments, **more):
        return SimpleNamespace(data=self.data)


@pytest.mark.parametrize("data", [b"<html>", b"", b"null", b"[]", b"{}", b"[" * 100_000, b"\xff"])
def test_an_answer_that_is_no_list_is_not_an_empty_one(data):
    """A proxy's page would say that no Job runs, and that nothing is broken."""
    kube = Rubbish(data)
    for ask in (kube.list, kube.names, lambda kind: [*kube.each(kind)]):
        with pytest.raises(BadAnswer, match=r"API server|a list"):
            ask(JOBS)
    if data != b"{}":
        with pytest.raises(BadAnswer, match="API server"):
            kube.get(JOBS, "a", "b")


def test_a_list_without_objects_is_empty():
    """Go writes null for none."""
    assert Rubbish(b'{"items": null}').list(JOBS) == []
