"""Writes values into an environment's file, and leaves all else in it byte for byte: comments, order, ends of lines."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from prompt_keda.core.errors import EnvironmentFileError
from prompt_keda.core.places import CODE, ROOT
from prompt_keda.core.strict_yaml import PLACEHOLDER, Where, load_documents, read_text
from prompt_keda.core.whole_file import whole_file
from prompt_keda.environment.loading import load_environment
from prompt_keda.environment.model import Environment

KEYS = ("ca_sha256", "kube_system_uid")
PLACE = ("kubernetes", "identity")
PLAIN = re.compile("[A-Za-z0-9-]{1,64}")
UNQUOTED = re.compile(r"[A-Za-z0-9$][A-Za-z0-9_./@-]*")
"""A text that YAML reads as itself, in a line of its own or between brackets, if it is no number, date or truth value."""
ONE_LINE = 90
"""Characters of a mapping or list that still stands in a line of its own."""
BY_HAND = "Write the new values into it by hand."
Values = Mapping[Where, Any]
"""Where a value belongs (an item of a list by its number) → the value: one that stands there is replaced, another added."""


def refuse_shipped(path: Path) -> None:
    """Refuse a file that came with the installed package: it is not the person's, and the next update takes its place.

    Raises
    ------
    EnvironmentFileError
        When it is one.
    """
    if ROOT != CODE and path.resolve().is_relative_to(ROOT.resolve()):
        own = f"environments/{path.name}"
        raise EnvironmentFileError(
            f"{path} came with the installed package, and the next update would take its place",
            f"Copy it, then run this again in the same folder: mkdir -p environments && cp {path} {own}",
        )


def identity_placeholders(path: Path) -> list[str]:
    """Return the ``${lab:…}`` that stand for the identity in an environment's file. Raises as `read_text` does."""
    return placeholders_at(path, [(*PLACE, key) for key in KEYS])


def placeholders_at(path: Path, places: Iterable[Where]) -> list[str]:
    """Return the ``${lab:…}`` that stand at these places of an environment's file. Raises as `read_text` does."""
    root = _compose(read_text(path), path)
    nodes = [node for where in places if isinstance(node := _node_at(root, where), yaml.ScalarNode)]
    return [match[0] for node in nodes if (match := PLACEHOLDER.search(node.value))]


def write_identity(
    path: Path, before: Environment, values: Mapping[str, str], placeholders: Mapping[str, Any] | None
) -> None:
    """Replace the two values of ``kubernetes.identity``. Idempotent: yes.

    Parameters
    ----------
    values
        ``ca_sha256`` and ``kube_system_uid``.

    Raises as `write_values` does, and when a value is no part of an identity.
    """
    if odd := [value for value in values.values() if not PLAIN.fullmatch(value)]:
        raise EnvironmentFileError(f"{odd[0]!r} is no part of an identity")
    write_values(path, before, {(*PLACE, key): values[key] for key in KEYS}, placeholders, "identity", may_add=False)


def write_values(
    path: Path,
    before: Environment,
    values: Values,
    placeholders: Mapping[str, Any] | None,
    what: str,
    may_add: bool = True,
) -> None:
    """Write values into an environment's file, and leave all else in it byte for byte. Idempotent: yes.

    The new file is read and validated before it takes the place of the old one, whole or not at all; it keeps the old
    one's mode, and its owner where that is allowed.

    Parameters
    ----------
    path
        The file; no symbolic link.
    before
        What it says, as `load_environment` gave it.
    placeholders
        As for `load_environment`.
    what
        The values together, in words: ``identity``.
    may_add
        Whether what is not there yet is added, at the end of the mapping or list that it belongs to.

    Raises
    ------
    EnvironmentFileError
        When the file is a link, came with the installed package, cannot be written or has changed, or when more than these
        values would change.
    """
    refuse_shipped(path)
    if path.is_symlink():
        raise EnvironmentFileError(
            f"{path} is a symbolic link, and those are not written through", f"Name the file itself: {path.resolve()}"
        )
    text = read_text(path)
    if load_environment(path, placeholders) != before:
        raise EnvironmentFileError(f"{path} has changed meanwhile", "Begin again.")
    try:
        old = path.stat()
        with whole_file(path, stat.S_IMODE(old.st_mode)) as file:
            file.write(edited(text, values, path, may_add).encode())
            file.flush()
            with suppress(PermissionError):  # a colleague's file in a folder of both
                os.fchown(file.fileno(), old.st_uid, old.st_gid)
            # while nothing has taken the old one's place yet
            _refuse_other_changes(path, Path(file.name), values, placeholders, what)
            if read_text(path) != text:
                raise EnvironmentFileError(f"{path} has changed meanwhile", "Begin again.")
    except OSError as error:
        raise EnvironmentFileError(f"{path} cannot be written: {error.strerror}", BY_HAND) from error


def edited(text: str, values: Values, path: Path, may_add: bool = True) -> str:
    """Return a file's text with values in it.

    Raises
    ------
    EnvironmentFileError
        When a value is not written as a plain text, or is missing and cannot be added.
    """
    for where, value in values.items():
        text = _edited(text, where, value, path, may_add)
    return text


def _edited(text: str, where: Where, value: Any, path: Path, may_add: bool) -> str:
    root = _compose(text, path)
    while may_add and where[1:] and _node_at(root, where[:-1]) is None:
        where, value = where[:-1], {where[-1]: value}
    node, around = _node_at(root, where), _node_at(root, where[:-1])
    if may_add and node is None:
        if not isinstance(around, yaml.SequenceNode if isinstance(where[-1], int) else yaml.MappingNode):
            fix = f"Write it by hand: {key_of(where)}: {value}"
            raise EnvironmentFileError(f"{path}: {key_of(where)} is missing, and cannot be added", fix)
        return _with_more(text, around, where[-1], value)
    if not isinstance(node, yaml.ScalarNode) or node.style not in (None, "'", '"'):
        raise EnvironmentFileError(f"{path}: {key_of(where)} is not written as a plain text", BY_HAND)
    return f"{text[: node.start_mark.index]}{_scalar(value, node.style)}{text[node.end_mark.index :]}"


def _compose(text: str, path: Path) -> yaml.Node | None:
    """Return the nodes of a file, which know where they stand in the text."""
    try:
        root: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)  # the C loader's marks count bytes
    except yaml.YAMLError as error:  # the value before this one had a name, by which another stands for it
        raise EnvironmentFileError(f"{path}: a value that would change is used elsewhere", BY_HAND) from error
    return root


def _node_at(node: yaml.Node | None, where: Where) -> yaml.Node | None:
    for step in where:
        if isinstance(node, yaml.MappingNode):
            node = next((value for name, value in node.value if name.value == step), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step] if step < len(node.value) else None
        else:
            return None
    return node


def key_of(where: Where) -> str:
    """Return a value's place as people read it: ``instruments[0].max_jobs``."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in where)
    return "".join(steps).lstrip(".")


def _scalar(value: Any, style: str | None = None) -> str:
    """Return a value as it stands in the file, in the quotes that stood there. Raises `ValueError` for what is no scalar."""
    if isinstance(value, bool | int):
        return json.dumps(value)
    if not isinstance(value, str):
        raise ValueError(f"{type(value).__name__} is no single value")
    if style == "'":
        return "'" + value.replace("'", "''") + "'"
    if style is None and UNQUOTED.fullmatch(value) and yaml.safe_load(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def _with_more(text: str, around: yaml.MappingNode | yaml.SequenceNode, step: str | int, value: Any) -> str:
    """Return the text with one more key in a mapping, or one more value in a list."""
    begin, end = around.start_mark.index, around.end_mark.index
    if not around.flow_style:
        return _with_lines(text, _last(around), _block(value, around.start_mark.column, step))
    if isinstance(value, dict) and not around.value and _ends_its_line(text, end):  # [] becomes a line for each value
        line = text[text.rfind("\n", 0, begin) + 1 : begin]
        without = text[:begin].rstrip() + text[end:]
        return _with_lines(without, len(text[:begin].rstrip()), _block(value, len(line) - len(line.lstrip()) + 2, step))
    head = text[: end - 1].rstrip() if around.value else text[: end - 1]
    more = f"{', ' if around.value else ''}{f'{step}: ' if isinstance(step, str) else ''}{_flow(value)}"
    return f"{head}{more}{text[end - 1 :]}"


def _with_lines(text: str, index: int, lines: list[str]) -> str:
    """Return the text with lines below the one that holds ``index``."""
    end, new_line = _end_of_line(text, index), "\r\n" if "\r\n" in text else "\n"
    return text[:end] + "".join(f"{new_line}{line}" for line in lines) + text[end:]


def _ends_its_line(text: str, index: int) -> bool:
    return re.match(r"[ \t]*(#.*)?$", text[index : _end_of_line(text, index)]) is not None


def _last(node: yaml.Node) -> int:
    """Return where the last thing in a node ends: a block's own end is where the next thing begins."""
    while isinstance(node, yaml.MappingNode | yaml.SequenceNode) and not node.flow_style:
        node = node.value[-1][1] if isinstance(node, yaml.MappingNode) else node.value[-1]
    return int(node.end_mark.index)


def _end_of_line(text: str, index: int) -> int:
    """Return where the line ends, its comment included."""
    if index and text[index - 1] == "\n":  # a text of several lines ends where the next line begins
        index -= 1
    end = text.find("\n", index)
    end = len(text) if end < 0 else end
    return end - 1 if end and text[end - 1] == "\r" else end


def _block(value: Any, indent: int, step: str | int) -> list[str]:
    """Return the lines of a key with its value, or of a list's value."""
    blanks = " " * indent
    head = f"{blanks}{step}:" if isinstance(step, str) else f"{blanks}-"
    if isinstance(value, dict) and isinstance(step, int):
        lines = [line for key, inner in value.items() for line in _block(inner, indent + 2, key)]
        return [f"{head} {lines[0].lstrip()}", *lines[1:]]
    if isinstance(value, dict) and len(_flow(value)) > ONE_LINE:
        return [head, *(line for key, inner in value.items() for line in _block(inner, indent + 2, key))]
    if isinstance(value, list) and len(_flow(value)) > ONE_LINE:
        return [head, *(line for inner in value for line in _block(inner, indent + 2, 0))]
    return [f"{head} {_flow(value)}"]


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _refuse_other_changes(
    path: Path, scratch: Path, values: Values, placeholders: Mapping[str, Any] | None, what: str
) -> None:
    """Make sure that the new file is an environment, and differs in these values alone: an anchor may be used twice."""
    load_environment(scratch, placeholders)
    wanted = as_it_stands(path)
    for where, value in values.items():
        wanted = with_value(wanted, where, value)
    if as_it_stands(scratch) != wanted:
        raise EnvironmentFileError(f"{path}: more than the {what} would change: its values are used elsewhere", BY_HAND)


def with_value(data: Any, where: Where, value: Any) -> Any:
    """Return what a file says with a value in it. What was there stays as it is."""
    changed = _apart(data)
    around = changed
    for step in where[:-1]:
        around = around[step] if isinstance(step, int) else around.setdefault(step, {})
    if isinstance(around, list) and isinstance(where[-1], int) and where[-1] >= len(around):
        around.append(value)
    else:
        around[where[-1]] = value
    return changed


def as_it_stands(path: Path) -> Any:
    """Return all that a file says, its placeholders as they stand there. Raises as `load_documents` does."""
    ((data, _),) = load_documents(path, _AsTheyStand())
    return data


def _apart(value: Any) -> Any:
    """Return a copy in which no two places are the same object: what an alias stands for is one object in PyYAML."""
    if isinstance(value, dict):
        return {key: _apart(inner) for key, inner in value.items()}
    return [_apart(inner) for inner in value] if isinstance(value, list) else value


class _AsTheyStand(dict[str, str]):
    """Fills each placeholder with itself."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> str:
        return f"${{lab:{key}}}"
