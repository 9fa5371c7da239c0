"""Writes single values into an environment's file, and leaves all else in it byte for byte."""

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
from prompt_keda.core.strict_yaml import PLACEHOLDER, Where, load_documents, read_text
from prompt_keda.environment.loading import load_environment
from prompt_keda.environment.model import Environment

KEYS = ("ca_sha256", "kube_system_uid")
PLACE = ("kubernetes", "identity")
PLAIN = re.compile("[A-Za-z0-9-]{1,64}")
BY_HAND = "Write the new values into it by hand."
Values = Mapping[Where, str]
"""The keys that lead to a value, an item of a list by its number → what is written there."""


def identity_placeholders(path: Path) -> list[str]:
    """Give the ``${lab:…}`` that stand for the identity in an environment's file. Raises as `read_text` does."""
    return placeholders_at(path, [(*PLACE, key) for key in KEYS])


def placeholders_at(path: Path, places: Iterable[Where]) -> list[str]:
    """Return the ``${lab:…}`` that stand at these places of an environment's file. Raises as `read_text` does."""
    root = _root(read_text(path))
    nodes = [node for where in places if isinstance(node := _node(root, where), yaml.ScalarNode)]
    return [match[0] for node in nodes if (match := PLACEHOLDER.search(node.value))]


def write_identity(
    path: Path, before: Environment, values: Mapping[str, str], placeholders: Mapping[str, Any] | None
) -> None:
    """Replace the two values of ``kubernetes.identity``. Idempotent: yes.

    Parameters
    ----------
    values
        ``ca_sha256`` and ``kube_system_uid``.

    Raises as `write_values` does, and when the file does not have them yet.
    """
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
        Whether a key that is not there yet is added, on a line of its own.

    Raises
    ------
    EnvironmentFileError
        When a value is none, the file is a link, cannot be written or has changed, or when more than these values would change.
    """
    if odd := [value for value in values.values() if not PLAIN.fullmatch(value)]:
        raise EnvironmentFileError(f"{odd[0]!r} is no part of the {what}")
    if path.is_symlink():
        raise EnvironmentFileError(
            f"{path} is a symbolic link, and those are not written through", f"Name the file itself: {path.resolve()}"
        )
    text = read_text(path)
    if load_environment(path, placeholders) != before:
        raise EnvironmentFileError(f"{path} has changed meanwhile", "Begin again.")
    scratch = path.with_name(f".{path.name}.new")
    try:
        _write(scratch, _replaced(path, text, values, may_add), path.stat())
        _refuse_other_changes(path, scratch, values, placeholders, what)
        if read_text(path) != text:
            raise EnvironmentFileError(f"{path} has changed meanwhile", "Begin again.")
        scratch.rename(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise EnvironmentFileError(f"{path} cannot be written: {error.strerror}", BY_HAND) from error
    finally:
        scratch.unlink(missing_ok=True)


def _root(text: str) -> Any:
    return yaml.compose(text, Loader=yaml.SafeLoader)  # the C loader's marks count bytes


def _node(node: Any, where: Where) -> Any:
    """Return the node at a place, which knows where it stands in the text; None if there is none."""
    for step in where:
        if isinstance(step, int):
            node = node.value[step] if isinstance(node, yaml.SequenceNode) and step < len(node.value) else None
        else:
            pairs = node.value if isinstance(node, yaml.MappingNode) else ()
            node = next((value for key, value in pairs if key.value == step), None)
    return node


def _replaced(path: Path, text: str, values: Values, may_add: bool) -> str:
    """Return the text with all values in their places, the last place first: what stands before it keeps its own."""
    root = _root(text)
    edits = [_edit(path, text, root, where, value, may_add) for where, value in values.items()]
    for begin, end, new in sorted(edits, reverse=True):
        text = f"{text[:begin]}{new}{text[end:]}"
    return text


def _edit(path: Path, text: str, root: Any, where: Where, value: str, may_add: bool) -> tuple[int, int, str]:
    """Return from where to where the text is replaced, and by what."""
    node = _node(root, where)
    if isinstance(node, yaml.ScalarNode) and node.style in (None, "'", '"'):
        quote = node.style or _quote(value)
        return node.start_mark.index, node.end_mark.index, f"{quote}{value}{quote}"
    if node is None and may_add:
        return _addition(path, text, root, where, value)
    raise EnvironmentFileError(f"{path}: {'.'.join(map(str, where))} is not written as a plain text", BY_HAND)


def _quote(value: str) -> str:
    return "" if yaml.safe_load(value) == value else '"'


def _addition(path: Path, text: str, root: Any, where: Where, value: str) -> tuple[int, int, str]:
    """Return a line with a key that is not there yet: below the first line of the mapping that it belongs to."""
    there = next(length for length in range(len(where) - 1, -1, -1) if _node(root, where[:length]) is not None)
    mapping, missing = _node(root, where[:there]), where[there:]
    pairs = mapping.value if isinstance(mapping, yaml.MappingNode) and not mapping.flow_style else []
    for key, scalar in pairs:
        is_one_line = isinstance(scalar, yaml.ScalarNode) and scalar.start_mark.line == scalar.end_mark.line
        end = text.find("\n", scalar.end_mark.index)
        if is_one_line and scalar.style in (None, "'", '"') and end >= 0:
            line_end = "\r\n" if text[end - 1 : end] == "\r" else "\n"
            written = f"{_quote(value)}{value}{_quote(value)}"
            for name in reversed(missing[1:]):
                written = f"{{{name}: {written}}}"
            return end + 1, end + 1, f"{' ' * key.start_mark.column}{missing[0]}: {written}{line_end}"
    fix = f"Write it by hand: {'.'.join(map(str, where))}: {value}"
    raise EnvironmentFileError(f"{path}: {'.'.join(map(str, where))} is not there, and cannot be added", fix)


def _write(scratch: Path, text: str, old: os.stat_result) -> None:
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode())
        with suppress(PermissionError):  # a colleague's file in a folder of both
            os.fchown(descriptor, old.st_uid, old.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
        file.flush()
        os.fsync(descriptor)


def _refuse_other_changes(
    path: Path, scratch: Path, values: Values, placeholders: Mapping[str, Any] | None, what: str
) -> None:
    """Make sure that the new file is an environment, and differs in these values alone: an anchor may be used twice."""
    load_environment(scratch, placeholders)
    wanted = _as_it_stands(path)
    for where, value in values.items():
        _set(wanted, where, value)
    if _as_it_stands(scratch) != wanted:
        raise EnvironmentFileError(f"{path}: more than the {what} would change: its values are used elsewhere", BY_HAND)


def _as_it_stands(path: Path) -> Any:
    """Return all that a file says, its placeholders unfilled, and nothing of it in two places."""
    ((data, _),) = load_documents(path, _AsTheyStand())
    return json.loads(json.dumps(data, default=str))


def _set(data: Any, where: Where, value: str) -> None:
    for step in where[:-1]:
        data = data[step] if isinstance(step, int) else data.setdefault(step, {})
    data[where[-1]] = value


class _AsTheyStand(dict[str, str]):
    """Fills each placeholder with itself."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> str:
        return f"${{lab:{key}}}"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
