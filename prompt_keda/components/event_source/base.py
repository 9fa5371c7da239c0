"""What the toolkit asks of where events wait, whatever that is: the port behind which Redis streams stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.redis_state import Backlog, GroupInfo
from prompt_keda.core.secret import Secret
from prompt_keda.environment.model import Instrument


class EventSource(Protocol):
    """Where events wait for workers: a stream for each instrument, of each smoke test, and the group that reads it.

    Its own checks are not behind it: another source has other ways to be broken. Raises as its client does.
    """

    def trigger(self, stream: str, group: str, lag_count: int, activation: int) -> Object:
        """Return KEDA's trigger that scales on what waits, without a TriggerAuthentication."""

    def trigger_parameters(self) -> Mapping[str, Secret]:
        """Return what KEDA logs in with and trusts: parameter of a TriggerAuthentication → value; empty: it needs none."""

    def worker_variables(self, stream: str, group: str, secret: str | None) -> list[Object]:
        """Return the environment by which a worker finds its events.

        Parameters
        ----------
        secret
            The Secret that holds `trigger_parameters`; None: it does not log in.
        """

    def require_access(self, stream: str) -> None:
        """Raise `StepBroken` when what KEDA asks is denied to the login that it is given."""

    def find_length(self, stream: str) -> int | None:
        """Return how many events a stream holds, read or not; None where there is no such stream."""

    def find_newest_at(self, stream: str) -> str | None:
        """Return when a stream's newest event came, UTC, ISO 8601; None where there never was one, or nobody can tell."""

    def find_group(self, stream: str, group: str) -> GroupInfo | None:
        """Return what KEDA sees of a group; None where there is none."""

    def backlog(self, stream: str, group: str) -> Backlog:
        """Return what KEDA sees beside what really waits."""

    def start_of_lost_group(self, instrument: Instrument) -> str:
        """Return where an instrument's group begins that is missing: before all that nobody can have read."""

    def obstacle(self, stream: str, group: str) -> str:
        """Return why no event could be added, read or acknowledged, and what to do about it; empty: nothing is in the way.

        It changes nothing.
        """

    def misplacement(self, instrument: Instrument, asked: str) -> str:
        """Return why events reach no worker through a stream and group that are there, or will not for good; empty: they do.

        Parameters
        ----------
        asked
            Where a person wants the group to begin; empty: nobody has said so.
        """

    def correct_place(self, instrument: Instrument, asked: str) -> None:
        """Take away what `misplacement` names. Idempotent: yes."""

    def ensure_group(self, stream: str, group: str, start: str) -> None:
        """Make a group, and its stream, unless it is there. An existing one is never moved. Idempotent: yes."""

    def correct_lag(self, stream: str, group: str) -> None:
        """Let the source count again what a group has read; it is moved nowhere. Idempotent: yes."""

    def add(self, stream: str, events: list[dict[str, str]]) -> None:
        """Add events, all or none."""

    def take(self, stream: str, group: str, count: int) -> int:
        """Read and acknowledge at most so many events, as workers do; return how many."""

    def delete(self, stream: str) -> None:
        """Delete a stream with its groups. Idempotent: yes."""
