"""Images: can what KEDA and the workers run be pulled?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from prompt_keda.checks.outcomes import all_or_fail, unknown
from prompt_keda.clients.kube_resources import DEPLOYMENTS
from prompt_keda.clients.registry import parse_image
from prompt_keda.clients.systems import Systems, filled
from prompt_keda.errors import EnvironmentFileError, Missing, Refused, Unfilled
from prompt_keda.files.manifest_file import load_keda_manifests, local_file
from prompt_keda.model.check import Check, Outcome


def _pullable(systems: Systems, names: Iterable[str]) -> Outcome:
    bad, count = [], 0
    for name in sorted(set(names)):
        image = parse_image(name)
        count += 1
        try:
            systems.registry(image.host).manifest_digest(image.repository, image.reference)
        except (Missing, Refused) as error:
            bad.append(f"{name.partition('@')[0]}: {error.detail}")
    return all_or_fail(bad, f"{count} images there", "Check the image's name and the pull secret.")


def keda_images_present(systems: Systems) -> Outcome:
    """Ask the registry for the images that KEDA's Deployments name, here and in the manifests of the environment.

    What a redeploy will pull stands in the manifests alone when KEDA is gone.
    """
    live = systems.kube.list(DEPLOYMENTS, systems.environment.keda.namespace)
    names = {*_images(live), *_manifest_images(systems)}
    if not names:
        return unknown(
            "no KEDA Deployment stands, and its manifests are not on this machine", "./run prepare fetches them."
        )
    return _pullable(systems, names)


def _images(deployments: Iterable[dict[str, Any]]) -> Iterator[str]:
    for one in deployments:
        for container in one["spec"]["template"]["spec"]["containers"]:
            yield container["image"]


def _manifest_images(systems: Systems) -> set[str]:
    manifests = systems.environment.keda.manifests
    try:
        source, sha256 = filled(manifests.source, "source"), filled(manifests.sha256, "sha256")
        objects = load_keda_manifests(local_file(source, sha256), sha256)
    except (Unfilled, EnvironmentFileError):
        return set()
    return set(_images(one for one in objects if one["kind"] == "Deployment"))


def instrument_images_present(systems: Systems) -> Outcome:
    """Ask the registry for the instruments' images."""
    names = [name for one in systems.environment.instruments for name in one.images]
    if not names:
        return unknown("the environment names no image of a worker", "Name them under instruments, images.")
    return _pullable(systems, names)


def smoke_image_present(systems: Systems) -> Outcome:
    """Ask the registry for the smoke test's image."""
    return _pullable(systems, [filled(systems.environment.smoke.image, "smoke.image")])


CHECKS: tuple[Check[Systems], ...] = (
    Check(
        "images/keda-images-present",
        "KEDA's images can be pulled",
        keda_images_present,
        ("cluster/api-answers",),
        runbook="image-not-pulled",
    ),
    Check(
        "images/instrument-images-present",
        "the workers' images can be pulled",
        instrument_images_present,
        runbook="image-not-pulled",
    ),
    Check(
        "images/smoke-image-present",
        "the smoke test's image can be pulled",
        smoke_image_present,
        runbook="image-not-pulled",
    ),
)
