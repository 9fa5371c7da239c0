"""The image of kind's node, pulled by digest into the user's engine. Implements `cluster.NodeImages`."""

from __future__ import annotations

from collections.abc import Mapping

from prompt_keda.lab import pulling, users_engine
from prompt_keda.lab.go_builds import GoModule
from prompt_keda.lab.image_list import NODE, PULLED, PulledImage
from prompt_keda.lab.kind.cluster import Engine
from prompt_keda.lab.provider import Ground

KUBECTL = "/usr/bin/kubectl"
"""In kind's node images."""


class Pulled:
    """Pulled from the registry that the list names, or from a mirror."""

    name = PULLED
    modules: tuple[GoModule, ...] = ()

    def __init__(self, images: Mapping[str, PulledImage], mirror: str) -> None:
        self.images = images
        self.mirror = mirror

    def provide(self, ground: Ground, engine: Engine) -> str:
        """Pull the image unless the engine has it; kubectl is copied out of it into the cache."""
        lab, image = ground.lab, self.images[NODE]
        docker, label = engine.docker(lab), f"{users_engine.OWNER}={lab.state}"
        reference = pulling.pull(docker, image, self.mirror, ground.observer, ground.children)
        wanted = {KUBECTL: "kubectl"}
        programs = pulling.copy(docker, label, reference, wanted, pulling.folder(image), ground.children)
        lab.link_programs(programs / "kubectl", ("kubectl",))
        return reference
