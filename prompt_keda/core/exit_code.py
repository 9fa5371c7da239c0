"""Exit codes: 0 all proven, 1 seen broken, 3 could not tell, 4 warnings under ``--strict``; 1 beats 3 beats 4.

130 beats them all: somebody stopped the round before every check had looked.
"""

from __future__ import annotations

from collections.abc import Iterable

from prompt_keda.core.check import CheckResult, Verdict
from prompt_keda.core.errors import Interrupted
from prompt_keda.core.run_checks import INTERRUPTED


def exit_code(results: Iterable[CheckResult], strict: bool = False) -> int:
    """Give the exit code of a round of checks. Nothing looked at is not proven: 3."""
    results = list(results)
    if any(one.verdict is Verdict.UNKNOWN and one.observed == INTERRUPTED for one in results):
        return Interrupted.exit_code
    seen = {result.verdict for result in results}
    if Verdict.FAIL in seen:
        return 1
    if Verdict.UNKNOWN in seen or not seen & {Verdict.OK, Verdict.WARN}:
        return 3
    return 4 if strict and Verdict.WARN in seen else 0
