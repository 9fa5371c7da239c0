"""Looking at several things at once, where each look waits for a server that may be far away."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from prompt_keda.core.check import Outcome
from prompt_keda.core.outcomes import look_at

T = TypeVar("T")
AT_ONCE = 4
"""More than these are no load test of somebody's registry."""


def look_side_by_side(things: Sequence[tuple[str, T]], look: Callable[[T], Outcome]) -> list[Outcome]:
    """Look at each thing, each with its name, some at once; return what was seen in their order.

    The threads are daemons, so that one that hangs does not hold up the exit. A defect is raised here, as it would be
    without threads.
    """
    left: queue.SimpleQueue[int] = queue.SimpleQueue()
    for index in range(len(things)):
        left.put(index)
    outcomes: dict[int, Outcome | Exception] = {}

    def work() -> None:
        while True:
            try:
                index = left.get_nowait()
            except queue.Empty:
                return
            try:
                outcomes[index] = look_at(*things[index], look)
            except Exception as error:  # noqa: BLE001  raised below, in the check's own thread
                outcomes[index] = error

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(AT_ONCE, len(things)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ordered = []
    for index in range(len(things)):
        result = outcomes[index]
        if isinstance(result, Exception):
            raise result
        ordered.append(result)
    return ordered
