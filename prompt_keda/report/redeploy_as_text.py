"""Plans and runs of a redeploy for people: what changes, as a diff; what was done, the proof, and the time it took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from rich.text import Text

from prompt_keda.components.smoke.result import SmokeResult
from prompt_keda.core.untrusted import one_line
from prompt_keda.report.layout import can_show, columns, console_of, hanging, plain
from prompt_keda.report.pages import span
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


def show_plan(plan: Mapping[str, Any], verbose: bool = False, command: str = "") -> None:
    """Show what a redeploy would change, what it leaves alone, and what it verifies; with ``verbose`` every step as well.

    Parameters
    ----------
    command
        What would do it, without its approval.
    """
    todo, unseen = list(_todo(plan)), list(_unseen(plan))
    decisions, found = plan["decisions"], plan.get("changes", [])
    has_decided = any(decisions[key] for key in ("deletions", "takes_over", "unpauses", "saved"))
    if not (found or todo or unseen or has_decided):
        _show("", f"Nothing to change: KEDA {_version(plan)} stands as wanted; smoke test only.", style="bold")
    for sign, style, word, text in _diff(found if found else _of_deletions(decisions), verbose):
        _show(f"{sign} {word}", text, style)
    for title, detail in todo:
        _show("~ step", f"{title}: {detail}".removesuffix(": "), "yellow")
    for title, detail in unseen:
        _show("? not seen", f"{title}: {detail}", "bold yellow")
    for what, kind, names in (
        ("~ taken over", "fields of others in ", decisions["takes_over"]),
        ("~ unpaused", "ScaledJob ", decisions["unpauses"]),
        ("+ restored", "", decisions["saved"]),
        ("! may be lost", "Job ", decisions["given_up"]),
    ):
        for name in names:
            _show(what, f"{kind}{name}", "yellow")
    _show("  left alone", _left_alone(plan))
    _show("  mode", f"{plan['mode']}: {plan['reason']}")
    for job in plan["jobs_at_risk"]:
        where = f"{job['namespace']}/{job['name']}"
        _show("! Job at risk", f"{job['kind']} {where} has generation {job['generation']}; made safe first", "yellow")
    for note in plan["notes"]:
        _show("! note", note, "yellow")
    _show("  verified by", _verification(plan))
    if plan.get("recent_s"):
        _show("  expected", _expected(plan["recent_s"], plan["mode"]))
    if verbose:
        for step in plan["steps"]:
            removes = " (removes)" if step["destructive"] else ""
            _show("  step", f"{step['id']}: {step['title']}{removes} {_in_words(step)}")
    _show("digest", str(plan["digest"]), style="bold")
    if command:
        _show("next", f"{command} --approve {plan['digest']}", style="bold")


def show_run(report: RunReport, verbose: bool = False) -> None:
    """Show three lines: what was done, the proof, and the recovery time beside the last ones; notes come first."""
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
    _show("proof", f"{smoke_line(report.smoke)}; {_kept(report.ledger)}")
    times = report.timings
    spans = [f"removal {times['removal']:.1f} s"] if "removal" in times else []
    if "first_scaled_job" in times:
        spans.append(f"first scaled Job after {times['first_scaled_job']:.1f} s")
    recent = ", ".join(f"{seconds:.1f}" for seconds in report.recent_s or ())
    beside = f"last {len(report.recent_s or ())}: {recent} s" if recent else "the first of its mode here"
    took = "; ".join([f"recovery time {times['recovery']:.1f} s ({beside})", *spans, f"run {report.run}"])
    _show("time", took, style="bold")


def smoke_line(smoke: SmokeResult) -> str:
    """Return what a smoke test proved."""
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


def _diff(found: Sequence[Mapping[str, Any]], verbose: bool) -> Iterator[tuple[str, str, str, str]]:
    """Yield sign, colour, word and text of each change; what is changed in one way for one reason is one line."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for number, change in enumerate(found):
        reason = f"differs at {change['field']}" if change["field"] else change["why"]
        groups.setdefault((change["change"], f"{number} {reason}" if verbose else f" {reason}"), []).append(change)
    for (word, reason), group in groups.items():
        if len(group) > MOST_NAMED:
            told = ", ".join(
                f"{count} {kind}" for kind, count in Counter(change["kind"] for change in group).most_common()
            )
        else:
            told = ", ".join(map(_named, group))
        why = reason.partition(" ")[2]
        yield *SIGNS[word], word, f"{told}: {why}" if why else told


def _named(change: Mapping[str, Any]) -> str:
    return f"{change['kind']} {change['namespace']}{'/' * bool(change['namespace'])}{change['name']}"


def _of_deletions(decisions: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the deletions of a plan that was made again: what else it changes, its steps say."""
    return [
        {
            "change": "removed",
            "field": "",
            **{key: deletion.get(key, "") for key in ("kind", "namespace", "name", "why")},
        }
        for deletion in decisions["deletions"]
    ]


def _todo(plan: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what else changes: each step that has something to do, with what its inspection saw."""
    in_detail = IN_DETAIL if plan.get("changes") else ()
    for step in plan["steps"]:
        state, detail = _now(step)
        stage = step["id"].partition("/")[0]
        if state in ("todo", "broken") and stage not in (*NO_CHANGE, "remove") and step["id"] not in in_detail:
            yield step["title"], detail


def _unseen(plan: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for step in plan["steps"]:
        state, detail = _now(step)
        if state == "not seen" and step["id"].partition("/")[0] not in NO_CHANGE:
            yield step["title"], detail


def _now(step: Mapping[str, Any]) -> tuple[str, str]:
    """Return the state and the detail of what a step's inspection saw."""
    state, _, detail = str(step.get("now", "")).removeprefix("[").removesuffix("]").partition(": ")
    return state, detail


def _in_words(step: Mapping[str, Any]) -> str:
    """Return what a step's inspection saw. A plan has done nothing: what stands already is not to be done."""
    state, detail = _now(step)
    return f"[{': '.join(filter(None, ('nothing to do' if state == 'done' else state, detail)))}]" if state else ""


def _version(plan: Mapping[str, Any]) -> str:
    return one_line(str(plan.get("inputs", {}).get("environment", {}).get("keda", {}).get("version", "")))


def _left_alone(plan: Mapping[str, Any]) -> str:
    running, at_risk = plan.get("running_count"), len(plan["jobs_at_risk"])
    jobs = "; no Job or pod runs" if running == 0 else f"; {running} running Jobs and pods, {at_risk or 'none'} at risk"
    return f"{plan.get('left_alone_count', 0)} objects of KEDA{'' if running is None else jobs}"


def _verification(plan: Mapping[str, Any]) -> str:
    looks = sum(step["id"].startswith("verify/") for step in plan["steps"]) - 1
    return f"a smoke test (events become Jobs), then {looks} looks at parts, ScaledJobs, leader, polling, lag and Jobs"


def _expected(recent: Sequence[float], mode: str) -> str:
    if len(recent) == 1:
        return f"about {span(recent[0])}, as the last {mode} took here"
    return f"about {span(median(recent))}; the last {len(recent)} took {min(recent):.1f} to {max(recent):.1f} s (mode {mode})"
