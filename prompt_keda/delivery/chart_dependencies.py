"""The charts that a chart of Phalanx needs: none is rendered that nothing pins.

What is in Phalanx itself is pinned by the commit: a chart beside it (``file://``), a packed or unpacked one in its folder
charts/. What comes from a repository of charts is pinned by the environment (``phalanx.charts``); it is taken from this
machine, or fetched where the environment says from where.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from prompt_keda.clients.systems import filled
from prompt_keda.core.errors import BadAnswer, Refusal
from prompt_keda.core.untrusted import one_line
from prompt_keda.delivery import go_yaml
from prompt_keda.delivery.manifests import keep_prepared, prepared_file
from prompt_keda.environment.model import PhalanxChart

MOST_BYTES = 64 * 2**20


def place_charts(
    tree: Path, path: str, checkout: Path, pinned: Sequence[PhalanxChart], connect: timedelta
) -> tuple[str, ...]:
    """Put the packed charts that a chart needs beside it, each with the SHA-256 that the environment pins.

    Parameters
    ----------
    tree
        The files of one commit, which this may write.
    path
        Of the chart, from the top of the tree.
    checkout
        The person's checkout, where Helm may have put a packed chart that git ignores.
    connect
        For each connection, where one has to be fetched.

    Returns
    -------
    tuple of str
        The folders of the tree that are rendered: the chart's own, and those of the charts beside it that it needs.

    Raises
    ------
    Refusal
        When nothing pins one, or it is on this machine under another SHA-256 or not at all.
    ClientError
        When it cannot be fetched or kept; or when Chart.yaml makes no sense.
    """
    folders = [path]
    for name, version, repository in _dependencies(tree / path, path):
        if repository.startswith("file://"):
            beside = (tree / path / repository.removeprefix("file://")).resolve()
            if not beside.is_relative_to(tree) or not (beside / "Chart.yaml").is_file():
                raise Refusal(f"{path} needs the chart {one_line(repository)}, which is not in the commit")
            folders.append(str(beside.relative_to(tree)))
        elif not _is_vendored(tree / path / "charts", name):
            _place(tree / path / "charts", checkout / path / "charts", name, version, repository, pinned, connect)
    return tuple(folders)


def _dependencies(chart: Path, path: str) -> list[tuple[str, str, str]]:
    """Return name, version and repository of each chart that a chart needs."""
    try:
        text = (chart / "Chart.yaml").read_text()
        (about,) = go_yaml.read_documents(text, f"{path}/Chart.yaml")
        dependencies = [
            (entry["name"], entry["version"], entry.get("repository", "")) for entry in about.get("dependencies") or ()
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadAnswer("helm", f"{path}/Chart.yaml", "its dependencies make no sense") from error
    for texts in dependencies:
        if not all(isinstance(text, str) for text in texts) or "/" in "".join(texts[:2]):
            raise BadAnswer("helm", f"{path}/Chart.yaml", "its dependencies make no sense")
    return dependencies


def _is_vendored(folder: Path, name: str) -> bool:
    return (folder / name / "Chart.yaml").is_file() or any(folder.glob(f"{_literal(name)}-[0-9v]*.tgz"))


def _literal(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _place(
    folder: Path,
    vendored: Path,
    name: str,
    version: str,
    repository: str,
    pinned: Sequence[PhalanxChart],
    connect: timedelta,
) -> None:
    chart, file_name = f"{one_line(name)} {one_line(version)}", f"{name}-{version}.tgz"
    pin = next((pin for pin in pinned if (pin.name, pin.version) == (name, version)), None)
    data = _read(vendored / file_name)
    if pin is None:
        there = f" {vendored / file_name} has {hashlib.sha256(data).hexdigest()}." if data else ""
        raise Refusal(
            f"the chart {chart} comes from {one_line(repository) or 'nowhere'}, and nothing pins what is in it",
            f"Compare its SHA-256 with its publisher's, and write it into the environment: phalanx.charts.{there}",
        )
    sha256 = filled(pin.sha256, f"phalanx.charts[{name}].sha256")
    kept = prepared_file(sha256).with_suffix(".tgz")
    if data and hashlib.sha256(data).hexdigest() != sha256:
        raise Refusal(
            f"{vendored / file_name} has the SHA-256 {hashlib.sha256(data).hexdigest()}, and the environment pins {sha256}",
            "Find out why before you pin the new one.",
        )
    if not data:
        data = _read(kept)
    if not data and pin.source:
        from prompt_keda.clients.http.download import download

        download(pin.source, sha256, kept, None, connect)
        data = _read(kept)
    if not data:
        raise Refusal(
            f"the chart {chart} is not on this machine",
            f"Put it there by helm dependency build {vendored.parent}, or say its address: phalanx.charts[].source.",
        )
    if hashlib.sha256(data).hexdigest() != sha256:
        raise Refusal(f"{kept} is not what its name says", "Remove it, and begin again.")
    keep_prepared(kept, data)
    folder.mkdir(exist_ok=True)
    (folder / file_name).write_bytes(data)


def _read(file: Path) -> bytes:
    """Return a file's bytes; none if it is no regular file, or too large."""
    if file.is_symlink() or not file.is_file() or file.stat().st_size > MOST_BYTES:
        return b""
    return file.read_bytes()
