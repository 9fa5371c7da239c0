"""What this machine must be able to do before anything is changed on it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from prompt_keda.errors import LabError
from prompt_keda.lab.settings import cache_home, state_home

FREE_BYTES = 8 * 1024**3
"""Go's module and build caches, the programs and a running stack; measured: 6.5 GB."""
GO_VERSION = (1, 26)


def check() -> None:
    """Make sure that the local stack can be built and run here. It changes nothing.

    Raises
    ------
    LabError
        At the first thing that is missing, with what to do about it.
    """
    for look in REQUIREMENTS:
        look()


def _is_root() -> None:
    if os.geteuid() != 0:
        raise LabError(
            "the local stack needs root: it makes network namespaces, mounts and cgroups", "Run it with sudo."
        )


def _is_debian() -> None:
    release = Path("/etc/os-release")
    text = release.read_text() if release.exists() else ""
    if "debian" not in text.lower() or shutil.which("apt-get") is None:
        raise LabError(
            "the local stack takes its packages from Debian, and this is not Debian", "Use Debian 12 or newer."
        )


def _has_known_architecture() -> None:
    if platform.system() != "Linux" or platform.machine() not in ("x86_64", "aarch64"):
        raise LabError(
            f"the local stack runs on Linux on x86_64 or aarch64, not on {platform.system()} on {platform.machine()}"
        )


def _has_go() -> None:
    wanted = ".".join(map(str, GO_VERSION))
    try:
        text = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise LabError("there is no Go here", f"Install Go {wanted} or newer and put it on the PATH.") from error
    found = tuple(int(part) for part in text.removeprefix("go").split("-")[0].split(".")[:2])
    if found < GO_VERSION:
        raise LabError(f"this is Go {text.removeprefix('go')}; the local stack needs {wanted}", f"Install Go {wanted}.")


def _can_make_network_namespaces() -> None:
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(
            f"no network namespace can be made here: {done.stderr.strip()}",
            "In a container, run it privileged; else check the kernel's CONFIG_NET_NS.",
        )


def _has_room() -> None:
    for folder in (cache_home(), state_home()):
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(existing).free
        if free < FREE_BYTES:
            raise LabError(
                f"{folder} has {free / 1024**3:.1f} GiB free; the local stack needs {FREE_BYTES // 1024**3} GiB",
                "Make room, or point XDG_CACHE_HOME and XDG_STATE_HOME to a disk that has it.",
            )


REQUIREMENTS: tuple[Callable[[], None], ...] = (
    _has_known_architecture,
    _is_root,
    _is_debian,
    _has_go,
    _can_make_network_namespaces,
    _has_room,
)
