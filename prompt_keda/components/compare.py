"""Finds where a live object is not as it should be."""

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
    """Return the path of the first value that a live object lacks or has otherwise; None if it has all.

    Values that only the live object has are the server's defaults or other people's, and are left alone. The API
    server may write a quantity in another form (``1000m`` as ``1``), and leaves out empty values.
    """
    if isinstance(desired, dict):
        if not isinstance(live, dict):
            return None if not desired and live is None else where
        for key, value in desired.items():
            difference = first_difference(value, live.get(key), f"{where}.{key}".lstrip("."))
            if difference is not None:
                return difference
        return None
    if isinstance(desired, list):
        if not isinstance(live, list) or len(live) != len(desired):
            return None if not desired and live is None else where
        for index, (item, other) in enumerate(zip(desired, live, strict=True)):
            difference = first_difference(item, other, f"{where}[{index}]")
            if difference is not None:
                return difference
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

    Values count as equal as for `first_difference`, and empty ones as missing; but a 0 that nobody wanted is a value.
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
        for index, (item, other) in enumerate(zip(desired, live, strict=True)):
            yield from differences(item, other, f"{where}[{index}]")


def _by_name(entries: list[Any]) -> dict[str, Any] | None:
    """Return the entries of a list by their names; None if not each has one of its own."""
    named = {
        entry["name"]: entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("name"), str)
    }
    return named if len(named) == len(entries) else None


@dataclass(frozen=True)
class FieldChange:
    """One place in which two texts of the same object differ.

    Parameters
    ----------
    path
        As of a `Difference`.
    before, now
        What stands there in each; None: nothing does.
    """

    path: str
    before: Any
    now: Any


def field_changes(before: Any, now: Any, where: str = "") -> Iterator[FieldChange]:
    """Yield every place in which two values differ, exactly: neither is a live object, and no server has changed one."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({**before, **now}):
            path = f"{where}.{key}".lstrip(".")
            yield from field_changes(before.get(key), now.get(key), path)
        return
    if isinstance(before, list) and isinstance(now, list):
        named_before, named_now = _by_name(before), _by_name(now)
        if named_before is not None and named_now is not None and [*named_before] != [*named_now]:
            shared = [name for name in named_before if name in named_now]
            if shared != [
                name for name in named_now if name in named_before
            ]:  # the order alone can change what is done
                yield FieldChange(f"{where} (order)", [*named_before], [*named_now])
        if named_before is not None and named_now is not None:
            for name in {**named_before, **named_now}:
                yield from field_changes(named_before.get(name), named_now.get(name), f"{where}[{name}]")
            return
        if len(before) == len(now):
            for index, (old, new) in enumerate(zip(before, now, strict=True)):
                yield from field_changes(old, new, f"{where}[{index}]")
            return
    if before != now or type(before) is not type(now):
        yield FieldChange(where, before, now)


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
    """Whether a value says no more than if it were missing."""
    if isinstance(value, dict):
        return all(_is_empty(inner, name) for name, inner in value.items())
    if key == "divisor" and value in ("0", 0):  # as Go writes a Quantity that is not set; the kubelet takes it for 1
        return True
    return value is None or value == "" or value == [] or (value is False and key not in TRUE_BY_DEFAULT)


def _quantity(value: Any) -> Decimal | None:
    match = QUANTITY.fullmatch(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None
    return Decimal(match[1]) * UNITS[match[2]] if match else None
