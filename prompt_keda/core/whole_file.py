"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO


def write_whole(path: Path, data: bytes | str, mode: int = 0o600) -> None:
    """Write a file, whatever stood there before: a kill or a full disk leaves the old one. Raises as `whole_file` does."""
    with whole_file(path, mode) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextmanager
def whole_file(path: Path, mode: int = 0o600) -> Iterator[IO[bytes]]:
    """Give a scratch file in the same folder, which takes the path's place, and is on the disk, when the block ends.

    Parameters
    ----------
    path
        A symbolic link there is replaced, not followed.
    mode
        Of the new file, whatever the umask.

    Raises
    ------
    OSError
        When it cannot be written. As after any error in the block, the old file stays, and the scratch file goes.
    """
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=".new", delete=False) as file:
            try:
                os.fchmod(file.fileno(), mode)
                yield file
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
        try:
            os.fsync(folder)
        except OSError as error:
            if error.errno != errno.EINVAL:  # some network file systems sync no folder
                raise
    finally:
        os.close(folder)
