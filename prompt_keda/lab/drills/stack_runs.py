"""The runs of this local stack, as a chaos round follows them."""

from __future__ import annotations

from prompt_keda.core.errors import Refusal
from prompt_keda.core.places import runs_folder
from prompt_keda.lab.faults.fault import Stage
from prompt_keda.records.record import JOURNAL, RunFolder


class StackRuns:
    """The runs of one local stack; another one on this machine keeps its own in the same folder."""

    def __init__(self, stage: Stage) -> None:
        self._name = stage.environment.name
        self._identity = stage.environment.kubernetes.identity.model_dump()
        self._mine: dict[str, bool] = {}

    def newest(self) -> tuple[str, bool, int] | None:
        """Return the newest run's id, whether it can be resumed once its process has ended, and its journal's entries."""
        for run in RunFolder.listed(runs_folder(), self._name)[0]:
            if self._is_mine(run):
                journal = run.path / JOURNAL
                count = len(journal.read_text().splitlines()) if journal.is_file() else 0
                return run.id, not (run.is_finished or run.was_refused), count
        return None

    def _is_mine(self, run: RunFolder) -> bool:
        if run.id not in self._mine:
            try:
                inputs = run.read_json("plan.json")["inputs"]
            except Refusal:  # it is written in this moment, or never was
                return False
            self._mine[run.id] = inputs["environment"]["kubernetes"]["identity"] == self._identity
        return self._mine[run.id]
