"""The runs that this machine keeps, in a line each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prompt_keda.core.errors import Refusal
from prompt_keda.core.process import is_alive
from prompt_keda.records.kept_json import seconds
from prompt_keda.records.record import RunFolder
from prompt_keda.records.run_summary import RunSummary, summarise

HERE = "here"
RECENT = 5
"""So many recovery times of before stand beside a new one."""
BEGUN_BY = re.compile(r" by (.+), process ([1-9][0-9]{0,9})")


def runs_kept(
    runs: Path, environment: str, viewpoint: str, identity: Mapping[str, Any] | None = None
) -> tuple[list[RunSummary], list[str]]:
    """Return all runs in a folder of runs, newest first; and in words each folder that is damaged or is no run's.

    Parameters
    ----------
    environment
        Of this one alone; empty: of all.
    viewpoint
        ``user@host`` of this process: what it says of a process is true only here.
    identity
        Of the cluster, as the environment has it: of this cluster's runs alone, which `resume` goes on with; None: of all.
    """
    folders, damaged = RunFolder.listed(runs, environment)
    kept = []
    for run in folders:
        try:
            plan = run.read_json("plan.json")
            if identity is None or plan["inputs"]["environment"]["kubernetes"]["identity"] == identity:
                kept.append(_summary(run, str(plan["mode"]), viewpoint))
        except Refusal as error:
            damaged.append(error.what)
        except (KeyError, TypeError, ValueError, AttributeError):
            damaged.append(f"{run.path}: what it holds is no run's")
    return kept, damaged


def recent_recoveries(runs: Sequence[RunSummary], mode: str, besides: str = "") -> list[float]:
    """Return the recovery times of the last `RECENT` runs of a mode that ended green, in seconds, the newest first.

    Parameters
    ----------
    runs
        The newest first.
    besides
        The id of a run that does not count.
    """
    times = [
        run.recovery_s for run in runs if run.mode == mode and run.run_id != besides and run.recovery_s is not None
    ]
    return times[:RECENT]


def _summary(run: RunFolder, mode: str, viewpoint: str) -> RunSummary:
    entries = run.journal.entries()
    timings = _timings(run.read_json("report.json")) if run.is_finished else None
    begun = [entry["detail"] for entry in entries if (entry["step"], entry["event"]) == ("run", "begin")]
    match = BEGUN_BY.search(begun[-1]) if begun else None
    process = int(match[2]) if match is not None and match[1] == viewpoint else None
    return summarise(
        run.id,
        mode,
        entries,
        timings,
        HERE,
        was_refused=run.was_refused,
        is_at_work=process is not None and is_alive(process),
        is_left=process is not None and not is_alive(process),
    )


def _timings(report: Any) -> dict[str, float]:
    return {str(key): seconds(value) for key, value in report["timings"].items()}
