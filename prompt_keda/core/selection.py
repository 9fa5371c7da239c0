"""What a flag such as ``--only`` selects by the starts of ids, and what a word that is not known may have meant."""

from __future__ import annotations

from collections.abc import Iterable

from prompt_keda.core.errors import Refusal


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of a message about a word that is not known: the known one that is nearest to it, if one is near."""
    import difflib

    near = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def starts_of_ids(text: str, ids: Iterable[str], what: str, fix: str) -> tuple[str, ...]:
    """Return the starts of ids that a flag names; several are separated by commas.

    Parameters
    ----------
    what
        What the ids are of, for the message.

    Raises
    ------
    Refusal
        When one of them fits no id.
    """
    all_ids = list(ids)
    starts = tuple(start.strip() for start in text.split(",") if start.strip())
    for start in starts:
        if not any(id_.startswith(start) for id_ in all_ids):
            raise Refusal(f"no {what} fits {start!r}", fix)
    return starts
