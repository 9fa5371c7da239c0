"""What is pulled by digest into the user's engine: kind's node, and by the list also Go, Debian, Vault and KEDA.

Implements `cluster.Images`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

from prompt_keda.core.event import Observer
from prompt_keda.core.private_folder import lead
from prompt_keda.lab import go_builds, packages, pulling, users_engine
from prompt_keda.lab.commands import Children
from prompt_keda.lab.go_builds import KEDA, GoModule
from prompt_keda.lab.go_builds import VAULT as VAULT_MODULE
from prompt_keda.lab.image_list import DEBIAN, GO, NODE, PULLED, VAULT, PulledImage
from prompt_keda.lab.kind.cluster import KindEngine
from prompt_keda.lab.provider import Infrastructure
from prompt_keda.lab.settings import Lab

GO_FOLDER, KUBECTL = "/usr/local/go", "/usr/bin/kubectl"
"""In the images golang, and in kind's node images."""
PROGRAMS = {
    VAULT_MODULE.name: {"vault": (VAULT, "/bin/vault")},
    KEDA.name: {
        "operator": ("keda", "/keda"),
        "adapter": ("keda-metrics-apiserver", "/keda-adapter"),
        "webhooks": ("keda-admission-webhooks", "/keda-admission-webhooks"),
    },
}
"""Module → its programs → the image of the list, and where it is in that: static ones, which run anywhere."""


class Pulled:
    """Pulled from the registries that the list names, or from a mirror. What the list does not pin is built."""

    name = PULLED
    modules: tuple[GoModule, ...] = ()

    def __init__(self, images: Mapping[str, PulledImage], mirror: str) -> None:
        self.images = {name: image for name, image in images.items() if image.digest}
        self.mirror = mirror
        modules = {module for module, programs in PROGRAMS.items() if self._has(programs)}
        self.brings = frozenset({GO, DEBIAN} & set(self.images) | modules)
        self._alone = threading.Lock()

    def fetch(
        self, lab: Lab, docker: list[str], module: GoModule, observer: Observer, children: Children
    ) -> Path | None:
        """Copy a module's programs out of their images if the list has all of them; else Go if it is lacking."""
        programs = PROGRAMS.get(module.name, {})
        if programs and self._has(programs):
            return self._copy(lab, docker, programs, observer, children)
        with self._alone:
            copied = go_builds.copied_go()
            if GO in self.images and not copied.exists() and not go_builds.has_go():
                folder = self._copy(lab, docker, {"go": (GO, GO_FOLDER)}, observer, children)
                lead(copied.parents[1], folder / "go")
        return None

    def unpack(self, lab: Lab, docker: list[str], observer: Observer, children: Children) -> Path:
        """Let the apt-get of Debian's image fetch packages; this machine's own if the list has no such image."""
        if (image := self.images.get(DEBIAN)) is None:
            return packages.unpack(packages.this_machines(), packages.SERVERS, observer, children)

        def enter(folder: Path) -> list[str]:
            reference = pulling.pull(docker, image, self.mirror, observer, children)
            users_engine.end_image(lab)  # of a lab.up that was killed
            return users_engine.in_image(lab, reference, folder)

        try:
            return packages.unpack(packages.Apt(image.digest, enter), packages.SERVERS, observer, children)
        finally:
            users_engine.end_image(lab)

    def provide(self, infrastructure: Infrastructure, engine: KindEngine) -> str:
        """Pull the node's image unless the engine has it; kubectl is copied out of it into the cache."""
        lab, docker = infrastructure.lab, engine.docker(infrastructure.lab)
        wanted = {"kubectl": (NODE, KUBECTL)}
        programs = self._copy(lab, docker, wanted, infrastructure.observer, infrastructure.children)
        lab.link_programs(programs / "kubectl", ("kubectl",))
        return pulling.pull(docker, self.images[NODE], self.mirror, infrastructure.observer, infrastructure.children)

    def _has(self, programs: Mapping[str, tuple[str, str]]) -> bool:
        return all(name in self.images for name, _ in programs.values())

    def _copy(
        self,
        lab: Lab,
        docker: list[str],
        wanted: Mapping[str, tuple[str, str]],
        observer: Observer,
        children: Children,
    ) -> Path:
        """Pull images, and copy out of them unless the cache has it: name in the cache → image of the list, path in it."""
        images = [self.images[name] for name, _ in wanted.values()]
        target, label = pulling.folder(*images), f"{users_engine.OWNER}={lab.state}"
        if target.exists():
            return target
        references = [pulling.pull(docker, image, self.mirror, observer, children) for image in images]
        places = (inside for _, inside in wanted.values())
        copies = dict(zip(wanted, zip(references, places, strict=True), strict=True))
        return pulling.copy(docker, label, copies, target, children)
