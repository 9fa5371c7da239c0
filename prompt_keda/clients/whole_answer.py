"""Sockets that bound the whole of an answer: a server that sends a byte now and then passes the limit of every single wait."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

WAITS = 6
"""So many times the limit of a single wait may all of an answer take: it may be long, and the way slow."""


_COUNTING = threading.RLock()
"""Held while it is counted who uses a socket, and while an unused one is closed: for all sockets, because ssl makes them without
their constructor. Once more by who has it: while one is closed, Python may find another one to clear away."""


class NotWhole(TimeoutError):
    """An answer has begun, and has not ended in time."""


def bounded(context: ssl.SSLContext) -> ssl.SSLContext:
    """Let the sockets of a context bound the whole of each answer, and return it. Idempotent: yes."""
    if context.sslsocket_class is not _BoundedTls:
        context.sslsocket_class = _BoundedTls
        for name in ("load_verify_locations", "load_cert_chain"):
            setattr(context, name, _once(getattr(context, name)))
    return context


def _once(load: Callable[..., None]) -> Callable[..., None]:
    """Return what loads the same files once, one thread at a time; files that have changed are loaded again.

    urllib3 loads authorities and certificates at each connection, and all threads connect by one context: two at once end the
    process with a segmentation fault (seen), because OpenSSL keeps a store's lists without a lock.
    """
    lock, loaded = threading.Lock(), set()

    def load_once(*arguments: Any, **options: Any) -> None:
        asked = (*arguments, *options.values())
        key = (asked, tuple(_changed_at(value) for value in asked))
        with lock:
            if key not in loaded:
                load(*arguments, **options)
                loaded.add(key)

    return load_once


def _changed_at(path: Any) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except (OSError, TypeError, ValueError):  # none of the files: a certificate itself, or a password
        return None


class _Bounded:
    """What is sent begins a question; what is received until the next one is its answer."""

    _end: float | None = None

    def send(self, *arguments: Any, **options: Any) -> Any:
        self._end = None
        return super().send(*arguments, **options)  # type: ignore[misc]

    def sendall(self, *arguments: Any, **options: Any) -> Any:
        self._end = None
        return super().sendall(*arguments, **options)  # type: ignore[misc]

    def recv(self, *arguments: Any, **options: Any) -> Any:
        self._see_time()
        return super().recv(*arguments, **options)  # type: ignore[misc]

    def recv_into(self, *arguments: Any, **options: Any) -> Any:
        self._see_time()
        return super().recv_into(*arguments, **options)  # type: ignore[misc]

    def _see_time(self) -> None:
        """Raise `NotWhole` when the time for the whole answer is over. A socket that waits without end has no such time."""
        limit_s, now = self.gettimeout(), time.monotonic()  # type: ignore[attr-defined]
        if not limit_s:
            return
        if self._end is None:
            self._end = now + WAITS * limit_s
        if now >= self._end:
            raise NotWhole(f"its answer did not end within {WAITS * limit_s:.0f} s")


class _BoundedTls(_Bounded, ssl.SSLSocket):
    """A socket that `bounded` makes. One that is closed while another thread uses it ends its connection now, and is closed
    once that thread has left.

    OpenSSL knows a socket by its number alone. A thread that still reads from one that was closed goes on with the next
    connection that gets the number, and both break: "bad record mac" (seen; tests/contracts/test_closed_in_use.py).
    """

    _users_count = 0
    _is_to_close = False

    def read(self, *arguments: Any, **options: Any) -> Any:
        with self._in_use():
            return super().read(*arguments, **options)

    def send(self, *arguments: Any, **options: Any) -> Any:
        with self._in_use():
            return super().send(*arguments, **options)

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        with _COUNTING:
            self._users_count += 1
        try:
            yield
        finally:
            with _COUNTING:
                self._users_count -= 1
                is_due = self._is_to_close and not self._users_count
            if is_due:
                self._real_close()

    def _real_close(self) -> None:
        with _COUNTING:
            is_used = self._is_to_close = self._users_count > 0
            if not is_used:
                super()._real_close()  # type: ignore[misc]
                return
        with suppress(OSError):  # nobody is there any more
            socket.socket.shutdown(self, socket.SHUT_RDWR)


class _Carried:
    """A socket, or what is used as one: the API server's end of a port-forward is none of Python's own kind."""

    def __init__(self, carried: Any) -> None:
        self._carried = carried

    def __getattr__(self, name: str) -> Any:
        return getattr(self._carried, name)

    def send(self, *arguments: Any, **options: Any) -> Any:
        return self._carried.send(*arguments, **options)

    def sendall(self, *arguments: Any, **options: Any) -> Any:
        return self._carried.sendall(*arguments, **options)

    def recv(self, *arguments: Any, **options: Any) -> Any:
        return self._carried.recv(*arguments, **options)

    def recv_into(self, *arguments: Any, **options: Any) -> Any:
        return self._carried.recv_into(*arguments, **options)


class BoundedSocket(_Bounded, _Carried):
    """A socket without TLS that bounds the whole of each answer."""
