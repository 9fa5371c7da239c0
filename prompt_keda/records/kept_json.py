"""JSON of this machine's records, read strictly: a disk, an editor or a half copy may have made anything of it."""

from __future__ import annotations

import json
import math
from typing import Any

MOST_SECONDS = 1e7
"""No part of a run takes so long: 115 days."""


def read_kept(text: str) -> Any:
    """Return what a kept text holds.

    Raises
    ------
    ValueError
        When it is not JSON, holds a number that is none (``NaN``, ``Infinity``, ``1e999``), or is nested too deeply.
    """
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def seconds(value: Any) -> float:
    """Return a duration that was kept. Raises `ValueError` when it is none; `TypeError` when it is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("a duration that is no number")
    if not 0 <= value <= MOST_SECONDS:  # NaN is neither
        raise ValueError("a duration that cannot be")
    return float(value)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is no number")
    return number
