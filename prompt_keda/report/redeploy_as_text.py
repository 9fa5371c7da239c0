"""Plans and runs of a redeploy for people: what changes, as a diff; what was done, what was verified, and the time it took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from rich.text import Text

from prompt_keda.components.smoke.result import SmokeResult
from prompt_keda.core.decisions import Change, Decisions, Plan
from prompt_keda.core.plan import State
from prompt_keda.core.untrusted import one_line
from prompt_keda.report.layout import can_show, columns, console_of, hanging, plain
from prompt_keda.report.pages import span
from prompt_keda.report.parts import NOT_SEEN, PlanReport
from prompt_keda.report.run_report import Ledger, RunReport

SIGNS = {"removed": ("-", "red"), "replaced": ("±", "yellow"), "created": ("+", "green"), "changed": ("~", "yellow")}
"""A sign for each kind of change, as a diff has them; the word stands beside it."""
WIDTH = 14
MOST_NAMED = 3
"""More objects that are changed in one way for one reason are counted by kind, unless ``--verbose`` is asked for."""
IN_DETAIL = ("install/apply-crds", "install/apply-parts", "install/make-certificates")
"""Steps whose objects stand among the changes one by one."""
NO_CHANGE = ("preflight", "guard", "verify")
"""Stages that leave nothing changed in the cluster."""


def show_plan(report: PlanReport, verbose: bool = False, command: str = "") -> None:
    """Show what a redeploy would change, what it leaves alone, and what it verifies; with ``verbose`` every step as well.

    Parameters
    ----------
    command
        What would do it, without its approval.
    """
    plan, decisions = report.plan, report.plan.decisions
    todo, unseen = list(_todo(report)), list(_unseen(report))
    has_decided = decisions.deletions or decisions.takes_over or decisions.unpauses or decisions.saved
    if not (plan.changes or todo or unseen or has_decided):
        _show("", f"Nothing to change: KEDA {_version(plan)} stands as wanted; smoke test only.", style="bold")
    for sign, style, word, text in _diff(plan.changes or _of_deletions(decisions), verbose):
        _show(f"{sign} {word}", text, style)
    for title, detail in todo:
        _show("~ step", f"{title}: {detail}".removesuffix(": "), "yellow")
    for title, detail in unseen:
        _show("? not seen", f"{title}: {detail}", "bold yellow")
    for what, kind, names in (
        ("~ taken over", "fields of others in ", decisions.takes_over),
        ("~ unpaused", "ScaledJob ", decisions.unpauses),
        ("+ restored", "", decisions.saved),
        ("! may be lost", "Job ", decisions.given_up),
    ):
        for name in names:
            _show(what, f"{kind}{name}", "yellow")
    _show("  left alone", _left_alone(report))
    _show("  mode", f"{plan.mode}: {plan.reason}")
    for job in plan.jobs_at_risk:
        where = f"{job.namespace}/{job.name}"
        _show("! Job at risk", f"{job.kind} {where} has generation {job.generation}; annotated first", "yellow")
    for note in report.notes:
        _show("! note", note, "yellow")
    _show("  verified by", _verification(plan))
    if report.recent_s:
        _show("  expected", _expected(report.recent_s, plan.mode))
    if verbose:
        for step, now in report.steps:
            removes = " (removes)" if step.destructive else ""
            # a plan has done nothing: what stands already is not to be done
            state = "nothing to do" if now.state == State.DONE.value else now.state
            _show("  step", f"{step.id}: {step.title}{removes} {replace(now, state=state)}")
    _show("digest", plan.digest, style="bold")
    if command:
        _show("next", f"{command} --approve {plan.digest}", style="bold")


def show_run(report: RunReport, verbose: bool = False) -> None:
    """Show three lines: what was done, what was verified, and the recovery time beside the last ones; notes come first."""
    for note in report.notes:
        _show("! note", note, "yellow")
    acted = [step for step in report.steps if step.acted]
    if verbose:
        for step in report.steps:
            done = "done" if step.acted else "as it was"
            _show(f"  {done}", f"{step.id}: {step.progress.detail or step.title} ({step.duration_s:.1f} s)")
    changed = [step for step in acted if step.id.partition("/")[0] not in NO_CHANGE]
    acts = "; ".join(step.title for step in changed) or "nothing had to change"
    _show("done", f"mode {report.mode}: {acts}")
    _show("verified", f"{smoke_line(report.smoke)}; {_kept(report.ledger)}")
    times = report.timings
    spans = [f"removal {times['removal']:.1f} s"] if "removal" in times else []
    if "first_scaled_job" in times:
        spans.append(f"first scaled Job after {times['first_scaled_job']:.1f} s")
    recent = ", ".join(f"{seconds:.1f}" for seconds in report.recent_s or ())
    beside = f"last {len(report.recent_s or ())}: {recent} s" if recent else "the first of its mode here"
    took = "; ".join([f"recovery time {times['recovery']:.1f} s ({beside})", *spans, f"run {report.run}"])
    _show("time", took, style="bold")


def smoke_line(smoke: SmokeResult) -> str:
    """Return what a smoke test verified."""
    return (
        f"smoke test: {smoke.events_count} events sent, {len(smoke.job_uids)} Jobs made, "
        f"{len(smoke.pod_uids)} pods ran, {smoke.acknowledged_count} acknowledged, lag 0"
    )


def _kept(ledger: Ledger) -> str:
    count = len(ledger.before)
    if not count:
        return "no Job ran at the start"
    return f"{count} Jobs and pods ran at the start; all live on or ended by themselves"


def _show(name: str, text: str, style: str = "") -> None:
    console = console_of()
    first = f"{name:{WIDTH}}" if name else ""
    for number, line in enumerate(hanging(one_line(first), one_line(text), columns(console.file))):
        shown = Text(line if can_show(console.file, "±…") else plain(line))
        if style and not number:
            shown.stylize(style, 0, len(first.rstrip()) or len(line))
        console.print(shown)


def _diff(changes: Sequence[Change], verbose: bool) -> Iterator[tuple[str, str, str, str]]:
    """Yield sign, colour, word and text of each change; what is changed in one way for one reason is one line."""
    groups: dict[tuple[str, str], list[Change]] = {}
    for number, change in enumerate(changes):
        reason = f"differs at {change.field}" if change.field else change.why
        groups.setdefault((change.change, f"{number} {reason}" if verbose else f" {reason}"), []).append(change)
    for (word, reason), group in groups.items():
        if len(group) > MOST_NAMED:
            names = ", ".join(
                f"{count} {kind}" for kind, count in Counter(change.kind for change in group).most_common()
            )
        else:
            names = ", ".join(map(_named, group))
        why = reason.partition(" ")[2]
        yield *SIGNS[word], word, f"{names}: {why}" if why else names


def _named(change: Change) -> str:
    return f"{change.kind} {change.namespace}{'/' * bool(change.namespace)}{change.name}"


def _of_deletions(decisions: Decisions) -> list[Change]:
    """Return the deletions of a plan that was made again: what else it changes, its steps say."""
    return [
        Change("removed", deletion.kind, deletion.namespace, deletion.name, why=deletion.why)
        for deletion in decisions.deletions
    ]


def _todo(report: PlanReport) -> Iterator[tuple[str, str]]:
    """Yield what else changes: each step that has something to do, with what its inspection saw."""
    in_detail = IN_DETAIL if report.plan.changes else ()
    for step, now in report.steps:
        stage = step.id.partition("/")[0]
        is_todo = now.state in (State.TODO.value, State.BROKEN.value)
        if is_todo and stage not in (*NO_CHANGE, "remove") and step.id not in in_detail:
            yield step.title, now.detail


def _unseen(report: PlanReport) -> Iterator[tuple[str, str]]:
    for step, now in report.steps:
        if now.state == NOT_SEEN and step.id.partition("/")[0] not in NO_CHANGE:
            yield step.title, now.detail


def _version(plan: Plan[Any]) -> str:
    return one_line(str(plan.inputs.get("environment", {}).get("keda", {}).get("version", "")))


def _left_alone(report: PlanReport) -> str:
    running, at_risk = report.running_count, len(report.plan.jobs_at_risk)
    jobs = f"{running} running Jobs and pods, {at_risk or 'none'} at risk" if running else "no Job or pod runs"
    return f"{report.plan.left_alone_count} objects of KEDA; {jobs}"


def _verification(plan: Plan[Any]) -> str:
    looks = sum(step.id.startswith("verify/") for step in plan.steps) - 1
    return f"a smoke test (events become Jobs), then {looks} looks at parts, ScaledJobs, leader, polling, lag and Jobs"


def _expected(recent: Sequence[float], mode: str) -> str:
    if len(recent) == 1:
        return f"about {span(recent[0])}, as the last {mode} took here"
    return f"about {span(median(recent))}; the last {len(recent)} took {min(recent):.1f} to {max(recent):.1f} s (mode {mode})"
