"""Processes of this machine."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

ZOMBIE = "Z"


def is_alive(pid: int) -> bool:
    """Return whether a process of this machine runs. A number that is used again says yes.

    One that was killed and that its parent has not asked for yet (a zombie) does not run.
    """
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    fields = kernel_fields(pid)
    return fields is None or fields[0] != ZOMBIE


def kernel_fields(pid: int) -> list[str] | None:
    """Return what the kernel says of a process after its name: the state first (Linux, proc(5), /proc/PID/stat, fields 3 on).

    None if it is gone, or on a system without /proc.
    """
    with suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")  # the program's name in it need be no text
        return stat.rpartition(")")[2].split()
    return None
