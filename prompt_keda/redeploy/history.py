"""The runs of an environment: those of this machine and those copied into its cluster, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.systems import Systems
from prompt_keda.core.errors import PromptKedaError, Refusal
from prompt_keda.records.lock import find_run_at_work
from prompt_keda.records.run_history import runs_kept
from prompt_keda.records.run_summary import AT_WORK, GREEN, RunSummary, summarise
from prompt_keda.redeploy.copied_runs import CopiedRun, find_runs

CLUSTER = "cluster"


def runs_here_and_in_cluster(
    systems: Systems, runs: Path, is_this_cluster: bool = False
) -> tuple[list[RunSummary], list[str], str]:
    """Return all runs of an environment, newest first; in words each that is damaged; and why the cluster's are not among them.

    Parameters
    ----------
    runs
        The folder of this machine's runs.
    is_this_cluster
        Leave those out that were of another cluster, before this one was built under the environment's name.
    """
    environment = systems.environment.name
    here, damaged = runs_here(systems, runs) if is_this_cluster else runs_kept(runs, environment, systems.viewpoint)
    try:
        copied, more = runs_copied(systems.kube, environment)
    except PromptKedaError as error:
        return here, damaged, f"the copies of runs in its cluster could not be read: {error.what}"
    return merged(here, copied), [*damaged, *more], ""


def runs_here(systems: Systems, runs: Path) -> tuple[list[RunSummary], list[str]]:
    """Return the runs of this machine on this cluster, newest first, which `resume` goes on with; and what is damaged."""
    environment = systems.environment
    return runs_kept(runs, environment.name, systems.viewpoint, environment.kubernetes.identity.model_dump())


def runs_copied(kube: Kube, environment: str) -> tuple[list[RunSummary], list[str]]:
    """Return the runs of an environment that are copied in its cluster; and in words each copy that is damaged.

    Raises as `Kube.list` does.
    """
    summaries, damaged, at_work = [], [], find_run_at_work(kube)
    for run in find_runs(kube, environment):
        try:
            summaries.append(_summary(run, at_work))
        except Refusal as error:
            damaged.append(error.what)
    return summaries, damaged


def _summary(run: CopiedRun, at_work: str | None) -> RunSummary:
    result = run.result()
    timings = result.timings if result and run.is_green else None
    return summarise(run.run_id, run.plan().mode, run.entries(), timings, CLUSTER, is_at_work=run.run_id == at_work)


def merged(here: Sequence[RunSummary], copied: Sequence[RunSummary]) -> list[RunSummary]:
    """Return each run once, newest first.

    Of two that differ counts the green one, then the one that was begun more often. Of equals this machine's counts if it saw
    the process end: the lock that makes the other "at work" is a dead one then. Else the one at work counts.
    """
    summaries = {run.run_id: run for run in copied}
    for run in here:
        other = summaries.get(run.run_id)
        if other is None:
            summaries[run.run_id] = run
            continue
        best = max((run, other), key=_weight)
        summaries[run.run_id] = replace(best, places=(*run.places, *other.places))
    return sorted(summaries.values(), key=lambda run: run.run_id, reverse=True)


def _weight(run: RunSummary) -> tuple[bool, int, bool, bool]:
    return run.state == GREEN, run.starts_count, run.is_left, run.state == AT_WORK
