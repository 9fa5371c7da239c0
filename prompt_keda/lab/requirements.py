"""What this machine must be able to do before anything is changed on it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence

from prompt_keda.core.errors import LabError, Refusal
from prompt_keda.core.places import state_home
from prompt_keda.core.untrusted import one_line
from prompt_keda.lab import engines, go_builds, image_list, network
from prompt_keda.lab.settings import cache_home

BUILD_BYTES = 8 * 1024**3
"""Go's module and build caches, the programs and a running stack; measured: 6.5 GB."""
RUN_BYTES = 2 * 1024**3
"""What a running stack and its images take once all programs are built, with room to spare."""
ENGINE_BYTES = 3 * 1024**3
"""What images and containers of a stack take in the user's engine."""
DEBIAN_VERSION = 12


def check(
    modules: Sequence[go_builds.GoModule] = (go_builds.KUBE,),
    *,
    needs_root: bool = True,
    brings: frozenset[str] = frozenset(),
) -> None:
    """Make sure that the local stack can be built and run here. It changes nothing.

    Parameters
    ----------
    modules
        What its cluster is built from.
    needs_root
        False: it comes by kind into the user's container engine.
    brings
        As a provider's: what this machine need not have.

    Raises
    ------
    Refusal
        At the first thing that is missing, with what to do about it.
    """
    comes_along = {COMES_ALONG[name] for name in brings & COMES_ALONG.keys()}
    for look in REQUIREMENTS if needs_root else REQUIREMENTS_OF_USERS:
        if look not in comes_along:
            look()
    _has_room([module for module in (*modules, *go_builds.MODULES) if module.name not in brings])


def _has_known_architecture() -> None:
    if platform.system() != "Linux" or platform.machine() not in ("x86_64", "aarch64"):
        what = f"the local stack runs on Linux on x86_64 or aarch64, not on {platform.system()} on {platform.machine()}"
        raise Refusal(what, "" if platform.system() == "Linux" else engines.advice())


def _is_root() -> None:
    if os.geteuid() != 0:
        what = "the local stack needs root: it makes network namespaces, mounts and cgroups"
        sudo = "Run it with sudo. Or: " if is_debian() else ""
        raise Refusal(what, f"{sudo}{engines.advice(by_kind=True)}")


def _has_engine() -> None:
    if engines.find_for_kind() is None:
        what = "without root the local stack needs a container engine that kind can use"
        sudo = " Or run it with sudo: root on Debian needs none." if is_debian() else ""
        raise Refusal(what, f"{engines.advice(by_kind=True)}{sudo}")


def _has_room_in_engine() -> None:
    """Look at the disk of the engine's images, which is this machine's, where this user may."""
    engine = engines.find_for_kind()
    if engine is None or not engine.data_root:
        return
    try:
        free = shutil.disk_usage(engine.data_root).free
    except OSError:  # in a folder that only root enters
        return
    if free < ENGINE_BYTES:
        folder, wanted = one_line(engine.data_root), ENGINE_BYTES // 1024**3
        raise Refusal(
            f"{engine.name} has {free / 1024**3:.1f} GiB free in {folder}; the local stack needs {wanted} GiB there",
            f"Make room: {engine.program} system df shows what takes it, {engine.program} system prune removes what nothing uses.",
        )


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:  # no os-release: not a Debian
        return {}


def is_debian() -> bool:
    """Return whether this is a Debian whose packages the stack can take."""
    release = _os_release()
    version = release.get("VERSION_ID", str(DEBIAN_VERSION))  # testing and unstable say none
    return release.get("ID") == "debian" and int(version.split(".")[0]) >= DEBIAN_VERSION


def _is_debian() -> None:
    _require_debian(engines.advice(by_kind=True))


def _is_debian_or_pulls() -> None:
    """Look for what whoever has a fitting engine needs, unless Debian's packages are pulled."""
    engine = engines.find_for_kind()
    if engine and engine.cgroup_version == engines.OLD_CGROUPS:
        pulled = f"Or {engines.UNIFIED}: on cgroup version 2 the node can be pulled, and Debian's packages with it."
    else:
        pulled = (
            f"Or let it be pulled: have a way to docker.io, or set {image_list.MIRROR}; where the engine alone has one, set"
            f" {image_list.IMAGES}={image_list.PULLED}."
        )
    _require_debian(f"{pulled} {engines.advice()}")


def _require_debian(otherwise: str) -> None:
    wanted = f"Debian {DEBIAN_VERSION} or newer"
    if not is_debian():
        system = _os_release().get("PRETTY_NAME", "another system")
        what = f"the local stack takes its packages from {wanted}, and this is {system}"
        raise Refusal(what, f"Use {wanted}. {otherwise}")
    if shutil.which("apt-get") is None:
        raise Refusal("the local stack installs packages with apt-get, which is not here", f"Use {wanted}.")


def _has_plain_paths() -> None:
    for folder in (cache_home(), state_home()):
        if re.search(r"[\s:]", str(folder)):
            what = (
                f"the local stack cannot live in {one_line(str(folder))}: a path of its folders has a space or a colon"
            )
            raise Refusal(what, "Point XDG_CACHE_HOME and XDG_STATE_HOME to others.")


def _has_go() -> None:
    wanted = ".".join(map(str, go_builds.GO_VERSION))
    fix = f"Install Go {wanted} or newer and put it on the PATH."
    if shutil.which("go") is None:
        raise Refusal("there is no Go here", fix)
    try:
        version = go_builds.find_version("go")
    except LabError as error:
        raise Refusal(f"there is no Go that works here: {error.what}", fix) from error
    if not go_builds.is_new_enough(version):
        raise Refusal(f"this is Go {version}; the local stack needs {wanted}", fix)


def _can_make_network_namespaces() -> None:
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Refusal(
            f"no network namespace can be made here: {done.stderr.strip()}",
            "In a container, run it privileged; else check the kernel's CONFIG_NET_NS.",
        )


def _has_bridge_filter() -> None:
    """Look whether the kernel has br_netfilter or a module of it; a container may lack both module and modprobe."""
    if network.BRIDGE_FILTER.exists():
        return
    try:
        code = subprocess.run(["modprobe", "--dry-run", "br_netfilter"], capture_output=True, check=False).returncode
    except FileNotFoundError:
        code = 1
    if code != 0:
        raise Refusal(
            "the kernel has no br_netfilter, without which Services do not work between pods",
            "Load it (in a container: on the host) with modprobe br_netfilter, from Debian's package kmod.",
        )


def _has_room(modules: Sequence[go_builds.GoModule]) -> None:
    has_go = go_builds.has_go() or go_builds.copied_go().exists()
    if has_go and all(go_builds.cached(module).exists() for module in modules):
        needed = {cache_home(): RUN_BYTES}
    else:
        needed = {folder: BUILD_BYTES for folder in (cache_home(), *(go_builds.caches() if has_go else ()))}
    needed.setdefault(state_home(), RUN_BYTES)
    for folder, wanted in needed.items():
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(existing).free
        if free < wanted:
            raise Refusal(
                f"{folder} has {free / 1024**3:.1f} GiB free; the local stack needs {wanted // 1024**3} GiB there",
                "Make room, or point XDG_CACHE_HOME, XDG_STATE_HOME, GOMODCACHE or GOCACHE to a disk that has it.",
            )


REQUIREMENTS: tuple[Callable[[], None], ...] = (
    _has_known_architecture,
    _is_root,
    _is_debian,
    _has_go,
    _can_make_network_namespaces,
    _has_bridge_filter,
)
REQUIREMENTS_OF_USERS = (
    _has_known_architecture,
    _has_plain_paths,
    _has_engine,
    _has_room_in_engine,
    _is_debian_or_pulls,
    _has_go,
)
COMES_ALONG = {image_list.GO: _has_go, image_list.DEBIAN: _is_debian_or_pulls}
