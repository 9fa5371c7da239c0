"""A support bundle on the disk: one compressed archive, for this user alone, whole or not at all."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile

from prompt_keda.core.errors import Refusal
from prompt_keda.core.whole_file import whole_file


def refuse_unwritable(path: Path) -> None:
    """See that an archive can be written, before anything is collected for it. Raises `Refusal` as `write_archive` does."""
    if not path.name:
        raise Refusal(f"{path} is a folder", "Name a file in it.")
    try:
        if path.exists():
            raise Refusal(f"{path} already exists", "Name another file: nothing is overwritten.")
        with TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise Refusal(f"{path} cannot be written: {error.strerror}", "Make room, or name another file.") from error


def write_archive(path: Path, folder: str, texts: Mapping[str, str]) -> int:
    """Write texts below one folder of a tar.gz; return its size in bytes.

    Raises
    ------
    Refusal
        When there is a file or folder of that name already, or it cannot be written.
    """
    refuse_unwritable(path)
    try:
        with whole_file(path) as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            for name, text in texts.items():
                entry = tarfile.TarInfo(f"{folder}/{name}")
                raw = text.encode()
                entry.size, entry.mode = len(raw), 0o600
                archive.addfile(entry, io.BytesIO(raw))
        return path.stat().st_size
    except OSError as error:
        raise Refusal(f"{path} cannot be written: {error.strerror}", "Make room, or name another file.") from error
