"""Running the programs that the stack is made with, with one clear error when they fail."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import dropwhile
from pathlib import Path
from typing import Any

from prompt_keda.core.errors import LabError

NO_ADDRESSES = (
    "Its address pools are used up: docker network prune (podman network prune) removes networks that nothing uses."
)
NO_ENTRY = (
    "Root may not enter that folder, as on an NFS home: point XDG_STATE_HOME and XDG_CACHE_HOME to a local disk,"
    " and have this clone on one."
)
TROUBLES = {
    r"non-overlapping IPv4 address pool|address pools have been fully subnetted|could not find free subnet": NO_ADDRESSES,
    r"(mount source path|statfs).*permission denied": NO_ENTRY,
}
"""Words of container engines, by their sources, that say what to do whatever they were asked."""
HINT = re.compile(r"(See|Run) '\w+ [\w -]*--help'")


class Children:
    """Programs that one thread starts and another may stop: each is killed with all that it has started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False

    @contextmanager
    def start(self, argv: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
        """Start a program in a session of its own, with the options of Popen. What runs at the block's end is killed.

        Raises
        ------
        LabError
            When `stop` was called before.
        """
        with self._lock:
            if self._stopped:
                raise LabError(f"{named(argv)[0]} is not started: the work was stopped")
            process = subprocess.Popen(argv, text=True, start_new_session=True, **options)
            self._running.add(process)
        try:
            yield process
        finally:
            if process.poll() is None:
                _kill(process)
                process.wait()
            with self._lock:
                self._running.discard(process)

    def run(
        self, argv: Sequence[str], *, timeout: float | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, as `subprocess.run` does. Raises also as `start` does."""
        with self.start(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
            stdout, stderr = process.communicate(timeout=timeout)
            return subprocess.CompletedProcess(argv, process.returncode, stdout, stderr)

    def stop(self) -> None:
        """Kill all that runs, and let nothing start any more. Idempotent: yes."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                _kill(process)


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a program and its children. SIGKILL: some would first end what they are at, which takes minutes."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def run(
    argv: Sequence[str],
    *,
    fix: str = "",
    timeout_s: float = 120,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    children: Children | None = None,
) -> str:
    """Run a program to its end and give its standard output.

    Parameters
    ----------
    children
        Where another thread may stop it; None: nowhere.

    Raises
    ------
    LabError
        When it is not installed, fails, is stopped or takes longer than ``timeout_s`` seconds; with the last line that
        it said.
    """
    try:
        if children:
            done = children.run(argv, timeout=timeout_s, env=env, cwd=cwd, stdin=subprocess.DEVNULL)
        else:
            done = subprocess.run(
                argv, capture_output=True, text=True, timeout=timeout_s, check=False, env=env, cwd=cwd, input=stdin
            )
    except FileNotFoundError as error:
        raise LabError(f"{named(argv)[0]} is not installed", fix) from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{named(argv)[0]} did not end within {timeout_s:.0f} s", fix) from error
    if done.returncode != 0:
        message = last_line(done.stderr) or last_line(done.stdout) or "it said nothing"
        what = f"{' '.join(named(argv)[:4])} failed with exit code {done.returncode}: {message}"
        raise LabError(what, find_fix(message) or fix)
    return done.stdout


def find_fix(said: str) -> str:
    """Return what to do about a container engine's words; empty where that depends on what it was asked."""
    return next((fix for words, fix in TROUBLES.items() if re.search(words, said)), "")


def last_line(said: str) -> str:
    """Return the last line of what a program said; after an error Docker's is where to read of the command (`HINT`)."""
    return next((line.strip() for line in reversed(said.splitlines()) if line.strip() and not HINT.match(line)), "")


def named(argv: Sequence[str]) -> list[str]:
    """Return a command line without the environment that it begins with."""
    return list(dropwhile(lambda word: word == "env" or "=" in word, argv))
