"""What a drill does with the toolkit, as people do it, on the local stack."""

from __future__ import annotations

from collections.abc import Sequence

from prompt_keda.commands import runbooks
from prompt_keda.commands.session import open_session
from prompt_keda.components.round import choose, run_round
from prompt_keda.core import exit_code
from prompt_keda.core.check import CheckResult
from prompt_keda.core.errors import PromptKedaError
from prompt_keda.core.event import Observer
from prompt_keda.report.failure import UNEXPECTED
from prompt_keda.runbooks.commands import go_on, run_command

LOCAL = "local"


class Toolkit:
    """The toolkit as people use it, on the local stack.

    Ctrl-C ends a look or a command with a result of its own. Each of these raises `KeyboardInterrupt` then: else the drill
    would go on to inject faults.
    """

    def __init__(self, observer: Observer, environment: str = LOCAL) -> None:
        self._observer, self._environment = observer, environment

    def look(self) -> Sequence[CheckResult]:
        """Return what check-deps sees."""
        with open_session(self._environment) as session:
            results = run_round(session.systems, choose())
        go_on(exit_code.of_checks(results))
        return results

    def follow(self, runbook: str) -> tuple[int, bool]:
        """Run a runbook; return its exit code, and whether a smoke test in it was green."""
        with open_session(self._environment) as session:
            done = runbooks.run(session, runbook, "", "", self._observer, None)
        go_on(done.exit_code)
        steps = done.parts.steps
        for step in steps:
            if UNEXPECTED in step.message:
                raise PromptKedaError(f"{step.command}: {step.message}")
        return done.exit_code, any(" smoke " in step.command and step.exit_code == 0 for step in steps)

    def verify(self) -> int:
        """Run the smoke test; return its exit code."""
        return go_on(run_command(["smoke", "--env", self._environment]).exit_code)
