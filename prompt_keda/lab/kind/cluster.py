"""The cluster as a container, by kind: an unchanged kind, in an engine of the stack's own, or without root in the user's.

The node's processes are this machine's as well. In an engine of the stack's own they are in its cgroup: faults freeze and kill
them as they do the native stack's.
"""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from prompt_keda.core.errors import LabError
from prompt_keda.core.event import Observer
from prompt_keda.core.private_folder import private_folder
from prompt_keda.core.untrusted import one_line
from prompt_keda.lab import contents, image_list, packages, place, processes, provider, services
from prompt_keda.lab.commands import Children, find_fix, named, run
from prompt_keda.lab.engines import UNIFIED
from prompt_keda.lab.go_builds import KIND, GoModule
from prompt_keda.lab.kind import config
from prompt_keda.lab.native import find_trouble, is_ready
from prompt_keda.lab.provider import Infrastructure
from prompt_keda.lab.settings import Lab

MANIFESTS, AWAY = "/etc/kubernetes/manifests", "/etc/kubernetes"
STATIC_PODS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
CREATE_S, API_SERVER_S = 300, 90
SYSCTL = Path("/proc/sys")
LIMITS = {"fs.inotify.max_user_instances": 512, "fs.inotify.max_user_watches": 524288}
"""What kind's page of known issues asks for. Less may do: a stack runs on a machine with 128 instances."""
RAISE = f"sudo sysctl {' '.join(f'{name}={wanted}' for name, wanted in LIMITS.items())}"
_ON_OLD_CGROUPS = f"On cgroup version 1 take the built image ({image_list.IMAGES}=built), or {UNIFIED}."
TROUBLES = {
    "too many open files": f"Raise the limits: {RAISE}.",
    "could not find a log line that matches": f"The node's systemd did not come up. {_ON_OLD_CGROUPS}",
    "is not running": f"The node has ended at once. {_ON_OLD_CGROUPS}",
    "host using cgroup v1": "This Kubernetes wants cgroup version 2; the stack's own node image does not ask for it.",
    "unable to apply caps": "This machine refuses privileged containers: a capability that root has elsewhere is missing.",
}
"""Words in what kind says → what to do. The first two stand in kind's own list of known issues; the third
was not seen, but is what engines say; the others were seen."""
OUTPUT = "Command Output: "
"""How kind's line on what a command said begins."""


class KindEngine(Protocol):
    """The container engine that kind is run with: a module."""

    CAPABILITIES: frozenset[str]
    """What a provider is able to do with it."""
    NEEDS_ROOT: bool
    MAKE_ROOM: str
    """A sentence: what to do where its disk is full."""

    def start(self, lab: Lab, observer: Observer, children: Children) -> None:
        """Start it if it is the stack's own, and wait until it answers. Idempotent: yes. Raises `LabError` when it does not."""

    def docker(self, lab: Lab) -> list[str]:
        """Return the start of a command line for it."""

    def environment(self, lab: Lab) -> dict[str, str]:
        """Return the environment in which kind finds it, and nothing else of the user's Docker settings."""

    def cluster(self, lab: Lab) -> str:
        """Return what the stack's cluster is called in it."""

    def prepare_node(self, lab: Lab, address: str) -> None:
        """Do what the node lacks for the stack's servers at that address. Raises `LabError` when it does not reach them."""

    def build(self, lab: Lab, observer: Observer, children: Children, plan: dict[str, str]) -> list[str]:
        """Return a command line that runs `node_image` as root with this plan, which it may complete, and ends with the stack."""

    def forget(self, lab: Lab) -> None:
        """Take away what it has made outside of the stack's folders. Idempotent: yes."""


class Images(Protocol):
    """Where the image of kind's node comes from, and what else is pulled in place of being built."""

    name: str
    modules: tuple[GoModule, ...]
    """What the node's image is built from."""
    brings: frozenset[str]
    """As a provider's."""

    def fetch(
        self, lab: Lab, docker: list[str], module: GoModule, observer: Observer, children: Children
    ) -> Path | None:
        """Do what a provider's does."""

    def unpack(self, lab: Lab, docker: list[str], observer: Observer, children: Children) -> Path:
        """Return the folder in the cache with the packages of a stack without root. Idempotent: yes.

        Raises
        ------
        LabError
            When they cannot be fetched.
        """

    def provide(self, infrastructure: Infrastructure, engine: KindEngine) -> str:
        """Return what the node's image is called in the engine, which has it then, and link kubectl. Idempotent: yes.

        Raises
        ------
        LabError
            When it does not come, with what to do about it.
        """


class KindProvider:
    """Implements `provider.Provider`."""

    name: str = provider.KIND

    def __init__(self, engine: KindEngine, images: Images) -> None:
        self.engine = engine
        self.images = images
        self.modules: tuple[GoModule, ...] = (*images.modules, KIND)
        self.capabilities = engine.CAPABILITIES
        self.needs_root = engine.NEEDS_ROOT
        self.brings = images.brings

    def fetch(self, lab: Lab, module: GoModule, observer: Observer, children: Children) -> Path | None:
        """Let the images say."""
        return self.images.fetch(lab, self.engine.docker(lab), module, observer, children)

    def provide_packages(self, lab: Lab, observer: Observer, children: Children) -> None:
        """Install them as root; else let the images say."""
        if self.needs_root:
            packages.install(observer)
        else:
            packages.keep(lab, self.images.unpack(lab, self.engine.docker(lab), observer, children))

    def start_cluster(self, infrastructure: Infrastructure) -> None:
        """Start the engine, see that it has the node's image, and let kind make the cluster."""
        lab, engine = infrastructure.lab, self.engine
        engine.start(lab, infrastructure.observer, infrastructure.children)
        image = self.images.provide(infrastructure, engine)
        cluster, docker = engine.cluster(lab), engine.docker(lab)
        name = f"{cluster}-control-plane"
        if processes.pid_of(lab, processes.NODE) is None:
            file = config.write(
                lab, cluster, infrastructure.authority, infrastructure.address, infrastructure.authentication
            )
            # what an interrupted creation has left
            self._kind(infrastructure, "delete", "cluster", f"--name={cluster}")
            self._kind(infrastructure, "create", "cluster", f"--config={file}", f"--image={image}")
            pid = int(run([*docker, "inspect", "-f", "{{.State.Pid}}", name]))
            look = f"Look at {lab.state / 'logs' / 'kind.log'}, and: {' '.join(named([*docker, 'logs', name]))}"
            processes.adopt(lab, processes.NODE, pid, look)
        within = [*docker, "exec", name]
        for part in STATIC_PODS:
            here, away = f"{MANIFESTS}/{part}.yaml", f"{AWAY}/{part}.yaml"
            stop, start = (["sh", "-c", f"[ ! -e {a} ] || mv {a} {b}"] for a, b in ((here, away), (away, here)))
            processes.supervise(lab, part, [*within, *stop], [*within, *start])
        systemctl = [*within, "systemctl"]
        processes.supervise(lab, "kubelet", [*systemctl, "stop", "kubelet"], [*systemctl, "start", "kubelet"])
        engine.prepare_node(lab, infrastructure.address)
        _wait_for_api_server(lab)
        argv = ["rollout", "status", "deployment/coredns", "-n", "kube-system", "--timeout=120s"]
        try:
            contents.kubectl(lab, argv, timeout_s=130)
        except LabError as error:
            look = f"{lab.program('kubectl')} --kubeconfig {lab.admin_kubeconfig} get pods -A"  # lab.exec wants a whole stack
            raise LabError(error.what, with_limits(f"Look at the pods: {look}.")) from error

    def clear(self, lab: Lab) -> None:
        """Take away what the engine has made outside of the stack's folders."""
        self.engine.forget(lab)

    def _kind(self, infrastructure: Infrastructure, *arguments: str) -> None:
        """Run kind, with a kubeconfig of the stack's own. What it starts ends with the stack."""
        lab = infrastructure.lab
        program = str(infrastructure.folder_of(KIND) / "kind")
        argv = [*place.of(lab).enter(lab), program, *arguments, f"--kubeconfig={lab.state / 'kind' / 'kubeconfig'}"]
        options = {"stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "env": self.engine.environment(lab)}
        file = private_folder(lab.state / "logs") / "kind.log"
        with file.open("a") as log, infrastructure.children.start(argv, stdout=log, **options) as running:
            try:
                code = running.wait(CREATE_S)
            except subprocess.TimeoutExpired as error:
                raise LabError(f"kind did not end within {CREATE_S} s", f"Its log is {file}.") from error
        if code:
            what, fix = explain(file.read_text(errors="replace"), self.engine.MAKE_ROOM)
            raise LabError(f"kind {arguments[0]}: {what}", f"{with_limits(fix)} Its log is {file}.".lstrip())


def _wait_for_api_server(lab: Lab) -> None:
    """Wait until it is ready. Raises `LabError` when it does not become so, with what kubectl says of it."""
    try:
        services.wait_until("the API server", lambda: is_ready(lab), API_SERVER_S, lab, processes.NODE)
    except LabError as error:
        raise LabError(f"{error.what}: {find_trouble(lab)}", error.fix) from error


def with_limits(fix: str) -> str:
    """Return what to do with the limits of inotify that are lower than kind asks for, if any: these show in many ways."""
    low = []
    for name, wanted in LIMITS.items():
        with suppress(OSError, ValueError):
            has = int((SYSCTL / name.replace(".", "/")).read_text())
            low += [f"{name} is {has}"] if has < wanted else []
    if not low or RAISE in fix:
        return fix
    return f"{fix} It may also be that {' and '.join(low)}: {RAISE}.".lstrip()


def explain(log: str, make_room: str) -> tuple[str, str]:
    """Return the last error in kind's log, and what to do about it; empty where that is not known.

    Where a command failed that is its own error: kind's line is the command itself, which is long.

    Parameters
    ----------
    make_room
        What to do where the engine's disk is full.
    """
    lines = log.splitlines()
    errors = [number for number, line in enumerate(lines) if line.startswith("ERROR")]
    last = lines[errors[-1] :] if errors else lines[-20:]
    troubles = {**TROUBLES, "o space left on device": make_room}
    fix = next(
        (fix for words, fix in troubles.items() if any(words in line for line in last)), find_fix(" ".join(last))
    )
    if not errors:
        return "failed", fix
    tries = (
        [line for line in last[1:] if "rror" in line] + [line for line in last[1:] if line.startswith(OUTPUT)] + last
    )
    return one_line(tries[0].removeprefix(OUTPUT))[:300], fix
