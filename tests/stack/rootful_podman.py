"""A rootful podman of the tests' own: Debian's, unpacked into the cache, in the namespaces and cgroup of an empty stack.

Its service listens on a socket, by which somebody who is not root reaches it. What it writes besides its folders, the locks
that it would share with another podman, and the /lib/modules that kind mounts lie in a mount namespace of its own, and it
takes the stack's cgroup for the root of all: `lab.down` of that stack leaves nothing of it.
For cgroup version 1 alone.
"""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path

from prompt_keda.core.private_folder import private_folder
from prompt_keda.lab import packages, processes, services
from prompt_keda.lab.settings import Lab, cache_home

from .mirror import HOST, WITH_LOGIN

PACKAGES = ("podman", "conmon", "netavark", "aardvark-dns", "libsubid4", "libgpgme11")
SETTINGS = ("golang-github-containers-common", "golang-github-containers-image")
_START = """\
set -eu
run=$1 place=$2 cgroup=$3
shift 3
mount --bind "$run" /mnt
mount -t tmpfs tmpfs /run
mkdir -p "$run"
mount --move /mnt "$run"
for folder in /var/lib /usr/lib; do
    mount -t overlay -o "lowerdir=$folder,upperdir=$place/upper$folder,workdir=$place/work$folder" overlay $folder
done
mkdir -p /usr/lib/modules
mount -t tmpfs tmpfs /dev/shm
for hierarchy in /sys/fs/cgroup/*/; do
    [ ! -d "$hierarchy$cgroup" ] || mount --bind "$hierarchy$cgroup" "$hierarchy"
done
exec "$@"
"""


def socket(lab: Lab) -> Path:
    """Return where its service listens."""
    return lab.run / "podman.sock"


def start(lab: Lab) -> None:
    """Start its service, and wait until it answers. Idempotent: yes."""
    place = private_folder(lab.state / "podman")
    layers = (f"{part}{folder}" for part in ("upper", "work") for folder in ("/var/lib", "/usr/lib"))
    for folder in (*layers, "home/.config/containers", "tmp"):
        (place / folder).mkdir(parents=True, exist_ok=True)
    lab.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    root = programs()
    policy = (root / "etc/containers/policy.json").read_text()
    (place / "home/.config/containers/policy.json").write_text(policy)
    insecure = (f'[[registry]]\nlocation = "{host}"\ninsecure = true\n' for host in (HOST, WITH_LOGIN))
    (place / "home/.config/containers/registries.conf").write_text("".join(insecure))  # Docker's are it by themselves
    (place / "containers.conf").write_text(_settings(root, place))
    (place / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{place}/storage"\nrunroot = "/run/containers/storage"\n'
    )
    env = {
        "HOME": str(place / "home"),
        "TMPDIR": str(place / "tmp"),
        "CONTAINERS_CONF": str(place / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(place / "storage.conf"),
        "LD_LIBRARY_PATH": libraries(),
    }
    alone = ["unshare", "--mount", "--cgroup", "--propagation", "private", "sh", "-c", _START, "sh"]
    argv = [*alone, str(lab.run), str(place), f"{lab.cgroup}/stack", str(root / "usr/bin/podman")]
    processes.start(lab, "podman", [*argv, "system", "service", "--time=0", f"unix://{socket(lab)}"], env)
    services.wait_until("podman", lambda: _answers(lab), 60, lab, "podman")


def programs() -> Path:
    """Return the folder of its packages."""
    folder = cache_home() / "prompt-keda/build/podman-engine"
    packages.fetch(folder, [*PACKAGES, *SETTINGS])
    return folder


def libraries() -> str:
    """Return what it needs as ``$LD_LIBRARY_PATH``."""
    return str(programs() / f"usr/lib/{os.uname().machine}-linux-gnu")


def _settings(root: Path, place: Path) -> str:
    """Return its containers.conf, with limits that it can set without CAP_SYS_RESOURCE, which this machine may lack.

    It lowers its own number of processes to the kernel's when it starts.
    """
    files, tasks = (resource.getrlimit(limit)[1] for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC))
    tasks = min(tasks, int(Path("/proc/sys/kernel/pid_max").read_text()))
    return f"""\
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc={tasks}:{tasks}"]
[network]
network_backend = "netavark"
network_config_dir = "{place}/networks"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
conmon_path = ["{root}/usr/bin/conmon"]
helper_binaries_dir = ["{root}/usr/lib/podman"]
"""


def _answers(lab: Lab) -> bool:
    argv = [str(programs() / "usr/bin/podman"), "--url", f"unix://{socket(lab)}", "version"]
    env = {**os.environ, "LD_LIBRARY_PATH": libraries()}
    return subprocess.run(argv, capture_output=True, env=env, check=False).returncode == 0
