"""Short ways to say what a check saw."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from prompt_keda.core.check import Outcome, Verdict
from prompt_keda.core.errors import ErrorReply, Missing, PromptKedaError, Refused

T = TypeVar("T")
MOST_NAMED = 5
"""More things than these are counted, not named."""


def ok(observed: str) -> Outcome:
    """It holds."""
    return Outcome(Verdict.OK, observed)


def warn(observed: str, fix: str = "") -> Outcome:
    """It holds, but somebody should know."""
    return Outcome(Verdict.WARN, observed, fix=fix)


def fail(observed: str, fix: str = "", detail: str = "") -> Outcome:
    """It was seen not to hold."""
    return Outcome(Verdict.FAIL, observed, fix=fix, detail=detail)


def unknown(observed: str, fix: str = "") -> Outcome:
    """It could not be seen."""
    return Outcome(Verdict.UNKNOWN, observed, fix=fix)


def skipped(observed: str) -> Outcome:
    """There is no such thing here, and that is meant."""
    return Outcome(Verdict.SKIPPED, observed)


def all_of(things: Iterable[tuple[str, T]], look: Callable[[T], Outcome], good: str = "") -> Outcome:
    """Look at every thing, each with its name, and return the worst that was seen, as `worst_of` does."""
    return worst_of([look_at(name, thing, look) for name, thing in things], good)


def look_at(name: str, thing: T, look: Callable[[T], Outcome]) -> Outcome:
    """Look at one thing. What answers "no" is a FAIL of that thing alone, what does not answer an UNKNOWN."""
    try:
        return look(thing)
    except (Refused, Missing, ErrorReply) as error:
        return fail(f"{name}: {error.detail}", error.fix)
    except PromptKedaError as error:  # no answer, no sense in it, or a value that is not filled in
        return unknown(f"{name}: {error.what}", error.fix)


def worst_of(outcomes: list[Outcome], good: str = "") -> Outcome:
    """Return the worst of what was seen: FAIL before UNKNOWN before WARN.

    So what cannot be seen hides nothing that is broken. Nothing to look at is UNKNOWN, never green, and where all is
    SKIPPED so is the whole.

    Parameters
    ----------
    good
        What to say when all are OK; empty: what was said of each.
    """
    for verdict in (Verdict.FAIL, Verdict.UNKNOWN, Verdict.WARN):
        worst = [outcome for outcome in outcomes if outcome.verdict is verdict]
        if worst:
            others = [outcome for outcome in outcomes if outcome.verdict not in (verdict, Verdict.OK)]
            fix = next((outcome.fix for outcome in worst if outcome.fix), "")
            return Outcome(verdict, _named(worst), detail=_named(others), fix=fix)
    if outcomes and all(outcome.verdict is Verdict.SKIPPED for outcome in outcomes):
        return skipped(_named(outcomes))
    fix = "Name them in the environment: environments/README.md has all keys."
    return (
        ok(good or _named(outcomes)) if outcomes else unknown("nothing was looked at: the environment names none", fix)
    )


def _named(outcomes: list[Outcome]) -> str:
    text = "; ".join(outcome.observed for outcome in outcomes[:MOST_NAMED])
    return f"{text} (and {len(outcomes) - MOST_NAMED} more)" if len(outcomes) > MOST_NAMED else text
