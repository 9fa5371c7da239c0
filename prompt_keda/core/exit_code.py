"""The exit codes of tasks, and what makes each; docs/output.md explains them to people."""

from __future__ import annotations

from collections.abc import Iterable

from prompt_keda.core.check import CheckResult, Verdict
from prompt_keda.core.errors import PromptKedaError
from prompt_keda.core.run_checks import INTERRUPTED

GREEN, BROKEN, REFUSED, UNKNOWN, WARNINGS, STOPPED = 0, 1, 2, 3, 4, 130
NEEDS_PEOPLE = (REFUSED, STOPPED)
"""Whatever else was verified, a person has to look."""


def of_checks(results: Iterable[CheckResult], strict: bool = False) -> int:
    """Return the exit code of a round of checks, as `of_verdicts`; 130 when somebody stopped it before every check had looked."""
    results = list(results)
    if any(result.verdict is Verdict.UNKNOWN and result.observed == INTERRUPTED for result in results):
        return STOPPED
    return of_verdicts((result.verdict for result in results), strict)


def of_verdicts(verdicts: Iterable[Verdict], strict: bool = False) -> int:
    """Return 1 if something was seen broken, else 3 if it could not be seen or nothing was looked at, else 0.

    Parameters
    ----------
    strict
        Return 4 instead of 0 if there is a warning.
    """
    present = set(verdicts)
    if Verdict.FAIL in present:
        return BROKEN
    if Verdict.UNKNOWN in present or not present & {Verdict.OK, Verdict.WARN}:
        return UNKNOWN
    return WARNINGS if strict and Verdict.WARN in present else GREEN


def of_commands(codes: Iterable[int], last: int) -> int:
    """Return the exit code of commands that were run one after the other.

    Parameters
    ----------
    codes
        Those of the commands that count.
    last
        That of the last command, whether it counts or not: if it was refused or stopped, so was the whole.
    """
    if last in NEEDS_PEOPLE:
        return last
    bad = set(codes) - {GREEN}
    return BROKEN if BROKEN in bad else max(bad, default=GREEN)


def of_error(error: BaseException) -> int:
    """Return the exit code of a task that ends with an error; of an unexpected one nothing is known."""
    if isinstance(error, PromptKedaError):
        return error.exit_code
    return STOPPED if isinstance(error, KeyboardInterrupt) else UNKNOWN
