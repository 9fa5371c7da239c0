"""Namespaces being deleted, and those among them that do not go because of others' finalizers."""

from __future__ import annotations

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import NAMESPACES
from prompt_keda.components import finalizers
from prompt_keda.components.run import Context

REMAINING = "NamespaceFinalizersRemaining"
"""The condition by which a Terminating namespace names the finalizers in it (Kubernetes, namespace controller)."""


def why_held(namespace: Object) -> str:
    """Return which finalizers of others hold a namespace that is being deleted; empty: it is not, or nothing does."""
    if "deletionTimestamp" not in namespace["metadata"]:
        return ""
    live, name = {**namespace, "kind": NAMESPACES.kind}, namespace["metadata"]["name"]
    if finalizers.foreign(live):
        return finalizers.describe(live, f"Namespace {name}", NAMESPACES.for_kubectl)
    for condition in (live.get("status") or {}).get("conditions") or []:
        says_so = condition.get("type") == REMAINING and condition.get("status") == "True"
        holders = finalizers.of_others(_named(str(condition.get("message", "")))) if says_so else []
        if holders:
            whose = "; ".join(f"{holder}: {finalizers.who_takes_away(holder)}" for holder in holders)
            return f"Namespace {name} is Terminating, and objects in it are held by finalizers of others ({whose})"
    return ""


def _named(message: str) -> list[str]:
    """Return the finalizers of a message: ``… finalizers remaining: a.b/c in 1 resource instances, d in 2 …``."""
    listed = message.partition("remaining: ")[2]
    return [part.split()[0] for part in listed.split(", ") if part.split()]


def needed(context: Context) -> set[str]:
    """Return the namespaces without which KEDA and its smoke test cannot run: its own, and the smoke test's."""
    return {context.namespace, context.environment.smoke.namespace}


def left(context: Context) -> dict[str, str]:
    """Return the instruments' namespaces that do not go, each with why: all else comes back without them.

    Raises as `Kube.find` does.
    """
    names = {instrument.namespace for instrument in context.environment.instruments} - needed(context)
    reasons = {
        name: why_held(context.systems.kube.find(NAMESPACES, name) or {"metadata": {}}) for name in sorted(names)
    }
    return {name: why for name, why in reasons.items() if why}
