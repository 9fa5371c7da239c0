"""What a program said on a terminal of its own."""

from __future__ import annotations

import os
import pty
import subprocess
from contextlib import suppress


def until_closed(descriptor):
    """Yield what a terminal received; its end is an error (EIO) on Linux."""
    with suppress(OSError):
        while data := os.read(descriptor, 10_000):
            yield data


def run_on_terminal(argv, env, cwd=None):
    """Run a program to its end with all three streams on a terminal; gives its exit code and what the terminal was told."""
    ours, theirs = pty.openpty()
    env = {**env, "TERM": "xterm-256color"}
    with subprocess.Popen(argv, cwd=cwd, env=env, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        output = b"".join(until_closed(ours))
    os.close(ours)
    return process.returncode, output
