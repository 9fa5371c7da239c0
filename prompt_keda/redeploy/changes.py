"""What a redeploy changes of KEDA's objects, as a diff: for people, and never part of what they approve."""

from __future__ import annotations

from collections.abc import Iterator

from prompt_keda.clients.kube.objects import Object
from prompt_keda.components.keda.names import CERTIFICATES
from prompt_keda.core.decisions import Change, Decisions
from prompt_keda.redeploy.inventory import Survey

REMOVED, REPLACED, CREATED, CHANGED = "removed", "replaced", "created", "changed"


def changes(seen: Survey, decisions: Decisions, namespace: str) -> tuple[Change, ...]:
    """Return what is removed, replaced, created and changed of KEDA's CRDs and its other objects.

    Parameters
    ----------
    namespace
        KEDA's, where its certificates are.
    """
    return tuple(_changes(seen, decisions, namespace))


def left_alone_count(seen: Survey, found: tuple[Change, ...]) -> int:
    """Return how many objects that are wanted stand as they should, and stay."""
    touched = {(change.kind, change.name) for change in found}
    wanted = [part.wanted for part in (*seen.crds, *seen.parts)]
    return sum((obj["kind"], obj["metadata"]["name"]) not in touched for obj in wanted)


def _changes(seen: Survey, decisions: Decisions, namespace: str) -> Iterator[Change]:
    wanted = {(part.kind, part.wanted["metadata"]["name"]) for part in (*seen.crds, *seen.parts)}
    for deletion in decisions.deletions:
        is_wanted = (deletion.kind, deletion.name) in wanted and deletion.namespace in ("", namespace)
        what = REPLACED if is_wanted else REMOVED
        yield Change(what, deletion.kind, deletion.namespace, deletion.name, why=deletion.why)
    goes = {(deletion.kind, deletion.name) for deletion in decisions.deletions}
    for part in (*seen.crds, *seen.parts):
        name = (part.kind, part.wanted["metadata"]["name"])
        if part.live is None:
            yield Change(CREATED, *_named(part.wanted))
        elif part.difference and name not in goes:
            yield Change(CHANGED, *_named(part.wanted), field=part.difference)
    if seen.certificate_fault:
        yield Change(REPLACED, "Secret", namespace, CERTIFICATES, why=seen.certificate_fault)


def _named(obj: Object) -> tuple[str, str, str]:
    return str(obj["kind"]), str(obj["metadata"].get("namespace") or ""), str(obj["metadata"]["name"])
