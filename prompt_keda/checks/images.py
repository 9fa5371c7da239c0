"""Images: can what KEDA and the workers run be pulled?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from prompt_keda.checks.outcomes import fail, look_at, ok, unknown, worst_of
from prompt_keda.clients.kube_resources import DEPLOYMENTS, SCALED_JOBS
from prompt_keda.clients.registry import ImageName, parse_image
from prompt_keda.clients.systems import Systems, filled
from prompt_keda.errors import EnvironmentFileError, Missing, PromptKedaError, Refused, Unfilled, Unreachable
from prompt_keda.files.manifest_file import load_keda_manifests, local_file
from prompt_keda.model.check import Check, Outcome
from prompt_keda.model.environment import FillIn, Instrument


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


def instrument_images_present(systems: Systems) -> Outcome:
    """Ask the registry for the workers' images: those that run, and those that the environment names."""
    names: set[str] = set()
    unseen: list[Outcome] = []
    for one in systems.environment.instruments:
        found, untold = _worker_images(systems, one)
        names |= found
        unseen += untold
    if not names and not unseen:
        return unknown("the environment names no image of a worker", "Name them under instruments, images.")
    return _pullable(systems, names, unseen)


def smoke_image_present(systems: Systems) -> Outcome:
    """Ask the registry for the smoke test's image."""
    return _pullable(systems, [filled(systems.environment.smoke.image, "smoke.image")])


def _worker_images(systems: Systems, instrument: Instrument) -> tuple[set[str], list[Outcome]]:
    """Give the images of one instrument's workers, and what cannot be told of them.

    A name without tag and digest, or one that is still to be filled in, says nothing about what runs: the live
    ScaledJob stands in for it.
    """
    unseen, live = [], None
    try:
        live = systems.kube.find(SCALED_JOBS, instrument.scaled_job, instrument.namespace)
    except PromptKedaError as error:
        unseen.append(unknown(f"what {instrument.scaled_job} runs is not seen: {error.what}", error.fix))
    names = set(_images([{"spec": live["spec"]["jobTargetRef"]}] if live else []))
    running = {_place(parse_image(name)) for name in names}
    for name in instrument.images:
        image = parse_image(name)
        if isinstance(name, FillIn):
            if live is None:
                unseen.append(unknown(f"the environment does not say all images of {instrument.name}", name.wanted))
        elif image.names_one:
            names.add(name)
        elif _place(image) not in running:
            unseen.append(unknown(f"{name} names no tag, and {instrument.scaled_job} does not run it", "Name a tag."))
    return names, unseen


def _place(image: ImageName) -> tuple[str, str]:
    return image.host, image.repository


def _images(workloads: Iterable[dict[str, Any]]) -> Iterator[str]:
    for one in workloads:
        pod = one["spec"]["template"]["spec"]
        for container in (*(pod.get("initContainers") or []), *pod["containers"]):
            yield container["image"]


def _manifest_images(systems: Systems) -> set[str]:
    manifests = systems.environment.keda.manifests
    try:
        source, sha256 = filled(manifests.source, "source"), filled(manifests.sha256, "sha256")
        objects = load_keda_manifests(local_file(source, sha256), sha256)
    except (Unfilled, EnvironmentFileError):
        return set()
    return set(_images(one for one in objects if one["kind"] == "Deployment"))


def _pullable(systems: Systems, names: Iterable[str], unseen: Iterable[Outcome] = ()) -> Outcome:
    """Ask the registries for each image. One that does not answer is asked once, so that there is time for the others."""
    named, silent = sorted(set(names)), dict[str, PromptKedaError]()
    known = {one.host for one in systems.environment.registries}

    def look(name: str) -> Outcome:
        image = parse_image(name)
        shown = name.partition("@")[0]
        if image.host not in known:
            return unknown(f"{shown}: the environment does not name {image.host}", "Add it under registries.")
        try:
            if image.host in silent:
                raise silent[image.host]
            systems.registry(image.host).manifest_digest(image.repository, image.reference)
        except (Missing, Refused) as error:
            return fail(f"{shown}: {error.detail}", "Check the image's name and the pull secret.")
        except Unreachable as error:
            silent[image.host] = error
            raise
        return ok(shown)

    seen = [look_at(name.partition("@")[0], name, look) for name in named]
    return worst_of([*seen, *unseen], f"{len(named)} images there")


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
