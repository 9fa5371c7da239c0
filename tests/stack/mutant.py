"""Runs a task of a toolkit that is broken on purpose; the commands that it starts itself are broken as well.

    mutant.py TASK ARGUMENTS…

PROMPT_KEDA_TEST_MUTANT names what is broken.
"""

from __future__ import annotations

import os
import runpy
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from prompt_keda.components.scaled_jobs import running_jobs  # noqa: E402
from prompt_keda.core import run_checks  # noqa: E402
from prompt_keda.core.check import Verdict  # noqa: E402
from prompt_keda.lab.drills import delivery_audit  # noqa: E402
from prompt_keda.redeploy import finalize, restore  # noqa: E402
from prompt_keda.runbooks import commands  # noqa: E402


def broken(module, name, value):
    """Put something else in the place of what is there; a name that has gone would change nothing."""
    assert hasattr(module, name), name
    setattr(module, name, value)


def jobs_stay_owned():
    """No Job of a ScaledJob that goes is orphaned, and no step sees one that hangs on it."""
    broken(finalize, "owned", lambda context: iter(()))


def unknown_is_green():
    """What could not be seen counts as good."""
    finish = run_checks._Round._finish

    def green(self, check, outcome):
        shown = replace(outcome, verdict=Verdict.OK) if outcome.verdict is Verdict.UNKNOWN else outcome
        finish(self, check, shown)

    run_checks._Round._finish = green


def old_generations_are_no_risk():
    """No Job of another generation is taken for one that KEDA would delete."""
    broken(running_jobs, "at_risk", lambda *arguments, **more: ())


def what_waits_is_skipped():
    """A group that has to be made begins behind all that waits, whatever the environment says, or was lost before."""
    broken(restore, "group_start", lambda context, instrument: "$")


BROKEN = (jobs_stay_owned, unknown_is_green, old_generations_are_no_risk, what_waits_is_skipped)
MUTANTS = {inject.__name__: inject for inject in BROKEN}

DRAIN_S = 60.0
"""What a mutant has lost is never acknowledged, however long a drill waits; all else is within this: twenty workers take four a
second, and a drill sends fewer than 240."""

if __name__ == "__main__":
    MUTANTS[os.environ["PROMPT_KEDA_TEST_MUTANT"]]()
    broken(delivery_audit, "DRAIN_S", DRAIN_S)
    commands.TASKS = Path(__file__)
    sys.argv[0] = str(ROOT / "tasks.py")
    runpy.run_path(sys.argv[0], run_name="__main__")
