"""Runs a program of this machine, bounded in time and output: what it reads may have been written by anybody."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from prompt_keda.core.errors import BadAnswer, Missing, Unreachable

CHUNK_BYTES = 1 << 16


@dataclass(frozen=True)
class Ended:
    """What a program left: its exit code, and all that it wrote."""

    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def last_line(self) -> str:
        """The last line that it wrote on standard error, which names the error."""
        lines = self.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else f"exit code {self.exit_code}, and no word"


def run_bounded(
    argv: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    timeout: timedelta,
    most_bytes: int,
    stdin: bytes = b"",
) -> Ended:
    """Run a program to its end, in a session of its own, and return what it wrote. It and its children are ended on any error.

    Parameters
    ----------
    argv
        The program and its arguments; no shell reads them.
    environment
        All that it finds in its environment.
    most_bytes
        Of standard output, and of standard error.

    Raises
    ------
    Missing
        When it cannot be started.
    Unreachable
        When it is not done in time.
    BadAnswer
        When it writes more than it may.
    """
    name = Path(argv[0]).name
    with TemporaryFile() as given:
        given.write(stdin)
        given.seek(0)
        try:
            process = subprocess.Popen(
                argv,
                cwd=folder,
                env=dict(environment),
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise Missing(name, argv[0], f"it cannot be started: {error.strerror}") from error
        try:
            stdout, stderr = _read(process, name, argv[0], timeout, most_bytes)
            return Ended(process.wait(), stdout, stderr)
        finally:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()


def _read(
    process: subprocess.Popen[bytes], name: str, path: str, timeout: timedelta, most_bytes: int
) -> tuple[bytes, bytes]:
    until = time.monotonic() + timeout.total_seconds()
    assert process.stdout and process.stderr
    texts: dict[IO[bytes], bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for stream in texts:
            selector.register(stream, selectors.EVENT_READ, texts[stream])
        while selector.get_map():
            left = until - time.monotonic()
            if left <= 0:
                raise Unreachable(name, path, f"not done after {timeout.total_seconds():.0f} s")
            for key, _ in selector.select(left):
                chunk = os.read(key.fd, CHUNK_BYTES)
                key.data.extend(chunk)
                if not chunk:
                    selector.unregister(key.fileobj)
                if len(key.data) > most_bytes:
                    raise BadAnswer(name, path, f"it wrote more than {most_bytes // 2**20} MiB")
    return bytes(texts[process.stdout]), bytes(texts[process.stderr])
