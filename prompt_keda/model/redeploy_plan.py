"""The plan of a redeploy, and the ledger of what must survive it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, TypeVar

from prompt_keda.model.plan import Step

C = TypeVar("C")


@dataclass(frozen=True)
class Deletion:
    """One object that the plan removes, and no other: its UID is a precondition of the request."""

    kind: str
    namespace: str
    name: str
    uid: str


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


@dataclass(frozen=True)
class Plan(Generic[C]):
    """What a redeploy would do.

    Parameters
    ----------
    mode
        ``cold`` or ``reinstall``.
    reason
        Why this mode fits what was seen.
    inputs
        All that the digest covers: environment, versions, manifests, identity, mode, steps, deletions. Never lag, Job
        lists or inspections, which change by themselves.
    jobs_at_risk
        Active Jobs that KEDA's operator would delete when it starts (failure modes F2 and F3); a step stamps them.
    """

    mode: str
    reason: str
    steps: tuple[Step[C], ...]
    deletions: tuple[Deletion, ...]
    inputs: dict[str, Any] = field(default_factory=dict)
    jobs_at_risk: tuple[JobRecord, ...] = ()

    @property
    def digest(self) -> str:
        """What a person approves: the first 16 hex digits of the SHA-256 over the inputs."""
        text = json.dumps(self.inputs, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Give what is kept in plan.json and shown with ``--json``."""
        return {
            "mode": self.mode,
            "reason": self.reason,
            "digest": self.digest,
            "steps": [{"id": s.id, "title": s.title, "destructive": s.destructive} for s in self.steps],
            "deletions": [asdict(one) for one in self.deletions],
            "jobs_at_risk": [asdict(one) for one in self.jobs_at_risk],
            "inputs": self.inputs,
        }
