"""The journal of a run with its copy in the cluster: the file first, the cluster beside it, and never in the way."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from prompt_keda.components.run import Context
from prompt_keda.core.errors import PromptKedaError
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.records.record import JournalFile, RunFolder
from prompt_keda.redeploy.cluster_copy import ClusterCopy, TakenOver

TRY_AGAIN_S = 5.0
LAST_TRY_S = 10.0
"""How long the end of a run waits for its copy in the cluster; one request may take `limits.connect` (5 s)."""
STEP = "cluster-copy"


class CopiedJournal:
    """Writes each entry into the file, and lets a thread of its own bring the cluster copy up to date.

    The first copy is made before the first step goes on that writes under the lock: it holds plan and snapshot, which no
    later look at the cluster can give back. After that nothing waits for it.

    Parameters
    ----------
    journal
        The file. What it raises is raised: without it nothing may be done.
    cluster_copy
        The copy. What it raises is noted in the file, and shown once.
    may_write
        Whether the lock is held: before that nothing is written to the cluster.
    observer
        Is shown the first failure.
    """

    def __init__(
        self, journal: JournalFile, cluster_copy: ClusterCopy, may_write: Callable[[], bool], observer: Observer
    ) -> None:
        self._journal = journal
        self._copy = cluster_copy
        self._may_write = may_write
        self._observer = observer
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_behind = False
        self._was_shown = False
        self._is_given_up = False

    def append(self, step_id: str, event: str, detail: str = "") -> None:
        """Write one entry, and return when it is on the disk. Raises as `JournalFile.append` does."""
        self._write(step_id, event, detail)
        if self._thread is None and not self._closing.is_set() and self._may_write():
            self._bring_up_to_date()
            self._thread = threading.Thread(target=self._follow, name="cluster copy", daemon=True)
            self._thread.start()
        self._news.set()

    def finish(self, result: dict[str, Any]) -> None:
        """Note that the run has ended green; `close` brings it into the cluster copy."""
        self._copy.finish(result)

    def close(self) -> None:
        """Bring the cluster copy up to date a last time, and stop. It takes `LAST_TRY_S` at most. Idempotent: yes."""
        self._closing.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join(LAST_TRY_S)

    def _follow(self) -> None:
        while not self._closing.is_set():
            self._news.wait(TRY_AGAIN_S if self._is_behind else None)
            self._news.clear()
            self._bring_up_to_date()
        self._bring_up_to_date()

    def _bring_up_to_date(self) -> None:
        if self._is_given_up:
            return
        try:
            self._copy.write()
        except Exception as error:  # noqa: BLE001  nothing that is wrong with a copy may stop a recovery
            self._note_failure(error)
            return
        if self._is_behind:
            self._is_behind = False
            self._note("caught up", "")

    def _note_failure(self, error: Exception) -> None:
        self._is_given_up = isinstance(error, TakenOver)
        what = error.what if isinstance(error, PromptKedaError) else type(error).__name__
        if not self._is_behind:
            self._is_behind = True
            self._note("failed", what)
        if not self._was_shown:
            self._was_shown = True
            message = f"the copy of this run in the cluster is behind; the run goes on: {what}"
            self._observer(Event(EventKind.NOTE, STEP, "warn", message))

    def _note(self, event: str, detail: str) -> None:
        try:
            self._write(STEP, event, detail)
        except PromptKedaError:  # the next step's own entry reports it, and stops the run
            return
        self._news.set()

    def _write(self, step_id: str, event: str, detail: str) -> None:
        with self._lock:  # two threads write
            self._journal.append(step_id, event, detail)


def copied_journal_of(context: Context, run: RunFolder) -> CopiedJournal:
    """Return the journal of a run; its copy in the cluster begins once the run holds its lock."""
    cluster_copy = ClusterCopy(context.systems.kube, run, f"{run.id} {context.systems.viewpoint} {os.getpid()}")
    return CopiedJournal(run.journal, cluster_copy, lambda: context.lock_was_held, context.observer)
