"""What the names of images mean: one image forever, or whatever their tag is moved to."""

from __future__ import annotations

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import PODS
from prompt_keda.clients.registry import parse_image
from prompt_keda.clients.systems import Systems
from prompt_keda.components.images.places import live_pullers, shown
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.outcomes import all_of, ok, unknown, warn


@check("images/pinned", "Every image is pinned by digest", needs=("cluster/api-answers",), runbook="image-moved")
def pinned(systems: Systems) -> Outcome:
    """Is each image of KEDA and of the workers named by a digest?

    Cause: It is named by a tag, which can be moved: two pods then run two images under one name. `latest`, said or
    meant by a name without a tag, moves with each release.

    Fix: Name it by its digest where it comes from: `name:tag@sha256:…`.
    """
    fix = "Name it by its digest where it comes from: name:tag@sha256:…"
    where: dict[str, set[str]] = {}
    for puller in live_pullers(systems):
        for name in puller.images:
            where.setdefault(name, set()).add(puller.name)

    def look(name: str) -> Outcome:
        image = parse_image(name)
        if "@" in name:
            return ok(shown(name))
        word = "the tag latest, which moves with each release" if image.reference == "latest" else "a tag alone"
        return warn(f"{', '.join(sorted(where[name]))}: {name} is named by {word}", fix)

    return all_of(((name, name) for name in sorted(where)), look, f"{len(where)} images, each by its digest")


@check(
    "images/running-as-named",
    "KEDA's pods run what their image tags mean now",
    needs=("images/keda-images-present",),
    runbook="image-moved",
)
def running_as_named(systems: Systems) -> Outcome:
    """Compare the digest that each container of KEDA runs with what its image's tag means in the registry now.

    Cause: The tag was moved after the pod began. The next pod runs another image than this one.

    Fix: Name the image by the digest that is meant.

    Notes
    -----
    A pod that starts again, on another node say, pulls what the tag means then. A name with a digest cannot move.
    """
    fix = "Name the image by the digest that is meant."

    def look(container: tuple[str, Object]) -> Outcome:
        pod, status = container
        name, running = status["image"], str(status.get("imageID") or "").rpartition("@")[2]
        image = parse_image(name)
        if "@" in name:
            return ok(shown(name))
        if not running.startswith("sha256:"):
            return unknown(f"{pod}: {name} does not run yet")
        meant = systems.registry(image.host).manifest(image.repository, image.reference)
        if running in (meant.digest, *meant.children.values(), *meant.unnamed):
            return ok(name)
        return warn(f"{pod} runs {running[:19]}…, and {name} now means {meant.digest[:19]}…: the tag was moved", fix)

    containers = list(_containers(systems))
    if not containers:
        return unknown("no pod of KEDA runs")
    return all_of(
        ((container[0], container) for container in containers), look, f"{len(containers)} containers run what is named"
    )


def _containers(systems: Systems) -> list[tuple[str, Object]]:
    """Return each container of KEDA's pods: the pod's name, the image as the pod names it, and what runs.

    The status's own ``image`` is left alone: a runtime may put another name of the same image there.
    """
    containers = []
    for pod in systems.kube.list(PODS, systems.environment.keda.namespace):
        images = {container["name"]: container["image"] for container in pod["spec"]["containers"]}
        for status in pod.get("status", {}).get("containerStatuses") or []:
            status_of_image = {"image": images[status["name"]], "imageID": status.get("imageID")}
            containers.append((pod["metadata"]["name"], status_of_image))
    return containers
