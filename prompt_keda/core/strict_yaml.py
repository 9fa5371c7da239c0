"""YAML that a person wrote, read strictly: safe tags only, no duplicate keys, and every value knows its line."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.reader import ReaderError

from prompt_keda.core.errors import EnvironmentFileError

PLACEHOLDER = re.compile(r"\$\{lab:([a-z0-9_]+)\}")
DEPTH = 50
"""What a person writes is not nested deeper; the C parser's recursion would end the process."""
VALUES = 100_000
"""What a person writes has not more. Some lines of & and * marks can stand for more than any memory holds."""
YAML_TAG = "tag:yaml.org,2002:"
BYTE_ORDER_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
Where = tuple[str | int, ...]
Marks = dict[Where, yaml.Mark]


class _Loader(yaml.CSafeLoader):
    """A safe loader that names the place of a value that is not of its kind, such as the day 2026-13-45."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return a node's value. PyYAML itself lets the errors of `int`, `date` and the like through, without a place."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            message = f"{str(node.value)[:40]!r} is no {str(node.tag).removeprefix(YAML_TAG)}; put a text into quotes"
            raise ConstructorError(None, None, message, node.start_mark) from error


def read_text(path: Path) -> str:
    """Return a file's text.

    Raises
    ------
    EnvironmentFileError
        When it cannot be read, or is not UTF-8 without a byte order mark.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EnvironmentFileError(f"{path} cannot be read: {error.strerror}") from error
    fix = "Save it as UTF-8 without a byte order mark."
    if data.startswith(BYTE_ORDER_MARKS):
        raise EnvironmentFileError(f"{path}:1:1: the file begins with a byte order mark", fix)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise EnvironmentFileError(f"{_place_of_byte(path, data, error.start)}: this is not UTF-8", fix) from error


def load_documents(path: Path, placeholders: Mapping[str, Any] | None) -> list[tuple[Any, Marks]]:
    """Return each document of a file with the place of each of its values.

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
        When it is no YAML, has a tag, a duplicate key or a key that is no text, contains itself, is nested too deep, stands
        for too many values, or names a placeholder that is not known.
    """
    text = read_text(path)
    try:
        _refuse_depth(text, path)
        return _documents(text, placeholders, path)
    except ConstructorError as error:
        raise EnvironmentFileError(f"{place(path, error.problem_mark)}: {error.problem}") from error
    except yaml.MarkedYAMLError as error:
        raise EnvironmentFileError(f"{place(path, error.problem_mark)}: this is no YAML: {error.problem}") from error
    except ReaderError as error:
        where = _place_of_byte(path, text.encode(), error.position)
        raise EnvironmentFileError(f"{where}: the character U+{error.character:04X} is not allowed") from error


def place(path: Path, mark: yaml.Mark | None) -> str:
    """Return ``file:line:column``, both counted from 1."""
    return f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)


def mark_near(where: Where, marks: Marks) -> yaml.Mark:
    """Return the mark of a value, or of the nearest one around it that the file has."""
    return marks[next(where[:length] for length in range(len(where), -1, -1) if where[:length] in marks)]


def _refuse_depth(text: str, path: Path) -> None:
    depth = 0
    events: Iterator[Any] = yaml.parse(text, Loader=yaml.CSafeLoader)
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        _refuse_deeper(depth, event.start_mark, path)


def _refuse_deeper(depth: int, mark: yaml.Mark | None, path: Path) -> None:
    if depth > DEPTH:
        raise EnvironmentFileError(f"{place(path, mark)}: nested deeper than {DEPTH} levels")


def _documents(text: str, placeholders: Mapping[str, Any] | None, path: Path) -> list[tuple[Any, Marks]]:
    documents: list[tuple[Any, Marks]] = []
    loader = _Loader(text)
    try:
        while loader.check_node():
            marks: Marks = {}
            node = loader.get_node()
            assert node is not None
            _look(node, (), marks, path, ())
            value = loader.construct_document(node)
            if value is not None:
                documents.append((_fill(value, (), marks, placeholders, path), marks))
    finally:
        loader.dispose()
    return documents


def _place_of_byte(path: Path, data: bytes, offset: int) -> str:
    *lines, last = data[:offset].decode().split("\n")
    return f"{path}:{len(lines) + 1}:{len(last) + 1}"


def _look(node: yaml.Node, where: Where, marks: Marks, path: Path, around: tuple[yaml.Node, ...]) -> None:
    marks[where] = node.start_mark
    if len(marks) > VALUES:
        raise EnvironmentFileError(f"{place(path, node.start_mark)}: the file stands for more than {VALUES} values")
    if node in around:
        raise EnvironmentFileError(f"{place(path, node.start_mark)}: what & marks here contains itself")
    _refuse_deeper(len(around), node.start_mark, path)  # once more: an alias adds the depth of what it stands for
    if node.tag not in _Loader.yaml_constructors:
        tag = str(node.tag).replace(YAML_TAG, "!!")
        raise EnvironmentFileError(f"{place(path, node.start_mark)}: the tag {tag} is not allowed")
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _look(item, (*where, index), marks, path, (*around, node))
    elif isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            if key.tag not in (f"{YAML_TAG}str", f"{YAML_TAG}merge"):
                raise EnvironmentFileError(f"{place(path, key.start_mark)}: a key is a text; put it into quotes")
            if key.value in keys:
                raise EnvironmentFileError(f"{place(path, key.start_mark)}: the key {key.value!r} stands here twice")
            keys.add(key.value)
            _look(value, (*where, key.value), marks, path, (*around, node))
            marks[(*where, key.value)] = key.start_mark


def _fill(value: Any, where: Where, marks: Marks, placeholders: Mapping[str, Any] | None, path: Path) -> Any:
    if isinstance(value, dict):
        return {key: _fill(inner, (*where, key), marks, placeholders, path) for key, inner in value.items()}
    if isinstance(value, list):
        return [_fill(inner, (*where, index), marks, placeholders, path) for index, inner in enumerate(value)]
    if not isinstance(value, str) or not PLACEHOLDER.search(value):
        return value
    if placeholders is None:
        raise EnvironmentFileError(
            f"{path} needs the local stack, which is not up", "Bring it up with ./run lab.up, then try again."
        )
    for name in PLACEHOLDER.findall(value):
        if name not in placeholders:
            message = f"the local stack has no value {name} for ${{lab:{name}}}"
            raise EnvironmentFileError(f"{place(path, mark_near(where, marks))}: {message}")
    if whole := PLACEHOLDER.fullmatch(value):
        return placeholders[whole[1]]
    return PLACEHOLDER.sub(lambda match: str(placeholders[match[1]]), value)
