"""Tells whether a live object is as it should be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

UNITS = {"m": Decimal("0.001"), "": Decimal(1), "k": Decimal(10) ** 3, "M": Decimal(10) ** 6, "G": Decimal(10) ** 9}
UNITS.update({"Ki": Decimal(2) ** 10, "Mi": Decimal(2) ** 20, "Gi": Decimal(2) ** 30, "Ti": Decimal(2) ** 40})
UNITS.update({"T": Decimal(10) ** 12, "P": Decimal(10) ** 15, "Pi": Decimal(2) ** 50})
TRUE_BY_DEFAULT = ("automountServiceAccountToken", "enableServiceLinks", "allowPrivilegeEscalation", "hostUsers")
"""Fields of pods whose absence means True."""
QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi|)")


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


@dataclass(frozen=True)
class Difference:
    """One place in which a live object is not what is wanted.

    Parameters
    ----------
    path
        ``spec.jobTargetRef.suspend``; an entry of a list that has a name stands by it: ``containers[worker]``.
    live
        What stands there; None: nothing does.
    is_extra
        Whether nothing is wanted there.
    """

    path: str
    live: Any
    is_extra: bool


def differences(desired: Any, live: Any, where: str = "") -> Iterator[Difference]:
    """Yield every place in which a live value is not the wanted one, also what nobody wanted.

    Values count as equal as for `first_difference`, and empty ones as absent; but a 0 that nobody wanted is a value.
    Defaults of the server have to be in both: see `prompt_keda.components.keda.crd_schema.with_defaults`.
    """
    if isinstance(desired, dict) and isinstance(live, dict):
        for key in {**desired, **live}:
            path = f"{where}.{key}".lstrip(".")
            if key not in desired:
                if not _is_empty(live[key], key):
                    yield Difference(path, live[key], True)
            elif key in live:
                yield from differences(desired[key], live[key], path)
            elif not _is_empty(desired[key], key) and desired[key] != 0:
                yield Difference(path, None, False)
    elif isinstance(desired, list) and isinstance(live, list):
        yield from _in_lists(desired, live, where)
    elif first_difference(desired, live) is not None:
        yield Difference(where, live, False)


def _in_lists(desired: list[Any], live: list[Any], where: str) -> Iterator[Difference]:
    wanted, there = _by_name(desired), _by_name(live)
    if wanted is not None and there is not None:
        for name in {**wanted, **there}:
            path = f"{where}[{name}]"
            if name not in wanted:
                yield Difference(path, there[name], True)
            elif name not in there:
                yield Difference(path, None, False)
            else:
                yield from differences(wanted[name], there[name], path)
    elif len(desired) != len(live):
        yield Difference(where, live, False)
    else:
        for index, (one, other) in enumerate(zip(desired, live, strict=True)):
            yield from differences(one, other, f"{where}[{index}]")


def _by_name(entries: list[Any]) -> dict[str, Any] | None:
    """Return the entries of a list by their names; None if not each has one of its own."""
    named = {
        entry["name"]: entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("name"), str)
    }
    return named if len(named) == len(entries) else None


def merge_patch(desired: Any, live: Any) -> Any:
    """Return the JSON merge patch that makes a live value the wanted one, without anything more.

    Parameters
    ----------
    desired, live
        Mappings, with the server's defaults in both.

    Source: RFC 7396: null removes a key, and a list is replaced as a whole.
    """
    patch: dict[str, Any] = {}
    for key in {**desired, **live}:
        if key not in desired:
            if not _is_empty(live[key], key):
                patch[key] = None
        elif key not in live or not (isinstance(desired[key], dict) and isinstance(live[key], dict)):
            if key not in live or any(differences(desired[key], live[key])):
                patch[key] = desired[key]
        elif inner := merge_patch(desired[key], live[key]):
            patch[key] = inner
    return patch


def _is_empty(value: Any, key: str) -> bool:
    """Whether a value says no more than if it were absent."""
    if isinstance(value, dict):
        return all(_is_empty(inner, name) for name, inner in value.items())
    if key == "divisor" and value in ("0", 0):  # as Go writes a Quantity that is not set; the kubelet takes it for 1
        return True
    return value is None or value == "" or value == [] or (value is False and key not in TRUE_BY_DEFAULT)


def _quantity(value: Any) -> Decimal | None:
    match = QUANTITY.fullmatch(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None
    return Decimal(match[1]) * UNITS[match[2]] if match else None
