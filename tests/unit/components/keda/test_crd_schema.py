"""Objects against a CRD's schema, as the API server would see them. tests/stack/test_scaled_job_schemas.py asks a real one."""

from __future__ import annotations

import pytest

from prompt_keda.components.keda.crd_schema import examine, find_schema

TEXT = {"type": "string"}
PORT = {"type": "object", "properties": {"number": {"type": "integer"}, "protocol": {**TEXT, "default": "TCP"}}}
PROPERTIES = {
    "size": {"x-kubernetes-int-or-string": True},
    "note": {**TEXT, "nullable": True},
    "name": {**TEXT, "default": "none", "pattern": "^[a-z]+$"},
    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    "texts": {"type": "object", "additionalProperties": TEXT},
    "ports": {
        "type": "array",
        "items": PORT,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["number", "protocol"],
    },
    "words": {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"},
}
SPEC = {"type": "object", "properties": PROPERTIES, "required": ["name"]}
SCHEMA = {"type": "object", "required": ["spec"], "properties": {"spec": SPEC}}


@pytest.mark.parametrize(
    ("spec", "errors", "unknown"),
    [
        ({}, (), ()),  # the default is there before it is asked for
        ({"name": None}, (), ()),
        ({"size": 1}, (), ()),
        ({"size": "1"}, (), ()),
        ({"size": 1.5}, ("spec.size is not what is allowed there",), ()),
        ({"note": None}, (), ()),
        ({"name": "canary-77"}, ("spec.name does not fit pattern ^[a-z]+$",), ()),
        ({"free": {"a": {"b": 1}}}, (), ()),
        ({"texts": {"a": 1}}, ("spec.texts.a is no string",), ()),
        ({"nothing": 1, "ports": [{"number": 1, "nobody": 2}]}, (), ("spec.nothing", "spec.ports.0.nobody")),
        ({"ports": [{"number": 1}, {"number": 1, "protocol": "UDP"}]}, (), ()),
        (
            {"ports": [{"number": 1}, {"number": 1, "protocol": "TCP"}]},
            ("spec.ports.1: a duplicate of another entry",),
            (),
        ),
        ({"words": ["a", "a"]}, ("spec.words.1: a duplicate of another entry",), ()),
        ({"words": "canary"}, ("spec.words is no array",), ()),
    ],
)
def test_an_object_is_seen_as_the_api_server_sees_it(spec, errors, unknown):
    """Defaults, nulls, unknown fields and lists that are maps; and no value of the object is told."""
    findings = examine(SCHEMA, {"apiVersion": "a/v1", "kind": "A", "metadata": {"name": "a"}, "spec": spec})
    assert (findings.errors, findings.unknown) == (errors, unknown)
    assert "canary" not in str(findings)


def test_an_object_without_its_spec_lacks_it():
    """Of a status nothing is wanted: a writer's is not taken over."""
    schema = {**SCHEMA, "required": ["spec", "status"]}
    assert examine(schema, {"status": {"any": 1}}).errors == ("the object lacks spec",)


def test_a_version_that_a_crd_does_not_have_has_no_schema():
    """Nor has one that lists none."""
    crd = {"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": SCHEMA}}, {"name": "v2"}]}}
    assert [find_schema(crd, version) for version in ("v1", "v2", "v3")] == [SCHEMA, None, None]
