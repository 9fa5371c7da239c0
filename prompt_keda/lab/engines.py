"""The container engine of this machine: whether kind can make the local stack's cluster in it, or a container can carry all.

Docker is asked, else podman. Their words were recorded from Docker 20.10.24 and podman 4.3.1 (tests/unit/lab/test_engines.py).
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prompt_keda.core.untrusted import one_line

MEMORY_BYTES = 4 * 1024**3
"""What compiles takes most of it: two compilers with 2 GiB each at most (`go_builds`)."""
ANSWER_S = 10
OLDEST_DOCKER = (20, 10)
"""It was the first with ``--cgroupns``, which kind and a stack in a container need."""
OLD_CGROUPS = "1"
"""The version of cgroups on which a pulled node does not start."""
UNIFIED = "boot with systemd.unified_cgroup_hierarchy=1"
ROOTS_DOCKER, ROOTS_PODMAN = Path("/var/run/docker.sock"), Path("/run/podman/podman.sock")
"""Where a rootful one listens, once root has started its service."""
PAGE = "docs/kind.md, In a container"


@dataclass(frozen=True)
class Engine:
    """What answers to a program on the PATH.

    Parameters
    ----------
    name
        ``Docker 28.2.2`` or the like.
    trouble
        Why no container of it can carry the local stack, and what to do; empty: it can.
    host
        Where it listens, as ``$DOCKER_HOST`` or ``$CONTAINER_HOST`` names it.
    unfit
        Why kind can make no cluster in it whose servers are processes of this machine; empty: it can.
    program
        ``docker`` or ``podman``.
    cgroup_version
        ``1`` or ``2``; empty: it does not say.
    data_root
        The folder in which it keeps images and containers; empty: it does not say.
    has_proxy
        Whether it tells of a proxy of its own to https.
    has_mirror
        Whether it tells of a mirror of Docker Hub.
    """

    name: str
    trouble: str = ""
    host: str = ""
    unfit: str = ""
    program: str = "docker"
    cgroup_version: str = ""
    data_root: str = ""
    has_proxy: bool = False
    has_mirror: bool = False

    def find_way(self, registry: str) -> str:
        """Return by what it may reach a registry that does not answer to this machine; empty: by nothing that it tells of."""
        if self.has_proxy:
            return "a proxy"
        return "a mirror" if self.has_mirror and registry == "docker.io" else ""


def advice(by_kind: bool = False) -> str:
    """Return what else can be done by whoever is not root on Debian: a sentence or two about the engine that is here.

    Parameters
    ----------
    by_kind
        Whether all is here that kind needs, but perhaps an engine that it can use without root.
    """
    engine = find()
    if engine is None:
        if platform.system() != "Linux":
            return f"Neither Docker nor podman is here; with one of them it runs in a container ({PAGE})."
        right = f" {_RIGHT_TO_DOCKER}" if os.geteuid() else ""
        return f"Neither Docker nor podman is here. Install Docker, rootful as its packages are.{right}"
    if engine.trouble:
        return f"{engine.name} is here, but {engine.trouble}"
    container = f"{engine.name} can run it in a container ({PAGE})."
    if not by_kind:
        return container
    if engine.unfit:
        return f"{container} By kind it cannot: {engine.unfit}."
    return f"{engine.name} can run it by kind: --provider kind."


def find_for_kind() -> Engine | None:
    """Return the engine in which kind can make a stack's cluster without root; None if there is none."""
    return next((engine for engine in _here() if not engine.trouble and not engine.unfit), None)


def find() -> Engine | None:
    """Return Docker, else podman: the first that can do it, else the first that is here; None if there is neither."""
    here = list(_here())
    return next((engine for engine in here if not engine.trouble), here[0] if here else None)


def _here() -> Iterator[Engine]:
    """Yield the engines whose program is on the PATH; one that nobody comes to is not asked."""
    return (examine() for program, examine in PROGRAMS.items() if shutil.which(program))


def _docker() -> Engine:
    """Return the Docker that the user's settings lead to; where that is rootless, root's if its socket is the user's too."""
    docker, host = ["docker"], ""
    info, error = _ask(*docker, "info", "--format", "{{json .}}")
    if _has_option(info, "rootless") and os.access(ROOTS_DOCKER, os.W_OK):
        host = f"unix://{ROOTS_DOCKER}"
        docker += ["--host", host]
        info, error = _ask(*docker, "info", "--format", "{{json .}}")
    errors = info.get("ServerErrors") or ([] if info.get("ServerVersion") else [error])
    if errors:
        return Engine("Docker", _no_answer(str(errors[0])))
    name = f"Docker {one_line(str(info['ServerVersion']))}"
    if info.get("OSType") != "linux":
        return Engine(name, "it runs no Linux containers: switch it to Linux containers.")
    if _has_option(info, "rootless"):
        is_delegated = all(info.get(limit) for limit in ("MemoryLimit", "CPUShares", "PidsLimit"))
        return Engine(
            name, f"{_rootless(is_delegated)} Start root's, as root: systemctl start docker. {_RIGHT_TO_DOCKER}"
        )
    if _has_option(info, "userns"):
        return Engine(
            name, "it remaps users, and refuses privileged containers: take userns-remap out of its daemon.json."
        )
    is_desktop = "Docker Desktop" in str(info.get("OperatingSystem"))
    host = host or _endpoint()
    data_root = str(info.get("DockerRootDir", ""))
    unfit = _unfit(host, info.get("KernelVersion"), is_desktop) or (_SNAP if data_root.startswith("/var/snap/") else "")
    server = _ask(*docker, "version", "--format", "{{json .Server}}")[0]
    if any(part.get("Name") == "Podman Engine" for part in server.get("Components") or []):
        unfit = (
            f"podman answers there, which takes its own program: put podman on the PATH, and set CONTAINER_HOST={host}"
        )
    elif _is_older(str(info["ServerVersion"])):
        return Engine(name, "it is older than 20.10, and knows no --cgroupns: install a newer Docker.")
    memory = _memory(info.get("MemTotal"), is_desktop)
    return Engine(
        name,
        memory,
        host,
        unfit,
        cgroup_version=str(info.get("CgroupVersion", "")),
        data_root=data_root,
        has_proxy=bool(info.get("HttpsProxy")),
        has_mirror=bool((info.get("RegistryConfig") or {}).get("Mirrors")),
    )


def _is_older(version: str) -> bool:
    """Return whether this Docker is older than `OLDEST_DOCKER`; one that does not say its version is not."""
    numbers = re.match(r"(\d+)\.(\d+)", version)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) < OLDEST_DOCKER


def _has_option(info: dict[str, Any], name: str) -> bool:
    return any(str(option).startswith(f"name={name}") for option in info.get("SecurityOptions") or [])


def _endpoint() -> str:
    """Return where Docker listens by the user's context and variables; empty if that is not told."""
    argv = ["docker", "context", "inspect", "--format", "{{json .Endpoints.docker}}"]
    return str(_ask(*argv)[0].get("Host", ""))


def _unfit(host: str, kernel: Any, is_desktop: bool = False) -> str:
    """Return why its containers do not reach servers of this machine; the kernel is the one that it runs with."""
    if is_desktop:
        return f"its containers run in a machine of their own, {_NO_WAY}"
    if not host.startswith("unix://"):
        return f"it is reached by {one_line(host)[:80] or 'an unknown way'}, and has to run its containers on this very machine"
    if kernel and kernel != platform.release():  # as with Colima, Rancher Desktop or Lima, whose socket is here
        theirs = one_line(str(kernel))[:80]
        return (
            f"its containers run in a machine of their own (kernel {theirs}, and {platform.release()} here), {_NO_WAY}"
        )
    return ""


def _unfit_podman(host: str, kernel: Any) -> str:
    return _unfit(host, kernel) if host else f"no socket of it is known: {_START_PODMAN}, or name one by CONTAINER_HOST"


def _no_answer(error: str) -> str:
    if "permission denied" in error:
        return f"its socket is not yours. {_RIGHT_TO_DOCKER}"
    if "Is the docker daemon running" in error:
        how = "as root: systemctl start docker" if platform.system() == "Linux" else "start it, as by Docker Desktop"
        return f"it does not run: {how}."
    return f"it does not answer: {one_line(error)[:160]}"


def _podman() -> Engine:
    """Return the podman that the settings lead to; where that is no service of root's, root's if its socket is the user's too."""
    info, error = _ask("podman", "info", "--format", "json")
    host = os.environ.get("CONTAINER_HOST", "")
    if (_is_rootless(info) or not (host or _is_service(info))) and os.access(ROOTS_PODMAN, os.W_OK):
        host = f"unix://{ROOTS_PODMAN}"
        info, error = _ask("podman", "--url", host, "info", "--format", "json")
    if not info:
        return Engine("podman", _podman_is_silent(error), program="podman")
    about = info["host"]
    name = f"podman {one_line(str(info.get('version', {}).get('Version', '')))}".strip()
    if _is_rootless(info):
        return Engine(name, _rootless_podman("cpu" in (about.get("cgroupControllers") or [])), program="podman")
    memory, unfit = _memory(about.get("memTotal"), False), _unfit_podman(host, about.get("kernel"))
    version, data_root = (
        str(about.get("cgroupVersion", "")).lstrip("v"),
        str(info.get("store", {}).get("graphRoot", "")),
    )
    return Engine(name, memory, host, unfit, "podman", version, data_root)


def _is_rootless(info: dict[str, Any]) -> bool:
    return bool(info.get("host", {}).get("security", {}).get("rootless"))


def _is_service(info: dict[str, Any]) -> bool:
    """Return whether another process runs the containers; for root it is podman itself, and they are its caller's children."""
    return bool(info.get("host", {}).get("serviceIsRemote"))


def _rootless_podman(is_delegated: bool) -> str:
    rootless = _rootless(is_delegated)
    if platform.system() != "Linux":
        return f"{rootless} Do podman machine set --rootful."
    return f"{rootless} Start root's, {_START_PODMAN}. {_RIGHT_TO_PODMAN}"


def _podman_is_silent(error: str) -> str:
    if "permission denied" in error:
        return f"its socket is not yours. {_RIGHT_TO_PODMAN}"
    if "no such file or directory" in error or "connection refused" in error:
        return f"its service does not run: {_START_PODMAN}."
    return f"it does not answer: {one_line(error)[:160]}"


def _rootless(is_delegated: bool) -> str:
    """Return why not: its networks are in a namespace of its own, and it may make no cgroups at the root of the machine's."""
    lack = "" if is_delegated else ", and was given no cgroups"
    return f"it runs rootless{lack}, and the stack needs a rootful one."


def _memory(total: Any, is_desktop: bool) -> str:
    if not isinstance(total, int) or total >= MEMORY_BYTES:
        return ""
    fix = "raise it in its settings: Resources, Memory." if is_desktop else "this machine has no more."
    return f"it has {total / 1024**3:.1f} GiB of memory, and the build needs {MEMORY_BYTES // 1024**3}: {fix}"


def _ask(*argv: str) -> tuple[dict[str, Any], str]:
    """Return a program's JSON document, empty if there is none, and what else it said."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return {}, f"{argv[0]} {argv[1]}: {type(error).__name__}"
    try:
        info = json.loads(done.stdout)
    except ValueError:
        info = None
    message = done.stderr.strip() or f"{argv[0]} {argv[1]}: exit code {done.returncode}"
    return info if isinstance(info, dict) else {}, message


_NO_WAY = "which does not reach servers of this one at a network's gateway"
_SNAP = (
    "as a snap it may not enter the hidden folders of a home, where the stack's files are (canonical/docker-snap, issue 334):"
    " take Docker's own packages in place of it (snap remove docker; docs.docker.com/engine/install)"
)
_RIGHT_TO_DOCKER = "Let root do usermod -aG docker YOU (as much as root), and log in again: then no root is needed."
_START_PODMAN = "as root: systemctl start podman.socket"
_GIVE = f"chown YOU {ROOTS_PODMAN.parent} {ROOTS_PODMAN}"
_RIGHT_TO_PODMAN = f"Let root give you its socket (as much as root): {_GIVE}. Then no root is needed."
PROGRAMS: dict[str, Callable[[], Engine]] = {"docker": _docker, "podman": _podman}
