"""What of a stream keeps events from being worked on, in words."""

from __future__ import annotations

from collections.abc import Mapping

from prompt_keda.clients.redis_state import Backlog
from prompt_keda.clients.redis_words import HANGS

OF_ANOTHER_KIND = "WRONGTYPE"


def work_refused(refused: Mapping[str, str]) -> str:
    """Return in one line what of fan-out's and workers' commands is refused; empty if nothing is.

    That a key is no stream is left out: `redis/groups-exist` reports it.
    """
    refusals: dict[str, list[str]] = {}
    for command, words in refused.items():
        if OF_ANOTHER_KIND not in words:
            refusals.setdefault(words.rstrip("."), []).append(command)
    return "; ".join(
        words if words == HANGS else f"{', '.join(commands)} refused: {words}" for words, commands in refusals.items()
    )


def wrong_lag(stream: str, backlog: Backlog) -> str:
    """Return what is wrong with the lag that KEDA reads: check, repair and verification say the same; empty if it is right."""
    if backlog.is_right:
        return ""
    if backlog.is_ahead:
        return f"{stream}: its group stands at an id that the stream has not reached: no event before it is delivered"
    if backlog.excess and backlog.lag == backlog.waiting:
        message = f"Redis takes {backlog.excess} more events for read than were ever added"
        return f"{stream}: {message}; once events come, the lag is too low by that"
    if backlog.lag is None:
        return f"{stream}: {backlog.waiting} events wait, the lag is unknown, and KEDA takes that for 0"
    if backlog.lag != backlog.waiting:
        return f"{stream}: {backlog.waiting} events wait, the lag is {backlog.lag}, and KEDA believes it"
    return f"{stream}: Redis has lost what was read; KEDA takes the lag of the next events for 0"


def other_than_stream(key: str, kind: str) -> str:
    """Return what is wrong with a key that should be a stream, by its type; empty if it is one, or missing."""
    return "" if kind in ("stream", "none") else f"{key} is a {kind}, not a stream"
