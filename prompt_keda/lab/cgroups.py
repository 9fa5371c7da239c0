"""The stack's cgroup: it holds every process but those in pods, which have cgroups of their own (`Lab.pod_cgroups`).

Both layouts are served: version 1, where each controller is a hierarchy of its own, and version 2.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from prompt_keda.core.errors import LabError
from prompt_keda.core.waiting import looks

ROOT = Path("/sys/fs/cgroup")
END_S = 20


def is_version_2() -> bool:
    """Return whether this machine has the unified layout alone."""
    return (ROOT / "cgroup.controllers").exists()


def _hierarchies() -> list[Path]:
    return [ROOT] if is_version_2() else [path for path in sorted(ROOT.glob("*")) if (path / "cgroup.procs").exists()]


def create(name: str) -> None:
    """Make ``<name>/stack`` for processes and ``<name>/pods`` for pods in every hierarchy. Idempotent: yes."""
    for root in _hierarchies():
        for leaf in ("stack", "pods"):
            (root / name / leaf).mkdir(parents=True, exist_ok=True)
            if root.name == "cpuset":  # a cpuset without cpus and mems takes no process
                for folder in (root / name, root / name / leaf):
                    for key in ("cpuset.cpus", "cpuset.mems"):
                        (folder / key).write_text((folder.parent / key).read_text())
    if is_version_2():
        wanted = " ".join(f"+{controller}" for controller in (ROOT / "cgroup.controllers").read_text().split())
        for folder in (ROOT, ROOT / name, ROOT / name / "pods"):
            (folder / "cgroup.subtree_control").write_text(wanted)


ENTER = 'while [ "$1" != -- ]; do echo $$ > "$1" || exit 1; shift; done; shift; exec "$@"'


def enter(name: str) -> list[str]:
    """Return what stands before a command so that it runs in ``<name>/stack``, and so its future children.

    The process itself goes in before it becomes the command: what is put in by another, as soon as it runs, is outside for
    good when that other one is killed in between (seen). Where there is no such cgroup the command is not run.
    """
    files = [str(root / name / "stack" / "cgroup.procs") for root in _hierarchies()]
    return ["sh", "-c", ENTER, "sh", *files, "--"]


def _folders(name: str) -> Iterator[Path]:
    """Yield all cgroups of the stack, children before parents."""
    for root in _hierarchies():
        for folder, _, _ in os.walk(root / name, topdown=False):
            yield Path(folder)


def pids(name: str) -> set[int]:
    """Return every process in the stack's cgroup."""
    ids: set[int] = set()
    for folder in _folders(name):
        try:
            ids.update(int(line) for line in (folder / "cgroup.procs").read_text().split())
        except (FileNotFoundError, OSError):
            continue  # it went away while we looked
    return ids


def kill_all(name: str) -> None:
    """Kill every process of the stack, again and again until none is left.

    Raises
    ------
    LabError
        When processes are still there after `END_S` seconds.
    """
    kill_until_none(lambda: pids(name))


def kill_until_none(find: Callable[[], set[int]]) -> None:
    """Kill every process that is found, again and again until there is none. Raises as `kill_all` does."""
    left: set[int] = set()
    for _ in looks(END_S, every_s=0.05):  # not our children, and a cgroup of version 1 does not say when it is empty
        if not (left := find()):
            return
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    raise LabError(f"processes of the stack do not end: {sorted(left)}", "Look at them with ps, then try again.")


def remove(name: str) -> None:
    """Remove the stack's cgroups. Idempotent: yes.

    Raises
    ------
    LabError
        When one of them is still in use.
    """
    for folder in _folders(name):
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise LabError(f"cgroup {folder} cannot be removed: {error.strerror}", "Run lab.down again.") from error


def usage(name: str) -> tuple[float, int]:
    """Return what the stack has used: CPU seconds since it started, and bytes of memory without the page cache."""
    if is_version_2():
        cpu = dict(line.split() for line in (ROOT / name / "cpu.stat").read_text().splitlines())
        memory = dict(line.split() for line in (ROOT / name / "memory.stat").read_text().splitlines())
        return int(cpu["usage_usec"]) / 1e6, int(memory["anon"])
    cpu_ns = int((ROOT / "cpuacct" / name / "cpuacct.usage").read_text())
    stat = dict(line.split() for line in (ROOT / "memory" / name / "memory.stat").read_text().splitlines())
    return cpu_ns / 1e9, int(stat.get("total_rss", 0))
