"""note and report: an incident's record. Its chat is notified; what cannot be posted stops and fails nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from prompt_keda.clients.systems import viewpoint
from prompt_keda.commands.session import Session
from prompt_keda.components.round import summaries
from prompt_keda.core.check import CheckResult
from prompt_keda.core.errors import PromptKedaError, Refusal
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.core.places import incidents_folder
from prompt_keda.environment.model import Environment
from prompt_keda.records.incident import Incident
from prompt_keda.records.incident_story import CLOSED, INCIDENT, NOTE
from prompt_keda.records.run_record import environment_of
from prompt_keda.report.incident_page import to_chat, to_html, to_markdown
from prompt_keda.report.parts import IncidentReport, Note
from prompt_keda.report.result import Result

CHAT = "chat"
"""Who notes in the incident's record whether something was posted."""
LOOK = "respond/check-deps"
"""The name of a round of checks in the record."""


def note(session: Session, text: str, observer: Observer, close: bool = False) -> Result[Note]:
    """Add a note to the open incident of an environment, or open one with it.

    Parameters
    ----------
    close
        Close the incident with it: what was done by hand is verified by a person, not by the toolkit.

    Raises
    ------
    Refusal
        When there is no text, or none is open that could be closed.
    """
    if not text.strip():
        raise Refusal("an empty note", 'Say it: ./run note "asked the owners of Redis" --env prod')
    environment = session.environment.name
    if close and Incident.find_open(incidents_folder(), session.environment) is None:
        raise Refusal(f"no incident of environment {environment} is open", "./run report shows the last one.")
    incident = open_incident(session, "a note", observer)
    incident.add(NOTE, viewpoint(), text.strip())
    if close:
        incident.add(INCIDENT, CLOSED, f"by {viewpoint()}: {text.strip()}")
        post_to_chat(session, incident, "incident closed", observer)
    parts = Note(incident.id, datetime.now(UTC).isoformat(), text.strip())
    return Result("note", environment, f"environment {environment} · incident {incident.id}", parts)


def report(session: Session, incident_id: str) -> Result[IncidentReport]:
    """Return an incident's story as a page, as Markdown, and as a few lines for a chat.

    Parameters
    ----------
    incident_id
        Empty: the newest of the environment.

    Raises
    ------
    Refusal
        When there is no such incident, or its record is damaged.
    """
    environment = session.environment.name
    folder = incidents_folder()
    if incident_id and environment_of(incident_id) != environment:
        raise Refusal(f"{incident_id!r} is no incident of environment {environment}")
    incident = Incident.find(folder, incident_id) if incident_id else Incident.find_newest(folder, session.environment)
    if incident is None:
        raise Refusal(
            f"no such incident of environment {environment} is recorded on this machine",
            "They begin with a runbook or a note.",
        )
    story = incident.story()
    parts = IncidentReport(incident.id, chat=to_chat(story), markdown=to_markdown(story), html=to_html(story))
    return Result("report", environment, f"environment {environment} · incident {incident.id}", parts)


def open_incident(session: Session, why: str, observer: Observer, results: Sequence[CheckResult] = ()) -> Incident:
    """Return the open incident of an environment, or begin one, and notify the chat. ``results`` are kept first."""
    environment = session.environment
    is_new = Incident.find_open(incidents_folder(), environment) is None
    incident = Incident.open_(incidents_folder(), environment, why, viewpoint())
    if results:
        keep_look(incident, results)
    if is_new:
        post_to_chat(session, incident, "incident opened", observer)
    return incident


def keep_look(incident: Incident, results: Sequence[CheckResult]) -> None:
    """Keep what a round of checks has seen in the record."""
    incident.keep(LOOK, {"results": summaries(results)})


def close_incident(environment: Environment, why: str) -> None:
    """Close the open incident of an environment, if there is one. Raises `Refusal` when it cannot be written."""
    if incident := Incident.find_open(incidents_folder(), environment):
        incident.add(INCIDENT, CLOSED, why)


def post_to_chat(session: Session, incident: Incident, news: str, observer: Observer) -> None:
    """Post where an incident stands, and note in its record whether it was posted; nothing where no chat is named.

    Of the webhook's address only the host is shown: the rest of it is the secret.

    Parameters
    ----------
    news
        What has happened, in some words.

    Raises
    ------
    PromptKedaError
        When the record cannot be written, as `Incident.add` raises. Never for what the chat or Vault does.
    """
    if session.environment.incidents.webhook is None:
        return
    outcome = _post(session, incident, news)
    incident.add(NOTE, CHAT, outcome)
    observer(Event(EventKind.NOTE, f"incident/{CHAT}", "", outcome))


def _post(session: Session, incident: Incident, news: str) -> str:
    """Post, and return in a line what became of it."""
    try:
        host = session.post_to_chat(f"{news}\n{to_chat(incident.story())}")
    except PromptKedaError as error:
        return _not_posted(session.name, news, error.what, error.fix)
    except Exception as error:  # noqa: BLE001  nothing of a chat may end a response; its words may hold the address
        return _not_posted(session.name, news, f"the post itself failed: {type(error).__name__}", "Please report this.")
    return f"posted to the chat at {host}: {news}"


def _not_posted(name: str, news: str, why: str, fix: str) -> str:
    by_hand = f"Tell the chat yourself: ./run report --env {name} says what to paste."
    return " ".join(filter(None, (f"not posted to the chat: {news}. {why}.", fix, by_hand)))
