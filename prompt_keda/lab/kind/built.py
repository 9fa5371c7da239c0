"""The image of kind's node, built of this machine's packages and Go modules. Implements `cluster.Images`."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from prompt_keda.core.errors import LabError
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.core.private_folder import private_folder
from prompt_keda.lab import contents, images, packages
from prompt_keda.lab.commands import Children, find_fix, last_line, run
from prompt_keda.lab.go_builds import KIND, KUBE_NODE, WORKER, GoModule, cached, has_go, module_folder
from prompt_keda.lab.image_list import BUILT
from prompt_keda.lab.kind import node_image
from prompt_keda.lab.kind.cluster import KindEngine
from prompt_keda.lab.node import PAUSE_IMAGE
from prompt_keda.lab.provider import Infrastructure
from prompt_keda.lab.settings import KUBERNETES_VERSION, Lab, cache_home

LOAD_S = 300


class Built:
    """Built once, into the user's cache."""

    name = BUILT
    modules: tuple[GoModule, ...] = (KUBE_NODE,)
    brings: frozenset[str] = frozenset()

    def fetch(self, lab: Lab, docker: list[str], module: GoModule, observer: Observer, children: Children) -> None:
        """Return None: all is built."""

    def unpack(self, lab: Lab, docker: list[str], observer: Observer, children: Children) -> Path:
        """Unpack what this machine's own apt-get fetches."""
        return packages.unpack(packages.this_machines(), packages.SERVERS, observer, children)

    def provide(self, infrastructure: Infrastructure, engine: KindEngine) -> str:
        """Build the image unless the cache has it, and load it unless the engine has it."""
        lab = infrastructure.lab
        image, archive = self._ensure_archive(infrastructure, engine)
        lab.link_programs(infrastructure.folder_of(KUBE_NODE) / "kube")
        docker = engine.docker(lab)
        if not run([*docker, "images", "-q", image]).strip():
            run(
                [*docker, "load", "-q", "-i", str(archive)],
                timeout_s=LOAD_S,
                fix=f"Is its disk full? {engine.MAKE_ROOM}",
            )
        return image

    def _ensure_archive(self, infrastructure: Infrastructure, engine: KindEngine) -> tuple[str, Path]:
        """Return name and archive of the image; it is built unless the cache has it. Raises `LabError` when that fails."""
        name, target = _named()
        if target.exists():
            infrastructure.observer(Event(EventKind.FINISHED, "node-image", "done", "in the cache"))
            return name, target
        cache, worker = private_folder(target.parent), infrastructure.folder_of(WORKER)
        debian = hashlib.sha256(" ".join([node_image.SUITE, *node_image.PACKAGES]).encode()).hexdigest()[:16]
        scratch = private_folder(cache / f"{target.stem}.{os.getpid()}")
        try:
            pause = scratch / "pause.tar"
            images.write_archive(contents.pause_image(worker), pause, PAUSE_IMAGE)
            plan = {
                "base": str(cache / f"debian-{node_image.SUITE}-{debian}.tar"),
                "kube": str(infrastructure.folder_of(KUBE_NODE) / "kube"),
                "kind": str(module_folder(KIND, "sigs.k8s.io/kind")),
                "version": KUBERNETES_VERSION,
                "pause": PAUSE_IMAGE,
                "pause_archive": str(pause),
                "scratch": str(scratch),
                "image": name,
                "target": str(target),
            }
            _build(infrastructure, engine, plan)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return name, target


def is_in_cache() -> bool:
    """Return whether the image need not be built; without Go that cannot be told."""
    return has_go() and _named()[1].exists()


def _named() -> tuple[str, Path]:
    """Return what the image is called, and where its archive is, or will be, in the cache."""
    source = Path(node_image.__file__).read_bytes()
    decides = f"{cached(KUBE_NODE).name} {cached(WORKER).name} {KUBERNETES_VERSION} {PAUSE_IMAGE}"
    key = hashlib.sha256(source + decides.encode()).hexdigest()[:16]
    return f"{node_image.REPOSITORY}/node:{key}", cache_home() / "prompt-keda" / "build" / f"kind-node-{key}.tar"


def _build(infrastructure: Infrastructure, engine: KindEngine, plan: dict[str, str]) -> None:
    """Build it where `lab.down` ends it, whatever became of us."""
    began = time.monotonic()
    argv = engine.build(infrastructure.lab, infrastructure.observer, infrastructure.children, plan)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    last = "it said nothing"
    with infrastructure.children.start(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env) as running:
        for line in running.stderr or ():
            last = last_line(line) or last
            infrastructure.observer(Event(EventKind.PROGRESS, "node-image", "working", last, time.monotonic() - began))
        code = running.wait()
    if code:
        raise LabError(f"the node's image was not built: {last}"[:300], find_fix(last) or packages.FIX)
    infrastructure.observer(Event(EventKind.FINISHED, "node-image", "done", "", time.monotonic() - began))
