"""Where a stack's processes live, and how their servers are reached: the port `Place`.

As root that is a network namespace and a cgroup of the stack's own. Without root they are ordinary processes of the user's, on
the gateway's address of a network in the user's container engine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from prompt_keda.core.process import ZOMBIE, kernel_fields
from prompt_keda.lab import cgroups, network, users_engine
from prompt_keda.lab.settings import Lab


class Place(Protocol):
    """Where the processes of one stack live."""

    def make(self, lab: Lab) -> str:
        """Make it, and return the address on which the stack's servers listen. Idempotent: yes.

        Raises
        ------
        LabError
            When that is refused.
        """

    def inside(self, lab: Lab) -> list[str]:
        """Return the start of a command line that runs in its network."""

    def enter(self, lab: Lab) -> list[str]:
        """Return the start of a command line that runs there, and ends with the stack."""

    def pids(self, lab: Lab) -> set[int]:
        """Return every process that `enter` has brought there, with its children."""

    def usage(self, lab: Lab, pids: Iterable[int]) -> tuple[float, int]:
        """Return what these processes have used: CPU seconds, and bytes of memory without the page cache."""

    def stands_while(self, lab: Lab, node: int | None) -> Path:
        """Return a file that goes when the stack's network goes; ``node`` is the first process of a node's container."""

    def kill_all(self, lab: Lab) -> None:
        """Kill every process that `pids` returns, again and again until none is left. Idempotent: yes.

        Raises
        ------
        LabError
            When processes are still there after `cgroups.END_S` seconds.
        """

    def remove(self, lab: Lab) -> None:
        """Remove the place, once nothing runs in it. Idempotent: yes. Raises `LabError` when something does not go."""


class _Own:
    """A network namespace and a cgroup of the stack's own. Needs root."""

    def make(self, lab: Lab) -> str:
        cgroups.create(lab.cgroup)
        return network.address(network.create(lab))

    def inside(self, lab: Lab) -> list[str]:
        return network.enter(lab)

    def enter(self, lab: Lab) -> list[str]:
        return [*cgroups.enter(lab.cgroup), *network.enter(lab)]

    def pids(self, lab: Lab) -> set[int]:
        return cgroups.pids(lab.cgroup)

    def usage(self, lab: Lab, pids: Iterable[int]) -> tuple[float, int]:
        return cgroups.usage(lab.cgroup) if cgroups.pids(lab.cgroup) else (0.0, 0)

    def stands_while(self, lab: Lab, node: int | None) -> Path:
        return lab.netns_path

    def kill_all(self, lab: Lab) -> None:
        cgroups.kill_all(lab.cgroup)

    def remove(self, lab: Lab) -> None:
        network.delete(lab)
        cgroups.remove(lab.cgroup)


class _Users:
    """Processes of the user's, on the gateway's address of a network in the user's engine: containers reach that, too."""

    def make(self, lab: Lab) -> str:
        return users_engine.make_network(lab)

    def inside(self, lab: Lab) -> list[str]:
        return []

    def enter(self, lab: Lab) -> list[str]:
        return users_engine.marked(lab)

    def pids(self, lab: Lab) -> set[int]:
        mark = users_engine.mark(lab).encode()
        marked = set()
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # another's, or it has ended since
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    marked.add(int(folder.name))
        return {pid for pid in marked if _runs(pid)}

    def usage(self, lab: Lab, pids: Iterable[int]) -> tuple[float, int]:
        ticks = memory = 0
        for pid in pids:
            if fields := kernel_fields(pid):
                ticks += sum(int(field) for field in fields[11:15])  # its own, and of its children that have ended
                memory += _anonymous(pid)
        return ticks / os.sysconf("SC_CLK_TCK"), memory

    def stands_while(self, lab: Lab, node: int | None) -> Path:
        return Path("/proc", str(node))

    def kill_all(self, lab: Lab) -> None:
        cgroups.kill_until_none(lambda: self.pids(lab))

    def remove(self, lab: Lab) -> None:
        users_engine.remove_all(lab)


def of(lab: Lab) -> Place:
    """Return where a stack's processes live."""
    return _Users() if lab.is_users else _Own()


def _runs(pid: int) -> bool:
    fields = kernel_fields(pid)
    return fields is not None and fields[0] != ZOMBIE


def _anonymous(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0
