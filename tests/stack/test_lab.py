"""The local stack itself: it can be looked at, a second one can run beside it, and it leaves nothing."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from prompt_keda.lab import cgroups, processes
from prompt_keda.lab.provider import NATIVE
from prompt_keda.lab.settings import PORTS, Lab, cache_home, current_lab

from .conftest import ROOT, TASKS, active_workers, at_the_stack_only, run_json, run_task, until

pytestmark = at_the_stack_only


def test_lab_status_reports_where_everything_is(endpoints):
    """State, provider, versions, kubeconfig, endpoints and processes."""
    code, document = run_json("lab.status")
    assert code == 0 and document["state"] == "up" and document["provider"] in ("native", "kind")
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
    assert run_task("lab.exec", "--", "sh", "-c", "exit 7").returncode == 7
    if current_lab().find_provider() != NATIVE:
        return  # a pod is reached from its node's network alone
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
    assert asked.stdout.split() == [str(PORTS[server]) for server in ("api", "vault", "registry")], asked.stderr
    for path in (endpoints["admin_kubeconfig"], current_lab().state / "secrets", "/etc/shadow"):
        assert run_task("lab.desk", "--", "test", "-r", str(path)).returncode == 1, path
    capabilities = run_task("lab.desk", "--", "grep", "CapBnd", "/proc/self/status").stdout.split()
    assert capabilities == ["CapBnd:", "0" * 16]
    assert run_task("lab.desk", "--", "sh", "-c", "exit 7").returncode == 7


def test_an_in_cluster_name_is_resolved_from_a_pod(deployed, admin):
    """The workers reach prompt-redis.prompt-redis by name: their logs show work, not a failed look-up."""
    from prompt_keda.clients.kube.resources import PODS

    from .conftest import INSTRUMENT

    def looked():
        running = [p for p in admin.list(PODS, INSTRUMENT) if p["status"]["phase"] == "Succeeded"]
        return running and admin.logs(INSTRUMENT, running[0]["metadata"]["name"])

    logs = until(looked, 120, "a worker that has ended")
    assert "no event came" in logs or '"msg":"working"' in logs, logs


def lab_task(name, task, umask=-1, **variables):
    env = {**os.environ, "PROMPT_KEDA_LAB": name, "CI": "true", **variables}
    return subprocess.Popen(
        [sys.executable, TASKS, task],
        cwd=ROOT,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        umask=umask,
    )


def task_in(name, *arguments):
    """Run a task with a stack of that name to its end."""
    env = {**os.environ, "PROMPT_KEDA_LAB": name, "CI": "true"}
    argv = [sys.executable, TASKS, *arguments]
    return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=400)


def finish(process, timeout=300):
    _, output = process.communicate(timeout=timeout)
    assert process.returncode == 0, output


def assert_nothing_is_left(name):
    """No network namespace, socket folder, mount, link, process or cgroup of a stack."""
    assert not list(Path("/run/netns").glob(f"prompt-keda-{name}*"))
    assert not Path(f"/run/prompt-keda-lab-{name}").exists()
    mounts = Path("/proc/self/mountinfo").read_text()
    assert f"prompt-keda-lab-{name}" not in mounts and f"lab/{name}" not in mounts
    assert f"prompt-keda {name} " not in subprocess.run(["ip", "-d", "link"], capture_output=True, text=True).stdout
    assert not cgroups.pids(f"prompt-keda-{name}")
    left = [folder for folder, names, _ in os.walk("/sys/fs/cgroup") if f"prompt-keda-{name}" in names]
    assert not left  # os.walk, unlike glob, passes over what goes meanwhile
    assert not Lab(name).state.exists()


def killed_while_its_kubelet_starts(name, umask=-1):
    coming = lab_task(name, "lab.up", umask)
    until(lambda: processes.pid_of(Lab(name), "kubelet"), 120, f"a kubelet of the stack {name}")
    coming.kill()
    coming.communicate()


def test_a_second_stack_comes_and_goes_without_a_trace(endpoints):
    """Two at once by $PROMPT_KEDA_LAB, the second after a SIGKILL of its first lab.up; lab.down leaves nothing of it.

    The second never saw KEDA: a redeploy takes the cold way, and all its smoke events are acknowledged.
    """
    killed_while_its_kubelet_starts("second", umask=0)
    finish(lab_task("second", "lab.up", umask=0))
    assert_private(Lab("second").state, cache_home() / "prompt-keda" / "build")
    asked = task_in(
        "second", "lab.exec", "--", "kubectl", "config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"
    )
    assert asked.returncode == 0 and asked.stdout and endpoints["address"] not in asked.stdout
    assert task_in("second", "lab.desk", "--", "id", "-un").stdout.strip() == "nobody"
    assert_a_cold_redeploy_scales("second")
    pods = Lab("second").pod_cgroups()
    assert any(cgroups.pids(pod) for pod in pods), "the test itself is wrong"
    finish(lab_task("second", "lab.down"))
    assert_nothing_is_left("second")
    assert not any(cgroups.pids(pod) for pod in pods)
    assert run_json("lab.status")[1]["state"] == "up", "the first stack was harmed"


def test_a_process_is_in_the_stacks_cgroup_whatever_becomes_of_who_started_it(endpoints, monkeypatch):
    """Else one whose lab.up is killed in that moment outlives every lab.down."""
    lab, popen = current_lab(), subprocess.Popen

    def started(*arguments, **options):
        process = popen(*arguments, **options)
        until(lambda: process.pid in cgroups.pids(lab.cgroup), 5, "the process in its cgroup")
        return process

    monkeypatch.setattr(subprocess, "Popen", started)
    try:
        assert processes.start(lab, "probe", ["sleep", "60"]) in cgroups.pids(lab.cgroup)
    finally:
        processes.remove(lab, "probe")


def assert_private(*folders):
    """From prompt-keda down nobody else may enter, although lab.up ran with umask 0."""
    for folder in folders:
        top = next(place for place in folder.parents if place.name == "prompt-keda")
        for place in (folder, *(path for path in folder.parents if path.is_relative_to(top))):
            assert place.stat().st_mode & 0o777 == 0o700, place


def assert_a_cold_redeploy_scales(name):
    done = task_in(name, "redeploy", "--env", "local", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["mode"] == "cold"
    assert document["smoke"]["acknowledged_count"] == document["smoke"]["events_count"] > 0


def processes_with(text):
    """Return the names of the processes that have this text in their environment."""
    processes = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            if text.encode() in (folder / "environ").read_bytes():
                processes.append((folder / "comm").read_text().strip())
    return processes


def test_a_stop_while_it_compiles_shows_at_once(tmp_path):
    """SIGTERM with Go's caches empty: exit code 130 within seconds, no compiler goes on, no scratch folder is left."""
    coming = lab_task("fourth", "lab.up", XDG_CACHE_HOME=str(tmp_path))
    try:
        until(lambda: "compile" in processes_with(f"GOTMPDIR={tmp_path}"), 120, "a compiler")
        coming.terminate()
        coming.communicate(timeout=10)
        assert coming.returncode == 130
        until(lambda: not processes_with(f"GOTMPDIR={tmp_path}"), 2, "the end of all compilers")
        left = list((tmp_path / "prompt-keda" / "build").iterdir())
        assert all(process.suffix == ".lock" for process in left), (
            left
        )  # empty files: who waits for one must find the same
    finally:
        coming.kill()
        finish(lab_task("fourth", "lab.down"))
    assert_nothing_is_left("fourth")


def test_lab_down_clears_what_a_killed_lab_up_left():
    """SIGKILL while the cluster starts: no trace is left."""
    killed_while_its_kubelet_starts("third")
    finish(lab_task("third", "lab.down"))
    assert_nothing_is_left("third")


@pytest.mark.exhaustive
def test_an_idle_stack_leaves_the_machine_to_others(deployed, admin):
    """With KEDA and no event for a minute: at most 0.4 of a core and 2.5 GiB of memory."""
    until(lambda: len(active_workers(admin)) <= 6, 120, "idle workers alone: three Jobs, three pods")
    before, began = run_json("lab.status")[1], time.monotonic()
    time.sleep(60)  # the minute is what is measured: nothing happens in it that could be watched
    after = run_json("lab.status")[1]
    cores = (after["cpu_s"] - before["cpu_s"]) / (time.monotonic() - began)
    assert cores <= 0.4, f"{cores:.2f} of a core"
    assert after["memory_bytes"] <= 2.5 * 2**30, f"{after['memory_bytes'] / 2**30:.2f} GiB"


@pytest.mark.exhaustive
def test_a_whole_stack_with_a_redis_without_password(tmp_path):
    """As in production: no password in Redis, in the ScaledJob or in the environment; a redeploy scales all the same."""
    environment = yaml.safe_load((ROOT / "environments" / "local.yaml").read_text())
    manifest = list(yaml.safe_load_all((ROOT / "environments/local/prompt-keda-lsstcam.yaml").read_text()))
    scaled_job = next(obj for obj in manifest if obj["kind"] == "ScaledJob")
    del scaled_job["spec"]["triggers"][0]["authenticationRef"]
    container = scaled_job["spec"]["jobTargetRef"]["template"]["spec"]["containers"][0]
    container["env"] = [variable for variable in container["env"] if variable["name"] != "REDIS_PASSWORD"]
    environment["secrets"] = [secret for secret in environment["secrets"] if secret["name"] != "prompt-redis-auth"]
    environment["instruments"][0]["manifest"] = str(tmp_path / "manifest.yaml")
    (tmp_path / "manifest.yaml").write_text(yaml.safe_dump_all([scaled_job]))
    (tmp_path / "local.yaml").write_text(yaml.safe_dump(environment))
    try:
        for arguments in (
            ["lab.up", "--no-redis-password"],
            ["redeploy", "--env", str(tmp_path / "local.yaml")],
            ["check-deps", "--env", str(tmp_path / "local.yaml")],
        ):
            done = task_in("nopassword", *arguments)
            assert done.returncode == 0, f"{arguments}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        asked = task_in(
            "nopassword",
            "lab.exec",
            "--",
            "kubectl",
            "-n",
            "prompt-redis",
            "get",
            "secret",
            "prompt-redis-config",
            "-o",
            "yaml",
        )
        assert asked.returncode == 0 and "requirepass" not in base64_texts(asked.stdout)
    finally:
        finish(lab_task("nopassword", "lab.down"))
    assert_nothing_is_left("nopassword")


def base64_texts(document):
    return "\n".join(base64.b64decode(text).decode() for text in yaml.safe_load(document)["data"].values())
