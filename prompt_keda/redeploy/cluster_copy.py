"""The cluster copy of a run: its plan, snapshot and journal in the cluster, so that another machine can go on with it.

One ConfigMap a run, in the lock's namespace. The files of the run count; the copy is for who does not have them.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.errors import has_changed
from prompt_keda.clients.kube.objects import Object, label
from prompt_keda.clients.kube.resources import CONFIG_MAPS
from prompt_keda.core.errors import BadAnswer, Missing, PromptKedaError
from prompt_keda.records.lock import STATE_NAMESPACE
from prompt_keda.records.record import RunFolder
from prompt_keda.records.run_record import portable_entry, portable_plan, portable_snapshot

PREFIX = "run-"
RUN, ENVIRONMENT, STATE = (f"prompt-keda.lsst.io/{word}" for word in ("run", "environment", "state"))
UNFINISHED, GREEN = "unfinished", "green"
HOLDER, RESULT, ENTRY = "holder", "result.json", "journal-"
PLAN, SNAPSHOT = "plan.json.gz", "snapshot.json.gz"
KEPT = 5
"""So many runs that nobody can go on with are kept of each environment."""


class TakenOver(PromptKedaError):
    """Another process goes on with this run: the copy is its own now."""


class ClusterCopy:
    """The copy of one run, as the process that holds the lock keeps it.

    Parameters
    ----------
    kube
        The cluster.
    run
        The run's folder, with plan and snapshot.
    holder
        Who writes, as in the lock.
    """

    def __init__(self, kube: Kube, run: RunFolder, holder: str) -> None:
        self._kube = kube
        self._run = run
        self._holder = holder
        self._fixed: dict[str, str] = {}
        self._result: dict[str, Any] | None = None
        self._live: Object | None = None
        self._began = False
        self._is_pruned = False

    def finish(self, result: dict[str, Any]) -> None:
        """Note that the run has ended green: its mode, and its timings in seconds. `write` brings it into the cluster."""
        self._result = result

    def write(self) -> None:
        """Bring the copy up to date with the run's files: only what differs is sent. Idempotent: yes.

        Raises
        ------
        ClientError
            When it cannot be written.
        TakenOver
            When somebody else has written it since this process did.
        Refusal
            When the run's files cannot be read.
        """
        wanted = self._wanted()
        if self._live is None:
            self._live = self._find_or_create(wanted)
        try:
            self._send(wanted)
        except (Missing, BadAnswer) as error:  # somebody has deleted it, or written it
            if not has_changed(error):
                raise
            self._live = self._find_or_create(wanted)
            self._send(wanted)
        self._began = True
        if wanted["metadata"]["labels"][STATE] == GREEN and not self._is_pruned:
            self._prune()
            self._is_pruned = True

    def _prune(self) -> None:
        """Delete copies of this environment that nobody can go on with, but for the last `KEPT`. Idempotent: yes.

        These are the finished ones, and what is older than a finished one: `resume` takes the newest run alone.
        """
        config_maps = self._kube.list(CONFIG_MAPS, STATE_NAMESPACE, f"{ENVIRONMENT}={self._run.environment},{RUN}")
        config_maps.sort(key=_made, reverse=True)
        newest_green = next(
            (n for n, copy in enumerate(config_maps) if copy["metadata"]["labels"].get(STATE) == GREEN), None
        )
        over = [] if newest_green is None else config_maps[newest_green:]
        for copy in over[KEPT:]:
            self._kube.delete(CONFIG_MAPS, copy["metadata"]["name"], STATE_NAMESPACE, uid=copy["metadata"]["uid"])

    def _wanted(self) -> Object:
        """Return the ConfigMap as the run's files would have it now."""
        if not self._fixed:
            plan, snapshot = self._run.read_json("plan.json"), self._run.read_json("snapshot.json")
            saved = [obj for obj in snapshot["objects"] if label(obj) in plan["decisions"]["saved"]]
            kept = portable_snapshot(snapshot, saved)
            self._fixed = {PLAN: _packed(portable_plan(plan)), SNAPSHOT: _packed(kept)}
        entries = self._run.journal.entries()
        data = {f"{ENTRY}{n:05}": json.dumps(portable_entry(entry)) for n, entry in enumerate(entries)}
        data[HOLDER] = self._holder
        result = self._result  # once: another thread sets it
        if result is not None:
            data[RESULT] = json.dumps(result)
        labels = {RUN: self._run.id, ENVIRONMENT: self._run.environment}
        labels[STATE] = UNFINISHED if result is None else GREEN
        metadata = {"name": f"{PREFIX}{self._run.id}", "namespace": STATE_NAMESPACE, "labels": labels}
        return {"metadata": metadata, "data": data, "binaryData": self._fixed}

    def _find_or_create(self, wanted: Object) -> Object:
        live = self._kube.find(CONFIG_MAPS, wanted["metadata"]["name"], STATE_NAMESPACE)
        if live is None:
            return self._kube.create(CONFIG_MAPS, wanted, STATE_NAMESPACE)
        holder = (live.get("data") or {}).get(HOLDER)
        if self._began and holder != self._holder:
            raise TakenOver(f"{holder} goes on with this run")
        return live

    def _send(self, wanted: Object) -> None:
        assert self._live is not None
        changes = {key: _changes(self._live.get(key) or {}, wanted[key]) for key in ("data", "binaryData")}
        labels = _changes(self._live["metadata"].get("labels") or {}, wanted["metadata"]["labels"], extra_stays=True)
        if not (labels or any(changes.values())):
            return
        # The version is the precondition: who has lost the lock without knowing it writes over nobody.
        metadata = {"resourceVersion": self._live["metadata"]["resourceVersion"], "labels": labels}
        body = {"metadata": metadata, **changes}
        self._live = self._kube.patch(CONFIG_MAPS, wanted["metadata"]["name"], STATE_NAMESPACE, body)


def _changes(live: Mapping[str, str], wanted: Mapping[str, str], extra_stays: bool = False) -> dict[str, str | None]:
    """Return a JSON merge patch from one to the other."""
    gone = {} if extra_stays else dict.fromkeys(live.keys() - wanted.keys())
    return {**gone, **{key: value for key, value in wanted.items() if live.get(key) != value}}


def _packed(value: Any) -> str:
    """Return JSON as gzip in base64; the same for the same value, whenever it is made."""
    return base64.b64encode(gzip.compress(json.dumps(value).encode(), mtime=0)).decode()


def _made(config_map: Object) -> str:
    return str(config_map["metadata"].get("creationTimestamp", ""))
