"""The network's faults: what they leave, what they do not touch, and a redeploy in whose middle a fault is injected.

That each is detected by its checks and by no other is test_faults.py's.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from prompt_keda.core.run_plan import GO_ON
from prompt_keda.environment.loading import load_environment
from prompt_keda.lab import cgroups, network, processes
from prompt_keda.lab.faults import network_cuts
from prompt_keda.lab.faults.fault import Stage
from prompt_keda.lab.faults.network_cuts import API_SERVER, DIRECTORY, NOTE, REDIS, REGISTRY, VAULT
from prompt_keda.lab.settings import Lab

from .conftest import ENV, ROOT, TASKS, at_the_stack_only, command, run_json, until
from .test_recovery import long_work, twenty, twenty_forever  # noqa: F401  fixtures
from .test_redeploy import begun

pytestmark = at_the_stack_only  # faults are made by the stack's own user, on the way by which it comes
ROUTES = (API_SERVER, VAULT, REGISTRY, DIRECTORY, REDIS)
each_route = pytest.mark.parametrize("route", ROUTES, ids=[route.name for route in ROUTES])
DELAY_S = 0.3
"""Every piece of an answer comes so much later: as from another continent, and well within each limit."""
INJECT_AND_STAY = """
import sys
from prompt_keda.lab.faults.fault import Stage
from prompt_keda.lab.faults.network_cuts import VAULT, slow
from prompt_keda.core.private_folder import private_folder
from prompt_keda.lab import cgroups, network, settings, state
lab = settings.current_lab()
cgroups.create(lab.cgroup)
private_folder(lab.state)
state.write_endpoints(lab, {"address": network.address(network.create(lab))})
slow(VAULT, 1.0)(Stage(None))
print("broken", flush=True)
sys.stdin.read()
"""
"""Makes the network of a stack, without any server in it, injects a fault into its network, and waits to be killed."""


@pytest.fixture
def stage(deployed, endpoints):
    return Stage(load_environment(ROOT / "environments" / "local.yaml", endpoints))


def rules(stage, route):
    """Return what the firewall of a route's namespace holds of our faults."""
    saves = ([*route.enter(stage), program] for program in ("iptables-save", "ip6tables-save"))
    saved = [subprocess.run(save, capture_output=True, text=True, check=True).stdout for save in saves]
    return [line for text in saved for line in text.splitlines() if NOTE in line]


@each_route
def test_a_fault_can_be_made_twice_and_repaired_twice_and_leaves_nothing(route, stage):
    """Neither a rule, nor a process, nor a stack that counts as partial."""
    refused = 2 if route.packets_v6 else 1
    try:
        for fault, rules_count in ((network_cuts.refuse(route), refused), (network_cuts.slow(route), 1)):
            fault(stage)
            fault(stage)
            assert len(rules(stage, route)) == rules_count
        pid = processes.pid_of(stage.lab, f"{NOTE}-{route.name}")
        assert pid in cgroups.pids(stage.lab.cgroup), "lab.down would not end it"
    finally:
        for _ in range(2):
            network_cuts.restore(route)(stage)
    assert rules(stage, route) == [] and not Path(f"/proc/{pid}").exists()
    code, document = run_json("lab.status")
    assert (code, document["state"]) == (0, "up") and not [
        process for process in document["processes"] if NOTE in process
    ]


def test_lab_down_ends_a_fault_whose_maker_was_killed():
    """By SIGKILL: nobody has restored it. On a stack of its own, which has no server."""
    lab, env = Lab("cut"), {**os.environ, "PROMPT_KEDA_LAB": "cut", "CI": "true"}
    maker = subprocess.Popen(
        [sys.executable, "-c", INJECT_AND_STAY],
        cwd=ROOT,
        env=env,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert maker.stdout.readline() == "broken\n"
        pid = processes.pid_of(lab, f"{NOTE}-{VAULT.name}")
        maker.send_signal(signal.SIGKILL)
        maker.wait()
        assert Path(f"/proc/{pid}/stat").exists(), "it ended with its maker"
    finally:
        done = subprocess.run([sys.executable, TASKS, "lab.down"], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    until(lambda: not Path(f"/proc/{pid}").exists(), 10, "the end of the proxy, which init buries")
    assert not network.exists(lab) and not lab.state.exists()


@pytest.mark.exhaustive
@each_route
def test_what_is_slow_within_the_limits_turns_nothing_red(route, stage):
    """It is waited for, and all is green."""
    try:
        network_cuts.slow(route, DELAY_S)(stage)
        code, document = run_json("check-deps", "--env", ENV)
    finally:
        network_cuts.restore(route)(stage)
    assert code == 0, [
        (result["id"], result["observed"]) for result in document["results"] if result["verdict"] != "ok"
    ]
    assert max(result["duration_s"] for result in document["results"]) > DELAY_S, "the proxy was not in the way"


@pytest.mark.exhaustive  # up to three minutes each
@pytest.mark.parametrize("step", ["remove/deployments", "install/apply-parts", "verify/smoke"])
@pytest.mark.parametrize(
    ("cut", "message"),
    [(network_cuts.refuse, "was cut off|no connection: refused"), (network_cuts.swallow, "nothing comes back")],
    ids=["reset", "black-hole"],
)
def test_a_redeploy_whose_api_server_is_cut_off_is_finished_by_resume(twenty, stage, cut, message, step):  # noqa: F811  the fixture
    """It ends with 3, says why and that resume goes on; resume ends green, and no worker is lost.

    The reset ends the connections that are open, and refuses new ones: which of both is told depends on what came next.
    """
    argv = [*command("redeploy", "--env", twenty.environment, "--mode", "reinstall"), "--json"]
    running = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: begun(step), 120, f"the begin of {step}")
        cut(API_SERVER)(stage)
        out, err = running.communicate(timeout=300)
    finally:
        network_cuts.restore(API_SERVER)(stage)
        running.kill()
    document = json.loads(out)
    assert running.returncode == document["exit_code"] == 3, document["error"]
    assert re.search(message, document["error"]["what"]) and GO_ON in document["error"]["fix"], document["error"]
    assert "Traceback" not in err
    code, document = run_json("resume", "--env", twenty.environment)
    assert code == 0, document["error"]
    assert not twenty.watched.lost
