"""What others have edited of the Secrets and the instruments' objects: a redeploy takes these fields over (decision 0008)."""

from __future__ import annotations

from collections.abc import Iterator

from prompt_keda.clients.kube.client import FIELD_MANAGER
from prompt_keda.clients.kube.errors import conflicts
from prompt_keda.clients.kube.objects import Object, is_going, label, some
from prompt_keda.components.compare import first_difference
from prompt_keda.components.keda import install
from prompt_keda.components.run import Context
from prompt_keda.core.errors import ClientError


def takeovers(context: Context) -> dict[str, str]:
    """Return ``Kind namespace/name`` of each object whose fields are taken over → which, and from whom, in words.

    It asks by dry runs; nothing is written. What cannot be asked is left to the preflight.
    """
    fields = {label(wanted): some(_edited(context, wanted, manager)) for wanted, manager in _wanted(context)}
    return {name: f"{paths} of {name}" for name, paths in fields.items() if paths}


def _wanted(context: Context) -> Iterator[tuple[Object, str]]:
    """Yield what is applied, each with its field manager."""
    for sync in context.environment.secrets:
        try:
            yield install.wanted_secret(context, sync), FIELD_MANAGER
        except ClientError:
            continue
    deliverer = context.delivery.field_manager
    yield from ((wanted, deliverer) for objects in context.instrument_objects.values() for wanted in objects)


def _edited(context: Context, wanted: Object, field_manager: str) -> list[str]:
    try:
        live = context.find(wanted)
        if live is None or is_going(live) or first_difference(content(wanted), live) is None:
            return []
        context.systems.kube.apply(wanted, dry_run=True, field_manager=field_manager)
    except ClientError as error:
        return [f"{field} from {manager}" for manager, field in conflicts(error)]
    return []


def content(wanted: Object) -> Object:
    """Return what of an object a redeploy compares: all but its metadata."""
    return {key: value for key, value in wanted.items() if key != "metadata"}
