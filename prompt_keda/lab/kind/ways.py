"""Whether what a stack without root is made of is pulled or built."""

from __future__ import annotations

import os

import httpx

from prompt_keda.clients.http import proxied
from prompt_keda.clients.http.failures import find_reason
from prompt_keda.core.errors import BadAnswer
from prompt_keda.lab import engines, image_list, pulling, users_engine
from prompt_keda.lab.engines import OLD_CGROUPS
from prompt_keda.lab.kind import built
from prompt_keda.lab.kind.built import Built
from prompt_keda.lab.kind.cluster import Images
from prompt_keda.lab.kind.pulled import Pulled

ANSWER_S = 5


def choose() -> tuple[Images, str]:
    """Return where the images come from, and why (empty: no engine is here): what the variables name, else pulled where it can be.

    kind's node has a systemd that does not start on cgroup version 1 (from 256 on, by its NEWS); the built one's does.

    Raises
    ------
    Refusal
        When a variable says something else, or the list is wrong.
    """
    wanted, mirror = os.environ.get(image_list.IMAGES, ""), image_list.mirror()
    if wanted == image_list.BUILT:
        return Built(), f"${image_list.IMAGES} names it"
    images = image_list.chosen()
    pulled, node = Pulled(images, mirror), images[image_list.NODE]
    if wanted:
        return pulled, f"${image_list.IMAGES} names it"
    engine = engines.find_for_kind()
    if engine is None:  # which `requirements` refuses: no registry is asked before
        return Built(), ""
    if engine.cgroup_version == OLD_CGROUPS:
        return Built(), "this machine has cgroup version 1, which the node that would be pulled refuses"
    if mirror:
        return pulled, f"${image_list.MIRROR} is set"
    if pulling.is_here(_asked(engine), node.reference()):
        return pulled, "the engine has the node's image"
    if built.is_in_cache():
        return Built(), "the cache has the node's image"
    if trouble := find_trouble(node.api_host):
        if way := engine.find_way(node.registry):
            return (
                pulled,
                f"the engine has {way} of its own; to this machine {node.registry} does not answer: {trouble}",
            )
        return Built(), f"{node.registry} cannot be used: {trouble}"
    return pulled, f"{node.registry} answers"


def _asked(engine: engines.Engine) -> list[str]:
    """Return the start of a command line for an engine in which no stack is yet."""
    return ["env", f"{users_engine.COMMAND_LINES[engine.program].host}={engine.host}", engine.program]


def find_trouble(host: str) -> str:
    """Return why a registry does not answer to this machine; empty: it does. A proxy of the environment's is used."""
    url = f"https://{host}/v2/"
    try:
        with proxied.client("registry", host, timeout=ANSWER_S) as client:
            answer = client.get(url)
    except BadAnswer as error:
        return error.detail
    except httpx.HTTPError as error:
        return proxied.find_refusal(error, url) or (find_reason(error) or type(error).__name__) + proxied.way(url)
    return "" if answer.status_code in (httpx.codes.OK, httpx.codes.UNAUTHORIZED) else f"HTTP {answer.status_code}"
