"""What stands, for people, on standard output: one screen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from rich.text import Text

from prompt_keda.core.untrusted import one_line
from prompt_keda.records.run_summary import FAILED, INTERRUPTED, REFUSED, RunSummary
from prompt_keda.report.layout import can_show, columns, console_of, hanging, plain
from prompt_keda.report.pages import span
from prompt_keda.report.status import NotSeen, PartState, ScaledJobState, Status, StreamState

DIGEST = len("sha256:") + 12
"""So much of an image's digest identifies it."""
STATES = ("running", "pending", "failed", "complete")

Row = tuple[str, str]
"""A mark and a text. The mark is ``!`` for what a person should look at, ``?`` for what was not seen."""
STYLES = {"!": "yellow", "?": "bold yellow"}


def show_status(stands: Status, env: str = "") -> None:
    """Show KEDA, each instrument, who paused what, the open incident and the last runs; and the next command where it is not well.

    Parameters
    ----------
    env
        The environment, as the person named it.
    """
    console = console_of()
    width, shows_symbols = columns(console.file), can_show(console.file, "…")
    rows = status_rows(stands, datetime.now(UTC))
    if env and _unfinished(stands.runs):
        rows.append((" ", f"next: ./run resume --env {env}"))
    elif env and any(mark in STYLES for mark, _ in rows):
        rows.append((" ", f"next: ./run respond --env {env}"))
    for row in rows:
        for line in row_lines(row, width, shows_symbols):
            console.print(line)


def status_rows(stands: Status, now: datetime) -> list[Row]:
    """Return what is shown, row by row; what belongs to the row above is indented."""
    status = stands.status
    rows = [*_parts(status.keda)]
    for name, instrument in status.instruments.items():
        states = (_scaled_job(instrument.scaled_job), _stream(instrument.stream, now), _jobs(instrument.jobs))
        rows += [(" ", name), *((mark, f"  {text}") for mark, text in states)]
    rows += _paused([instrument.scaled_job for instrument in status.instruments.values()])
    fixes = dict.fromkeys(part.fix for part in status.not_seen() if part.fix)
    rows += [("?", f"what was not seen: {fix}") for fix in fixes]
    rows += [("!", f"open incident {stands.incident}") if stands.incident else (" ", "no incident is open")]
    left = _unfinished(stands.runs)
    runs = [("!" if run is left else " ", _run(run)) for run in stands.runs]
    return rows + (runs or [(" ", "no run of this machine")])


def _unfinished(runs: Sequence[RunSummary]) -> RunSummary | None:
    """Return the newest run if `resume` goes on with it: one that was refused has begun nothing, and does not count."""
    newest = next((run for run in runs if run.state != REFUSED), None)
    return newest if newest and newest.state in (INTERRUPTED, FAILED) else None


def row_lines(row: Row, width: int | None, shows_symbols: bool) -> list[Text]:
    """Return a row as lines: what does not fit goes on two columns to the right of where its text begins."""
    mark, text = row
    indent = " " * (len(text) - len(text.lstrip(" ")))
    first, *rest = hanging(f"{mark} {indent}", one_line(text.strip()), width and width - 2)
    lines = [Text(line if shows_symbols else plain(line)) for line in (first, *(f"  {more}" for more in rest))]
    lines[0].stylize(STYLES.get(mark, ""), 0, 1)
    return lines


def _parts(keda: Sequence[PartState] | NotSeen) -> Iterator[Row]:
    if isinstance(keda, NotSeen):
        yield "?", f"KEDA: not seen: {keda.unknown}"
    elif not keda:
        yield "!", "KEDA: no Deployment stands"
    else:
        ready = sum(part.is_ready for part in keda)
        yield " " if ready == len(keda) else "!", f"KEDA: {ready} of {len(keda)} parts ready"
        for part in keda:
            counts = f"{part.ready}/{part.wanted} ready, {part.restarts} restarts"
            yield " " if part.is_ready else "!", f"  {part.name}: {counts}, {', '.join(map(_image, part.images))}"


def _image(name: str) -> str:
    """Return an image's name without its registry, and with as much of its digest as identifies it."""
    path, at, digest = name.partition("@")
    short = path.rpartition("/")[2]
    return f"{short}@{digest[:DIGEST]}…" if at and len(digest) > DIGEST else f"{short}{at}{digest}"


def _scaled_job(job: ScaledJobState | NotSeen) -> Row:
    if isinstance(job, NotSeen):
        return "?", f"ScaledJob: not seen: {job.unknown}"
    if not job.is_there:
        return "!", f"ScaledJob {job.name}: missing"
    is_well = job.ready == "True" and not job.paused_by
    paused = f", paused by {job.paused_by}" if job.paused_by else ""
    return " " if is_well else "!", f"ScaledJob {job.name}: Ready={job.ready}, Active={job.active}{paused}"


def _stream(stream: StreamState | NotSeen, now: datetime) -> Row:
    if isinstance(stream, NotSeen):
        return "?", f"stream: not seen: {stream.unknown}"
    if stream.length is None:
        return "!", f"stream {stream.name}: missing"
    group = f"lag {stream.lag}, {stream.pending} pending" if stream.has_group else "its group is missing"
    last = f"last event {_age(stream.last_event_at, now)} ago" if stream.last_event_at else "no event came yet"
    mark = " " if stream.has_group and stream.lag is not None else "!"
    return mark, f"stream {stream.name}: {group}, {stream.length} events held, {last}"


def _age(moment: str, now: datetime) -> str:
    seconds = max(0.0, (now - datetime.fromisoformat(moment)).total_seconds())
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return span(seconds)
    return f"{seconds / 3600:.0f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"


def _jobs(jobs: Mapping[str, int] | NotSeen) -> Row:
    if isinstance(jobs, NotSeen):
        return "?", f"Jobs: not seen: {jobs.unknown}"
    states = [*(state for state in STATES if state in jobs), *sorted(jobs.keys() - set(STATES))]
    counts = ", ".join(f"{jobs[state]} {state}" for state in states)
    return "!" if jobs.get("failed") else " ", f"Jobs: {counts or 'none'}"


def _paused(jobs: Sequence[ScaledJobState | NotSeen]) -> Iterator[Row]:
    paused = [job for job in jobs if isinstance(job, ScaledJobState) and job.paused_by]
    yield from (("!", f"paused: {job.name}, by {job.paused_by}") for job in paused)
    if not paused and not any(isinstance(job, NotSeen) for job in jobs):
        yield " ", "nothing is paused"


def _run(run: RunSummary) -> str:
    took = f", {run.recovery_s:.1f} s" if run.recovery_s is not None else ""
    return f"run {run.run_id}: {run.state}, mode {run.mode}{took}"
