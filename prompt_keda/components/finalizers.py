"""What holds an object that is being deleted: whose finalizers it has, and who takes them away."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable

from prompt_keda.clients.kube.objects import Object, is_going
from prompt_keda.components.keda.names import FINALIZER
from prompt_keda.delivery.argocd import HOOK_FINALIZER

OF_THE_CLUSTER = {
    "foregroundDeletion": "the garbage collector, once all that it owns is gone",
    "orphan": "the garbage collector, once all that it owns is orphaned",
    "customresourcecleanup.apiextensions.k8s.io": "the API server, once all its objects are gone",
    "batch.kubernetes.io/job-tracking": "the Job controller, once it has counted the pod",
    "kubernetes.io/pvc-protection": "the API server's controllers, once no pod uses it",
    "service.kubernetes.io/load-balancer-cleanup": "the cloud's controller, once the load balancer is gone",
}
"""Finalizers that Kubernetes itself takes away → who does, and when."""
OF_OTHERS = {
    HOOK_FINALIZER: "Argo CD takes it away, once the sync that made this hook has ended",
    "argocd.argoproj.io": "Argo CD takes it away",
    "fluxcd.io": "Flux takes it away",
    "cattle.io": "Rancher takes it away",
}
"""Known finalizers, or the domain of some → who takes them away."""


def names_of(obj: Object) -> list[str]:
    """Return an object's finalizers."""
    return [str(name) for name in obj["metadata"].get("finalizers") or []]


def foreign(obj: Object) -> list[str]:
    """Return those finalizers that neither KEDA nor Kubernetes itself takes away."""
    return of_others(names_of(obj))


def of_others(names: Iterable[str]) -> list[str]:
    """Return those of some finalizers that neither KEDA nor Kubernetes itself takes away."""
    return [name for name in names if name != FINALIZER and name not in OF_THE_CLUSTER]


def is_held_by_others(obj: Object) -> bool:
    """Return whether an object is being deleted, and neither KEDA nor a redeploy can remove what holds it."""
    names = names_of(obj)
    return is_going(obj) and bool(names) and FINALIZER not in names


def who_takes_away(name: str) -> str:
    """Return in words who takes a finalizer away."""
    if name == FINALIZER:
        return "KEDA's operator takes it away"
    if name in OF_THE_CLUSTER:
        return f"taken away by {OF_THE_CLUSTER[name]}"
    domain, _, _ = name.partition("/")
    for known, words in OF_OTHERS.items():
        if name == known or domain == known or domain.endswith(f".{known}"):
            return words
    return f"only what put it there takes it away ({domain})" if "." in domain else "only what put it there knows who"


def by_hand(obj: Object, plural: str, names: list[str]) -> str:
    """Return the command by which a person takes some finalizers away; all others stay."""
    metadata = obj["metadata"]
    rest = [name for name in names_of(obj) if name not in names]
    patch = json.dumps({"metadata": {"finalizers": rest or None}}, separators=(",", ":"))
    where = ["-n", metadata["namespace"]] if metadata.get("namespace") else []
    return shlex.join(["kubectl", *where, "patch", plural, metadata["name"], "--type", "merge", "-p", patch])


def describe(obj: Object, what: str, plural: str, verb: str = "is held by") -> str:
    """Return what holds an object, who takes that away, and how a person can.

    Parameters
    ----------
    what
        The object in words.
    plural
        Its kind for kubectl: ``scaledjobs.keda.sh``.
    verb
        ``is held by``, or ``would be held by`` for what is only to be removed.
    """
    names = foreign(obj) or [name for name in names_of(obj) if name != FINALIZER]
    by = ", ".join(f"{name} ({who_takes_away(name)})" for name in names)
    return f"{what} {verb} finalizer {by}; if nothing needs it any more: {by_hand(obj, plural, names)}"
