"""The benchmark of a recovery tells which way failed. Without a stack."""

from __future__ import annotations

import json
import subprocess
from types import SimpleNamespace

import pytest

from prompt_keda.components.smoke import smoke_test
from prompt_keda.core.errors import LabError
from prompt_keda.lab.bench import burst, delivery
from prompt_keda.lab.bench import recovery as module
from tests.unit.world import World


@pytest.mark.parametrize(
    ("answer", "message"),
    [("", "exit code -9"), (json.dumps({"error": {"what": "no room", "fix": ""}}), "no room")],
)
def test_a_redeploy_that_fails_is_reported(monkeypatch, answer, message):
    """Also one that was killed and has said nothing."""
    monkeypatch.setattr(module, "until_idle", lambda stage: None)
    monkeypatch.setattr(module, "NewJobs", lambda stage: None)
    monkeypatch.setattr(module, "_let_wait_once_removed", lambda stage: None)
    done = subprocess.CompletedProcess([], -9, answer, "")
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(LabError, match=f"redeploy failed: .*{message}"):
        module._ours(None, None)


def test_a_kubectl_that_fails_without_a_word_is_reported():
    """One that was killed."""
    lab = SimpleNamespace(program=lambda name: "false", admin_kubeconfig="x")
    with pytest.raises(LabError, match="get failed with exit code 1: it said nothing"):
        module.kubectl(lab, "get", "pods")


def test_the_benchmark_of_delivery_reports_of_a_redeploy_that_fails(monkeypatch):
    """With its own words."""
    done = subprocess.CompletedProcess([], 3, json.dumps({"error": {"what": "no room", "fix": ""}}), "")
    monkeypatch.setattr(delivery.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(LabError, match=r"redeploy failed: .*no room"):
        delivery._ours(None, None)


def test_the_benchmark_of_a_burst_hears_what_the_smoke_test_says(monkeypatch):
    """Where it listened for notes alone it measured nothing."""
    systems = SimpleNamespace(
        environment=World().systems.environment,
        kube=SimpleNamespace(list=lambda *_: [], watch=lambda targets: SimpleNamespace(close=lambda: None)),
    )

    def smoke(systems, size, observer, run_id):
        running = smoke_test._Smoke(World().systems, size, observer, run_id, lambda: None)
        running._say("2 events sent to stream smoke-1")
        running._say("pods ran after 1.0 s: 1 of 1 pods have run")
        return SimpleNamespace(intervals_s={"all_jobs": 0.5, "pods_ran": 1.0})

    monkeypatch.setattr(burst, "run_smoke", smoke)
    monkeypatch.setattr(burst.cgroups, "usage", lambda cgroup: (7.0, 0))
    took = burst._round(systems, 1, "bench-0")
    assert (took.jobs_s, took.running_s) == (0.5, 1.0)
