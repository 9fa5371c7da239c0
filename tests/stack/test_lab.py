"""The local stack itself: it can be looked at, a second one can run beside it, and it leaves nothing."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from prompt_keda.lab import cgroups, processes
from prompt_keda.lab.settings import PORTS, Lab, current_lab

from .conftest import ROOT, TASKS, run_json, run_task, until


def test_lab_status_tells_where_everything_is(endpoints):
    """State, provider, versions, kubeconfig, endpoints and processes."""
    code, document = run_json("lab.status")
    assert code == 0 and document["state"] == "up" and document["provider"] == "native"
    asked = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "redis-server"], capture_output=True, text=True)
    assert document["versions"] == {
        "kubernetes": "1.35.4",
        "keda": "2.16.1",
        "etcd": "3.6.12",
        "coredns": "1.14.5",
        "vault": "1.21.4",
        "redis": asked.stdout,
    }
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


REACH = """
import socket, sys
address, *ports = sys.argv[1:]
for port in ports:
    try:
        socket.create_connection((address, int(port)), 2).close()
        print(port)
    except OSError:
        pass
"""


def test_the_desk_is_not_root_and_reaches_three_servers(endpoints):
    """API server, Vault and registry; neither the directory, nor the login, nor this machine, nor the stack's files."""
    assert run_task("lab.desk", "--", "id", "-un").stdout.strip() == "nobody"
    ports = [str(port) for port in PORTS.values()]
    asked = run_task("lab.desk", "--", sys.executable, "-c", REACH, endpoints["address"], *ports)
    assert asked.stdout.split() == [str(PORTS[one]) for one in ("api", "vault", "registry")], asked.stderr
    for path in (endpoints["admin_kubeconfig"], current_lab().state / "secrets", "/etc/shadow"):
        assert run_task("lab.desk", "--", "test", "-r", str(path)).returncode == 1, path
    capabilities = run_task("lab.desk", "--", "grep", "CapBnd", "/proc/self/status").stdout.split()
    assert capabilities == ["CapBnd:", "0" * 16]
    assert run_task("lab.desk", "--", "sh", "-c", "exit 7").returncode == 7


def test_an_in_cluster_name_is_resolved_from_a_pod(deployed, admin):
    """The workers reach prompt-redis.prompt-redis by name: their logs show work, not a failed look-up."""
    from prompt_keda.clients.kube_resources import PODS

    from .conftest import INSTRUMENT

    def looked():
        running = [p for p in admin.list(PODS, INSTRUMENT) if p["status"]["phase"] == "Succeeded"]
        return running and admin.logs(INSTRUMENT, running[0]["metadata"]["name"])

    assert "no event came" in until(looked, 120, "a worker that has ended")


def lab_task(name, task):
    env = {**os.environ, "PROMPT_KEDA_LAB": name, "CI": "true"}
    return subprocess.Popen(
        [sys.executable, TASKS, task],
        cwd=ROOT,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, timeout=300):
    _, said = process.communicate(timeout=timeout)
    assert process.returncode == 0, said


def assert_nothing_is_left(name):
    """No network namespace, socket folder, mount, link, process or cgroup of a stack."""
    assert not list(Path("/run/netns").glob(f"prompt-keda-{name}*"))
    assert not Path(f"/run/prompt-keda-lab-{name}").exists()
    mounts = Path("/proc/self/mountinfo").read_text()
    assert f"prompt-keda-lab-{name}" not in mounts and f"lab/{name}" not in mounts
    assert f"prompt-keda {name} " not in subprocess.run(["ip", "-d", "link"], capture_output=True, text=True).stdout
    assert not cgroups.pids(f"prompt-keda-{name}")
    assert not list(Path("/sys/fs/cgroup").glob(f"**/prompt-keda-{name}"))
    assert not Lab(name).state.exists()


def killed_while_its_kubelet_starts(name):
    coming = lab_task(name, "lab.up")
    until(lambda: processes.pid_of(Lab(name), "kubelet"), 120, f"a kubelet of the stack {name}")
    coming.kill()
    coming.communicate()


def test_a_second_stack_comes_and_goes_without_a_trace(endpoints):
    """Two at once by $PROMPT_KEDA_LAB, the second after a SIGKILL of its first lab.up; lab.down leaves nothing of it."""
    killed_while_its_kubelet_starts("second")
    finish(lab_task("second", "lab.up"))
    assert run_task("lab.exec", "--", "kubectl", "get", "nodes").returncode == 0
    finish(lab_task("second", "lab.down"))
    assert_nothing_is_left("second")
    assert run_json("lab.status")[1]["state"] == "up", "the first stack was harmed"


def test_lab_down_clears_what_a_killed_lab_up_left():
    """SIGKILL while the cluster starts: no trace is left."""
    killed_while_its_kubelet_starts("third")
    finish(lab_task("third", "lab.down"))
    assert_nothing_is_left("third")


@pytest.mark.exhaustive
def test_a_whole_stack_with_a_redis_without_password(tmp_path):
    """As in production: no password in Redis, in the ScaledJob or in the environment; a redeploy scales all the same."""
    environment = yaml.safe_load((ROOT / "environments" / "local.yaml").read_text())
    manifest = list(yaml.safe_load_all((ROOT / "environments/local/prompt-keda-lsstcam.yaml").read_text()))
    scaled_job = next(one for one in manifest if one["kind"] == "ScaledJob")
    del scaled_job["spec"]["triggers"][0]["authenticationRef"]
    container = scaled_job["spec"]["jobTargetRef"]["template"]["spec"]["containers"][0]
    container["env"] = [one for one in container["env"] if one["name"] != "REDIS_PASSWORD"]
    environment["secrets"] = [one for one in environment["secrets"] if one["name"] != "prompt-redis-auth"]
    environment["instruments"][0]["manifest"] = str(tmp_path / "manifest.yaml")
    (tmp_path / "manifest.yaml").write_text(yaml.safe_dump_all([scaled_job]))
    (tmp_path / "local.yaml").write_text(yaml.safe_dump(environment))
    own = {**os.environ, "PROMPT_KEDA_LAB": "nopassword", "CI": "true"}

    def task(*arguments):
        argv = [sys.executable, TASKS, *arguments]
        return subprocess.run(argv, cwd=ROOT, env=own, capture_output=True, text=True, timeout=400)

    try:
        for arguments in (
            ["lab.up", "--no-redis-password"],
            ["redeploy", "--env", str(tmp_path / "local.yaml")],
            ["check-deps", "--env", str(tmp_path / "local.yaml")],
        ):
            done = task(*arguments)
            assert done.returncode == 0, f"{arguments}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        asked = task(
            "lab.exec", "--", "kubectl", "-n", "prompt-redis", "get", "secret", "prompt-redis-config", "-o", "yaml"
        )
        assert asked.returncode == 0 and "requirepass" not in base64_texts(asked.stdout)
    finally:
        finish(lab_task("nopassword", "lab.down"))
    assert_nothing_is_left("nopassword")


def base64_texts(document):
    return "\n".join(base64.b64decode(one).decode() for one in yaml.safe_load(document)["data"].values())
