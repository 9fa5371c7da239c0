"""Drills: every fault is seen, answered by its runbook, and scaling is verified; no Job is lost. And only on the local stack.

What they showed is kept in docs/drills.md: `./run drill --all --markdown docs/drills.md`.
"""

from __future__ import annotations

import pytest

from prompt_keda.clients.kube.resources import CONFIG_MAPS
from prompt_keda.lab.chaos import MOST_TRIES
from prompt_keda.lab.faults import ALL_FAULTS, fault_of
from prompt_keda.redeploy.approval import MARKER

from .conftest import ENV, at_the_stack_only, run_json, skip_where_lacking

pytestmark = at_the_stack_only
SAMPLE = ("keda/operator-gone",)
"""Those of every test run; the others are exhaustive, about a minute each."""


@pytest.mark.parametrize(
    "fault_id",
    [fault.id if fault.id in SAMPLE else pytest.param(fault.id, marks=pytest.mark.exhaustive) for fault in ALL_FAULTS],
)
def test_a_drill_is_passed(deployed, fault_id):
    """Detected by its checks, the right runbook proposed, answered by it or by people, verified, and no Job and no event lost."""
    skip_where_lacking(fault_of(fault_id))
    code, document = run_json("drill", "--fault", fault_id, timeout=900)
    (drilled,) = document["drills"]
    assert (code, drilled["problems"], drilled["lost"]) == (0, [], [])
    assert drilled["detected_s"] is not None and drilled["recovered_s"] > drilled["detected_s"]
    assert drilled["events"]["sent"] > 5


def test_a_cluster_without_the_marker_is_never_broken(deployed, admin):
    """Whatever flags are given: exit 2, and nothing is done."""
    marker = admin.get(CONFIG_MAPS, MARKER, "kube-system")
    admin.delete(CONFIG_MAPS, MARKER, "kube-system")
    try:
        code, document = run_json("drill", "--fault", "keda/operator-gone")
    finally:
        admin.create(CONFIG_MAPS, {"metadata": {"name": MARKER}, "data": marker.get("data")}, "kube-system")
    assert code == 2 and "marker" in document["error"]["what"]


@pytest.mark.parametrize(("rounds", "seed"), [(1, 24), pytest.param(50, 1, marks=pytest.mark.exhaustive)])
def test_a_chaos_run_breaks_no_promise(deployed, rounds, seed):
    """Much goes wrong at once while events come, and the toolkit is killed and resumed. What 50 rounds found: docs/chaos.md.

    The round of seed 24: a fault and a kill while it reinstalls, then the operator freezes, and Vault.
    """
    code, document = run_json(
        "drill", "--rounds", str(rounds), "--seed", str(seed), timeout=(rounds + MOST_TRIES) * 300
    )
    broken = [
        (chaos_round["round"], chaos_round["problems"]) for chaos_round in document["rounds"] if chaos_round["problems"]
    ]
    assert broken == [], document["smallest"]
    assert code == 0 and len(document["rounds"]) == rounds
    assert sum(chaos_round["events_sent"] for chaos_round in document["rounds"]) > 10


def test_a_fault_that_people_inject_stays_until_they_revert_it(deployed):
    """The list and lab.status tell it, and check-deps sees it; then all are as before."""
    fault_id = "keda/paused"
    assert run_json("fault", fault_id)[0] == 0
    try:
        code, document = run_json("faults")
        assert code == 0 and [fault["id"] for fault in document["faults"] if fault["is_there"]] == [fault_id]
        assert run_json("lab.status")[1]["faults"] == [fault_id]
        results = run_json("check-deps", "--env", ENV, "--only", "keda")[1]["results"]
        assert [result["id"] for result in results if result["verdict"] == "warn"] == ["keda/none-paused"]
    finally:
        code, document = run_json("faults", "--revert")
    assert code == 0 and [(fault["id"], fault["is_there"]) for fault in document["faults"]] == [(fault_id, False)]
    assert run_json("check-deps", "--env", ENV, "--only", "keda")[0] == 0
    assert run_json("lab.status")[1]["faults"] == []
