"""What the toolkit says of a ScaledJob without asking is what the API server says of it."""

from __future__ import annotations

import copy

import pytest

from prompt_keda.clients.kube.resources import CRDS, SCALED_JOBS
from prompt_keda.components.keda.crd_schema import examine, find_schema
from prompt_keda.core.errors import BadAnswer
from prompt_keda.delivery.manifests import load_instrument_manifest

from .conftest import INSTRUMENT, ROOT

MANIFEST = ROOT / "environments" / "local" / "prompt-keda-lsstcam.yaml"


def put(*path, value):
    """Return a change that puts a value at a place; None removes it."""

    def apply(obj):
        for key in path[:-1]:
            obj = obj[key]
        if value is None:
            del obj[path[-1]]
        else:
            obj[path[-1]] = value

    return apply


def container(obj):
    return obj["spec"]["jobTargetRef"]["template"]["spec"]["containers"][0]


CHANGES = {
    "as it is": lambda obj: None,
    "a null that does not count": lambda obj: obj["spec"]["rollout"].update(strategy=None) or None,
    "no triggers": put("spec", "triggers", value=None),
    "no template": put("spec", "jobTargetRef", "template", value=None),
    "a size that is a text": put("spec", "maxReplicaCount", value="20"),
    "a size that is no whole number": put("spec", "maxReplicaCount", value=1.5),
    "a strategy that nobody knows": put("spec", "rollout", "strategy", value="never"),
    "a field that nobody knows": put("spec", "maxReplicas", value=3),
    "an unknown field deep inside": lambda obj: container(obj).update(imagePullPolice="Always"),
    "lagCount as a number": lambda obj: obj["spec"]["triggers"][0]["metadata"].update(lagCount=1),
    "triggers that are no list": put("spec", "triggers", value={}),
    "a trigger without a type": lambda obj: obj["spec"]["triggers"][0].pop("type"),
    "cpu as a number": lambda obj: container(obj)["resources"]["requests"].update(cpu=1),
    "cpu as true": lambda obj: container(obj)["resources"]["requests"].update(cpu=True),
    "cpu that is no quantity": lambda obj: container(obj)["resources"]["requests"].update(cpu="much"),
    "a port twice": lambda obj: container(obj).update(ports=[{"containerPort": 1}, {"containerPort": 1}]),
    "a port for each protocol": lambda obj: container(obj).update(
        ports=[{"containerPort": 1}, {"containerPort": 1, "protocol": "UDP"}]
    ),
    "a container twice": lambda obj: obj["spec"]["jobTargetRef"]["template"]["spec"]["containers"].append(
        copy.deepcopy(container(obj))
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_verdict_without_asking_is_the_servers(change, deployed, endpoints, admin):
    """Refused or taken, and with or without a field that it does not know, as a server-side dry run says it."""
    schema = find_schema(admin.get(CRDS, "scaledjobs.keda.sh"), "v1alpha1")
    objects = load_instrument_manifest(MANIFEST, endpoints)
    obj = next(obj for obj in objects if obj["kind"] == "ScaledJob")
    obj["metadata"]["name"] = "dry-run"
    change(obj)
    findings = examine(schema, obj)
    assert takes(admin, obj, "Ignore") == (not findings.errors), findings
    assert takes(admin, obj, "Strict") == (not findings.errors and not findings.unknown), findings


def takes(admin, obj, validation):
    query = {"dryRun": "All", "fieldValidation": validation}
    try:
        admin.request("POST", SCALED_JOBS.path(INSTRUMENT), query=query, body=obj)
    except BadAnswer as error:
        assert "422" in error.detail or "400" in error.detail, error
        return False
    return True
