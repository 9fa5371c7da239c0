"""What of a stream keeps events from being worked on, in words."""

from __future__ import annotations

from collections.abc import Mapping

from prompt_keda.clients.redis_words import HANGS

OF_ANOTHER_KIND = "WRONGTYPE"


def work_refused(refused: Mapping[str, str]) -> str:
    """Return in one line what of fan-out's and workers' commands is refused; empty if nothing is.

    That a key is no stream is left out: `redis/groups-exist` tells of it.
    """
    told: dict[str, list[str]] = {}
    for command, words in refused.items():
        if OF_ANOTHER_KIND not in words:
            told.setdefault(words.rstrip("."), []).append(command)
    return "; ".join(
        words if words == HANGS else f"{', '.join(commands)} refused: {words}" for words, commands in told.items()
    )


def other_than_stream(key: str, kind: str) -> str:
    """Return what is wrong with a key that should be a stream, by its type; empty if it is one, or absent."""
    return "" if kind in ("stream", "none") else f"{key} is a {kind}, not a stream"
