"""A Docker engine of the stack's own: Debian's, unpacked into the cache and not installed.

It runs in the stack's network namespace and cgroup and in a mount namespace of its own, with its data in the stack's folder. So
this machine's firewall, mounts and other engines are not touched, and `lab.down` ends it with all of its containers.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.core.private_folder import private_folder
from prompt_keda.lab import cgroups, packages, processes, provider, services
from prompt_keda.lab.commands import Children
from prompt_keda.lab.settings import Lab, cache_home

MODULES = Path("/lib/modules")
"""kind mounts it into its node, and the engine makes what it is to mount."""
NODE_CGROUP = "pods"
CAPABILITIES = frozenset({provider.HOST_PROCESSES, provider.NETWORK_NAMESPACE, provider.CONTROL_PLANE})
NEEDS_ROOT = True
MAKE_ROOM = "Make room, or point XDG_STATE_HOME to a disk that has it."
KERNEL_CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE"
    " NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN"
    " SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE"
    " MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
"""In the order of their bits (capabilities(7))."""
_START = """\
set -eu
mount --bind "$1" /mnt
mount -t tmpfs tmpfs /run
mkdir -p "$1"
mount --move /mnt "$1"
shift
exec "$@"
"""
"""An engine writes into /run whatever its folders are: it sees one of its own, with the stack's sockets."""
_RUNTIME = """\
#!/bin/sh
# runc without the capabilities that this machine does not have: --privileged asks for all, and runc then dies.
spec= before=
for word; do
    case $before in --bundle|-b) spec=$word/config.json ;; --process|-p) spec=$word ;; esac
    case $word in --bundle=*) spec=${word#*=}/config.json ;; --process=*) spec=${word#*=} ;; esac
    before=$word
done
[ -z "$spec" ] || sed -i EDITS "$spec"
exec runc "$@"
"""


def programs(observer: Observer, children: Children | None = None) -> Path:
    """Return the folder of the engine's programs and debootstrap; they are fetched unless the cache has them. Idempotent: yes.

    Raises
    ------
    LabError
        When apt-get cannot fetch them.
    """
    folder = cache_home() / "prompt-keda" / "build" / "docker-engine"
    if folder.exists():
        return folder
    observer(Event(EventKind.STARTED, "engine", "working", "fetching Debian's docker.io"))
    names = ["docker.io", "debootstrap"]
    if int(platform.freedesktop_os_release().get("VERSION_ID", "13").split(".")[0]) > 12:
        names.append("docker-cli")  # a package of its own from Debian 13 on
    packages.fetch(folder, names, children)
    observer(Event(EventKind.FINISHED, "engine", "done", "docker.io"))
    return folder


def missing_capabilities() -> list[str]:
    """Return the names of the capabilities that a process here cannot have (CapBnd in /proc/PID/status)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    bound = int(next(line for line in lines if line.startswith("CapBnd:")).split()[1], 16)
    return [f"CAP_{name}" for bit, name in enumerate(KERNEL_CAPABILITIES.split()) if not bound >> bit & 1]


def socket(lab: Lab) -> Path:
    """Return where the engine listens."""
    return lab.run / "docker.sock"


def docker(lab: Lab) -> list[str]:
    """Return the start of a command line for the engine."""
    return [str(lab.state / "kind" / "engine" / "usr/bin/docker"), "--host", f"unix://{socket(lab)}"]


def environment(lab: Lab) -> dict[str, str]:
    """Return the environment in which kind finds the engine, and nothing of the user's own."""
    place = lab.state / "kind"
    path = f"{place}/engine/usr/bin:{place}/engine/usr/sbin:{os.environ['PATH']}"
    own = {"DOCKER_HOST": f"unix://{socket(lab)}", "DOCKER_CONFIG": str(place / "docker-config"), "PATH": path}
    return {**os.environ, **own}


def start(lab: Lab, observer: Observer, children: Children) -> None:
    """Start the engine, and wait until it answers. Idempotent: yes. Raises `LabError` when it does not."""
    place = private_folder(lab.state / "kind")
    lab.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    link = place / "engine"
    if not link.is_symlink():
        link.symlink_to(programs(observer, children))
    if not MODULES.exists():
        (place / "made-lib-modules").touch()
    config = {
        "data-root": str(private_folder(place / "docker")),
        "exec-root": str(private_folder(lab.run / "docker")),  # it holds sockets, whose paths have 107 bytes at most
        "pidfile": str(place / "dockerd.pid"),
        "hosts": [f"unix://{socket(lab)}"],
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "cgroup-parent": f"/{lab.cgroup}/{NODE_CGROUP}",
        "iptables": False,  # ports are served by its proxy: who cuts them does so where the native stack's are cut
        "bip": "10.215.0.1/24",
        "default-address-pools": [{"base": "10.215.1.0/24", "size": 24}, {"base": "10.215.2.0/24", "size": 24}],
        "log-level": "warn",
        **_runtime(place),
    }
    file = place / "dockerd.json"
    file.write_text(json.dumps(config))
    alone = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _START, "sh", str(lab.run)]
    program = [str(link / "usr/sbin/dockerd"), f"--config-file={file}"]
    processes.start(lab, "dockerd", [*alone, *program], {"PATH": environment(lab)["PATH"]})
    services.wait_until("the container engine", lambda: _answers(lab), 60, lab, "dockerd")


def _answers(lab: Lab) -> bool:
    argv = [*docker(lab), "version"]
    return subprocess.run(argv, capture_output=True, env=environment(lab), check=False).returncode == 0


def _runtime(place: Path) -> dict[str, object]:
    """Return the engine's settings for its runtime; plain runc where no capability is missing."""
    missing = missing_capabilities()
    if not missing:
        return {}
    edits = " ".join(f"""-e 's/"{name}",//g' -e 's/,"{name}"//g'""" for name in missing)
    wrapper = place / "runc-here"
    wrapper.write_text(_RUNTIME.replace("EDITS", edits))
    wrapper.chmod(0o755)
    return {"default-runtime": "here", "runtimes": {"here": {"path": str(wrapper)}}}


def cluster(lab: Lab) -> str:
    """Return what the stack's cluster is called: as the stack, since nothing else is in its engine."""
    return lab.name


def prepare_node(lab: Lab, address: str) -> None:
    """Do nothing: the node is in the stack's network, and its volumes are mounted."""


def build(lab: Lab, observer: Observer, children: Children, plan: dict[str, str]) -> list[str]:
    """Return a command line that builds the node's image in a mount namespace of its own, and in the stack's cgroup."""
    plan["debootstrap"] = str(programs(observer, children))
    alone = [*cgroups.enter(lab.cgroup), "unshare", "--mount", "--propagation", "private"]
    return [*alone, sys.executable, "-m", "prompt_keda.lab.kind.node_image", json.dumps(plan)]


def forget(lab: Lab) -> None:
    """Take away what the engine has made outside of the stack's folders. Idempotent: yes."""
    if (lab.state / "kind" / "made-lib-modules").exists() and MODULES.exists() and not any(MODULES.iterdir()):
        MODULES.rmdir()
