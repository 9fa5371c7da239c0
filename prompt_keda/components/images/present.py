"""Images: can what KEDA and the workers run be pulled?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from prompt_keda.clients.registry import parse_image
from prompt_keda.clients.systems import Systems, filled
from prompt_keda.components.images.places import keda_pullers, manifest_images, shown, worker_images
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.errors import Missing, PromptKedaError, Refused, Unreachable
from prompt_keda.core.outcomes import fail, look_at, ok, unknown, worst_of


@check(
    "images/keda-images-present",
    "KEDA's images can be pulled",
    needs=("cluster/api-answers",),
    fix="Ask the registry's owners, or wait; until it answers no new node can pull.",
    runbook="image-not-pulled",
)
def keda_images_present(systems: Systems) -> Outcome:
    """Ask the registry for the images that KEDA's Deployments name (init containers too), here and in the manifests of
    the environment: those are what a redeploy pulls. Where a registry limits pulls, how many are left is reported; one
    that is asked too often (HTTP 429) is UNKNOWN, with the time after which it answers.

    Cause: The image was removed, or the pull secret is wrong. UNKNOWN: the environment does not name its registry,
    or that does not answer.

    Notes
    -----
    What a redeploy will pull stands in the manifests alone when KEDA is gone.
    """
    live = {name for puller in keda_pullers(systems) for name in puller.images}
    names = {*live, *manifest_images(systems)}
    if not names:
        return unknown(
            "no KEDA Deployment stands, and its manifests are not on this machine", "./run prepare fetches them."
        )
    return _pullable(systems, names)


@check(
    "images/instrument-images-present",
    "The workers' images can be pulled",
    fix="Ask the registry's owners, or wait; until it answers no new node can pull.",
    runbook="image-not-pulled",
)
def instrument_images_present(systems: Systems) -> Outcome:
    """Ask the registry for the images that the live ScaledJobs run (init containers too), and for those that the
    environment names. Where the environment's name has neither tag nor digest, the live image stands in for it.

    Cause: The image was removed, or the pull secret is wrong. UNKNOWN: a name without a tag that no ScaledJob runs,
    a ScaledJob that cannot be seen, a registry that the environment does not name or that does not answer.
    """
    names: set[str] = set()
    unseen: list[Outcome] = []
    for instrument in systems.environment.instruments:
        images, untold = worker_images(systems, instrument)
        names |= images
        unseen += untold
    if not names and not unseen:
        return unknown("the environment names no image of a worker", "Name them under instruments, images.")
    return _pullable(systems, names, unseen)


@check(
    "images/smoke-image-present",
    "The smoke test's image can be pulled",
    fix="Ask the registry's owners, or wait; until it answers no new node can pull.",
    runbook="image-not-pulled",
)
def smoke_image_present(systems: Systems) -> Outcome:
    """Ask the registry for the smoke test's image.

    Cause: The image was removed, or the pull secret is wrong.
    """
    return _pullable(systems, [filled(systems.environment.smoke.image, "smoke.image")])


def _pullable(systems: Systems, names: Iterable[str], unseen: Iterable[Outcome] = ()) -> Outcome:
    """Ask the registries for each image. One that does not answer is asked once, so that there is time for the others."""
    named, silent = sorted(set(names)), dict[str, PromptKedaError]()
    named_hosts = {registry.host for registry in systems.environment.registries}

    def look(name: str) -> Outcome:
        image = parse_image(name)
        if image.host not in named_hosts:
            return unknown(f"{shown(name)}: the environment does not name {image.host}", "Add it under registries.")
        try:
            systems.registry(image.host).manifest_digest(image.repository, image.reference)
        except (Missing, Refused) as error:
            return fail(f"{shown(name)}: {error.detail}", "Check the image's name and the pull secret.")
        except Unreachable as error:
            silent[image.host] = error
            raise
        return ok(shown(name))

    outcomes, counts = [], Counter(parse_image(name).host for name in named)
    for name in named:
        host = parse_image(name).host
        outcome = None if host in silent else look_at(shown(name), name, look)
        if outcome and host not in silent:
            outcomes.append(outcome)
    # once for all its images, and not behind the long name of one
    outcomes += [unknown(f"{error.what}; images not seen: {counts[host]}", error.fix) for host, error in silent.items()]
    hosts = sorted({parse_image(name).host for name in named} & named_hosts - set(silent))
    return worst_of([*outcomes, *unseen], f"{len(named)} images there{_limits(systems, hosts)}")


def _limits(systems: Systems, hosts: Iterable[str]) -> str:
    """Return how many pulls are left where a registry limits them."""
    left = {host: systems.registry(host).pulls_left for host in hosts}
    return "".join(f"; {host} lets {count} more pulls through" for host, count in left.items() if count is not None)
