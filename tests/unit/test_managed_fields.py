"""Who owns which field of an object: what a field manager has applied, and does not want any more."""

from __future__ import annotations

import pytest

from prompt_keda.clients.kube.managed_fields import appliers, no_longer_wanted

OURS = "argocd-controller"
PORTS = [{"name": "http", "port": 80}]
WANTED = {"metadata": {"labels": {"a": "1"}}, "spec": {"ports": PORTS}}
PORT = 'k:{"port":80,"protocol":"TCP"}'


def live(fields, manager=OURS, operation="Apply", **more):
    entry = {"manager": manager, "operation": operation, "fieldsV1": fields, **more}
    ports = [{**PORTS[0], "protocol": "TCP"}, {"name": "old", "port": 81, "protocol": "TCP"}]
    return {"metadata": {"labels": {"a": "1", "b": "2"}, "managedFields": [entry]}, "spec": {"ports": ports}}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"f:metadata": {"f:labels": {"f:a": {}}}}, None),
        ({"f:metadata": {"f:labels": {"f:a": {}, "f:b": {}}}}, "metadata.labels.b"),
        ({"f:metadata": {"f:annotations": {"f:gone": {}}}}, None),
        ({"f:spec": {"f:ports": {PORT: {".": {}, "f:name": {}}}}}, None),
        (
            {"f:spec": {"f:ports": {'k:{"port":81,"protocol":"TCP"}': {".": {}}}}},
            'spec.ports[{"port":81,"protocol":"TCP"}]',
        ),
    ],
)
def test_a_field_that_is_wanted_no_more_is_found(fields, path):
    """A default that the server has filled into a key is none; nor is what is not there any more."""
    assert no_longer_wanted(WANTED, live(fields), OURS) == path


@pytest.mark.parametrize("entry", [{"manager": "helm"}, {"operation": "Update"}, {"subresource": "status"}])
def test_what_others_own_is_theirs(entry):
    """And what was updated, or is of a status, was not applied."""
    assert no_longer_wanted(WANTED, live({"f:metadata": {"f:labels": {"f:b": {}}}}, **entry), OURS) is None


def test_appliers_are_named_once():
    """Sorted; an object that nobody has applied has none."""
    obj = live({})
    obj["metadata"]["managedFields"] *= 2
    assert appliers(obj) == [OURS] and appliers({"metadata": {}}) == []
