"""Reads an environment from environments/: strict, and with the place of every fault."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from prompt_keda.core.errors import EnvironmentFileError
from prompt_keda.core.selection import did_you_mean
from prompt_keda.core.strict_yaml import Marks, Where, load_documents, mark_near, place
from prompt_keda.environment.model import Environment, FillIn, PathText

CHOICE = re.compile("'([^']+)'")
PLAIN = {
    "missing": "this key is missing",
    "int_type": "a whole number is expected, without quotes",
    "greater_than_equal": "{ge} or more is expected",
    "less_than_equal": "{le} or less is expected",
    "string_type": "a text is expected; put it into quotes",
    "string_too_short": "a text that is not empty is expected",
    "too_short": "at least {min_length} is expected in this list",
}
"""Pydantic's kind of error → what it means for the person who wrote the file."""


def find_environment(name: str, *folders: Path) -> Path:
    """Return the file of an environment.

    Parameters
    ----------
    name
        A file in one of ``folders`` without its ending, the first of them first; or a path.

    Raises
    ------
    EnvironmentFileError
        When there is none; with the nearest known name.
    """
    if "/" in name or name.endswith((".yaml", ".yml")):
        if os.path.isfile(name):
            return Path(name)
        if os.path.isdir(name):
            raise EnvironmentFileError(f"{name} is a folder, and an environment is a file")
        raise EnvironmentFileError(f"there is no environment file {name}")
    for path in (folder / f"{name}.yaml" for folder in folders):
        if os.path.isfile(path):  # unlike Path.is_file it says no to a name that the file system refuses
            return path
    names = sorted({path.stem for folder in folders for path in folder.glob("*.yaml") if _is_environment(path)})
    near = difflib.get_close_matches(name, names, 1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise EnvironmentFileError(f"there is no environment {name!r}", f"{hint}Known: {', '.join(names)}.")


def _is_environment(path: Path) -> bool:
    """Return whether a file looks like an environment: watch.yaml beside them is for kubectl."""
    try:
        return re.search("^name:", path.read_text(errors="replace"), re.MULTILINE) is not None
    except OSError:
        return False


def load_environment(path: Path, placeholders: Mapping[str, Any] | None) -> Environment:
    """Read an environment.

    Parameters
    ----------
    path
        The file. Relative paths in it are taken from its folder.
    placeholders
        Values for ``${lab:NAME}``; None: the local stack is not up.

    Raises
    ------
    EnvironmentFileError
        With a line ``file:line:column: key: what is expected`` for each fault.
    """
    data, marks = _only_document(path, placeholders)
    try:
        environment = Environment.model_validate(data)
    except ValidationError as error:
        lines = [_explain(path, marks, dict(fault)) for fault in error.errors(include_url=False)]
        raise EnvironmentFileError("\n".join(lines), "See environments/README.md for what each key means.") from error
    read: Environment = _absolute(environment, path.resolve().parent)
    return read


def unfilled(part: BaseModel, where: str = "") -> Iterator[tuple[str, str]]:
    """Yield each value of an environment that is still to be filled in: its key's path, and what belongs there."""
    for name in type(part).model_fields:
        yield from _unfilled(getattr(part, name), f"{where}.{name}".lstrip("."))


def _only_document(path: Path, placeholders: Mapping[str, Any] | None) -> tuple[dict[str, Any], Marks]:
    documents = load_documents(path, placeholders)
    fix = "See environments/README.md."
    if not documents:
        raise EnvironmentFileError(f"{path}:1:1: the file is empty", fix)
    if len(documents) > 1:
        second = place(path, documents[1][1][()])
        raise EnvironmentFileError(f"{second}: an environment is one YAML document, and here begins another", fix)
    data, marks = documents[0]
    if not isinstance(data, dict):
        raise EnvironmentFileError(f"{place(path, marks[()])}: an environment is one YAML mapping", fix)
    return data, marks


def _unfilled(value: Any, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, FillIn):
        yield where, value.wanted
    elif isinstance(value, BaseModel):
        yield from unfilled(value, where)
    elif isinstance(value, tuple):
        for index, inner in enumerate(value):
            yield from _unfilled(inner, f"{where}[{index}]")


def _explain(path: Path, marks: Marks, error: dict[str, Any]) -> str:
    where: Where = tuple(error["loc"])
    key = ".".join(str(step) for step in where)
    return f"{place(path, mark_near(where, marks))}: {key}: {_message(error, where)}"


def _message(error: dict[str, Any], where: Where) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return "unknown key" + did_you_mean(str(where[-1]), _fields_at(where[:-1]))
    if kind == "literal_error":
        return f"{context['expected']} is expected" + did_you_mean(
            str(error["input"]), CHOICE.findall(context["expected"])
        )
    if kind == "model_type":
        *others, last = _fields_at(where)
        return f"a mapping with the keys {', '.join(others)} and {last} is expected"
    if kind in PLAIN:
        return PLAIN[kind].format(**context)
    return str(error["msg"]).removeprefix("Value error, ")


def _fields_at(where: Where) -> list[str]:
    """Return the keys that the model knows at a place."""
    definitions = Environment.model_json_schema()
    node: Any = definitions
    for step in where:
        node = node.get("items", node) if isinstance(step, int) else node.get("properties", {}).get(step, {})
        node = next((option for option in node.get("anyOf", []) if "$ref" in option), node)
        if "$ref" in node:
            node = definitions["$defs"][node["$ref"].rpartition("/")[2]]
        if isinstance(step, str) and "items" in node and "$ref" in node["items"]:
            node = {"items": definitions["$defs"][node["items"]["$ref"].rpartition("/")[2]]}
    return list(node.get("properties", {}))


def _absolute(value: Any, folder: Path) -> Any:
    """Return a part of an environment with every path in it taken from a folder, and ``~`` as the home folder."""
    if isinstance(value, BaseModel):
        return value.model_copy(update={key: _absolute(inner, folder) for key, inner in value})
    if isinstance(value, tuple):
        return tuple(_absolute(inner, folder) for inner in value)
    if isinstance(value, Path | PathText):
        return type(value)(folder / os.path.expanduser(value))  # unlike Path.expanduser it lets an unknown ~user be
    return value
