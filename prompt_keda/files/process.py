"""Processes of this machine."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def is_alive(pid: int) -> bool:
    """Tell whether a process of this machine runs. A number that is used again says yes.

    One that was killed and that its parent has not asked for yet (a zombie) does not run.
    """
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Read the state that follows the program's name in parentheses (Linux, proc(5)); elsewhere nobody can tell: no."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"  # a name need be no text
    return False
