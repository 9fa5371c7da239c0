"""Tells whether a live object is as it should be."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

UNITS = {"m": Decimal("0.001"), "": Decimal(1), "k": Decimal(10) ** 3, "M": Decimal(10) ** 6, "G": Decimal(10) ** 9}
UNITS.update({"Ki": Decimal(2) ** 10, "Mi": Decimal(2) ** 20, "Gi": Decimal(2) ** 30, "Ti": Decimal(2) ** 40})
QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|M|G|Ki|Mi|Gi|Ti|)")


def first_difference(desired: Any, live: Any, where: str = "") -> str | None:
    """Give the path of the first value that a live object lacks or has otherwise; None if it has all.

    Values that only the live object has are the server's defaults or other people's, and are left alone. The API
    server may write a quantity in another form (``1000m`` as ``1``), and leaves out empty values.
    """
    if isinstance(desired, dict):
        if not isinstance(live, dict):
            return None if not desired and live is None else where
        for key, value in desired.items():
            found = first_difference(value, live.get(key), f"{where}.{key}".lstrip("."))
            if found is not None:
                return found
        return None
    if isinstance(desired, list):
        if not isinstance(live, list) or len(live) != len(desired):
            return None if not desired and live is None else where
        for index, (one, other) in enumerate(zip(desired, live, strict=True)):
            found = first_difference(one, other, f"{where}[{index}]")
            if found is not None:
                return found
        return None
    if desired == live or (desired in ("", None, False, 0) and live is None):
        return None
    return None if _quantity(desired) is not None and _quantity(desired) == _quantity(live) else where


def _quantity(value: Any) -> Decimal | None:
    match = QUANTITY.fullmatch(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None
    return Decimal(match[1]) * UNITS[match[2]] if match else None
