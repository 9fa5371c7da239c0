"""Benchmarks on the local stack: the toolkit beside what people use instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from prompt_keda.lab.bench import burst, check_deps, delivery, recovery

BENCHMARKS: dict[str, Callable[..., Sequence[Any]]] = {
    "check-deps": check_deps.run,
    "recovery": recovery.run,
    "delivery": delivery.run,
    "burst": burst.run,
}
"""What ``bench --of`` takes: each is given the number of rounds and an observer, and returns its medians."""
