"""The stack's processes: started where the stack lives (`place`), and known by pid and start time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from prompt_keda.core.errors import LabError
from prompt_keda.core.private_folder import private_folder
from prompt_keda.core.process import ZOMBIE, kernel_fields
from prompt_keda.core.waiting import looks
from prompt_keda.lab import place, users_engine
from prompt_keda.lab.commands import run
from prompt_keda.lab.settings import Lab

COMES_BACK_S = 60
END_S = 20
GRACE_S = 5
NODE = "node"
"""The first process of a node that is a container."""


def start(lab: Lab, name: str, argv: Sequence[str], env: dict[str, str] | None = None) -> int:
    """Start a process of the stack unless it runs, and return its pid. Idempotent: yes.

    Its output goes to ``logs/<name>.log`` in the stack's state folder.
    """
    running = pid_of(lab, name)
    if running is not None:
        return running
    with (private_folder(lab.state / "logs") / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [*place.of(lab).enter(lab), *argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **(env or {})},
            cwd=lab.state,
            start_new_session=True,
        )
    started = {"pid": process.pid, "started": _start_time(process.pid)}
    _keep(lab, name, {**started, "argv": list(argv), "env": env or {}})
    return process.pid


def _keep(lab: Lab, name: str, record: dict[str, Any]) -> None:
    (private_folder(lab.state / "pids") / f"{name}.json").write_text(json.dumps(record))


def _find(lab: Lab, program: str) -> int | None:
    """Return the pid of one of the stack's programs; None if there is none."""
    for pid in sorted(pids(lab)):
        try:
            first = Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0].decode()
        except (OSError, ValueError):  # it has ended since
            continue
        if first.rpartition("/")[2] == program and _start_time(pid) is not None:
            return pid
    return None


def pids(lab: Lab) -> set[int]:
    """Return all processes of the stack, and those in its node's container; those in the pods of a native one are left out."""
    node = pid_of(lab, NODE)
    return place.of(lab).pids(lab) | (set() if node is None else _family(node))


def usage(lab: Lab) -> tuple[float, int]:
    """Return what the stack uses: CPU seconds since it started, and bytes of memory without the page cache."""
    return place.of(lab).usage(lab, pids(lab))


def _family(ancestor: int) -> set[int]:
    """Return a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        if fields := kernel_fields(int(folder.name)):
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    family, new = {ancestor}, [ancestor]
    while new:
        new = [child for parent in new for child in children.get(parent, []) if child not in family]
        family.update(new)
    return family


def adopt(lab: Lab, name: str, pid: int, look: str) -> None:
    """Know a process that another has started. It cannot be started again.

    Parameters
    ----------
    look
        A sentence: where its words are, since the stack has no log of it.
    """
    _keep(lab, name, {"pid": pid, "started": _start_time(pid), "look": look})


def supervise(lab: Lab, name: str, stop: Sequence[str], start: Sequence[str]) -> None:
    """Know a program that another starts again whenever it ends: it is found by its name among the stack's processes.

    Parameters
    ----------
    stop, start
        Commands that let it stay away, and that let it come back.
    """
    _keep(lab, name, {"program": name, "stop": list(stop), "start": list(start)})


def enter_node(lab: Lab) -> list[str]:
    """Return the start of a command line that runs where the node's pods and Services are reached.

    That is the network namespace of the node's own process, where the node is a container; else the stack's. Without root it is
    a container beside the node's, with this machine's programs.
    """
    if lab.is_users:
        return users_engine.beside_node(lab)
    pid = pid_of(lab, NODE)
    return place.of(lab).inside(lab) if pid is None else ["nsenter", f"--net=/proc/{pid}/ns/net", "--"]


def start_again(lab: Lab, name: str) -> int:
    """Start a process as it was started before, unless it runs, and return its pid. Idempotent: yes.

    Raises
    ------
    LabError
        When it was never started in this stack.
    """
    record = _record(lab, name)
    if record is None or not record.get("start", record.get("argv")):
        raise LabError(f"{name} was never started in the local stack", "./run lab.up")
    if "program" in record:
        run(record["start"])
        for _ in looks(COMES_BACK_S, every_s=0.1):
            if (pid := pid_of(lab, name)) is not None:
                return pid
        raise LabError(f"{name} does not come back", "Look at it: ./run lab.exec -- kubectl get pods -A")
    return start(lab, name, record["argv"], record.get("env"))


def pid_of(lab: Lab, name: str) -> int | None:
    """Return the pid of a running process of the stack, or None."""
    record = _record(lab, name)
    if record is None:
        return None
    if "program" in record:
        return _find(lab, record["program"])
    alive = record["started"] is not None and _start_time(record["pid"]) == record["started"]
    return int(record["pid"]) if alive else None


def _record(lab: Lab, name: str) -> dict[str, Any] | None:
    """Return what `start` has kept of a process; None when it was never started, or was killed while it wrote."""
    try:
        record: dict[str, Any] = json.loads((lab.state / "pids" / f"{name}.json").read_text())
        return record
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def names(lab: Lab) -> list[str]:
    """Return the names of all processes that were ever started in this stack."""
    return sorted(path.stem for path in (lab.state / "pids").glob("*.json"))


def stop(lab: Lab, name: str) -> None:
    """Stop one process: SIGTERM, and after `GRACE_S` seconds SIGKILL. It stays away. Idempotent: yes."""
    _let_stay_away(lab, name)
    pid = pid_of(lab, name)
    if pid is None:
        return
    _end(lab, pid, signal.SIGTERM)
    for _ in looks(GRACE_S, every_s=0.02):
        if pid_of(lab, name) is None:
            return
    kill(lab, name)


def kill(lab: Lab, name: str) -> None:
    """Kill one process by SIGKILL, and wait until it is gone. It stays away. Idempotent: yes.

    Raises
    ------
    LabError
        When it does not end.
    """
    _let_stay_away(lab, name)
    for _ in looks(END_S, every_s=0.02):
        if (pid := pid_of(lab, name)) is None:
            return
        _end(lab, pid, signal.SIGKILL)
    raise LabError(f"{name} of the local stack does not end", "Look at it with ps, then try again.")


def send(lab: Lab, pid: int, number: signal.Signals) -> None:
    """Send a signal to a process of the stack. Without root those in the node's container are reached through the engine.

    Raises
    ------
    ProcessLookupError
        When it has ended.
    LabError
        When the engine refuses.
    """
    try:
        os.kill(pid, number)
    except PermissionError:
        if not lab.is_users:
            raise
        run([*users_engine.in_node(lab), "kill", f"-{number.value}", _pid_in_node(pid)])


def _pid_in_node(pid: int) -> str:
    """Return what a process is called in the node's container, in which a pod's is called otherwise again (NSpid, proc(5))."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError as error:
        raise ProcessLookupError(pid) from error
    return next(line.split()[2] for line in lines if line.startswith("NSpid:"))


def _end(lab: Lab, pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # another ended it meanwhile
        send(lab, pid, number)


def _let_stay_away(lab: Lab, name: str) -> None:
    if (record := _record(lab, name)) and "program" in record:
        run(record["stop"])


def remove(lab: Lab, name: str) -> None:
    """Stop one process, and forget it: the stack counts as whole without it. Idempotent: yes."""
    stop(lab, name)
    (lab.state / "pids" / f"{name}.json").unlink(missing_ok=True)


def require(lab: Lab, name: str) -> None:
    """Make sure that a process still runs.

    Raises
    ------
    LabError
        When it has ended; with the last line of its log.
    """
    if pid_of(lab, name) is None:
        log = lab.state / "logs" / f"{name}.log"
        last = f": {_last_line(log)}" if log.exists() else ""
        raise LabError(f"{name} of the local stack has ended{last}", where_to_look(lab, name))


def where_to_look(lab: Lab, name: str) -> str:
    """Return a sentence on where a process' words are."""
    record = _record(lab, name) or {}
    return str(record.get("look") or f"Its log is {lab.state / 'logs' / f'{name}.log'}.")


def _start_time(pid: int) -> str | None:
    """Return the kernel's start time of a process (field 22 of /proc/PID/stat); None if it is gone or a zombie."""
    fields = kernel_fields(pid)
    return None if fields is None or fields[0] == ZOMBIE else fields[19]


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it wrote no log"
