"""Images: can what KEDA and the workers run be pulled?"""

from __future__ import annotations

from collections.abc import Iterable

from prompt_keda.checks.outcomes import all_or_fail, ok
from prompt_keda.clients.kube_resources import DEPLOYMENTS
from prompt_keda.clients.registry import parse_image
from prompt_keda.clients.systems import Systems, filled
from prompt_keda.errors import Missing, Refused
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
    """Ask the registry for the images that KEDA's Deployments name."""
    deployments = systems.kube.list(DEPLOYMENTS, systems.environment.keda.namespace)
    names = [container["image"] for one in deployments for container in one["spec"]["template"]["spec"]["containers"]]
    return _pullable(systems, names) if names else ok("no KEDA Deployment stands, so none names an image")


def instrument_images_present(systems: Systems) -> Outcome:
    """Ask the registry for the instruments' images."""
    return _pullable(systems, [name for one in systems.environment.instruments for name in one.images])


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
