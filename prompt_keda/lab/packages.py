"""The Debian packages of the stack: installed, or without root unpacked into the user's cache, with what they depend on."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.core.private_folder import private_folder
from prompt_keda.lab.commands import Children, run
from prompt_keda.lab.settings import Lab, cache_home

PROGRAMS = {
    "redis-server": "/usr/bin/redis-server",
    "redis-tools": "/usr/bin/redis-cli",
    "docker-registry": "/usr/bin/docker-registry",
    "containerd": "/usr/bin/containerd",
    "runc": "/usr/sbin/runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "iptables": "/usr/sbin/iptables",
    "conntrack": "/usr/sbin/conntrack",
    "busybox-static": "/bin/busybox",
    "slapd": "/usr/sbin/slapd",
    "ldap-utils": "/usr/bin/ldapsearch",
    "iproute2": "/usr/sbin/ip",
    "procps": "/usr/sbin/sysctl",
}
"""Package → a file that shows that it is installed."""
FOR_CAPTURES = {"tmux": "/usr/bin/tmux", "chromium-headless-shell": "/usr/bin/chromium-headless-shell"}
"""The same of what shows terminals and pages: the stack itself needs neither."""
POLICY = Path("/usr/sbin/policy-rc.d")
UNPACKED = ("redis-server", "redis-tools", "docker-registry", "busybox-static", "slapd", "debootstrap", "containerd")
"""What a stack without root takes of Debian. The last two are for its node's image."""
THE_MACHINES = ("libc6", "libc-bin")
"""Never taken from elsewhere: the dynamic linker is the machine's own."""
FIX = "Are Debian's package servers reachable?"


def find_version(package: str) -> str | None:
    """Return the version of an installed Debian package, or None."""
    argv = ["dpkg-query", "--show", "--showformat=${Version}", package]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # lab.status also answers where there is no Debian
        return None
    return done.stdout or None


def install(observer: Observer, programs: Mapping[str, str] = PROGRAMS) -> None:
    """Install what is missing, without starting any service. Idempotent: yes.

    Raises
    ------
    LabError
        When apt-get fails; with its last line.
    """
    missing = [package for package, program in programs.items() if not Path(program).exists()]
    if not missing:
        return
    observer(Event(EventKind.STARTED, "packages", "working", f"apt-get install {' '.join(missing)}"))
    ours = not POLICY.exists()
    if ours:  # exit 101 tells Debian's maintainer scripts not to start services
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update", "-qq"], env=env, timeout_s=300, fix="Are Debian's package servers reachable?")
        argv = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        run(argv, env=env, timeout_s=900, fix="Run the same apt-get command by hand to see why.")
    finally:
        if ours:
            POLICY.unlink()
    observer(Event(EventKind.FINISHED, "packages", "done", f"{len(missing)} installed"))


def unpack(observer: Observer, children: Children | None = None) -> None:
    """Unpack what a stack without root needs into the user's cache, unless it is there. Idempotent: yes.

    It is taken whether the machine has it or not: what is installed may be confined to its own folders (AppArmor's profile of
    Ubuntu's slapd is). Of what it depends on only that is taken which the machine lacks.

    Raises
    ------
    LabError
        When apt-get cannot fetch it.
    """
    folder = _unpacked()
    if folder.exists():
        return
    observer(Event(EventKind.STARTED, "packages", "working", f"unpacking {' '.join(UNPACKED)}"))
    scratch = private_folder(folder.with_name(f"{folder.name}.{os.getpid()}"))
    lists = scratch / "apt"
    apt = [
        "apt-get",
        "-qq",
        f"-oDir::State={lists}",
        "-oDir::State::status=/var/lib/dpkg/status",
        f"-oDir::Cache={lists}",
    ]
    (lists / "lists/partial").mkdir(parents=True)
    (lists / "archives/partial").mkdir(parents=True)
    run([*apt, "update"], timeout_s=300, fix=FIX, children=children)
    lacking = run([*apt, "install", "--print-uris", "--no-install-recommends", *UNPACKED], fix=FIX, children=children)
    names = {line.split()[1].partition("_")[0] for line in lacking.splitlines() if line.startswith("'")}
    wanted = sorted({*UNPACKED, *names} - {*THE_MACHINES})
    run([*apt, "download", *wanted], cwd=scratch, timeout_s=600, fix=FIX, children=children)
    _unpack_all(scratch)
    shutil.rmtree(lists)
    if folder.exists():  # another was faster
        shutil.rmtree(scratch)
    else:
        scratch.rename(folder)
    observer(Event(EventKind.FINISHED, "packages", "done", f"{len(wanted)} unpacked"))


def fetch(folder: Path, names: Iterable[str], children: Children | None = None) -> None:
    """Unpack just these packages, for this machine's own libraries, into a folder, unless it is there. Idempotent: yes.

    Raises
    ------
    LabError
        When apt-get cannot fetch them.
    """
    if folder.exists():
        return
    scratch = private_folder(folder.with_name(f"{folder.name}.{os.getpid()}"))
    run(["apt-get", "update", "-qq"], timeout_s=300, fix=FIX, children=children)
    run(["apt-get", "download", "-qq", *names], cwd=scratch, timeout_s=600, fix=FIX, children=children)
    _unpack_all(scratch)
    if not folder.exists():
        scratch.rename(folder)


def _unpack_all(scratch: Path) -> None:
    for package in scratch.glob("*.deb"):
        run(["dpkg", "-x", str(package), str(scratch)])
        package.unlink()


def root(lab: Lab) -> Path:
    """Return the folder in which a stack's packages lie as in ``/``."""
    return _unpacked() if lab.is_users else Path("/")


def find(lab: Lab, path: Path) -> Path:
    """Return where a file of a package is that installed would have this path."""
    place = root(lab) / path.relative_to("/")
    # a package may have /bin/x where the machine has /bin as a link to /usr/bin
    return place if place.exists() else root(lab) / "usr" / path.relative_to("/")


def environment(lab: Lab) -> dict[str, str]:
    """Return what programs of a stack's packages are run with, beside the rest of the environment."""
    return {"LD_LIBRARY_PATH": ":".join(map(str, _libraries(root(lab))))} if lab.is_users else {}


def _libraries(folder: Path) -> list[Path]:
    triplet = f"{platform.machine()}-linux-gnu"
    return [folder / "usr/lib" / triplet, folder / "lib" / triplet]


def _unpacked() -> Path:
    release = platform.freedesktop_os_release()
    key = " ".join([release.get("ID", ""), release.get("VERSION_CODENAME", ""), *UNPACKED])
    return cache_home() / "prompt-keda" / "build" / f"packages-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
