"""A rebuilt cluster has a new identity: who enrols it has seen the old one and the new one side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.resources import NAMESPACES
from prompt_keda.clients.systems import Systems
from prompt_keda.core.decisions import digest_of
from prompt_keda.core.errors import Refusal
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.environment.edit import KEYS, PLAIN, identity_placeholders, refuse_shipped, write_identity
from prompt_keda.redeploy.approval import Ask
from prompt_keda.report.as_json import WithoutNone


def identity_of(kube: Kube) -> dict[str, str]:
    """Return what identifies a cluster.

    Raises
    ------
    Refusal
        When the kubeconfig trusts no authority of its own: then any cluster of the system's authorities would do.
    ClientError
        When the cluster cannot be asked.
    """
    if not kube.ca_sha256:
        raise Refusal(
            f"the kubeconfig trusts no certificate authority of its own for {kube.address}",
            "Ask for a kubeconfig with certificate-authority-data.",
        )
    uid = str(kube.get(NAMESPACES, "kube-system")["metadata"]["uid"])
    if not PLAIN.fullmatch(uid):
        raise Refusal(f"the UID of the namespace kube-system at {kube.address} makes no sense")
    return {"ca_sha256": kube.ca_sha256, "kube_system_uid": uid}


@dataclass(frozen=True)
class Enrolled(WithoutNone):
    """A cluster's identity in its environment's file before and now, and whether that was written: not where both are the same.

    ``digest``: what would approve what was refused.
    """

    file: str
    old: Mapping[str, str]
    new: Mapping[str, str]
    written: bool
    digest: str | None = None


def enrol(systems: Systems, path: Path, approve: str, observer: Observer, ask: Ask | None) -> Enrolled:
    """Write a cluster's new identity into its environment's file, if a person wants it. Idempotent: yes.

    Parameters
    ----------
    path
        The environment's file.
    approve
        The digest that a refusal named; empty: ask the person for the environment's name.
    ask
        None: there is no terminal.

    Raises
    ------
    Refusal
        When nobody approves, or the identity is the local stack's own.
    EnvironmentFileError
        When the file cannot be changed safely.
    ClientError
        When the cluster cannot be asked.
    """
    environment = systems.environment
    refuse_shipped(path)  # before anybody is asked
    if placeholders := identity_placeholders(path):
        raise Refusal(
            f"the identity of environment {environment.name} is the local stack's own ({', '.join(placeholders)})",
            "There is nothing to enrol: each stack fills it in by itself.",
        )
    old = {key: str(getattr(environment.kubernetes.identity, key)) for key in KEYS}
    new = identity_of(systems.kube)
    for line in side_by_side(old, new):
        observer(Event(EventKind.NOTE, "enrol", "", line))
    if old == new:
        return Enrolled(str(path), old, new, written=False)
    inputs = {"task": "enrol", "environment": environment.name, "old": old, "new": new}
    digest = digest_of(inputs)
    if refusal := _unapproved(environment.name, digest, approve, ask):
        refusal.parts = Enrolled(str(path), old, new, written=False, digest=digest)
        raise refusal
    write_identity(path, environment, new, systems.placeholders)
    return Enrolled(str(path), old, new, written=True)


def side_by_side(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Return a line for each value: as it stands in the file, and as the cluster says it now."""
    lines = []
    for key in KEYS:
        mark = "the same" if old[key] == new[key] else "another"
        lines += [f"{key}: {mark}", f"  in the file     {old[key]}", f"  at the cluster  {new[key]}"]
    return lines


def _unapproved(name: str, digest: str, approve: str, ask: Ask | None) -> Refusal | None:
    if approve:
        message = f"--approve {approve} is not the digest of this identity, which is {digest}"
        return None if approve == digest else Refusal(message, "Look at both again, then decide.")
    if ask is None:
        message = (
            f"the new identity of environment {name}, digest {digest}, is not approved, and there is no terminal to ask"
        )
        return Refusal(message, f"If this is the rebuilt cluster: --approve {digest}")
    question = f"Is this the rebuilt cluster of {name}? Then type the environment's name: "
    return None if ask(question).strip() == name else Refusal("not approved: the file is as it was")
