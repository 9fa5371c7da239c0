"""check-deps: every dependency of Prompt KEDA, read-only."""

from __future__ import annotations

from collections.abc import Sequence

from prompt_keda.clients.systems import Systems
from prompt_keda.commands.session import Session
from prompt_keda.components.round import Observe, run_round, unobserved
from prompt_keda.core import exit_code
from prompt_keda.core.check import Check
from prompt_keda.report.parts import Checked
from prompt_keda.report.result import Result


def check_deps(
    session: Session,
    checks: Sequence[Check[Systems]],
    observe: Observe = unobserved,
    *,
    timeout_s: float | None = None,
    strict: bool = False,
) -> Result[Checked]:
    """Run checks, as `prompt_keda.components.round.choose` returns them.

    Parameters
    ----------
    timeout_s
        For all checks together, in seconds; None: as `prompt_keda.components.round.run_round` says.
    strict
        A warning makes the exit code 4.
    """
    results = run_round(session.systems, checks, observe, timeout_s)
    code = exit_code.of_checks(results, strict)
    return Result("check-deps", session.environment.name, session.header(), Checked(results), code)
