"""The plan of a redeploy, and the ledger of what must survive it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, TypeVar

from prompt_keda.core.plan import Step

C = TypeVar("C")


@dataclass(frozen=True)
class Deletion:
    """One object that the plan removes, and no other: its UID is a precondition of the request.

    Parameters
    ----------
    why
        For people; the digest does not cover it.
    """

    kind: str
    namespace: str
    name: str
    uid: str
    why: str = ""

    @property
    def identity(self) -> dict[str, str]:
        """What the digest covers."""
        return {"kind": self.kind, "namespace": self.namespace, "name": self.name, "uid": self.uid}


@dataclass(frozen=True)
class Change:
    """One object of KEDA that a redeploy changes, for people: no digest covers it.

    Parameters
    ----------
    change
        ``removed``, ``replaced`` (removed and made again), ``created`` or ``changed`` (applied over).
    field
        Of what is changed, where it first differs.
    why
        Of what is removed or replaced.
    """

    change: str
    kind: str
    namespace: str
    name: str
    field: str = ""
    why: str = ""


@dataclass(frozen=True)
class Decisions:
    """What was decided when the cluster was looked at; a resumed run keeps it (docs/decisions/0008-modes.md).

    Parameters
    ----------
    deletions
        All that may be removed.
    takes_over
        ``Kind namespace/name`` of each CRD, and of each object of an instrument, whose fields other field managers own:
        they are applied by force.
    unpauses
        ``namespace/name`` of each ScaledJob that somebody has paused, and that its source does not want paused.
    saved
        ``Kind namespace/name`` of each object that goes with its CRD or is being deleted, and that comes back from the
        snapshot because no source brings it.
    group_start
        Where consumer groups begin that have to be made: ``$`` or ``0``; empty: as the environment says, but after
        a loss before all that came since.
    helm_release
        ``namespace/name`` of the Helm release that KEDA's objects say they are of; it is written on what is made again,
        so that Helm can go on with it. Empty: none.
    given_up
        ``namespace/name`` of each running Job that a person has named as one that may be lost.
    """

    deletions: tuple[Deletion, ...] = ()
    takes_over: tuple[str, ...] = ()
    unpauses: tuple[str, ...] = ()
    saved: tuple[str, ...] = ()
    group_start: str = ""
    helm_release: str = ""
    given_up: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Decisions:
        """Read what `to_json` gave. Raises `TypeError` or `KeyError` when it is something else."""
        return cls(
            deletions=tuple(Deletion(**deletion) for deletion in kept["deletions"]),
            takes_over=tuple(kept["takes_over"]),
            unpauses=tuple(kept["unpauses"]),
            saved=tuple(kept["saved"]),
            group_start=str(kept["group_start"]),
            helm_release=str(kept["helm_release"]),
            given_up=tuple(kept["given_up"]),
        )

    def to_json(self) -> dict[str, Any]:
        """Return what is kept in plan.json."""
        return asdict(self)

    @property
    def inputs(self) -> dict[str, Any]:
        """What the digest covers."""
        return {**asdict(self), "deletions": [deletion.identity for deletion in self.deletions]}


@dataclass(frozen=True)
class JobRecord:
    """One Job or pod that was active when the redeploy began."""

    kind: str
    namespace: str
    name: str
    uid: str
    scaled_job: str
    generation: str | None
    """The annotation ``scaledjob.keda.sh/generation``; None if it has none (always for a pod)."""
    job_uid: str = ""
    """The UID of a pod's Job; empty for a Job."""
    was_going: bool = False
    """Whether it was being deleted already, or a pod's Job was and takes it along: its end is no loss of this run."""


@dataclass(frozen=True)
class Plan(Generic[C]):
    """What a redeploy would do.

    Parameters
    ----------
    mode
        ``cold``, ``repair``, ``reinstall``, ``upgrade`` or ``purge``.
    reason
        Why this mode fits what was seen.
    inputs
        All that the digest covers: environment, versions, manifests, identity, mode, steps, decisions. Never lag, Job
        lists or inspections, which change by themselves.
    jobs_at_risk
        Active Jobs that KEDA's operator would delete when it starts (failure modes F2 and F3); a step annotates them.
    notes
        What a person has to know of what was lost before; the digest does not cover it.
    changes, left_alone_count
        What it changes of KEDA's objects, and how many stay as they are. Empty and 0 for a plan that is made again.
    """

    mode: str
    reason: str
    steps: tuple[Step[C], ...]
    decisions: Decisions = field(default_factory=Decisions)
    inputs: dict[str, Any] = field(default_factory=dict)
    jobs_at_risk: tuple[JobRecord, ...] = ()
    notes: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    left_alone_count: int = 0

    @property
    def digest(self) -> str:
        """What a person approves: the first 16 hex digits of the SHA-256 over the inputs."""
        return digest_of(self.inputs)

    @property
    def input_digests(self) -> dict[str, str]:
        """Return the SHA-256 of each input, of a mapping's keys each: enough to name what has changed, on any machine."""
        digests: dict[str, str] = {}
        for name, value in self.inputs.items():
            parts = (
                {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
            )
            digests |= {key: hashlib.sha256(_as_text(part)).hexdigest() for key, part in parts.items()}
        return digests

    def to_json(self) -> dict[str, Any]:
        """Return what is kept in plan.json and shown with ``--json``."""
        return {
            "mode": self.mode,
            "reason": self.reason,
            "digest": self.digest,
            "steps": [{"id": s.id, "title": s.title, "destructive": s.destructive} for s in self.steps],
            "decisions": self.decisions.to_json(),
            "jobs_at_risk": [asdict(job) for job in self.jobs_at_risk],
            "notes": list(self.notes),
            "changes": [asdict(change) for change in self.changes],
            "left_alone_count": self.left_alone_count,
            "inputs": self.inputs,
            "input_digests": self.input_digests,
        }


def digest_of(inputs: Mapping[str, Any]) -> str:
    """Return what a person approves: the first 16 hex digits of the SHA-256 over all that it covers."""
    return hashlib.sha256(_as_text(inputs)).hexdigest()[:16]


def _as_text(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, default=str).encode()
