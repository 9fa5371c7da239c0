"""A plan reads like a diff, and a run ends in three lines. From plans that were made on the local stack."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from prompt_keda.components.smoke.result import SmokeResult
from prompt_keda.core.decisions import Change, Decisions, Deletion, JobRecord, Plan
from prompt_keda.core.plan import Progress, State, Step, StepResult
from prompt_keda.records.run_history import recent_recoveries
from prompt_keda.records.run_summary import RunSummary
from prompt_keda.redeploy.changes import changes, left_alone_count
from prompt_keda.redeploy.inventory import Inventory, ObservedObject
from prompt_keda.report.parts import NOT_SEEN, PlanReport, SeenNow
from prompt_keda.report.redeploy_as_text import show_plan, show_run
from prompt_keda.report.run_report import Ledger, RunReport
from prompt_keda.report.status import NotSeen
from tests.unit.test_house_rules import ROOT


def plan(name):
    kept = json.loads((ROOT / "tests" / "unit" / "recorded" / f"plan-{name}.json").read_text())
    steps = tuple(Step(step["id"], step["title"], None, None, step["destructive"]) for step in kept["steps"])
    made = Plan(
        kept["mode"],
        kept["reason"],
        steps,
        Decisions.from_json(kept["decisions"]),
        kept["inputs"],
        tuple(JobRecord(**job) for job in kept["jobs_at_risk"]),
        changes=tuple(Change(**change) for change in kept["changes"]),
        left_alone_count=kept["left_alone_count"],
    )
    now = [SeenNow(*step["now"][1:-1].partition(": ")[::2]) for step in kept["steps"]]
    return PlanReport(made, now, kept["notes"], kept["running_count"], kept["recent_s"])


def shown(capsys, monkeypatch, made, verbose=False, width=80):
    monkeypatch.setenv("COLUMNS", str(width))
    show_plan(made, verbose)
    return capsys.readouterr().out.splitlines()


def test_a_plan_that_changes_nothing_says_so(capsys, monkeypatch):
    """In its first line, and all of it within twelve with the header; the digest is the last."""
    lines = shown(capsys, monkeypatch, plan("healthy"))
    assert lines[0] == "Nothing to change: KEDA 2.16.1 stands as wanted; smoke test only."
    assert len(lines) < 12 and lines[-1].split() == ["digest", plan("healthy").plan.digest]


def test_a_plan_lists_changes_and_counts_what_stays(capsys, monkeypatch):
    """Removed, created, changed; Jobs at risk; the verification; the expected time."""
    text = "\n".join(shown(capsys, monkeypatch, plan("keda-deleted"), width=200))
    assert "Nothing to change" not in text
    for part in (
        "± replaced    APIService v1beta1.external.metrics.k8s.io",
        "+ created     3 ServiceAccount, 3 Service, 3 Deployment, 1 Role, 1 RoleBinding",
        "~ step        write the Secrets that Vault holds: missing or drifted from Vault: keda/pull-secret",
        "left alone  14 objects of KEDA; no Job or pod runs",
        "a smoke test (events become Jobs), then 7 looks",
        "expected    about 29.4 s; the last 5 took 20.9 to 35.1 s (mode reinstall)",
    ):
        assert part in text, part


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", ["healthy", "keda-deleted"])
def test_a_plan_fits_the_terminal(capsys, monkeypatch, name, width):
    """No line is longer, and there are at most thirty; with --verbose every step is there."""
    lines = shown(capsys, monkeypatch, plan(name), width=width)
    assert max(map(len, lines)) <= width and len(lines) <= 30
    text = " ".join(shown(capsys, monkeypatch, plan(name), verbose=True, width=200))
    assert all(step.id in text for step in plan(name).plan.steps)


def test_what_cannot_be_seen_is_not_nothing_to_change(capsys, monkeypatch):
    """Redis may hold what has to be put back."""
    made = plan("healthy")
    *steps, step, last = made.plan.steps
    steps = (*steps, replace(step, id="restore/count-lag"), last)
    now = [*made.now[:-2], SeenNow(NOT_SEEN, "Redis is away"), made.now[-1]]
    lines = shown(capsys, monkeypatch, replace(made, plan=replace(made.plan, steps=steps), now=now))
    assert "? not seen    see that what waits is worked off: Redis is away" in lines and "Nothing" not in lines[0]


def test_a_plan_names_the_field_that_differs_and_the_jobs_at_risk(capsys, monkeypatch):
    """The first field is enough to recognise a change of somebody's."""
    made, change = plan("healthy"), Change("changed", "Deployment", "keda", "o", field="spec.replicas")
    changed = replace(made.plan, changes=(change,), jobs_at_risk=(JobRecord("Job", "n", "j", "u", "sj", None),))
    lines = shown(capsys, monkeypatch, replace(made, plan=changed))
    assert "~ changed     Deployment keda/o: differs at spec.replicas" in lines
    assert "! Job at risk Job n/j has generation None; annotated first" in lines


def obj(kind, name, live=True, difference=None):
    wanted = {"kind": kind, "metadata": {"name": name, "namespace": "keda"}}
    return ObservedObject(wanted, wanted if live else None, difference)


def test_a_diff_reports_removed_replaced_created_and_changed_apart():
    """What a deletion takes away and the manifests bring back is replaced; what they do not know is removed."""
    parts = (
        obj("Deployment", "a", difference="spec.replicas"),
        obj("Service", "b", live=False),
        obj("Role", "c", difference="rules"),
        obj("Role", "d"),
    )
    inventory = Inventory((), parts, (), (), (), "expired", (), None, ())
    deletions = (
        Deletion("Deployment", "keda", "a", "u", "differs at spec.replicas"),
        Deletion("Deployment", "keda", "old", "u", "not among KEDA's manifests"),
        Deletion("Deployment", "elsewhere", "a", "u", "another KEDA beside this one"),
    )
    differences = changes(inventory, Decisions(deletions), "keda")
    assert [(change.change, change.namespace, change.name) for change in differences] == [
        ("replaced", "keda", "a"),
        ("removed", "keda", "old"),
        ("removed", "elsewhere", "a"),
        ("created", "keda", "b"),
        ("changed", "keda", "c"),
        ("replaced", "keda", "kedaorg-certs"),
    ]
    assert (
        differences[4] == Change("changed", "Role", "keda", "c", field="rules")
        and left_alone_count(inventory, differences) == 1
    )


DONE = Progress(State.DONE)
JOB = JobRecord("Job", "n", "j", "u", "sj", "2")
RUN = RunReport(
    run="r1",
    mode="repair",
    notes=(),
    steps=[
        StepResult("guard/hold-lease", "t", False, DONE, True, 0.1),
        StepResult("install/apply-parts", "apply KEDA's rights", False, DONE, True, 2.0),
        StepResult("restore/x", "t", False, DONE, False, 0.0),
    ],
    ledger=Ledger([JOB, JOB], [], {"s": NotSeen("Redis is away")}),
    smoke=SmokeResult(6, 6, ["a"] * 5, ["a"] * 5),
    timings={"recovery": 21.04, "first_scaled_job": 3.0},
)


@pytest.mark.parametrize("recent", [[9.1, 12.7], []])
def test_a_run_ends_in_three_lines(capsys, monkeypatch, recent):
    """What was done, what was verified, and the recovery time beside the last ones."""
    monkeypatch.delenv("COLUMNS", raising=False)
    show_run(replace(RUN, recent_s=recent))
    done, verified, took = capsys.readouterr().out.splitlines()
    assert done == "done          mode repair: apply KEDA's rights"
    assert "smoke test: 6 events sent, 5 Jobs made, 5 pods ran, 6 acknowledged, lag 0" in verified
    assert "2 Jobs and pods ran at the start; all live on or ended by themselves" in verified
    assert "recovery time 21.0 s" in took and ("last 2: 9.1, 12.7 s" if recent else "the first") in took


def test_a_run_is_kept_as_json_that_says_what_it_did():
    """As report.json; what the last ones took is added for who looks."""
    kept = json.loads(json.dumps(RUN.to_json()))
    assert kept["steps"][1] == {
        **{"id": "install/apply-parts", "title": "apply KEDA's rights", "destructive": False, "progress": "done"},
        **{"detail": "", "acted": True, "duration_s": 2.0},
    }
    assert kept["ledger"]["before"][0]["uid"] == "u" and kept["ledger"]["streams"] == {
        "s": {"unknown": "Redis is away"}
    }
    assert kept["smoke"]["acknowledged_count"] == 6 and "recent_s" not in kept
    assert replace(RUN, recent_s=[1.0]).to_json()["recent_s"] == [1.0]


def test_times_beside_a_run_are_those_of_its_mode_and_not_its_own():
    """The last five that ended green, the newest first."""

    def run(number, mode="repair", seconds=1.0):
        return RunSummary(f"r{number}", "e", "2026", mode, "green", seconds)

    runs = [run(9, seconds=9.0), run(8, "cold"), run(7, seconds=None), *(run(n, seconds=float(n)) for n in range(6))]
    assert recent_recoveries(runs, "repair", "r9") == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_changes_stand_before_the_reason_and_the_command_stands_last(capsys, monkeypatch):
    """What a person looks for at night comes first; the last line can be copied."""
    monkeypatch.setenv("COLUMNS", "120")
    show_plan(plan("keda-deleted"), command="./run redeploy --env local")
    lines = capsys.readouterr().out.splitlines()
    created = next(number for number, line in enumerate(lines) if line.startswith("+ created"))
    reason = next(number for number, line in enumerate(lines) if line.startswith("  mode"))
    assert created < reason
    assert lines[-1] == f"next          ./run redeploy --env local --approve {plan('keda-deleted').plan.digest}"
