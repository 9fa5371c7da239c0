"""That events do not become work is red within a minute, whatever the cause: ten are drawn by a seed, and no check knows them.

Another seed: ``PROMPT_KEDA_CAUSES_SEED=7 .venv/bin/python -m pytest tests/stack/test_unknown_causes.py``.
"""

from __future__ import annotations

import os
import re
import sys
import time

import pytest

from prompt_keda.environment.loading import load_environment
from prompt_keda.lab.faults import scaling
from prompt_keda.lab.faults.fault import Stage

from . import unknown_causes
from .conftest import ENV, ROOT, at_the_stack_only, run_json, until
from .test_scaling_works import outcome, send

pytestmark = [at_the_stack_only, pytest.mark.exhaustive]  # about two minutes each
SEED = int(os.environ.get("PROMPT_KEDA_CAUSES_SEED", "1"))
COUNT, EVENTS, FEW = 10, 100, 10
RED_S, GREEN_S = 60, 180
CAUSES = unknown_causes.drawn(SEED, COUNT)


@pytest.fixture(scope="module")
def stage(deployed, endpoints):
    return Stage(load_environment(ROOT / "environments" / "local.yaml", endpoints))


def verdict(systems):
    return outcome(systems).verdict.value


def id_of(cause):
    return "-".join(re.findall("[a-z]+", cause.words.lower()))


@pytest.mark.parametrize("cause", CAUSES, ids=id_of)
def test_whatever_stops_a_link_is_red_within_a_minute(cause, stage, systems, capsys):
    """By itself, and in a whole round of checks, whose exit code is 1; green again once the cause is gone."""
    unknown_causes.until_few_work(stage)
    until(lambda: verdict(systems) == "ok", GREEN_S, "a chain that moves")
    try:
        cause.inject(stage)
        began = time.monotonic()
        send(systems.redis, stage, EVENTS)
        until(lambda: verdict(systems) == "fail", RED_S, f"that {cause.words}")
        red_s, observed = time.monotonic() - began, outcome(systems).observed
        code, document = run_json("check-deps", "--env", ENV)
        result = next(result for result in document["results"] if result["id"] == "scaling/works")
        others = [result["id"] for result in document["results"] if result["verdict"] not in ("ok", "skipped")]
        assert (code, result["verdict"]) == (1, "fail"), f"after {red_s:.0f} s: {observed}; then: {result['observed']}"
    finally:
        cause.revert(stage)
        scaling.delete_stuck_jobs(stage)
    began = time.monotonic()
    unknown_causes.until_none_waits(stage)
    unknown_causes.acknowledge_all(stage)
    until(lambda: verdict(systems) == "ok", GREEN_S, "a chain that moves again")
    with capsys.disabled():
        green_s = time.monotonic() - began
        sys.stdout.write(
            f"\nseed {SEED}: {cause.words}: red after {red_s:.0f} s, green after {green_s:.0f} s: {observed}\n"
        )
        sys.stdout.write(f"  also detected by: {', '.join(others)}\n")


def test_older_workers_that_still_read_hide_nothing(stage, systems):
    """No event waits, enough workers are there, and none that was made since has come to run: those end soon."""
    cause = unknown_causes.secret(unknown_causes.Always(None))
    unknown_causes.until_few_work(stage)
    until(lambda: verdict(systems) == "ok", GREEN_S, "a chain that moves")
    try:
        send(systems.redis, stage, FEW)
        until(lambda: unknown_causes.running_count(stage) >= FEW - 1, 30, "workers that are at work")
        cause.inject(stage)
        send(systems.redis, stage, 2 * FEW)
        until(lambda: red_while_none_waits(systems), RED_S, "that new workers do not run")
    finally:
        cause.revert(stage)
        scaling.delete_stuck_jobs(stage)
    unknown_causes.until_none_waits(stage)
    unknown_causes.acknowledge_all(stage)
    until(lambda: verdict(systems) == "ok", GREEN_S, "a chain that moves again")


def red_while_none_waits(systems):
    result = outcome(systems)
    return result.verdict.value == "fail" and "no event waits" in result.observed and "0 of 20" not in result.observed
