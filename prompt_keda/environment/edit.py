"""Writes a cluster's new identity into an environment's file, and leaves all else in it byte for byte."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from prompt_keda.core.errors import EnvironmentFileError
from prompt_keda.core.strict_yaml import PLACEHOLDER, load_documents, read_text
from prompt_keda.environment.loading import load_environment
from prompt_keda.environment.model import Environment

KEYS = ("ca_sha256", "kube_system_uid")
PLACE = ("kubernetes", "identity")
PLAIN = re.compile("[A-Za-z0-9-]{1,64}")
BY_HAND = "Write the new values into it by hand."


def identity_placeholders(path: Path) -> list[str]:
    """Give the ``${lab:…}`` that stand for the identity in an environment's file. Raises as `read_text` does."""
    nodes = _identity_nodes(path, read_text(path))
    return [found[0] for node in nodes.values() if (found := PLACEHOLDER.search(node.value))]


def write_identity(
    path: Path, before: Environment, values: Mapping[str, str], placeholders: Mapping[str, Any] | None
) -> None:
    """Replace the two values of ``kubernetes.identity``. Idempotent: yes.

    The new file is read and validated before it takes the place of the old one, whole or not at all; it keeps the old
    one's mode, and its owner where that is allowed.

    Parameters
    ----------
    path
        The file; no symbolic link.
    before
        What it says, as `load_environment` gave it.
    values
        ``ca_sha256`` and ``kube_system_uid``.
    placeholders
        As for `load_environment`.

    Raises
    ------
    EnvironmentFileError
        When a value is none, the file is a link, cannot be written or has changed, or when more than these two values would change.
    """
    if odd := [one for one in values.values() if not PLAIN.fullmatch(one)]:
        raise EnvironmentFileError(f"{odd[0]!r} is no part of an identity")
    if path.is_symlink():
        raise EnvironmentFileError(
            f"{path} is a symbolic link, and those are not written through", f"Name the file itself: {path.resolve()}"
        )
    text = read_text(path)
    if load_environment(path, placeholders) != before:
        raise EnvironmentFileError(f"{path} has changed meanwhile", "Begin again.")
    scratch = path.with_name(f".{path.name}.new")
    try:
        _write(scratch, _replaced(path, text, values), path.stat())
        _refuse_other_changes(path, scratch, before, values, placeholders)
        if read_text(path) != text:
            raise EnvironmentFileError(f"{path} has changed meanwhile", "Begin again.")
        scratch.rename(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise EnvironmentFileError(f"{path} cannot be written: {error.strerror}", BY_HAND) from error
    finally:
        scratch.unlink(missing_ok=True)


def _identity_nodes(path: Path, text: str) -> dict[str, yaml.ScalarNode]:
    """Give the nodes of the two values, which know where they stand in the text."""
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)  # the C loader's marks count bytes
    for key in PLACE:
        node = _child(node, key)
    found = {key: _child(node, key) for key in KEYS}
    for key, one in found.items():
        if not isinstance(one, yaml.ScalarNode) or one.style not in (None, "'", '"'):
            raise EnvironmentFileError(f"{path}: {'.'.join(PLACE)}.{key} is not written as a plain text", BY_HAND)
    return found


def _child(node: Any, key: str) -> Any:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for name, value in pairs if name.value == key), None)


def _replaced(path: Path, text: str, values: Mapping[str, str]) -> str:
    nodes = _identity_nodes(path, text)
    for key, node in sorted(nodes.items(), key=lambda item: item[1].start_mark.index, reverse=True):
        quote = node.style or ("" if yaml.safe_load(values[key]) == values[key] else '"')
        text = f"{text[: node.start_mark.index]}{quote}{values[key]}{quote}{text[node.end_mark.index :]}"
    return text


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
    path: Path, scratch: Path, before: Environment, values: Mapping[str, str], placeholders: Mapping[str, Any] | None
) -> None:
    """Make sure that the new file is an environment, and differs in the two values alone: an anchor may be used twice."""
    identity = before.kubernetes.identity.model_copy(update=dict(values))
    wanted = before.model_copy(update={"kubernetes": before.kubernetes.model_copy(update={"identity": identity})})
    if load_environment(scratch, placeholders) != wanted or _rest(path) != _rest(scratch):
        raise EnvironmentFileError(
            f"{path}: more than the identity would change: its values are used elsewhere", BY_HAND
        )


def _rest(path: Path) -> Any:
    """Give all that a file says, as it stands there, but for the two values."""
    ((data, _),) = load_documents(path, _AsTheyStand())
    for key in KEYS:
        del data[PLACE[0]][PLACE[1]][key]
    return data


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
