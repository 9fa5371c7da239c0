"""A machine of an ordinary user: Docker or podman runs, its socket is the user's too, and nobody is root.

Docker is the one that kind has for root (`prompt_keda.lab.kind.engine`), podman that of `rootful_podman`; either is in the
network namespace and cgroup of a stack that has nothing else: `lab.down` of that name takes all of it away. The user's commands
run in that network namespace, since the engine's networks are there.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from prompt_keda.core.event import nobody
from prompt_keda.core.places import CODE
from prompt_keda.lab import desk, go_builds, place, providers, users_engine
from prompt_keda.lab.commands import Children
from prompt_keda.lab.kind import engine
from prompt_keda.lab.provider import KIND
from prompt_keda.lab.settings import Lab, cache_home

if __package__:
    from . import rootful_podman

USER = 64_321
"""Nobody else's id; their group is the one of the socket. /etc/passwd names it for podman alone, whose ``cp`` looks there."""
WARM = ("kind-node-*.tar", "debian-*.tar", *(f"{name}-*" for name in ("kube-node", "kind", "worker")))
WARM += tuple(f"{module.name}-*" for module in go_builds.MODULES)
"""What the user's cache has already, of what root's has."""
UNPACK = """
from prompt_keda.core.event import nobody
from prompt_keda.lab.packages import FOR_NODE, SERVERS, this_machines, unpack
for names in SERVERS, FOR_NODE:
    unpack(this_machines(), names, nobody)
"""


class UsersMachine:
    """One such machine, by the name of the stack that holds its engine."""

    def __init__(self, name: str, program: str = "docker") -> None:
        self.name = name
        self.program = program
        self.engine = Lab(name)
        self.socket = (engine if program == "docker" else rootful_podman).socket(self.engine)
        self.is_debian = True
        self.user = USER
        self.home = Path("/var/tmp") / f"prompt-keda-{name}"  # others may enter: pytest's own folders are root's

    def start(self) -> None:
        """Start the engine, and make the user's home with a warm cache. Idempotent: yes."""
        lab = self.engine
        providers.keep(lab, providers.choose(lab, KIND)[0])  # so that lab.down takes away what the engine makes
        place.of(lab).make(lab)
        if self.program == "docker":
            engine.start(lab, nobody, Children())
        else:
            rootful_podman.start(lab)
        lab.run.chmod(0o711)
        os.chown(self.socket, 0, USER)
        self.socket.chmod(0o660)
        if self.home.exists():
            return
        self._make_home()
        # from the engine's network nothing leaves this machine
        subprocess.run(self.command(sys.executable, "-c", UNPACK, is_online=True), check=True)

    def as_root(self) -> UsersMachine:
        """Return the machine for its root, who has a home of its own: with a warm cache, but for Debian's packages."""
        roots = copy.copy(self)
        roots.user, roots.home = 0, self.home.with_name(f"{self.home.name}-root")
        roots._make_home()
        return roots

    def _make_home(self) -> None:
        for folder in ("bin", "run", ".kube", ".cache/prompt-keda/build"):
            (self.home / folder).mkdir(parents=True)
        self._give_program()
        (self.home / ".kube/config").write_text("apiVersion: v1\nkind: Config\ncurrent-context: mine\n")
        theirs = self.home / ".cache/prompt-keda/build"
        for pattern in WARM:
            for built in (cache_home() / "prompt-keda/build").glob(pattern):
                if not built.suffix[1:].isdigit():  # half built
                    subprocess.run(["cp", "-al", str(built), str(theirs)], check=True)  # links: nobody writes into them
        folders = (Path(parent) for parent, _, _ in os.walk(self.home))
        for path in (*folders, self.home / ".kube/config"):
            os.chown(path, self.user, self.user)
        for path in (self.home, self.home / "run", *self.home.rglob("prompt-keda"), theirs, *theirs.glob("*-*/")):
            if path.is_dir():
                path.chmod(0o700)

    def _give_program(self) -> None:
        """Put the engine's program onto the user's PATH."""
        program = self.home / "bin" / self.program
        if self.program == "docker":
            shutil.copy(self.engine.state / "kind/engine/usr/bin/docker", program)
            return
        theirs = program.with_name("podman.real")
        shutil.copy(rootful_podman.programs() / "usr/bin/podman", theirs)
        libraries = program.with_name("lib")
        shutil.copytree(rootful_podman.libraries(), libraries, symlinks=True)
        program.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {theirs} "$@"\n')
        program.chmod(0o755)

    def remove(self) -> None:
        """Remove the home. The engine goes with `lab.down` of its name."""
        shutil.rmtree(self.home, ignore_errors=True)

    def variables(self) -> dict[str, str]:
        """Return the user's environment."""
        return {
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.home / "run"),
            "PATH": f"{self.home}/bin:{Path(shutil.which('go')).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            users_engine.COMMAND_LINES[self.program].host: f"unix://{self.socket}",
            "GOMODCACHE": str(go_builds.caches()[0]),
            "GOPROXY": "off",
            "CI": "true",
            "PYTHONPATH": str(CODE),
        }

    def command(self, *argv: str, is_online: bool = False, **variables: str) -> list[str]:
        """Return the command line that runs a command as this user, in the project's folder and the engine's network."""
        asked = {"argv": argv, "env": {**self.variables(), **variables}, "show": [str(go_builds.caches()[0])]}
        asked |= {"is_debian": self.is_debian, "user": self.user, "is_named": self.program == "podman"}
        inside = [] if is_online else ["nsenter", f"--net={self.engine.netns_path}", "--"]
        return [*inside, "unshare", "--mount", "--", sys.executable, __file__, json.dumps(asked)]

    def docker(self, *argv: str) -> str:
        """Return what the engine says to its user."""
        return subprocess.run(self.command(self.program, *argv), capture_output=True, text=True, check=True).stdout


def _become(argv: list[str], env: dict[str, str], show: list[str], is_debian: bool, user: int, is_named: bool) -> None:
    """Become the command: called in a mount namespace of its own, as root."""
    desk._show(CODE, Path(sys.base_prefix), *map(Path, show))
    if not is_debian:
        _hide_debian()
    if is_named:
        users = Path("/etc/passwd").read_text()
        _cover_by_text(Path("/etc/passwd"), f"{users}somebody:x:{user}:{user}::{env['HOME']}:/bin/sh\n")
    os.chdir(CODE)
    if not user:
        os.execvpe(argv[0], argv, env)
    rights = [f"--reuid={user}", f"--regid={user}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    os.execvpe("setpriv", ["setpriv", *rights, "--no-new-privs", "--", *argv], env)


def _hide_debian() -> None:
    """Let the machine be another Linux: it says so, and has none of Debian's tools."""
    _cover_by_text(Path("/etc/os-release").resolve(), 'ID=other\nPRETTY_NAME="Another Linux"\n')
    for tool in ("apt-get", "apt-cache", "dpkg", "dpkg-query"):
        _cover(Path("/usr/bin", tool), "/dev/null")
    _cover(Path("/var/lib/dpkg/status"), "/dev/null")


def _cover_by_text(path: Path, text: str) -> None:
    with tempfile.NamedTemporaryFile("w", dir="/run") as other:
        other.write(text)
        other.flush()
        os.chmod(other.name, 0o644)
        _cover(path, other.name)


def _cover(path: Path, by: str) -> None:
    subprocess.run(["mount", "--bind", by, str(path)], check=True)


if __name__ == "__main__":
    _become(**json.loads(sys.argv[1]))
