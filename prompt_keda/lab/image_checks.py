"""Whether the images of the list are where it says, by their registries' own word. Nothing is pulled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta

from prompt_keda.clients.registry import Registry
from prompt_keda.core import exit_code
from prompt_keda.core.check import Verdict
from prompt_keda.core.errors import ClientError, Missing
from prompt_keda.lab.image_list import KEDA, NODE, PulledImage
from prompt_keda.lab.images import ARCHITECTURE
from prompt_keda.lab.settings import KEDA_VERSION, KUBERNETES_VERSION
from prompt_keda.report.result import Result

ANSWER = timedelta(seconds=10)
PLATFORMS = tuple(f"linux/{architecture}" for architecture in ARCHITECTURE.values())
Connect = Callable[[str], Registry]


@dataclass(frozen=True)
class ImageRow:
    """An image of the list, and what its registry says of it.

    Parameters
    ----------
    reference
        What an engine is asked for; by tag if it is not pinned.
    """

    name: str
    reference: str
    licence: str
    use: str
    sources: Sequence[str]
    verdict: Verdict
    observed: str
    fix: str


@dataclass(frozen=True)
class ImagesChecked:
    """The images of the list."""

    images: Sequence[ImageRow]


def connect(host: str) -> Registry:
    """Return a client of a registry, without a login and by the environment's proxy; nothing is sent yet."""
    return Registry.connect(host, f"https://{host}", None, None, ANSWER, by_proxy=True)


def check(
    task: str, images: Mapping[str, PulledImage], mirror: str, connect: Connect = connect
) -> Result[ImagesChecked]:
    """Ask each image's registry, or the mirror, for its digest. A registry that does not answer leaves it UNKNOWN."""
    rows = [_row(image, mirror, connect) for image in images.values()]
    code = exit_code.of_verdicts(row.verdict for row in rows)
    at = f"of the mirror {mirror}" if mirror else "of their own registries"
    return Result(task, "local", f"{len(rows)} images {at}", ImagesChecked(rows), code)


def pin(images: Mapping[str, PulledImage], mirror: str, connect: Connect = connect) -> Mapping[str, PulledImage]:
    """Return the images, those without a digest with the one that their registry, or the mirror, gives their tag now.

    Raises
    ------
    ClientError
        When a registry does not say it.
    """
    return {name: image if image.digest else _pinned(image, mirror, connect) for name, image in images.items()}


def _pinned(image: PulledImage, mirror: str, connect: Connect) -> PulledImage:
    host, repository = _place(image, mirror)
    with closing(connect(host)) as registry:
        digest = registry.manifest_digest(repository, image.tag)
    return replace(image, digest=digest, sources=(f"https://{host}/v2/{repository}/manifests/{image.tag}",))


def _place(image: PulledImage, mirror: str) -> tuple[str, str]:
    """Return where an image is asked for: host, and repository there."""
    host, _, prefix = mirror.partition("/") if mirror else (image.api_host, "", "")
    return host, f"{prefix.rstrip('/')}/{image.repository}".lstrip("/")


def _row(image: PulledImage, mirror: str, connect: Connect) -> ImageRow:
    host, repository = _place(image, mirror)
    try:
        with closing(connect(host)) as registry:
            verdict, observed, fix = _look(image, registry, repository)
    except ClientError as error:
        verdict, observed, fix = Verdict.UNKNOWN, f"{error.endpoint}: {error.detail}", error.fix
    if not image.digest:
        observed = f"not pinned, so it is built; {observed}"
    reference = image.reference(mirror) if image.digest else f"{image.image}:{image.tag}"
    return ImageRow(image.name, reference, image.licence, image.use, image.sources, verdict, observed, fix)


def _look(image: PulledImage, registry: Registry, repository: str) -> tuple[Verdict, str, str]:
    """Return what a registry says of an image. Raises as `Registry.manifest` does."""
    if not image.digest:
        there = registry.manifest_digest(repository, image.tag)
        fix = "./run lab.images --pin FILE writes a list with it."
        return Verdict.WARN, f"its registry gives {image.tag} the digest {there}", fix
    minor = ".".join(KUBERNETES_VERSION.split(".")[:2])
    if image.name == NODE and not image.tag.startswith(f"v{minor}."):
        return (
            Verdict.FAIL,
            f"it is Kubernetes {image.tag}",
            f"The environment local accepts {minor}: name an image of that.",
        )
    if image.name in KEDA and image.tag != KEDA_VERSION:
        return (
            Verdict.FAIL,
            f"it is KEDA {image.tag}",
            f"KEDA's manifests are of {KEDA_VERSION}: name an image of that.",
        )
    try:
        manifest = registry.manifest(repository, image.digest)
    except Missing as error:
        return Verdict.FAIL, f"{error.endpoint}: {error.detail}", f"Compare it with {image.sources[0]}."
    lacking = [platform for platform in PLATFORMS if platform not in registry.platforms(repository, manifest)]
    if lacking:
        return Verdict.WARN, f"it is not for {', '.join(lacking)}", "Name the digest of the index."
    return Verdict.OK, "there, for " + " and ".join(PLATFORMS), ""
