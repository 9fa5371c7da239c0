"""What discover has seen, for people: the diff, what differs, what was not seen, and what is still to be filled in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prompt_keda.report.as_text import show_lines


@dataclass(frozen=True)
class KeyChange:
    """One value that the cluster shows.

    Parameters
    ----------
    now
        What the file says; None: nothing.
    source
        Where it was seen.
    differs
        A person has written something else. False: it fills a gap.
    chosen
        Whether it is written, or would be.
    """

    key: str
    now: Any
    proposed: Any
    source: str
    differs: bool
    chosen: bool


@dataclass(frozen=True)
class Gap:
    """A key that is still to be filled in, and with what, in words."""

    key: str
    wanted: str


@dataclass(frozen=True)
class DiscoveryReport:
    """What was seen, what is proposed for an environment's file, and whether it was written."""

    file: str
    changes: Sequence[KeyChange]
    diff: Sequence[str]
    written: bool
    not_seen: Sequence[str]
    notes: Sequence[str]
    open: Sequence[Gap]


def show_discovery(discovery: DiscoveryReport, with_diff: bool = True) -> None:
    """Show what was proposed and written. ``with_diff``: unless a person has just been shown it."""
    chosen = [change for change in discovery.changes if change.chosen]
    differing = [change for change in discovery.changes if not change.chosen]
    lines = list(discovery.diff) if with_diff else []
    lines += ["where it was seen:"] * bool(chosen)
    lines += [f"  {change.key}: {change.source}" for change in chosen]
    lines += ["differs from what the file says (left as it is; --all takes it):"] * bool(differing)
    for change in differing:
        says = "nothing" if change.now is None else change.now
        lines.append(f"  {change.key}: the file says {says}, the cluster {change.proposed} ({change.source})")
    for title, named in (("not seen:", discovery.not_seen), ("to know:", discovery.notes)):
        lines += [title] * bool(named)
        lines += [f"  {line}" for line in named]
    lines += ["still to be filled in:"] * bool(discovery.open)
    lines += [f"  {gap.key}: {gap.wanted}" for gap in discovery.open]
    show_lines([*lines, _end(discovery, len(chosen))])


def _end(discovery: DiscoveryReport, count: int) -> str:
    if discovery.written:
        return f"{discovery.file}: {_values(count)} written, {len(discovery.open)} to be filled in"
    if count:
        return f"{discovery.file}: as it was; --write writes {_values(count)}"
    return f"{discovery.file}: nothing to propose, {len(discovery.open)} to be filled in"


def _values(count: int) -> str:
    return f"{count} value{'s' * (count != 1)}"
