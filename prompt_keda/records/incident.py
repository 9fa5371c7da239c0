"""The record of an incident: a journal, and what each command gave. Kept forever.

It opens with the first runbook, response or note of an environment, and closes once a runbook has verified the recovery,
or by a person's note. Entries are those of `JournalFile`: ``step`` is a step's id, or ``incident`` or ``note``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prompt_keda.core.errors import Refusal
from prompt_keda.environment.model import Environment, FillIn
from prompt_keda.records.incident_story import CLOSED, CLUSTER, INCIDENT, OPENED, Story, story_of
from prompt_keda.records.kept_json import read_kept
from prompt_keda.records.record import Record
from prompt_keda.records.run_record import environment_of


class Incident(Record):
    """One incident's record. Find or open it with `find_open` or `open_`."""

    @classmethod
    def find_open(cls, incidents: Path, environment: Environment) -> Incident | None:
        """Return the newest incident of an environment's cluster if it is not closed; else None."""
        newest = cls.find_newest(incidents, environment)
        return None if newest is None or newest.is_closed else newest

    @classmethod
    def open_(cls, incidents: Path, environment: Environment, why: str, who: str) -> Incident:
        """Return the open incident of an environment's cluster, or begin one. Raises `Refusal` when its folder cannot be made."""
        incident = cls.find_open(incidents, environment) or cls.create(incidents, environment.name)
        if not incident.entries:  # a new one, or one whose beginning a full disk or a kill has cut off
            if cluster := _cluster_of(environment):
                incident.add(INCIDENT, CLUSTER, cluster)
            incident.add(INCIDENT, OPENED, f"{why}, by {who}")
        return incident

    @classmethod
    def find(cls, incidents: Path, incident_id: str) -> Incident | None:
        """Return an incident by its id; None if there is none."""
        path = incidents / incident_id
        return cls(path) if environment_of(incident_id) and path.is_dir() else None

    @classmethod
    def find_newest(cls, incidents: Path, environment: Environment) -> Incident | None:
        """Return the newest incident of an environment's cluster, open or closed; None if there is none.

        Another local stack, or another clone's environment of the same name, has incidents of its own. One whose cluster
        was not known counts for all.
        """
        cluster, (every, _) = _cluster_of(environment), cls.listed(incidents, environment.name)
        return next((incident for incident in every if incident.is_of(cluster)), None)

    def is_of(self, cluster: str) -> bool:
        """Return whether it is of this cluster; where one of both is not known it may be."""
        clusters = {entry["detail"] for entry in self.entries if (entry["step"], entry["event"]) == (INCIDENT, CLUSTER)}
        return not clusters or not cluster or cluster in clusters

    def goes_on_at(self, cluster: str) -> None:
        """Note that its cluster was rebuilt, and has another identity by now. Raises as `add` does."""
        self.add(INCIDENT, CLUSTER, cluster)

    @property
    def entries(self) -> list[dict[str, str]]:
        """What happened, in its order; a line that a crash tore is left out."""
        return self.journal.entries()

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return any((entry["step"], entry["event"]) == (INCIDENT, CLOSED) for entry in self.entries)

    def add(self, step: str, event: str, detail: str = "") -> None:
        """Write an entry, and return when it is on the disk. Raises as `JournalFile.append` does."""
        self.journal.append(step, event, detail)

    def documents(self) -> list[Any]:
        """Return all that was kept, in its order; a file that cannot be read is left out."""
        return [document for file in self.files if (document := self.kept(file.name)) is not None]

    def story(self) -> Story:
        """Return its story. Raises `Refusal` when its record is damaged."""
        try:
            return story_of(self.id, self.environment, self.entries, self.documents())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Refusal(
                f"the record {self.path} is damaged: {error}", "Its files are text: read them as they are."
            ) from error

    def kept(self, file: str) -> Any:
        """Return what was kept under a name; None when it cannot be read."""
        try:
            return read_kept((self.path / file).read_text())
        except (OSError, ValueError):
            return None


def _cluster_of(environment: Environment) -> str:
    """Return what identifies an environment's cluster: the UID of its kube-system; empty where nobody has said it."""
    uid = environment.kubernetes.identity.kube_system_uid
    return "" if isinstance(uid, FillIn) else str(uid)
