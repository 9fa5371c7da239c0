"""Is an object what a CRD's schema wants, as the API server would say? Without asking it.

Source: Kubernetes, "Extend the Kubernetes API with CustomResourceDefinitions": structural schemas, pruning, defaulting,
nullable. What only the server can say is left out: rules in CEL (KEDA 2.16.1's CRDs have none) and webhooks.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from prompt_keda.clients.kube.objects import Object

ALWAYS = ("apiVersion", "kind", "metadata")
"""What every object has, whatever its schema says."""
KEEPS = "x-kubernetes-preserve-unknown-fields"


@dataclass(frozen=True)
class Findings:
    """What is wrong with an object: ``path: what`` of what is refused, and the paths of fields that are not known."""

    errors: tuple[str, ...]
    unknown: tuple[str, ...]


def find_schema(crd: Object, version: str) -> Object | None:
    """Return the schema of one version of a CRD; None if it has none."""
    for of_version in crd["spec"].get("versions") or []:
        if of_version["name"] == version:
            schema: Object | None = (of_version.get("schema") or {}).get("openAPIV3Schema")
            return schema
    return None


def examine(schema: Object, obj: Object) -> Findings:
    """Return what the API server would refuse in an object, and which of its fields the schema does not know.

    Status is left alone: a writer's status is not taken over.
    """
    from jsonschema import Draft4Validator  # the dialect of OpenAPI 3.0's schemas; not needed for most of a start-up

    given = {key: copy.deepcopy(value) for key, value in obj.items() if key != "status"}
    unknown = tuple(_unknown(schema, given, ""))
    defaulted = _defaulted(schema, given)
    required = [field for field in schema.get("required") or [] if field != "status"]
    validator = Draft4Validator(_json_schema({**schema, "required": required}))
    errors = sorted({_message(error) for error in validator.iter_errors(defaulted)})
    return Findings((*errors, *_repeated(schema, defaulted, "")), unknown)


def with_defaults(schema: Object, obj: Object) -> Object:
    """Return an object as the API server would keep it: without what the schema does not know, and with its defaults."""
    made: Object = _defaulted(schema, copy.deepcopy(obj))
    return made


def _message(error: Any) -> str:
    """Return where and what, without the value that stands there: it may be long, or a secret in an env."""
    where, wanted = ".".join(str(part) for part in error.absolute_path) or "the object", error.validator_value
    if error.validator == "required":
        return f"{where} lacks {', '.join(field for field in wanted if field not in error.instance)}"
    if error.validator == "type":
        return f"{where} is no {wanted}"
    if error.validator in ("anyOf", "oneOf", "allOf", "not"):
        return f"{where} is not what is allowed there"
    return f"{where} does not fit {error.validator} {wanted}"


def _json_schema(schema: Any) -> Any:
    """Return the JSON schema of a structural schema: ``nullable`` is the only extension that changes what is valid."""
    if isinstance(schema, list):
        return [_json_schema(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    made: Object = {}
    for key, value in schema.items():
        if key in ("properties", "patternProperties"):
            made[key] = {name: _json_schema(inner) for name, inner in value.items()}
        elif key in ("items", "additionalProperties", "not", "anyOf", "allOf", "oneOf"):
            made[key] = _json_schema(value)
        elif key not in ("default", "description", "example", "format"):
            made[key] = value
    if schema.get("x-kubernetes-int-or-string") and "type" not in schema:
        made.setdefault("anyOf", [{"type": "integer"}, {"type": "string"}])
    return {"anyOf": [{"type": "null"}, made]} if schema.get("nullable") else made


def _properties(schema: Object, obj: Object) -> Iterator[tuple[str, Object | None]]:
    """Yield each field of an object with its schema; None: the schema does not know it."""
    known, others = schema.get("properties") or {}, schema.get("additionalProperties")
    for key in obj:
        if key in known:
            yield key, known[key]
        elif isinstance(others, dict):
            yield key, others
        elif schema.get(KEEPS) or others is True:
            yield key, {KEEPS: True}
        else:
            yield key, None


def _unknown(schema: Object, value: Any, path: str) -> Iterator[str]:
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _unknown(schema.get("items") or {KEEPS: True}, inner, f"{path}.{index}")
    elif isinstance(value, dict):
        for key, inner in _properties(schema, value):
            if not path and key in ALWAYS:
                continue
            if inner is None:
                yield f"{path}.{key}".lstrip(".")
            else:
                yield from _unknown(inner, value[key], f"{path}.{key}")


def _defaulted(schema: Object, value: Any) -> Any:
    """Return a value without the fields that are not known and the nulls that do not count, and with the defaults."""
    if isinstance(value, list):
        return [_defaulted(schema.get("items") or {KEEPS: True}, inner) for inner in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for key, inner in _properties(schema, value):
        if inner is None or (value[key] is None and not inner.get("nullable") and not inner.get(KEEPS)):
            continue
        made[key] = _defaulted(inner, value[key])
    for key, inner in (schema.get("properties") or {}).items():
        if key not in made and "default" in inner:
            made[key] = copy.deepcopy(inner["default"])
    return made


def _repeated(schema: Object, value: Any, path: str) -> Iterator[str]:
    """Yield the places where a list that is a map or a set has one key twice."""
    if isinstance(value, list):
        kind, keys = schema.get("x-kubernetes-list-type"), []
        for index, inner in enumerate(value):
            yield from _repeated(schema.get("items") or {}, inner, f"{path}.{index}")
            names = schema.get("x-kubernetes-list-map-keys") or []
            key = [inner.get(name) for name in names] if kind == "map" and isinstance(inner, dict) else inner
            if kind in ("map", "set") and key in keys:
                yield f"{path.lstrip('.')}.{index}: a duplicate of another entry"
            keys.append(key)
    elif isinstance(value, dict):
        for key, inner in _properties(schema, value):
            if inner:
                yield from _repeated(inner, value[key], f"{path}.{key}")
