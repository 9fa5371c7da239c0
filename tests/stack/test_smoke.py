"""The smoke test verifies by UIDs and acknowledgements, leaves nothing, and does not lie."""

from __future__ import annotations

import signal
import subprocess

import pytest

from prompt_keda.clients.kube.resources import DEPLOYMENTS, JOBS, SCALED_JOBS, SECRETS

from .conftest import ENV, ROOT, command, run_json, run_task, until

NAMESPACE = "prompt-keda-smoke"


def left_behind(admin):
    kinds = (SCALED_JOBS, JOBS)
    left = [obj["metadata"]["name"] for kind in kinds for obj in admin.list(kind, NAMESPACE)]
    return left + [
        s["metadata"]["name"] for s in admin.list(SECRETS, NAMESPACE) if s["metadata"]["name"] != "pull-secret"
    ]


@pytest.mark.desk_first
def test_events_become_jobs_and_are_acknowledged(deployed, admin):
    """N + activation events, N Jobs by UID, their pods ran, all acknowledged; nothing is left."""
    code, document = run_json("smoke", "--env", ENV, "--events", "4")
    smoke = document["smoke"]
    assert code == 0
    # more where KEDA breaks off while it makes the Jobs, as on a slow machine: docs/decisions/0003
    assert smoke["events_count"] == smoke["acknowledged_count"] >= 5
    assert len(smoke["job_uids"]) >= 4 and len(smoke["pod_uids"]) >= 4
    assert set(smoke["intervals_s"]) == {"ready", "first_job", "all_jobs", "pods_ran", "acknowledged", "inactive"}
    until(lambda: not left_behind(admin), 60, "an empty namespace")


def test_without_an_operator_it_fails_and_leaves_no_job(deployed, admin, shared):
    """Red when scaling is dead: exit code 1 and the point that was not reached; what it made is removed."""
    import yaml

    changed = shared / "quick.yaml"
    data = yaml.safe_load((ROOT / "environments" / f"{ENV}.yaml").read_text())
    data["smoke"]["deadline"] = "8s"
    data["instruments"][0]["manifest"] = str(ROOT / "environments" / "local" / "prompt-keda-lsstcam.yaml")
    changed.write_text(yaml.safe_dump(data))
    scale(admin, 0)
    try:
        done = run_task("smoke", "--env", str(changed))
    finally:
        scale(admin, 1)
    assert done.returncode == 1 and "smoke test: ready" in done.stderr, done.stderr
    until(lambda: not left_behind(admin), 60, "an empty namespace")


def scale(admin, replicas):
    admin.patch(DEPLOYMENTS, "keda-operator", "keda", {"spec": {"replicas": replicas}})
    until(lambda: admin.get(DEPLOYMENTS, "keda-operator", "keda")["status"].get("availableReplicas", 0) == replicas, 90)


def test_ctrl_c_cleans_up(deployed, admin):
    """SIGINT in the middle: the objects of the test are removed all the same."""
    running = subprocess.Popen(
        command("smoke", "--env", ENV), cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    until(lambda: admin.list(SCALED_JOBS, NAMESPACE), 60, "the smoke test's ScaledJob")
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert running.returncode == 130
    until(lambda: not left_behind(admin), 60, "an empty namespace")
