"""YAML that a person wrote, read strictly: safe tags only, no duplicate keys, and every value knows its line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from prompt_keda.errors import EnvironmentFileError

PLACEHOLDER = re.compile(r"\$\{lab:([a-z0-9_]+)\}")
Marks = dict[tuple[str | int, ...], yaml.Mark]


def read_text(path: Path) -> str:
    """Give a file's text.

    Raises
    ------
    EnvironmentFileError
        When it cannot be read.
    """
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise EnvironmentFileError(f"{path} cannot be read: {error}") from error


def load_documents(path: Path, placeholders: Mapping[str, Any] | None) -> list[tuple[Any, Marks]]:
    """Give each document of a file with the place of each of its values.

    Parameters
    ----------
    path
        The file.
    placeholders
        Values for ``${lab:NAME}``. A text that is nothing but a placeholder becomes the value itself, of any type.
        None: the local stack is not up.

    Raises
    ------
    EnvironmentFileError
        When it is no YAML, has a tag or a duplicate key, or names a placeholder that is not known.
    """
    loader = yaml.CSafeLoader(read_text(path))
    found: list[tuple[Any, Marks]] = []
    try:
        while loader.check_node():
            marks: Marks = {}
            node = loader.get_node()
            assert node is not None
            _look(node, (), marks, path)
            value = loader.construct_document(node)
            if value is not None:
                found.append((_fill(value, placeholders, path), marks))
    except yaml.MarkedYAMLError as error:
        raise EnvironmentFileError(f"{place(path, error.problem_mark)}: this is no YAML: {error.problem}") from error
    finally:
        loader.dispose()
    return found


def place(path: Path, mark: yaml.Mark | None) -> str:
    """Give ``file:line:column``, both counted from 1."""
    return f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)


def _look(node: yaml.Node, where: tuple[str | int, ...], marks: Marks, path: Path) -> None:
    marks[where] = node.start_mark
    if not str(node.tag).startswith("tag:yaml.org,2002:"):
        raise EnvironmentFileError(f"{place(path, node.start_mark)}: the tag {node.tag} is not allowed")
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _look(item, (*where, index), marks, path)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise EnvironmentFileError(f"{place(path, key.start_mark)}: the key {key.value!r} stands here twice")
            seen.add(key.value)
            _look(value, (*where, key.value), marks, path)
            marks[(*where, key.value)] = key.start_mark


def _fill(value: Any, placeholders: Mapping[str, Any] | None, path: Path) -> Any:
    if isinstance(value, dict):
        return {key: _fill(one, placeholders, path) for key, one in value.items()}
    if isinstance(value, list):
        return [_fill(one, placeholders, path) for one in value]
    if not isinstance(value, str) or not PLACEHOLDER.search(value):
        return value
    if placeholders is None:
        raise EnvironmentFileError(
            f"{path} needs the local stack, which is not up", "Bring it up with ./run lab.up, then try again."
        )
    for name in PLACEHOLDER.findall(value):
        if name not in placeholders:
            raise EnvironmentFileError(f"{path}: the local stack has no value {name!r} for ${{lab:{name}}}")
    if whole := PLACEHOLDER.fullmatch(value):
        return placeholders[whole[1]]
    return PLACEHOLDER.sub(lambda match: str(placeholders[match[1]]), value)
