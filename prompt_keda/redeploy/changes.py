"""What a redeploy changes of KEDA's objects, as a diff: for people, and never part of what they approve."""

from __future__ import annotations

from collections.abc import Iterator

from prompt_keda.clients.kube.objects import Object
from prompt_keda.components.keda.names import CERTIFICATES
from prompt_keda.core.decisions import Change, Decisions
from prompt_keda.redeploy.inventory import Inventory

REMOVED, REPLACED, CREATED, CHANGED = "removed", "replaced", "created", "changed"


def changes(inventory: Inventory, decisions: Decisions, namespace: str) -> tuple[Change, ...]:
    """Return what is removed, replaced, created and changed of KEDA's CRDs and its other objects.

    Parameters
    ----------
    namespace
        KEDA's, where its certificates are.
    """
    return tuple(_changes(inventory, decisions, namespace))


def left_alone_count(inventory: Inventory, changes: tuple[Change, ...]) -> int:
    """Return how many objects that are wanted stand as they should, and stay."""
    touched = {(change.kind, change.name) for change in changes}
    wanted = [part.wanted for part in (*inventory.crds, *inventory.parts)]
    return sum((obj["kind"], obj["metadata"]["name"]) not in touched for obj in wanted)


def _changes(inventory: Inventory, decisions: Decisions, namespace: str) -> Iterator[Change]:
    wanted = {(part.kind, part.wanted["metadata"]["name"]) for part in (*inventory.crds, *inventory.parts)}
    for deletion in decisions.deletions:
        is_wanted = (deletion.kind, deletion.name) in wanted and deletion.namespace in ("", namespace)
        what = REPLACED if is_wanted else REMOVED
        yield Change(what, deletion.kind, deletion.namespace, deletion.name, why=deletion.why)
    goes = {(deletion.kind, deletion.name) for deletion in decisions.deletions}
    for part in (*inventory.crds, *inventory.parts):
        name = (part.kind, part.wanted["metadata"]["name"])
        if part.live is None:
            yield Change(CREATED, *_named(part.wanted))
        elif part.difference and name not in goes:
            yield Change(CHANGED, *_named(part.wanted), field=part.difference)
    if inventory.certificate_fault:
        yield Change(REPLACED, "Secret", namespace, CERTIFICATES, why=inventory.certificate_fault)


def _named(obj: Object) -> tuple[str, str, str]:
    return str(obj["kind"]), str(obj["metadata"].get("namespace") or ""), str(obj["metadata"]["name"])
