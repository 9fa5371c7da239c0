"""Builds the stack's Go programs once, into the user's cache.

The cache key covers everything that decides the result: go.mod, go.sum, the sources, the flags and Go's version.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prompt_keda.core.errors import LabError
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.core.private_folder import private_folder
from prompt_keda.lab.commands import Children, run
from prompt_keda.lab.settings import ARGOCD_VERSION, KEDA_VERSION, KUBERNETES_VERSION, cache_home

GO_VERSION = (1, 26)
LONGEST_S = 3600
"""For another's build: a cold one takes some minutes."""
SOURCES = Path(__file__).parent / "go"
COMPILER_FLAGS = "all=-N -l -dwarf=false"
"""No optimisation, no inlining, no debug information: half the compile time (docs/local-stack.md)."""
_VERSION = "k8s.io/component-base/version"
_KUBE_VERSION_FLAGS = (
    f"-X {_VERSION}.gitVersion=v{KUBERNETES_VERSION} -X {_VERSION}.gitMajor=1"
    f" -X {_VERSION}.gitMinor={KUBERNETES_VERSION.split('.')[1]} -X {_VERSION}.gitTreeState=clean"
)


@dataclass(frozen=True)
class GoModule:
    """One Go module in lab/go/: the arguments of ``go build``, and which programs it makes."""

    name: str
    package: str
    programs: tuple[str, ...]
    linker_flags: str = ""
    tags: str = ""
    folder: str = ""

    @property
    def source(self) -> Path:
        """Where its go.mod is: ``folder``, else the one of its name."""
        return SOURCES / (self.folder or self.name)

    def arguments(self) -> list[str]:
        """Return the flags of ``go build`` that decide the result."""
        tags = [f"-tags={self.tags}"] if self.tags else []
        return [f"-gcflags={COMPILER_FLAGS}", f"-ldflags=-s -w {self.linker_flags}".strip(), "-trimpath", *tags]


KUBE = GoModule("kube", ".", ("kube",), _KUBE_VERSION_FLAGS)
KUBE_NODE = GoModule("kube-node", ".", ("kube",), _KUBE_VERSION_FLAGS, "kubeadm", "kube")
"""The same, and kubeadm: what a node of kind is made of."""
KIND = GoModule("kind", "tool", ("kind",))
KEDA = GoModule(
    "keda",
    "tool",
    ("operator", "adapter", "webhooks"),
    f"-X github.com/kedacore/keda/v2/version.Version={KEDA_VERSION}",
)
VAULT = GoModule("vault", ".", ("vault",), tags="minimal")
WORKER = GoModule("worker", ".", ("worker",))
MODULES = (KEDA, VAULT, WORKER)
"""What the stack runs beside its cluster, whose own modules its provider names."""
PROMTOOL = GoModule("promtool", "tool", ("promtool",), tags="remove_all_sd")
"""Built on first use: an exhaustive test run checks the alert rules by it. Without service discovery it is half as large."""
HELM = GoModule("helm", "tool", ("helm",))
"""Built on first use: only faults and tests call it, to leave what a removal by Helm leaves."""
ARGOCD = GoModule("argocd", "tool", ("argocd",), f"-X github.com/argoproj/argo-cd/v3/common.version={ARGOCD_VERSION}")
"""Built on first use, for a stack on which Argo CD delivers: one program, which its name makes one of its servers."""
VCLUSTER = GoModule("vcluster", "tool", ("vcluster",))
"""Built on first use, for a stack with a vCluster in it: its syncer, which is also what starts its API server. Without a
version it counts as a developer's, and sends nothing home."""


def find_version(program: str) -> str:
    """Return what a Go says of its version, without ``go`` before it.

    Raises
    ------
    LabError
        When it is missing, or does not work.
    """
    return run([program, "env", "GOVERSION"]).strip().removeprefix("go")


def is_new_enough(version: str) -> bool:
    """Return whether a version builds the stack's programs; also 1.26rc1 and devel go1.27-0a1b2c3 are versions."""
    numbers = re.search(r"(?:^|\bgo)(\d+)\.(\d+)", version)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= GO_VERSION


def has_go() -> bool:
    """Return whether a Go on the PATH builds the stack's programs."""
    try:
        return is_new_enough(find_version("go"))
    except LabError:
        return False


def copied_go() -> Path:
    """Return where a Go is that was copied out of an image; a link leads to its folder."""
    return cache_home() / "prompt-keda" / "build" / "go" / "bin" / "go"


def go() -> str:
    """Return the Go to build with: that of the PATH if it is new enough, else a copied one, if any."""
    copied = copied_go()
    return str(copied) if copied.exists() and not has_go() else "go"


def _environment() -> dict[str, str]:
    """Return what Go runs with. Its compilers are short-lived: they collect no garbage below the limit (a tenth faster)."""
    memory = {"GOGC": "off", "GOMEMLIMIT": "2GiB"}
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", **memory}


def cached(module: GoModule) -> Path:
    """Return the folder in the cache that holds, or will hold, the module's programs."""
    digest = hashlib.sha256()
    for path in sorted(module.source.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(module.source)}\0".encode() + path.read_bytes())
    digest.update("\0".join([*module.arguments(), run([go(), "env", "GOVERSION", "GOARCH"])]).encode())
    return cache_home() / "prompt-keda" / "build" / f"{module.name}-{digest.hexdigest()[:16]}"


def required_version(module: GoModule, path: str) -> str:
    """Return the version, without its v, of a Go module that the go.mod of ``module`` requires."""
    match = re.search(rf"\s{re.escape(path)} v(\S+)", (module.source / "go.mod").read_text())
    assert match, f"{path} is not in the go.mod of {module.name}"
    return match[1]


def caches() -> list[Path]:
    """Return the folders in which Go itself keeps what it has fetched and compiled."""
    return [Path(line) for line in run([go(), "env", "GOMODCACHE", "GOCACHE"]).splitlines()]


def module_folder(module: GoModule, path: str) -> Path:
    """Return the folder with the sources of a Go module that ``module`` depends on."""
    options: dict[str, Any] = {"cwd": module.source, "env": _environment(), "timeout_s": 600}
    argv = [go(), "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", path]
    folder = run(argv, **options).strip()
    if not folder:  # nothing was built of it here
        run([go(), "mod", "download", path], fix="Is the Go proxy reachable?", **options)
        folder = run(argv, **options).strip()
    return Path(folder)


def build(module: GoModule, observer: Observer, niceness: int = 0, children: Children | None = None) -> Path:
    """Build a module's programs unless the cache has them, and return their folder. Idempotent: yes.

    The programs appear in the cache whole or not at all; an interrupted build goes on where Go's own cache stands. What
    another process builds of this module is waited for.

    Parameters
    ----------
    children
        Where another thread may stop Go and its compilers; None: nowhere.

    Raises
    ------
    LabError
        When Go cannot fetch a module or compile, with Go's last line; or when it was stopped.
    """
    target = cached(module)
    subject = f"build/{module.name}"
    children = children or Children()
    if not target.exists():
        with _alone(module, private_folder(target.parent) / f"{module.name}.lock", observer, children):
            if not target.exists():
                return _build(module, target, observer, niceness, children)
    observer(Event(EventKind.FINISHED, subject, "done", "in the cache"))
    return private_folder(target)


@contextmanager
def _alone(module: GoModule, lock: Path, observer: Observer, children: Children) -> Iterator[None]:
    """Hold a module's lock file, which says whose it is: two builds would do the same work, and one lose its result.

    The kernel lets go of it when its holder ends, however that is. Raises `LabError` when the waiting is stopped.
    """
    with lock.open("a+") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                file.seek(0)
                message = f"waits for another build of {module.name} (PID {file.read() or 'unknown'})"
                observer(Event(EventKind.NOTE, f"build/{module.name}", "working", message))
                # a program waits, so that another thread may stop it
                run(["flock", str(lock), "true"], timeout_s=LONGEST_S, children=children)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _build(module: GoModule, target: Path, observer: Observer, niceness: int, children: Children) -> Path:
    subject, started = f"build/{module.name}", time.monotonic()
    observer(Event(EventKind.STARTED, subject, "working", "fetching Go modules"))
    total = _fetch(module, children)
    with _scratch(target) as scratch:
        made, temporary = private_folder(scratch / "made"), private_folder(scratch / "tmp")
        output = f"{made}/" if len(module.programs) > 1 else str(made / module.programs[0])
        argv = ["nice", f"-n{niceness}", go(), "build", "-v", *module.arguments(), "-o", output, module.package]
        # Go's own scratch folder goes with ours: it would leave one in /tmp when it is killed.
        options = {"cwd": module.source, "env": {**_environment(), "GOTMPDIR": str(temporary)}}
        with children.start(argv, stderr=subprocess.PIPE, **options) as process:
            _count(process, module, total, started, observer)
        made.rename(target)
    observer(Event(EventKind.FINISHED, subject, "done", f"{total} packages", time.monotonic() - started))
    return target


def _fetch(module: GoModule, children: Children) -> int:
    """Fetch the sources of all modules, and return the number of packages to compile at most."""
    fix, environment = "Is the Go proxy reachable?", _environment()
    argv = [go(), "mod", "download"]
    run(argv, cwd=module.source, env=environment, timeout_s=1800, fix=fix, children=children)
    packages = ["tool"] if module.package == "tool" else ["."]
    argv = [go(), "list", "-deps", *module.arguments()[2:], *packages]
    return len(run(argv, cwd=module.source, env=environment, children=children).split())


@contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """Yield a folder for what is half built. It goes in the end; those of processes that were killed go now."""
    folder = private_folder(target.parent)
    ours = folder / f"{target.name}.{os.getpid()}"
    for left in folder.glob("*.[0-9]*"):
        if left == ours or not Path("/proc", left.suffix[1:]).exists():
            shutil.rmtree(left, ignore_errors=True)
    try:
        yield private_folder(ours)
    finally:
        shutil.rmtree(ours, ignore_errors=True)


def _count(process: subprocess.Popen[str], module: GoModule, total: int, started: float, observer: Observer) -> None:
    """Follow ``go build -v``, which names each package as it starts on it, and count.

    Raises
    ------
    LabError
        When it fails; with its last line.
    """
    assert process.stderr is not None
    last = "it said nothing"
    for count, line in enumerate(process.stderr, 1):
        last = line.strip() or last
        if count % 100 == 0:
            passed = time.monotonic() - started
            detail = f"{min(count, total)} of at most {total} packages"
            observer(Event(EventKind.PROGRESS, f"build/{module.name}", "working", detail, passed))
    if process.wait() != 0:
        raise LabError(f"go build of {module.name} failed: {last}", "Is the disk full? Try again: it goes on there.")
