"""Watches: they say when a new look is worth while."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import Resource
from prompt_keda.core.errors import ClientError

REOPEN_S = 1.0


class _Opens(Protocol):
    """What a watch needs of `prompt_keda.clients.kube.client.Kube`, which opens watches itself: so neither imports the other."""

    def open(self, method: str, path: str, *, query: Mapping[str, str], stream: bool, timeout_s: float) -> Any:
        """Send one request, and return urllib3's answer."""


class Watch:
    """One watch a kind, open from the start. It is a `prompt_keda.core.waiting.Signal`.

    It says only that something changed; what is true is for the next inspection to see. A watch that breaks counts as
    a change, and is opened again after a second.

    Parameters
    ----------
    kube
        The API server.
    targets
        Kinds, each with a namespace (None: all).
    """

    def __init__(self, kube: _Opens, targets: Sequence[tuple[Resource, str | None]]) -> None:
        self._kube = kube
        self._changed = threading.Event()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._answers: list[Any] = []
        for resource, namespace in targets:
            name = f"watch {resource.plural}"
            threading.Thread(target=self._follow, args=(resource, namespace), name=name, daemon=True).start()

    def wait(self, timeout_s: float) -> bool:
        """Block until something changed (True) or the time is over (False)."""
        changed = self._changed.wait(timeout_s)
        self._changed.clear()
        return changed

    def close(self) -> None:
        """Stop watching: the connections end now, and the threads with them."""
        with self._lock:
            self._closed.set()
            for answer in self._answers:
                _end(answer)

    def _follow(self, resource: Resource, namespace: str | None) -> None:
        while not self._closed.is_set():
            try:
                self._read(resource, namespace)
            except (ClientError, OSError, ValueError, _http_error()):
                self._changed.set()
            self._closed.wait(REOPEN_S)

    def _read(self, resource: Resource, namespace: str | None) -> None:
        answer = self._kube.open("GET", resource.path(namespace), query={"watch": "true"}, stream=True, timeout_s=300)
        with self._lock:
            self._answers.append(answer)
            if self._closed.is_set():
                _end(answer)
        try:
            for line in answer:
                if self._closed.is_set():
                    return
                if line.strip():
                    self._changed.set()
        finally:
            with self._lock:
                self._answers.remove(answer)
            answer.close()


def events(answer: Any) -> Iterator[Object]:
    """Yield the events of an open watch as they come: each has a ``type`` and an ``object``."""
    for line in answer:
        if line.strip():
            yield json.loads(line)


def _end(answer: Any) -> None:
    """Wake up the thread that reads. An answer that has ended already, or just now, is fine."""
    with suppress(ValueError, RuntimeError, OSError):
        answer.shutdown()


def _http_error() -> type[Exception]:
    from urllib3.exceptions import HTTPError

    kind: type[Exception] = HTTPError
    return kind
