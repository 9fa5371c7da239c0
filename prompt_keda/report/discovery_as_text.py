"""What discover has seen, for people: the diff, what differs, what was not seen, and what is still to be filled in."""

from __future__ import annotations

from typing import Any

from prompt_keda.report.as_text import show_lines


def show_discovery(parts: dict[str, Any], with_diff: bool = True) -> None:
    """Show what was proposed and written. ``with_diff``: unless a person has just been shown it."""
    chosen = [change for change in parts["changes"] if change["chosen"]]
    differing = [change for change in parts["changes"] if not change["chosen"]]
    lines = list(parts["diff"]) if with_diff else []
    lines += ["where it was seen:"] * bool(chosen)
    lines += [f"  {change['key']}: {change['seen']}" for change in chosen]
    lines += ["differs from what the file says (left as it is; --all takes it):"] * bool(differing)
    for change in differing:
        says = "nothing" if change["now"] is None else change["now"]
        lines.append(f"  {change['key']}: the file says {says}, the cluster {change['proposed']} ({change['seen']})")
    for title, key in (("not seen:", "not_seen"), ("to know:", "notes")):
        lines += [title] * bool(parts[key])
        lines += [f"  {line}" for line in parts[key]]
    lines += ["still to be filled in:"] * bool(parts["open"])
    lines += [f"  {each['key']}: {each['wanted']}" for each in parts["open"]]
    show_lines([*lines, _end(parts, len(chosen))])


def _end(parts: dict[str, Any], count: int) -> str:
    file = parts["file"]
    if parts["written"]:
        return f"{file}: {_values(count)} written, {len(parts['open'])} to be filled in"
    if count:
        return f"{file}: as it was; --write writes {_values(count)}"
    return f"{file}: nothing to propose, {len(parts['open'])} to be filled in"


def _values(count: int) -> str:
    return f"{count} value{'s' * (count != 1)}"
