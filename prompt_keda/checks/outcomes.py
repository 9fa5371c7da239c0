"""Short ways to say what a check saw."""

from __future__ import annotations

from prompt_keda.model.check import Outcome, Verdict


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


def all_or_fail(bad: list[str], good: str, fix: str = "") -> Outcome:
    """Fail with what is bad, if anything is."""
    return fail("; ".join(bad[:5]) + (f" (and {len(bad) - 5} more)" if len(bad) > 5 else ""), fix) if bad else ok(good)
