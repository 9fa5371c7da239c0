"""What is in the images: the right platform, and every layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prompt_keda.clients.kube.resources import NODES
from prompt_keda.clients.registry import ImageName, ManifestInfo, parse_image
from prompt_keda.clients.systems import Systems
from prompt_keda.components.cluster.vcluster import in_a_vcluster, only_inside
from prompt_keda.components.images.places import live_images, manifest_images, shown
from prompt_keda.core.check import Outcome, Verdict, check
from prompt_keda.core.errors import Missing, Refused
from prompt_keda.core.outcomes import fail, ok, skipped, unknown, warn, worst_of
from prompt_keda.core.side_by_side import look_side_by_side

if TYPE_CHECKING:
    from prompt_keda.clients.registry import Registry

SCHEMA_1 = "docker.distribution.manifest.v1+"
USUAL = "linux/amd64"
MOST_PARTS = 250
"""More parts of images than these are not asked for: a round of checks is no load test. An image has some dozens at
most; a HEAD request for each, some at once, takes seconds."""


@dataclass(frozen=True)
class _Found:
    """An image that its registry has."""

    name: str
    image: ImageName
    registry: Registry
    info: ManifestInfo

    def platforms(self) -> tuple[str, ...]:
        return self.registry.platforms(self.image.repository, self.info)

    def parts(self, wanted: list[str]) -> Iterator[str]:
        """Yield the digests of its config and layers; of an index for these platforms alone."""
        yield from self.info.blobs
        children = self.registry.children(self.image.repository, self.info)
        for platform in wanted:
            if platform in children:
                yield from self.registry.manifest(self.image.repository, children[platform]).blobs


@check(
    "images/platforms-fit",
    "Every image fits the nodes' platform",
    needs=("images/keda-images-present",),
    runbook="image-not-pulled",
)
def platforms_fit(systems: Systems) -> Outcome:
    """Is each image that runs, or that a redeploy pulls, built for the nodes' platform? An index says it itself, a
    single manifest in its config; so does an entry of an index that names no platform. Attestations are no images.
    Where no node is seen, linux/amd64 is assumed, and said. SKIPPED in a vCluster where they
    fit: its nodes are made up. An image that is missing is reported by the checks above.

    Cause: An image was built on another machine than the nodes are, or for one platform only. WARN: it fits some of
    the nodes, or is of manifest schema 1, which containerd 2 does not pull. UNKNOWN: it says no platform anywhere, as
    an artifact that is no image.
    """
    wanted, assumed = _platforms_of_nodes(systems)

    def look(image: _Found) -> Outcome:
        platforms = image.platforms()
        if not platforms:
            return unknown(
                f"{image.name} does not say its platform: is it an image?", "Look at its manifest and config."
            )
        if SCHEMA_1 in image.info.media_type:
            return warn(f"{image.name} is of manifest schema 1, which containerd 2 does not pull", "Push it again.")
        lacking = [platform for platform in wanted if platform not in platforms]
        if not lacking:
            return ok(image.name)
        message = f"{image.name} is for {', '.join(platforms)}, not for {lacking[0]}"
        fix = "Name an image that is built for the nodes' platform."
        return fail(message, fix) if len(lacking) == len(wanted) else warn(message, fix)

    fit = _of_every_image(systems, look, f"for {', '.join(wanted)}{assumed}")
    if in_a_vcluster(systems):
        return only_inside(fit, "that is the platform of the vCluster's syncer: its host's nodes are not seen")
    return fit


@check(
    "images/layers-present",
    "Every image has all its layers",
    needs=("images/keda-images-present",),
    runbook="image-not-pulled",
)
def layers_present(systems: Systems) -> Outcome:
    """Ask the registry for the config and each layer of the nodes' platform (HEAD, 60 at most: more is UNKNOWN). A
    manifest alone starts no pod. UNKNOWN: nothing of an image could be asked for.

    Cause: A clean-up of the registry, or a push that was broken off, has left a manifest without its layers.

    Fix: Push the image again.
    """
    wanted, _ = _platforms_of_nodes(systems)
    asked: set[tuple[str, str]] = set()

    def look(image: _Found) -> Outcome:
        repository, digests = image.image.repository, list(image.parts(wanted))
        if not digests:
            message = f"{image.name}: nothing was asked for, since it has nothing for {', '.join(wanted)}"
            return unknown(message, "Look at images/platforms-fit.")
        for digest in digests:
            if (repository, digest) in asked:
                continue
            if len(asked) == MOST_PARTS:
                return unknown(f"{image.name}: more than {MOST_PARTS} parts; the rest is not looked at")
            asked.add((repository, digest))
            if not image.registry.has_blob(repository, digest):
                return fail(f"{image.name} lacks its part {digest[:19]}…", "Push the image again.")
        return ok(image.name)

    return _of_every_image(systems, look, "have all their parts")


def _of_every_image(systems: Systems, look: Callable[[_Found], Outcome], good: str) -> Outcome:
    """Look at each image that is there. What is not is reported by the checks of what can be pulled, and counted here."""

    def look_for(name: str) -> Outcome:
        image = _find(systems, name)
        return look(image) if image else skipped(name)

    names = sorted({*live_images(systems), *manifest_images(systems)})
    outcomes = look_side_by_side([(shown(name), name) for name in names], look_for)
    there = [outcome for outcome in outcomes if outcome.verdict is not Verdict.SKIPPED]
    missing = len(outcomes) - len(there)
    return worst_of(there, f"{len(there)} images {good}{f'; {missing} more are missing' if missing else ''}")


def _find(systems: Systems, name: str) -> _Found | None:
    image = parse_image(name)
    if image.host not in {registry.host for registry in systems.environment.registries}:
        return None
    registry = systems.registry(image.host)
    try:
        return _Found(shown(name), image, registry, registry.manifest(image.repository, image.reference))
    except (Missing, Refused):
        return None


def _platforms_of_nodes(systems: Systems) -> tuple[list[str], str]:
    """Return the nodes' platforms, and what to say if they are only assumed."""
    try:
        nodes = systems.kube.list(NODES)
    except Refused:
        nodes = []
    infos = [node.get("status", {}).get("nodeInfo") or {} for node in nodes]
    platforms = {f"{info['operatingSystem']}/{info['architecture']}" for info in infos if info}
    return (sorted(platforms), "") if platforms else ([USUAL], " (assumed: no node is seen)")
