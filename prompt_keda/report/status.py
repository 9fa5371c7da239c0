"""What stands of Prompt KEDA, as ``status`` shows it: without a verdict, and with what could not be seen in its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from prompt_keda.records.run_summary import RunSummary


@dataclass(frozen=True)
class NotSeen:
    """Why something could not be seen, and what to do about it, where that is known."""

    unknown: str
    fix: str = ""

    def to_json(self) -> dict[str, str]:
        """Return it as JSON."""
        return {"unknown": self.unknown, **({"fix": self.fix} if self.fix else {})}


@dataclass(frozen=True)
class PartState:
    """A Deployment in KEDA's namespace: pods that it wants and that are ready, images, and restarts of containers."""

    name: str
    wanted: int
    ready: int
    images: Sequence[str]
    restarts: int

    @property
    def is_ready(self) -> bool:
        """Whether it has all pods that it wants, and wants one."""
        return self.ready >= self.wanted > 0


@dataclass(frozen=True)
class ScaledJobState:
    """A ScaledJob; of one that is missing no more than that is known.

    Parameters
    ----------
    ready, active
        The status of KEDA's conditions.
    paused_by
        Who has paused it; empty: nobody.
    """

    name: str
    is_there: bool
    ready: str = ""
    active: str = ""
    paused_by: str = ""
    generation: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self) if self.is_there else {"name": self.name, "is_there": False}


@dataclass(frozen=True)
class StreamState:
    """A stream and its group; None: there is no such thing, or the event source cannot tell."""

    name: str
    length: int | None
    lag: int | None
    pending: int | None
    has_group: bool
    last_event_at: str | None


@dataclass(frozen=True)
class InstrumentState:
    """An instrument. ``jobs``: what Jobs do → how many."""

    scaled_job: ScaledJobState | NotSeen
    stream: StreamState | NotSeen
    jobs: Mapping[str, int] | NotSeen


@dataclass(frozen=True)
class ClusterState:
    """KEDA's parts, and each instrument by its name."""

    keda: Sequence[PartState] | NotSeen
    instruments: Mapping[str, InstrumentState]

    def not_seen(self) -> Iterator[NotSeen]:
        """Yield what could not be seen."""
        states = self.instruments.values()
        every = [self.keda, *(part for state in states for part in (state.scaled_job, state.stream, state.jobs))]
        yield from (part for part in every if isinstance(part, NotSeen))


@dataclass(frozen=True)
class Status:
    """What stands, the last runs of this machine on this cluster, and the open incident; empty: none is open."""

    status: ClusterState
    runs: Sequence[RunSummary]
    incident: str
