"""Which run `resume` goes on with: the newest one of this cluster, from this machine's files or its copy in the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prompt_keda.clients.kube.client import Kube
from prompt_keda.core.errors import ClientError, Refusal
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.environment.model import Environment
from prompt_keda.records.record import RunFolder
from prompt_keda.redeploy.copied_runs import CopiedRun, find_runs


@dataclass(frozen=True)
class KeptRun:
    """An unfinished run, as it was kept.

    Parameters
    ----------
    folder
        Its folder; None: it was begun on another machine, and nobody here has approved it.
    copy
        Its copy in the cluster; None: there is none that can be read.
    plan, snapshot
        What plan.json and snapshot.json hold, or would.
    """

    run_id: str
    folder: RunFolder | None
    copy: CopiedRun | None
    plan: Mapping[str, Any]
    snapshot: Mapping[str, Any]

    def open(self, runs: Path) -> RunFolder:
        """Return its folder, with the longer of both journals; one that was begun elsewhere gets its folder now.

        Raises
        ------
        Refusal
            When it cannot be made, or the journal of the copy is damaged and there is no other.
        """
        if self.folder is None:
            assert self.copy is not None
            return RunFolder.adopt(runs, self.run_id, self.plan, self.snapshot, self.copy.entries())
        journal = self.folder.journal
        if self.copy is not None and len(entries := self.copy.entries()) > len(journal.entries()):
            journal.replace(entries)
        return self.folder


def find_unfinished(
    runs: Path, environment: Environment, kube: Kube, run_id: str, observer: Observer
) -> KeptRun | None:
    """Return the newest run of an environment on its present cluster if it is unfinished; else None.

    One that was refused does not count. Where this machine has a run and the cluster has its copy, this machine's plan counts.

    Parameters
    ----------
    run_id
        The run that is meant, also a finished one; empty: the newest.
    observer
        Gets which copies in the cluster could not be read, where that does no harm.

    Raises
    ------
    Refusal
        When the run is damaged here and in its copy.
    ClientError
        When this machine has no such run, and the cluster could not be asked for copies.
    """
    copies, error = _copies(kube, environment.name)
    here = {run.id for run in RunFolder.listed(runs, environment.name)[0]}
    for candidate in sorted(here | copies.keys(), reverse=True):
        if run_id not in ("", candidate):
            continue
        kept = _kept(runs, candidate, copies.get(candidate), environment, observer)
        if kept is None:
            continue
        is_over = (kept.folder is not None and kept.folder.is_finished) or (kept.copy and kept.copy.is_green)
        if error is not None:
            _note(observer, f"the copies of runs in the cluster could not be read: {error.what}")
        return None if is_over and not run_id else kept
    if error is not None:
        raise error
    return None


def _copies(kube: Kube, environment: str) -> tuple[dict[str, CopiedRun], ClientError | None]:
    try:
        return {run.run_id: run for run in find_runs(kube, environment)}, None
    except ClientError as error:
        return {}, error


def _kept(
    runs: Path, run_id: str, copy: CopiedRun | None, environment: Environment, observer: Observer
) -> KeptRun | None:
    """Return a run of this cluster as it was kept; None if it is none."""
    folder, identity = RunFolder.find(runs, run_id), environment.kubernetes.identity.model_dump()
    if folder is not None and not folder.was_refused:
        try:
            plan, snapshot = folder.read_json("plan.json"), folder.read_json("snapshot.json")
            if plan["inputs"]["environment"]["kubernetes"]["identity"] == identity:
                return KeptRun(run_id, folder, _agreeing(copy, plan, observer), plan, snapshot)
        except (Refusal, KeyError, TypeError) as error:
            what = error.what if isinstance(error, Refusal) else f"{folder.path / 'plan.json'} holds no plan"
            if copy is None:
                raise Refusal(what, "Begin a new redeploy, or resume another run: --run ID.") from error
            _note(observer, f"{what}; the copy in the cluster is taken")
    if copy is None:
        return None
    plan, snapshot = copy.plan().model_dump(), copy.snapshot().model_dump()
    copy.entries()  # seen now that it is whole, and not after somebody has approved it
    inputs = {"environment": {"kubernetes": {"identity": identity}}}
    return KeptRun(run_id, None, copy, {**plan, "inputs": inputs}, snapshot)


def _agreeing(copy: CopiedRun | None, plan: Mapping[str, Any], observer: Observer) -> CopiedRun | None:
    """Return the copy of a run that this machine has as well, if it is whole and of the same plan."""
    if copy is None:
        return None
    try:
        copy.entries()
        if copy.plan().digest == plan["digest"]:
            return copy
        what = f"the copy of run {copy.run_id} in the cluster is of another plan"
    except Refusal as error:
        what = error.what
    _note(observer, f"{what}; the files of this machine count")
    return None


def _note(observer: Observer, what: str) -> None:
    observer(Event(EventKind.NOTE, "resume", "warn", what))
