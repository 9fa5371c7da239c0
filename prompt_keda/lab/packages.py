"""The Debian packages of the stack: installed, or without root unpacked into the user's cache, with what they depend on."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prompt_keda.core.errors import LabError
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.core.private_folder import appear, lead, private_folder
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
SERVERS = ("redis-server", "redis-tools", "docker-registry", "busybox-static", "slapd")
"""What a stack without root takes of Debian."""
FOR_NODE = ("debootstrap", "containerd")
"""What the image of its node is built with, where it is built."""
STARTED = ("redis-cli", "docker-registry", "slapd", "slapadd", "containerd", "ctr", "wget")
"""Programs that are started out of unpacked packages."""
UNPACKED = "packages"
"""In a stack's folder: a link to where its packages are unpacked."""
PROGRAMS_FOLDER = "programs"
"""Where `unpack` puts what starts them: with the libraries beside them, and nothing of the machine's."""
FETCH_S = 1200
FIX = "Are Debian's package servers reachable?"
_BIN = ("usr/bin", "usr/sbin", "bin", "sbin")
_FETCH = r"""
set -eu
cd "$1"; what=$2; shift 2
mkdir -p apt/lists/partial apt/archives/partial
: > apt/status
apt="-qq -oDir::State=$PWD/apt -oDir::State::status=$PWD/apt/status -oDir::Cache=$PWD/apt"
apt-get $apt update
names=$*
if [ "$what" = with-dependencies ]; then
    apt-get $apt install --print-uris --no-install-recommends "$@" > apt/uris
    names=$(sed -n "s/^'[^']*' \([^_]*\)_.*/\1/p" apt/uris)
fi
apt-get $apt download $names
for package in *.deb; do dpkg -x "$package" .; rm "$package"; done
rm -r apt
"""
"""A folder, ``alone`` or ``with-dependencies``, and names of packages. Its own state says that nothing is installed."""


def find_version(package: str) -> str | None:
    """Return the version of an installed Debian package, or None."""
    argv = ["dpkg-query", "--show", "--showformat=${Version}", package]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except OSError:  # lab.status also answers where there is no Debian
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
        env = {**_environment(), "DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update", "-qq"], env=env, timeout_s=300, fix="Are Debian's package servers reachable?")
        argv = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        run(argv, env=env, timeout_s=900, fix="Run the same apt-get command by hand to see why.")
    finally:
        if ours:
            POLICY.unlink()
    observer(Event(EventKind.FINISHED, "packages", "done", f"{len(missing)} installed"))


@dataclass(frozen=True)
class Apt:
    """An apt-get, and the release of Debian whose packages it fetches.

    Parameters
    ----------
    release
        What the cache knows the release by.
    enter
        Gives the start of a command line that runs where it is, in a folder of this machine, as the user.
    """

    release: str
    enter: Callable[[Path], list[str]]


def this_machines() -> Apt:
    """Return the machine's own apt-get."""
    release = platform.freedesktop_os_release()
    return Apt(f"{release.get('ID', '')} {release.get('VERSION_CODENAME', '')}", lambda folder: [])


def unpack(apt: Apt, names: Sequence[str], observer: Observer, children: Children | None = None) -> Path:
    """Unpack packages into the user's cache with all that they depend on, and return that folder. Idempotent: yes.

    All of it is taken, libc and its linker too, whatever the machine has: that may be another system, or confined to its own
    folders (AppArmor's profile of Ubuntu's slapd is).

    Raises
    ------
    LabError
        When apt-get cannot fetch it.
    """
    decides = [apt.release, platform.machine(), _FETCH, *STARTED, *names]
    key = hashlib.sha256(" ".join(decides).encode()).hexdigest()[:16]
    folder = private_folder(cache_home() / "prompt-keda" / "build") / f"packages-{key}"
    if not folder.exists():
        observer(Event(EventKind.STARTED, "packages", "working", f"unpacking {' '.join(names)}"))
        _fetch(folder, apt, ["with-dependencies", *names], children)
        observer(Event(EventKind.FINISHED, "packages", "done", "unpacked"))
    return folder


def fetch(folder: Path, names: Iterable[str], children: Children | None = None) -> None:
    """Unpack just these packages, for this machine's own libraries, into a folder, unless it is there. Idempotent: yes.

    Raises
    ------
    LabError
        When apt-get cannot fetch them.
    """
    if not folder.exists():
        _fetch(folder, this_machines(), ["alone", *names], children)


def _fetch(folder: Path, apt: Apt, arguments: list[str], children: Children | None) -> None:
    """Let a folder appear, whole, with what packages hold. Whoever was faster wins."""
    scratch = private_folder(folder.with_name(f"{folder.name}.{os.getpid()}"))
    try:
        argv = [*apt.enter(scratch), "sh", "-c", _FETCH, "sh", str(scratch), *arguments]
        run(argv, timeout_s=FETCH_S, fix=FIX, env=_environment(), children=children)
        for program in STARTED:
            _write_start(scratch, program)
        appear(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _environment() -> dict[str, str]:
    """Return the environment, with proxies under the names in lower case too: apt knows no others (apt-transport-http(1))."""
    proxies = {name.lower(): value for name, value in os.environ.items() if name.endswith("_PROXY")}
    return {**proxies, **os.environ}


def _write_start(folder: Path, program: str) -> None:
    """Write what starts a program, if it is there, by the linker that was unpacked with it."""
    linker = _linker(folder)
    binary = next((path for place in _BIN if (path := folder / place / program).exists()), None)
    if linker is None or binary is None:
        return
    start = folder / PROGRAMS_FOLDER / program
    start.parent.mkdir(exist_ok=True)
    libraries, inside = ":".join(f"$root/{place}" for place in _libraries()), binary.relative_to(folder)
    line = f'exec "$root/{linker.relative_to(folder)}" --library-path "{libraries}" "$root/{inside}" "$@"'
    start.write_text(f"#!/bin/sh\nroot=${{0%/*}}/..\n{line}\n")
    start.chmod(0o755)


def keep(lab: Lab, folder: Path) -> None:
    """Note where a stack's packages are unpacked. Idempotent: yes."""
    lead(private_folder(lab.state) / UNPACKED, folder)


def root(lab: Lab) -> Path:
    """Return the folder in which a stack's packages lie as in ``/``.

    Raises
    ------
    LabError
        When those of a stack without root are gone: nothing may be made in their place.
    """
    if not lab.is_users:
        return Path("/")
    folder = (lab.state / UNPACKED).resolve()
    if not folder.exists():
        raise LabError(
            f"the packages of the local stack {lab.name!r} are gone: {folder}", "./run lab.down, then lab.up."
        )
    return folder


def find(lab: Lab, path: Path) -> Path:
    """Return where a file of a package is that installed would have this path."""
    place = root(lab) / path.relative_to("/")
    # a package may have /bin/x where the machine has /bin as a link to /usr/bin
    return place if place.exists() else root(lab) / "usr" / path.relative_to("/")


def program(lab: Lab, path: Path) -> str:
    """Return what starts a program of a package that installed would have this path."""
    return str(root(lab) / PROGRAMS_FOLDER / path.name if lab.is_users else path)


def list_libraries(lab: Lab, path: Path) -> list[str]:
    """Return a command line that says which libraries a program of a package loads, as ldd does."""
    if not lab.is_users:
        return ["ldd", str(path)]
    folder = root(lab)
    libraries = ":".join(str(folder / place) for place in _libraries())
    return [str(_linker(folder)), "--library-path", libraries, "--list", str(find(lab, path))]


def _libraries() -> list[str]:
    triplet = f"{platform.machine()}-linux-gnu"
    return [f"usr/lib/{triplet}", f"lib/{triplet}"]


def _linker(folder: Path) -> Path | None:
    return next((path for place in _libraries() for path in (folder / place).glob("ld-linux-*")), None)
