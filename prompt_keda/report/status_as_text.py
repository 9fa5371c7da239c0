"""What stands, for people, on standard output."""

from __future__ import annotations

from typing import Any

from prompt_keda.report.as_text import show_lines

UNKNOWN = "unknown"


def show_status(parts: dict[str, Any]) -> None:
    """Show a line for each part of KEDA and for each instrument, then the last runs and the open incident."""
    found = parts["status"]
    show_lines(_parts(found["keda"]))
    for name, one in found["instruments"].items():
        show_lines([name, *(f"  {line}" for line in _instrument(one))])
    for run in parts["runs"]:
        took = f", {run['recovery_s']:.1f} s" if run["recovery_s"] is not None else ""
        show_lines([f"run {run['run_id']}: {run['state']}, mode {run['mode']}{took}"])
    if parts["incident"]:
        show_lines([f"open incident {parts['incident']}"])


def _parts(keda: Any) -> list[str]:
    if UNKNOWN in keda:
        return [f"KEDA: not seen: {keda[UNKNOWN]}"]
    if not keda:
        return ["KEDA: no Deployment stands"]
    return [
        f"{one['name']:34} {one['ready']}/{one['wanted']} ready, {one['restarts']} restarts, {', '.join(one['images'])}"
        for one in keda
    ]


def _instrument(one: dict[str, Any]) -> list[str]:
    job, stream, jobs = one["scaled_job"], one["stream"], one["jobs"]
    return [_scaled_job(job), _stream(stream), _jobs(jobs)]


def _scaled_job(job: dict[str, Any]) -> str:
    if UNKNOWN in job:
        return f"ScaledJob: not seen: {job[UNKNOWN]}"
    if not job["is_there"]:
        return f"ScaledJob {job['name']}: absent"
    paused = f", paused by {job['paused_by']}" if job["paused_by"] else ""
    return f"ScaledJob {job['name']}: Ready={job['ready']}, Active={job['active']}{paused}"


def _stream(stream: dict[str, Any]) -> str:
    if UNKNOWN in stream:
        return f"stream: not seen: {stream[UNKNOWN]}"
    if stream["length"] is None:
        return f"stream {stream['name']}: absent"
    group = f"lag {stream['lag']}, {stream['pending']} pending" if stream["has_group"] else "its group is absent"
    return f"stream {stream['name']}: {stream['length']} events, {group}"


def _jobs(jobs: dict[str, Any]) -> str:
    if UNKNOWN in jobs:
        return f"Jobs: not seen: {jobs[UNKNOWN]}"
    return "Jobs: " + (", ".join(f"{count} {state}" for state, count in sorted(jobs.items())) or "none")
