"""Where images are named: KEDA's Deployments, ScaledJobs, manifests and the environment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import DEPLOYMENTS, SCALED_JOBS
from prompt_keda.clients.registry import ImageName, parse_image
from prompt_keda.clients.systems import Systems, filled
from prompt_keda.core.check import Outcome
from prompt_keda.core.errors import EnvironmentFileError, PromptKedaError, Unfilled
from prompt_keda.core.outcomes import unknown
from prompt_keda.delivery.manifests import load_keda_manifests, local_file
from prompt_keda.environment.model import FillIn, Instrument


@dataclass(frozen=True)
class Puller:
    """Something live whose pods pull images.

    Parameters
    ----------
    name, namespace
        Of the Deployment or ScaledJob.
    pod
        The spec of its pods.
    """

    name: str
    namespace: str
    pod: Object

    @property
    def images(self) -> list[str]:
        """What its containers run, init containers first."""
        return list(containers_images(self.pod))


def shown(name: str) -> str:
    """Return an image's name without its digest, which nobody reads."""
    return name.partition("@")[0]


def containers_images(pod: Object) -> Iterator[str]:
    """Yield the images of a pod's spec, init containers first."""
    for container in (*(pod.get("initContainers") or []), *pod["containers"]):
        yield container["image"]


def keda_pullers(systems: Systems) -> list[Puller]:
    """Return the Deployments of KEDA's namespace."""
    namespace = systems.environment.keda.namespace
    return [
        Puller(deployment["metadata"]["name"], namespace, deployment["spec"]["template"]["spec"])
        for deployment in systems.kube.list(DEPLOYMENTS, namespace)
    ]


def find_worker_puller(systems: Systems, instrument: Instrument) -> Puller | None:
    """Return an instrument's live ScaledJob; None if there is none."""
    live = systems.kube.find(SCALED_JOBS, instrument.scaled_job, instrument.namespace)
    if live is None:
        return None
    return Puller(instrument.scaled_job, instrument.namespace, live["spec"]["jobTargetRef"]["template"]["spec"])


def live_pullers(systems: Systems) -> list[Puller]:
    """Return all that pulls images for Prompt KEDA: KEDA's Deployments and the ScaledJobs of the instruments."""
    pullers = (find_worker_puller(systems, instrument) for instrument in systems.environment.instruments)
    return [*keda_pullers(systems), *(puller for puller in pullers if puller)]


def live_images(systems: Systems) -> list[str]:
    """Return every image that runs, once."""
    return sorted({name for puller in live_pullers(systems) for name in puller.images})


def manifest_images(systems: Systems) -> set[str]:
    """Return the images of KEDA's manifests, as far as they are on this machine."""
    return {
        name
        for obj in keda_manifests(systems)
        if obj["kind"] == "Deployment"
        for name in containers_images(obj["spec"]["template"]["spec"])
    }


def keda_manifests(systems: Systems) -> list[Object]:
    """Return KEDA's objects as a redeploy would apply them; none if the file is not named, or not on this machine."""
    manifests = systems.environment.keda.manifests
    try:
        source, sha256 = filled(manifests.source, "source"), filled(manifests.sha256, "sha256")
        return load_keda_manifests(local_file(source, sha256), sha256)
    except (Unfilled, EnvironmentFileError):
        return []


def worker_images(systems: Systems, instrument: Instrument) -> tuple[set[str], list[Outcome]]:
    """Return the images of one instrument's workers, and what is not known of them.

    A name without tag and digest, or one that is still to be filled in, says nothing about what runs: the live
    ScaledJob stands in for it.
    """
    unseen, live = [], None
    try:
        live = find_worker_puller(systems, instrument)
    except PromptKedaError as error:
        unseen.append(unknown(f"what {instrument.scaled_job} runs is not seen: {error.what}", error.fix))
    names = set(live.images if live else [])
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
