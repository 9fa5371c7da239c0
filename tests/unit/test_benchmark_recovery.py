"""The benchmark of a recovery tells which way failed. Without a stack."""

from __future__ import annotations

import json
import subprocess
from types import SimpleNamespace

import pytest

from prompt_keda.core.errors import LabError
from prompt_keda.lab.bench import delivery
from prompt_keda.lab.bench import recovery as module


@pytest.mark.parametrize(
    ("answer", "said"),
    [("", "exit code -9"), (json.dumps({"error": {"what": "no room", "fix": ""}}), "no room")],
)
def test_a_redeploy_that_fails_is_told(monkeypatch, answer, said):
    """Also one that was killed and has said nothing."""
    monkeypatch.setattr(module, "until_idle", lambda stage: None)
    monkeypatch.setattr(module, "NewJobs", lambda stage: None)
    monkeypatch.setattr(module, "_let_wait_once_removed", lambda stage: None)
    done = subprocess.CompletedProcess([], -9, answer, "")
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(LabError, match=f"redeploy failed: .*{said}"):
        module._ours(None, None)


def test_a_kubectl_that_fails_without_a_word_is_told():
    """One that was killed."""
    lab = SimpleNamespace(program=lambda name: "false", admin_kubeconfig="x")
    with pytest.raises(LabError, match="get failed with exit code 1: it said nothing"):
        module.kubectl(lab, "get", "pods")


def test_the_benchmark_of_delivery_tells_of_a_redeploy_that_fails(monkeypatch):
    """With its own words."""
    done = subprocess.CompletedProcess([], 3, json.dumps({"error": {"what": "no room", "fix": ""}}), "")
    monkeypatch.setattr(delivery.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(LabError, match=r"redeploy failed: .*no room"):
        delivery._ours(None, None)
