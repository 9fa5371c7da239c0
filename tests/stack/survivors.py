"""Jobs and pods that have to survive: seen by a watch that runs throughout, not by two lists."""

from __future__ import annotations

import threading

from prompt_keda.clients.kube.resources import JOBS, PODS
from prompt_keda.clients.kube.watch import events
from prompt_keda.core.errors import PromptKedaError

AGAIN_S = 0.5
"""Where the API server is away."""


class Survivors:
    """Watches the Jobs and pods of a namespace, and notes each that goes or is told to go.

    Parameters
    ----------
    kube
        The API server, as its administrator.
    wanted
        (kind, name) → UID of those that have to live on.
    """

    def __init__(self, kube, namespace, wanted):
        self._kube, self._namespace = kube, namespace
        self.wanted = {uid: f"{kind} {name}" for (kind, name), uid in wanted.items()}
        self.lost = {}
        self._over = threading.Event()
        self._seen = {kind: threading.Event() for kind in (JOBS, PODS)}
        for kind in self._seen:
            threading.Thread(target=self._follow, args=(kind,), daemon=True).start()
        for event in self._seen.values():
            assert event.wait(20), "the watch has not begun"

    def _follow(self, kind):
        """List, then watch from there; again from the start when the watch ends: what went meanwhile is then missing."""
        while not self._over.is_set():
            try:
                listed = self._kube.get_raw(kind.path(self._namespace))
                live = {obj["metadata"]["uid"] for obj in listed["items"]}
                for obj in listed["items"]:
                    self._note("LISTED", obj)
                for uid, name in self.wanted.items():
                    if name.startswith(kind.kind) and uid not in live:
                        self.lost.setdefault(uid, f"{name} is gone")
                self._seen[kind].set()
                query = {"watch": "1", "resourceVersion": listed["metadata"]["resourceVersion"]}
                answer = self._kube.open("GET", kind.path(self._namespace), query=query, timeout_s=60, stream=True)
                self._read(answer)
            except PromptKedaError:
                self._over.wait(AGAIN_S)

    def _read(self, answer):
        try:
            for event in events(answer):
                if event["type"] == "ERROR":
                    return
                self._note(event["type"], event["object"])
        except Exception:  # noqa: BLE001  the watch has ended, in one of urllib3's ways: it is begun again
            return

    def _note(self, kind, obj):
        uid = obj.get("metadata", {}).get("uid")
        if uid in self.wanted and (kind == "DELETED" or "deletionTimestamp" in obj["metadata"]):
            self.lost.setdefault(uid, f"{self.wanted[uid]}: {kind}")

    def close(self):
        self._over.set()
