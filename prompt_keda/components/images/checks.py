"""Images: can what KEDA and the workers run be pulled?"""

from __future__ import annotations

from collections.abc import Iterable

from prompt_keda.clients.registry import parse_image
from prompt_keda.clients.systems import Systems, filled
from prompt_keda.components.images.contents import layers_present, platforms_fit
from prompt_keda.components.images.names import images_pinned, running_as_named
from prompt_keda.components.images.places import keda_pullers, manifest_images, shown, worker_images
from prompt_keda.components.images.pull_secrets import pull_secrets_fit
from prompt_keda.core.check import Check, Outcome
from prompt_keda.core.errors import Missing, PromptKedaError, Refused, Unreachable
from prompt_keda.core.outcomes import fail, look_at, ok, unknown, worst_of


def keda_images_present(systems: Systems) -> Outcome:
    """Ask the registry for the images that KEDA's Deployments name, here and in the manifests of the environment.

    What a redeploy will pull stands in the manifests alone when KEDA is gone.
    """
    live = {name for one in keda_pullers(systems) for name in one.images}
    names = {*live, *manifest_images(systems)}
    if not names:
        return unknown(
            "no KEDA Deployment stands, and its manifests are not on this machine", "./run prepare fetches them."
        )
    return _pullable(systems, names)


def instrument_images_present(systems: Systems) -> Outcome:
    """Ask the registry for the workers' images: those that run, and those that the environment names."""
    names: set[str] = set()
    unseen: list[Outcome] = []
    for one in systems.environment.instruments:
        found, untold = worker_images(systems, one)
        names |= found
        unseen += untold
    if not names and not unseen:
        return unknown("the environment names no image of a worker", "Name them under instruments, images.")
    return _pullable(systems, names, unseen)


def smoke_image_present(systems: Systems) -> Outcome:
    """Ask the registry for the smoke test's image."""
    return _pullable(systems, [filled(systems.environment.smoke.image, "smoke.image")])


def _pullable(systems: Systems, names: Iterable[str], unseen: Iterable[Outcome] = ()) -> Outcome:
    """Ask the registries for each image. One that does not answer is asked once, so that there is time for the others."""
    named, silent = sorted(set(names)), dict[str, PromptKedaError]()
    known = {one.host for one in systems.environment.registries}

    def look(name: str) -> Outcome:
        image = parse_image(name)
        if image.host not in known:
            return unknown(f"{shown(name)}: the environment does not name {image.host}", "Add it under registries.")
        try:
            if image.host in silent:
                raise silent[image.host]
            systems.registry(image.host).manifest_digest(image.repository, image.reference)
        except (Missing, Refused) as error:
            return fail(f"{shown(name)}: {error.detail}", "Check the image's name and the pull secret.")
        except Unreachable as error:
            silent[image.host] = error
            raise
        return ok(shown(name))

    seen = [look_at(shown(name), name, look) for name in named]
    hosts = sorted({parse_image(name).host for name in named} & known - set(silent))
    return worst_of([*seen, *unseen], f"{len(named)} images there{_limits(systems, hosts)}")


def _limits(systems: Systems, hosts: Iterable[str]) -> str:
    """Say how many pulls are left where a registry limits them."""
    left = {host: systems.registry(host).pulls_left for host in hosts}
    return "".join(f"; {host} lets {count} more pulls through" for host, count in left.items() if count is not None)


_KEDA = "images/keda-images-present"
_FIX = "Ask the registry's owners, or wait; until it answers no new node can pull."
CHECKS: tuple[Check[Systems], ...] = (
    Check(
        _KEDA,
        "KEDA's images can be pulled",
        keda_images_present,
        ("cluster/api-answers",),
        fix=_FIX,
        runbook="image-not-pulled",
    ),
    Check(
        "images/instrument-images-present",
        "the workers' images can be pulled",
        instrument_images_present,
        fix=_FIX,
        runbook="image-not-pulled",
    ),
    Check(
        "images/smoke-image-present",
        "the smoke test's image can be pulled",
        smoke_image_present,
        fix=_FIX,
        runbook="image-not-pulled",
    ),
    Check("images/platforms-fit", "every image fits the nodes", platforms_fit, (_KEDA,), runbook="image-not-pulled"),
    Check(
        "images/layers-present", "every image has all its layers", layers_present, (_KEDA,), runbook="image-not-pulled"
    ),
    Check(
        "images/pull-secrets-fit",
        "every pod's own pull secret opens its images",
        pull_secrets_fit,
        (_KEDA,),
        runbook="image-not-pulled",
    ),
    Check(
        "images/images-pinned",
        "every image is pinned by its digest",
        images_pinned,
        ("cluster/api-answers",),
        runbook="image-moved",
    ),
    Check(
        "images/running-as-named",
        "KEDA runs what its images' names mean now",
        running_as_named,
        (_KEDA,),
        runbook="image-moved",
    ),
)
