"""The acceptance suite: a KEDA that was redeployed does what KEDA promises; one that does otherwise is seen."""

from __future__ import annotations

import signal
import subprocess
from dataclasses import replace
from datetime import timedelta

import pytest

from prompt_keda.clients.kube.resources import SCALED_JOBS
from prompt_keda.components.smoke.acceptance import CASES
from prompt_keda.components.smoke.acceptance.run_acceptance import run_acceptance
from prompt_keda.core.check import Verdict
from prompt_keda.core.event import nobody

from .conftest import AT_DESK, ENV, INSTRUMENT, ROOT, at_the_stack_only, command, run_json, until
from .test_smoke import NAMESPACE, left_behind, scale

BY_ID = {case.id: case for case in CASES}
SAMPLE = "minimum/with-work,strategy/accurate"
SOON = timedelta(seconds=45)


def real_one(admin):
    """Return what nobody but its owner changes of the real ScaledJob."""
    live = admin.get(SCALED_JOBS, INSTRUMENT, INSTRUMENT)
    return live["metadata"]["uid"], live["metadata"]["generation"], live["spec"]


def streams(systems):
    (keys,) = systems.redis.run(("KEYS", "smoke-*"))
    return keys


@pytest.mark.desk_first
def test_two_cases_are_verified(deployed, admin, systems):
    """A sample: each with what was expected and seen, the smoke test before them; nothing is left."""
    code, document = run_json("smoke", "--env", ENV, "--full", "--only", SAMPLE)
    assert code == 0, document
    assert sorted(case["id"] for case in document["cases"]) == SAMPLE.split(",")
    for case in document["cases"]:
        assert case["verdict"] == "ok" and case["points"] and 0 < case["duration_s"] < 120
    assert document["smoke"]["acknowledged_count"] == document["smoke"]["events_count"]
    until(lambda: not left_behind(admin), 60, "an empty namespace")
    assert streams(systems) == []


@pytest.mark.exhaustive
def test_the_whole_suite_is_verified(deployed, admin, systems):
    """From the desk all but what deletes the operator's pod. The real ScaledJob is as before, and has no fault."""
    before = real_one(admin)
    code, document = run_json("smoke", "--env", ENV, "--full", timeout=900)
    assert code == 0, document
    verdicts = {case["id"]: case["verdict"] for case in document["cases"]}
    assert verdicts == {case.id: "skipped" if AT_DESK and case.disrupts else "ok" for case in CASES}
    assert real_one(admin) == before
    until(lambda: not left_behind(admin), 60, "an empty namespace")
    assert streams(systems) == []
    code, document = run_json("check-deps", "--env", ENV, "--only", "keda")
    assert code == 0, [result for result in document["results"] if result["verdict"] not in ("ok", "warn")]
    errors = next(result for result in document["results"] if result["id"] == "keda/no-scaler-errors")
    assert errors["verdict"] == "ok", errors  # what the case with a failing trigger has counted is no fault


def test_ctrl_c_ends_every_case_and_cleans_up(deployed, admin, systems):
    """SIGINT while cases are at work side by side: their objects are removed all the same."""
    running = subprocess.Popen(
        command("smoke", "--env", ENV, "--full"),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    until(lambda: len(admin.list(SCALED_JOBS, NAMESPACE)) >= 3, 240, "the ScaledJobs of several cases")
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert running.returncode == 130
    until(lambda: not left_behind(admin), 60, "an empty namespace")
    assert streams(systems) == []


RED = [
    ("lag/activation", {"activation": 1}, "expected none, seen"),
    ("strategy/eager", {"strategy": {"strategy": "default"}}, "Jobs at once, expected 8"),
    ("strategy/default", {"strategy": {"strategy": "eager"}}, "expected no more than 4"),
    ("strategy/accurate", {"strategy": {"strategy": "eager"}}, "expected no more than 4"),
    ("strategy/custom", {"strategy": {"strategy": "default"}}, "Jobs at once, expected 6"),
    ("minimum/without-events", {"min_jobs": 0}, "Jobs at once, expected 2"),
    ("minimum/with-work", {"min_jobs": 3}, "expected no more than 1"),
    ("minimum/up-to-the-maximum", {"max_jobs": 5}, "expected no more than 4"),
    ("rollout/gradual", {"rollout": "default"}, "expected the same, seen"),
    # "1 or more" or "still more": KEDA may count one error of a new ScaledJob that is as it should be (seen).
    ("errors/counted", {"trigger": None}, "errors that KEDA counts, expected"),
]


@pytest.mark.exhaustive
@at_the_stack_only
def test_a_keda_that_does_otherwise_is_seen(deployed, admin, systems):
    """The same KEDA with another ScaledJob than each case wants: every case is red, and says why."""
    changed = {id_: (replace(BY_ID[id_].shape, **values), message) for id_, values, message in RED}
    cases = [replace(BY_ID[id_], shape=shape, deadline=SOON) for id_, (shape, _) in changed.items()]
    for case_result in run_acceptance(systems, cases, nobody, "test"):
        assert case_result.verdict is Verdict.FAIL and changed[case_result.id][1] in case_result.detail, case_result
    until(lambda: not left_behind(admin), 60, "an empty namespace")


@pytest.mark.exhaustive
@at_the_stack_only
def test_a_pause_that_does_not_hold_is_seen(deployed, admin, systems):
    """An annotation that says false is no pause."""
    from prompt_keda.components.smoke.acceptance.trial import Trial

    class Unpaused(Trial):
        def pause(self, value):
            super().pause("false" if value == "true" else value)

    case = BY_ID["pause/no-new-jobs"]

    def run(trial):
        trial.__class__ = Unpaused
        case.run(trial)

    (result,) = run_acceptance(systems, [replace(case, run=run, deadline=SOON)], nobody, "test")
    assert result.verdict is Verdict.FAIL and "ScaledJob, expected paused" in result.detail, result


@pytest.mark.exhaustive
@at_the_stack_only
def test_an_operator_that_does_not_come_back_is_seen(deployed, admin, systems):
    """No new Job is made: red at the deadline, with what was seen last; what the case made is removed."""
    case = BY_ID["operator/deleted"]

    def run(trial):
        scale(admin, 0)
        case.run(trial)

    try:
        (result,) = run_acceptance(systems, [replace(case, run=run, deadline=SOON)], nobody, "test")
    finally:
        scale(admin, 1)
    assert result.verdict is Verdict.FAIL and "Jobs at once, expected 1" in result.detail, result
