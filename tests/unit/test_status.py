"""What stands is told without a verdict, and what could not be seen is said in its place. Without a cluster."""

from __future__ import annotations

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.commands import status
from prompt_keda.components.scaled_jobs.objects import PAUSED
from prompt_keda.report.status_as_text import show_status
from tests.unit.world import SCALED_JOB, SPACE, World

RUN = {"run_id": "20261124t030000z-local-7", "state": "green", "mode": "repair", "recovery_s": 21.5}


def shown(capsys, world, runs=(), incident=""):
    found = status.look(world.systems)
    show_status({"status": found, "runs": list(runs), "incident": incident})
    return found, capsys.readouterr().out


def test_a_cluster_that_stands_is_told(capsys):
    """Parts, ScaledJob, stream, Jobs, runs and incident, a line each."""
    found, text = shown(capsys, World(), [RUN], "20261124t030000z-local-9")
    assert status.is_all_seen(found)
    for line in (
        "1/1 ready, 0 restarts",
        f"ScaledJob {SCALED_JOB}: Ready=True",
        "lag 0",
        "run 20261124t030000z-local-7: green, mode repair, 21.5 s",
        "open incident 20261124t030000z-local-9",
    ):
        assert line in text, text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda world: world.remove(kinds.SCALED_JOBS, SCALED_JOB, SPACE), f"ScaledJob {SCALED_JOB}: absent"),
        (lambda world: world.kube.denied.add(("list", "deployments")), "KEDA: not seen:"),
        (
            lambda world: world.change(
                kinds.SCALED_JOBS, SCALED_JOB, SPACE, metadata={"annotations": {PAUSED: "true"}}
            ),
            "paused by somebody",
        ),
    ],
)
def test_what_is_not_as_it_was_is_told(capsys, change, said):
    """Also what may not be seen: the rest is told all the same."""
    world = World()
    change(world)
    assert said in shown(capsys, world)[1]


def test_what_was_not_seen_is_not_all_seen():
    """Exit code 3 hangs on it."""
    assert not status.is_all_seen({"a": [{"b": {"unknown": "why"}}]})
    assert status.is_all_seen({"a": [{"b": {}}], "c": 1})
