"""Changes an object that others write to as well."""

from __future__ import annotations

from collections.abc import Callable

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.errors import has_changed
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import Resource
from prompt_keda.core.errors import BadAnswer

TRIES = 5
"""Controllers write the status of some kinds into the same object, again and again."""


def change(
    kube: Kube, kind: Resource, name: str, namespace: str | None, how: Callable[[Object], Object | None]
) -> Object | None:
    """Patch an object if it is still as it was read; if somebody else has written it meanwhile, look again.

    Parameters
    ----------
    how
        Given what stands, it returns the merge patch, or None where nothing is to be changed.

    Returns
    -------
    The object as it is then; None: it is missing.

    Raises
    ------
    BadAnswer
        When it changes each time, or the server does not take the patch.
    """
    for attempt in range(TRIES):
        live = kube.find(kind, name, namespace)
        body = how(live) if live is not None else None
        if live is None or body is None:
            return live
        metadata = {**body.get("metadata", {}), "resourceVersion": live["metadata"]["resourceVersion"]}
        try:
            return kube.patch(kind, name, namespace, {**body, "metadata": metadata})
        except BadAnswer as error:
            if not has_changed(error) or attempt == TRIES - 1:
                raise
    return None
