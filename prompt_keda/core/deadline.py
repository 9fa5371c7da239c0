"""Work that is given up when it takes too long."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from datetime import timedelta
from typing import TypeVar

from prompt_keda.core.errors import DeadlinePassed

T = TypeVar("T")


def in_time(work: Callable[[], T], limit: timedelta, what: str) -> T:
    """Return what a piece of work returns, and raise what it raises.

    It runs in a daemon thread, so that what hangs holds up neither the caller nor the exit: a look-up of a name has no
    limit of its own, and a server that sends single bytes passes every limit of a single wait.

    Parameters
    ----------
    limit
        For all of it.
    what
        What is waited for, as a person says it.

    Raises
    ------
    DeadlinePassed
        When it is not done by then. It may still go on.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001  it is raised again where the work is waited for
            done.set_exception(error)

    threading.Thread(target=run, name=what, daemon=True).start()
    if not wait([done], limit.total_seconds()).done:
        raise DeadlinePassed(what, limit.total_seconds(), "no answer, it may still come")
    return done.result()
