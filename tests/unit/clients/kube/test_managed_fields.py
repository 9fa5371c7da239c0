"""Who owns which field of an object: what a field manager has applied, and does not want any more."""

from __future__ import annotations

import json

import pytest

from prompt_keda.clients.kube.managed_fields import (
    LAST_APPLIED,
    appliers,
    last_applied_and_unwanted,
    no_longer_wanted,
    updates_as_applied,
)

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


@pytest.mark.parametrize(
    ("applied", "path"),
    [
        ({"metadata": {"labels": {"a": "1"}}}, None),
        ({"metadata": {"labels": {"a": "1", "b": "2"}}}, "metadata.labels.b"),
        ({"metadata": {"labels": {"gone": "1"}}}, None),
        ({"metadata": {"uid": "u"}, "status": {"ready": True}}, None),
        ({"spec": {"ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}}, "spec.ports[0].protocol"),
        ("none of ours", None),
        (["neither"], None),
    ],
)
def test_what_was_applied_client_side_and_is_wanted_no_more_is_found(applied, path):
    """Labels, annotations and content; not what is gone already, what names the object, or what somebody has scribbled."""
    obj = live({})
    text = applied if isinstance(applied, str) else json.dumps(applied)
    obj["metadata"]["annotations"] = {LAST_APPLIED: text}
    obj["metadata"]["uid"], obj["status"] = "u", {"ready": True}
    assert last_applied_and_unwanted(WANTED, obj) == path


def test_what_a_manager_has_updated_counts_as_applied():
    """Both of its entries become one; those of others, and of a status, stay as they are."""
    applied = live({"f:metadata": {"f:labels": {"f:a": {}}}})
    (other,) = live({"f:spec": {}}, manager="somebody")["metadata"]["managedFields"]
    (updated,) = live({"f:metadata": {"f:labels": {"f:b": {}}}}, operation="Update")["metadata"]["managedFields"]
    status = {**updated, "subresource": "status"}
    applied["metadata"]["managedFields"] += [other, updated, status]
    kept = updates_as_applied(applied, OURS)["metadata"]["managedFields"]
    both = {"f:metadata": {"f:labels": {"f:a": {}, "f:b": {}}}}
    assert kept == [other, status, {"manager": OURS, "operation": "Apply", "fieldsV1": both}]


def test_what_a_manager_has_only_applied_is_left_alone():
    """A second run writes nothing; so it is where its entries are of two versions, which cannot be one."""
    obj = live({})
    assert updates_as_applied(obj, OURS) is None
    obj["metadata"]["managedFields"].append(
        {**obj["metadata"]["managedFields"][0], "operation": "Update", "apiVersion": "v2"}
    )
    assert updates_as_applied(obj, OURS) is None
