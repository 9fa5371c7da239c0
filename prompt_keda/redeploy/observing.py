"""While somebody observes, what disturbs the workers is asked for once more: hours in UTC, or a command that answers."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime

from prompt_keda.core.errors import Refusal
from prompt_keda.environment.model import Environment, Observing
from prompt_keda.redeploy.approval import Ask

AGREED = "PROMPT_KEDA_WHILE_OBSERVING"
"""``yes``: a person has agreed already. A drill or runbook hands it to the commands that it runs."""
FLAG = "--while-observing"
YES, NO = 0, 1


def why_observing(environment: Environment, now: datetime | None = None) -> str:
    """Return why it is taken that somebody observes now, in words; empty if nobody does.

    Parameters
    ----------
    now
        Left out: this machine's clock.
    """
    settings = environment.observing
    if settings is None:
        return ""
    now = now or datetime.now(UTC)
    for hours in settings.hours:
        begin, _, end = hours.partition("-")
        if _is_between(begin, f"{now:%H:%M}", end):
            return f"it is {now:%H:%M} UTC, and people observe {hours}"
    return _answer(settings) if settings.command else ""


def agree_while_observing(environment: Environment, what: str, is_agreed: bool, ask: Ask | None) -> None:
    """Ask once more while somebody observes; who has agreed is not asked again by what this command runs.

    Parameters
    ----------
    what
        What is about to be done.
    is_agreed
        As the flag says.
    ask
        None: there is no terminal.

    Raises
    ------
    Refusal
        When a person says no, or there is none to ask.
    """
    is_agreed = is_agreed or os.environ.get(AGREED) == "yes"
    why = "" if is_agreed else why_observing(environment)
    if why and ask is None:
        raise Refusal(
            f"{environment.name} is observing: {why}; and there is no terminal to ask once more",
            f"If the {what} cannot wait: {FLAG}",
        )
    if why and ask is not None and ask(f"Observing: {why}. Run the {what} all the same? yes/no: ").strip() != "yes":
        raise Refusal(f"not while observing: {why}")
    if why or is_agreed:
        os.environ[AGREED] = "yes"


def _is_between(begin: str, now: str, end: str) -> bool:
    """Return whether a time of day lies between two; an end before the begin is one of the next day."""
    return begin <= now < end if begin < end else now >= begin or now < end


def _answer(settings: Observing) -> str:
    """Run the command: 0 is yes, 1 is no; whatever else it does is unknown, and taken for yes. What it prints is not read."""
    name = settings.command[0]
    nothing = subprocess.DEVNULL
    try:
        done = subprocess.run(
            list(settings.command),
            stdin=nothing,
            stdout=nothing,
            stderr=nothing,
            timeout=settings.deadline.total_seconds(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{name} did not answer within {settings.deadline.total_seconds():g} s, which is taken for yes"
    except OSError as error:
        return f"{name} cannot be run ({error.strerror}), which is taken for yes"
    if done.returncode == NO:
        return ""
    return f"{name} says so" if done.returncode == YES else f"{name} gave {done.returncode}, which is taken for yes"
