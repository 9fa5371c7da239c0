"""Signals to the stack's processes: those that it started itself, and those in its pods."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import PODS
from prompt_keda.core.errors import LabError
from prompt_keda.core.process import kernel_fields
from prompt_keda.lab import processes
from prompt_keda.lab.faults.fault import Stage


def send(stage: Stage, name: str, number: signal.Signals) -> None:
    """Send a signal to a process that the stack started itself.

    Raises
    ------
    LabError
        When it does not run.
    """
    pid = processes.pid_of(stage.lab, name)
    if pid is None:
        raise LabError(f"the stack's {name} does not run", "./run lab.up")
    processes.send(stage.lab, pid, number)


def send_in_pods(stage: Stage, namespace: str, labels: str, number: signal.Signals) -> int:
    """Send a signal to every process in the containers of some pods, and return how many there are.

    The kubelet says which containers these are, and the kernel which processes are in them: a container's cgroup bears
    its id, and no other stack's container has the same.

    Parameters
    ----------
    labels
        The pods' label selector.
    """
    return send_to(stage, processes_in_pods(stage, namespace, labels), number)


def send_to(stage: Stage, pids: Iterable[int], number: signal.Signals) -> int:
    """Send a signal to processes, and return how many of them there still are."""
    count = 0
    for pid in pids:
        with suppress(ProcessLookupError):  # it has ended since
            processes.send(stage.lab, pid, number)
            count += 1
    return count


def processes_in_pods(stage: Stage, namespace: str, labels: str) -> Iterator[int]:
    """Yield the id of every process in the containers of some pods; ``labels`` is the pods' label selector."""
    yield from processes_of(stage.kube.list(PODS, namespace, labels))


def processes_of(pods: Iterable[Object]) -> Iterator[int]:
    """Yield the id of every process in the containers of these pods."""
    states = [
        status for pod in pods for status in pod["status"].get("containerStatuses") or [] if status.get("containerID")
    ]
    yield from _processes_of({status["containerID"].rpartition("/")[2] for status in states})


def first_process_in_pods(stage: Stage, namespace: str, labels: str) -> int | None:
    """Return the id of the process in some pods that began first, which is a container's own; None if there is none.

    A probe's process ends in a moment, and may have a lower id: the kernel begins again at the bottom (pid_max).
    """
    began = {}
    for pid in processes_in_pods(stage, namespace, labels):
        if fields := kernel_fields(pid):  # it may have ended since
            began[pid] = int(fields[19])  # field 22, starttime
    return min(began, key=began.__getitem__, default=None)


def is_stopped(pid: int) -> bool:
    """Return whether a process stands still by SIGSTOP (Linux, proc(5): state T)."""
    fields = kernel_fields(pid)
    return fields is not None and fields[0] == "T"


def _processes_of(containers: set[str]) -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            groups = (folder / "cgroup").read_text()
            if any(container in groups for container in containers):
                yield int(folder.name)
