"""history: how runs and drills ended, and what they took."""

from __future__ import annotations

from collections.abc import Sequence

from prompt_keda.clients.systems import viewpoint
from prompt_keda.commands.session import Session
from prompt_keda.core import exit_code
from prompt_keda.core.places import drills_folder, runs_folder
from prompt_keda.records.drill_history import drills_kept
from prompt_keda.records.run_history import runs_kept
from prompt_keda.records.run_summary import RunSummary
from prompt_keda.redeploy.history import runs_here_and_in_cluster
from prompt_keda.report.history_page import History
from prompt_keda.report.result import Result


def history(session: Session | None) -> Result[History]:
    """Return runs and drills of this machine, newest first; of an environment also runs that only its cluster has.

    Parameters
    ----------
    session
        The environment; None: all that this machine has.

    Notes
    -----
    A copy that cannot be read is named, and makes the exit code 3: what this machine knows is reported all the same.
    """
    if session is None:
        return _history("", *runs_kept(runs_folder(), "", viewpoint()), "")
    return _history(session.environment.name, *runs_here_and_in_cluster(session.systems, runs_folder()))


def _history(environment: str, runs: Sequence[RunSummary], damaged: Sequence[str], not_seen: str) -> Result[History]:
    drills, damaged_drills = drills_kept(drills_folder(), environment)
    parts = History(runs, drills, [*damaged, *damaged_drills], not_seen)
    code = exit_code.UNKNOWN if not_seen else exit_code.GREEN
    return Result("history", environment, f"runs of {environment or 'this machine'}", parts, code)
