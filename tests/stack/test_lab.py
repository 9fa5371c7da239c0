"""The local stack itself: it can be looked at, a second one can run beside it, and it leaves nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from prompt_keda.lab import cgroups

from .conftest import ROOT, run_json, run_task


def test_lab_status_tells_where_everything_is(endpoints):
    """State, provider, versions, kubeconfig, endpoints and processes."""
    code, document = run_json("lab.status")
    assert code == 0 and document["state"] == "up" and document["provider"] == "native"
    assert document["versions"] == {"kubernetes": "1.35.4", "keda": "2.16.1"}
    assert Path(document["kubeconfig"]).exists() and document["endpoints"] == endpoints
    assert all(document["processes"].values())


def test_lab_exec_gives_kubectl_redis_cli_and_exit_codes():
    """argv as given, inside the stack, with its environment set; the command's own exit code."""
    version = run_task("lab.exec", "--", "kubectl", "get", "--raw", "/version")
    assert '"v1.35.4"' in version.stdout
    pod = run_task(
        "lab.exec",
        "--",
        "kubectl",
        "-n",
        "prompt-redis",
        "get",
        "pod",
        "prompt-redis-0",
        "-o",
        "jsonpath={.status.podIP}",
    )
    answer = run_task("lab.exec", "--", "redis-cli", "-h", pod.stdout.strip(), "ping")
    assert answer.stdout.strip() == "PONG", answer.stderr
    assert run_task("lab.exec", "--", "sh", "-c", "exit 7").returncode == 7


def test_an_in_cluster_name_is_resolved_from_a_pod(deployed, admin):
    """The workers reach prompt-redis.prompt-redis by name: their logs show work, not a failed look-up."""
    from prompt_keda.clients.kube_resources import PODS

    from .conftest import INSTRUMENT, until

    def looked():
        running = [p for p in admin.list(PODS, INSTRUMENT) if p["status"]["phase"] == "Succeeded"]
        return running and admin.logs(INSTRUMENT, running[0]["metadata"]["name"])

    assert "no event came" in until(looked, 120, "a worker that has ended")


def test_a_second_stack_comes_and_goes_without_a_trace(endpoints):
    """Two at once by $PROMPT_KEDA_LAB; after lab.down no process, mount, namespace, link, cgroup or file is left."""
    env = {**os.environ, "PROMPT_KEDA_LAB": "second", "CI": "true"}
    task = [sys.executable, "-m", "invoke"]
    up = subprocess.run([*task, "lab.up"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert up.returncode == 0, up.stderr
    first = run_task("lab.exec", "--", "kubectl", "get", "nodes")
    assert first.returncode == 0
    down = subprocess.run([*task, "lab.down"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert down.returncode == 0, down.stderr
    assert not Path("/run/netns/prompt-keda-second").exists()
    assert not Path("/run/prompt-keda-lab-second").exists()
    assert "prompt-keda-lab-second" not in Path("/proc/self/mountinfo").read_text()
    assert "lab/second" not in Path("/proc/self/mountinfo").read_text()
    assert "second" not in subprocess.run(["ip", "-d", "link"], capture_output=True, text=True).stdout
    assert not cgroups.pids("prompt-keda-second")
    assert not list(Path("/sys/fs/cgroup").glob("**/prompt-keda-second"))
    assert run_json("lab.status")[1]["state"] == "up", "the first stack was harmed"
