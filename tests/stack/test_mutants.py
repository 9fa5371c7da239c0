"""Drills find what they are for: each is a defect put into the toolkit itself, and the drill has to fail.

Every one of them is passed by the toolkit as it is: tests/stack/test_drills.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from prompt_keda.environment.loading import load_environment
from prompt_keda.lab.faults import ALL_FAULTS
from prompt_keda.lab.faults.fault import Stage

from .conftest import ROOT, at_the_stack_only, run_task
from .mutant import MUTANTS

pytestmark = at_the_stack_only
FAULTS = {fault.id: fault for fault in ALL_FAULTS}
KILLED_BY = {
    "jobs_stay_owned": ("keda/deletion-stuck", "lost: Job prompt-keda-lsstcam/"),
    "old_generations_are_no_risk": ("keda/scaled-job-deleted", "lost: Job prompt-keda-lsstcam/"),
    "unknown_is_green": ("vault/frozen", "the checks that see vault/frozen"),
    "what_waits_is_skipped": ("redis/restarted-empty", "events lost, the first"),
}
"""Mutant → the drill that finds it, and what that says. A journal that is not on the disk: test_power_cut.py."""
SAMPLE = ("jobs_stay_owned", "what_waits_is_skipped")
"""Those of every test run: a Job is lost, an event is. The others are exhaustive: another one that loses Jobs, and one whose drill
says what tests/unit/lab/drills/test_drill.py shows of it, that the checks did not see the fault."""


def drill(fault_id, **env):
    argv = [sys.executable, "-m", "tests.stack.mutant", "drill", "--fault", fault_id, "--json"]
    done = subprocess.run(
        argv, cwd=ROOT, capture_output=True, text=True, timeout=500, env={**os.environ, "CI": "true", **env}
    )
    return done.returncode, json.loads(done.stdout)


def change_generations(endpoints):
    """Edit the ScaledJob twice, so that one that is recreated has another generation than its Jobs."""
    stage = Stage(load_environment(ROOT / "environments" / "local.yaml", endpoints))
    FAULTS["keda/no-history"].inject(stage)
    FAULTS["keda/no-history"].revert(stage)


def acknowledge_all(stage):
    """Workers that a mutant has killed may leave an event pending: the next drill would not begin."""
    for instrument in stage.environment.instruments:
        if ids := stage.redis.pending_ids(instrument.stream, instrument.consumer_group):
            stage.redis.run(["XACK", instrument.stream, instrument.consumer_group, *ids])


@pytest.fixture(scope="module", autouse=True)
def whole_again(deployed):
    """The mutants' redeploys are the last word only until the end of this file."""
    yield
    assert run_task("redeploy", "--env", "local").returncode == 0


@pytest.mark.parametrize(
    "mutant",
    [pytest.param(mutant, marks=[] if mutant in SAMPLE else [pytest.mark.exhaustive]) for mutant in MUTANTS],
)
def test_a_drill_finds_a_toolkit_that_is_broken(deployed, endpoints, mutant):
    """And says what it has seen."""
    fault_id, expected = KILLED_BY[mutant]
    if mutant == "old_generations_are_no_risk":
        change_generations(endpoints)
    try:
        code, document = drill(fault_id, PROMPT_KEDA_TEST_MUTANT=mutant)
    finally:
        stage = Stage(load_environment(ROOT / "environments" / "local.yaml", endpoints))
        FAULTS[fault_id].revert(stage)
        acknowledge_all(stage)
    (drilled,) = document["drills"] or [document]
    assert code == 1 and any(expected in problem for problem in drilled.get("problems", ())), drilled
