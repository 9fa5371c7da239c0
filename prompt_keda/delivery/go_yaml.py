"""Reads YAML as Kubernetes' own programs do (sigs.k8s.io/yaml, on go-yaml v2): what Helm renders is meant for them.

PyYAML reads other things into a text without quotes: ``2026-01-02`` is a date for it and ``1:30`` the number 90, while
``y`` is no truth value and ``1e3`` no number. An object that is read otherwise here than by Argo CD would be another object.
Source: goyaml.v2/resolve.go and decode.go in sigs.k8s.io/yaml v1.4.
"""

from __future__ import annotations

import re
from math import isinf
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from prompt_keda.core.errors import BadAnswer

TRUE = {"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"}
FALSE = {"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"}
NULL = {"", "~", "null", "Null", "NULL"}
WHOLE = re.compile(r"([-+]?)(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|[1-9][0-9]*|0)")
FRACTION = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
PLAIN_TAG, MERGE_TAG, TEXT_TAG = "!plain", "tag:yaml.org,2002:merge", "tag:yaml.org,2002:str"
MOST_DEPTH = 100
MOST_KEYS = 5000
MOST_VALUES = 500_000
"""KEDA's whole chart, CRDs included, has some 20 000."""


class _Loader(yaml.CSafeLoader):
    """A safe loader that leaves a text without quotes to `plain`, and merges (``<<``) one mapping into another at most."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge a mapping into a node. Several at once could multiply without end."""
        merged = [value for key, value in node.value if key.tag == MERGE_TAG]
        if len(merged) > 1 or any(isinstance(value, yaml.SequenceNode) for value in merged):
            raise ConstructorError(None, None, "several mappings are merged into one", node.start_mark)
        super().flatten_mapping(node)
        for key, _ in node.value:  # before they are keys of a dict: True and 1 would be the same one
            if key.tag == PLAIN_TAG:
                key.tag, key.value = TEXT_TAG, _key(plain(key.value), key)
        if len(node.value) > MOST_KEYS:
            raise ConstructorError(None, None, f"a mapping has more than {MOST_KEYS} keys", node.start_mark)


def plain(text: str) -> Any:
    """Return what a text without quotes means: a truth value, nothing, a number, or the text itself."""
    if text in NULL:
        return None
    if text in TRUE or text in FALSE:
        return text in TRUE
    if text[0] not in "+-.0123456789":
        return text
    digits = text.replace("_", "")
    if match := WHOLE.fullmatch(digits):
        sign, number = match.groups()
        whole = int(f"{sign}{number}", 8 if re.fullmatch("0[0-7]+", number) else 0)
        return whole if -(2**63) <= whole < 2**64 else float(whole)
    if not FRACTION.fullmatch(digits) or isinf(float(digits)):
        return text
    return float(digits)


_Loader.yaml_implicit_resolvers = {
    "<": [(MERGE_TAG, re.compile("^<<$"))],
    None: [(PLAIN_TAG, re.compile(".*", re.DOTALL))],
}
_Loader.add_constructor(PLAIN_TAG, lambda loader, node: plain(node.value))


def read_documents(text: str, where: str) -> list[Any]:
    """Return each document of a text that is not empty, without nulls in its mappings, and with texts for keys.

    Parameters
    ----------
    where
        What was rendered, for messages.

    Raises
    ------
    BadAnswer
        When it is no YAML, has a tag that no Kubernetes object has, or is nested deeper or has more values than any real one.
    """
    try:
        _refuse_depth(text, where)
        documents = list(yaml.load_all(text, Loader=_Loader))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        problem = getattr(error, "problem", None) or type(error).__name__
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise BadAnswer("helm", where, f"what it rendered is no YAML: {problem}{line}") from error
    left = [MOST_VALUES]
    return [_cleaned(document, left, 0, where) for document in documents if document is not None]


def _refuse_depth(text: str, where: str) -> None:
    """Refuse what is nested too deep before it is read: the C parser's recursion would end the process."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH:
            raise BadAnswer("helm", where, f"what it rendered is nested deeper than {MOST_DEPTH} levels")


def _cleaned(value: Any, left: list[int], depth: int, where: str) -> Any:
    """Copy a value without nulls in mappings. What ``&`` and ``*`` multiply, or let contain itself, ends at the limits."""
    left[0] -= 1
    if left[0] < 0 or depth > MOST_DEPTH:
        raise BadAnswer("helm", where, f"what it rendered has more than {MOST_VALUES} values, or contains itself")
    if isinstance(value, dict):
        return {str(key): _cleaned(inner, left, depth + 1, where) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_cleaned(inner, left, depth + 1, where) for inner in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) and value == value and abs(value) != float("inf"):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value  # JSON knows one kind of number
    raise BadAnswer("helm", where, f"what it rendered holds a {type(value).__name__}, which JSON does not know")


def _key(value: Any, node: yaml.Node) -> str:
    """Return a key as JSON has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int):
        return str(value)
    raise ConstructorError(None, None, f"a key is a {type(value).__name__}", node.start_mark)
