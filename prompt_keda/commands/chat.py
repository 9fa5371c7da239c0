"""Tells the chat of an environment where an incident stands. What cannot be posted stops and fails nothing."""

from __future__ import annotations

from prompt_keda.commands import toolkit
from prompt_keda.core.errors import PromptKedaError
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.environment.model import Environment
from prompt_keda.records.incident import Incident
from prompt_keda.records.incident_story import NOTE
from prompt_keda.report.incident_page import to_chat

WHO = "chat"
"""Who notes it in the incident's record."""


def tell_chat(environment: Environment, name: str, incident: Incident, news: str, observer: Observer) -> None:
    """Post where an incident stands, and note in its record whether it was posted; nothing where no chat is named.

    Of the webhook's address only the host is told: the rest of it is the secret.

    Parameters
    ----------
    environment
        The one of the incident.
    name
        The same as the person named it: a name or a path.
    news
        What has happened, in some words.

    Raises
    ------
    PromptKedaError
        When the record cannot be written, as `Incident.add` raises. Never for what the chat or Vault does.
    """
    if environment.incidents.webhook is None:
        return
    said = _post(name, incident, news)
    incident.add(NOTE, WHO, said)
    observer(Event(EventKind.NOTE, f"incident/{WHO}", "", said))


def _post(name: str, incident: Incident, news: str) -> str:
    """Post, and say in a line what became of it."""
    try:
        host = toolkit.post_to_chat(name, f"{news}\n{to_chat(incident.story())}")
    except PromptKedaError as error:
        return _not_posted(name, news, error.what, error.fix)
    except Exception as error:  # noqa: BLE001  nothing of a chat may end a response; its words may hold the address
        return _not_posted(name, news, f"the post itself failed: {type(error).__name__}", "Please report this.")
    return f"posted to the chat at {host}: {news}"


def _not_posted(name: str, news: str, why: str, fix: str) -> str:
    tell = f"Tell the chat yourself: ./run report --env {name} says what to paste."
    return " ".join(filter(None, (f"not posted to the chat: {news}. {why}.", fix, tell)))
