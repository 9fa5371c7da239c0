"""check-deps from far away: what it takes is its longest chain of needs, not the sum of its checks."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from prompt_keda.components.catalogue import ALL_CHECKS
from prompt_keda.lab import network, settings
from prompt_keda.lab.settings import PORTS

from .conftest import ENV, at_the_stack_only, run_json, run_task
from .delay import OFFSET

DELAY_S = 0.3
PROXY = Path(__file__).parent / "delay.py"


@contextmanager
def delayed(endpoints):
    """Send all that comes to the stack's servers from outside through the proxy."""
    lab = settings.current_lab()
    ports = [str(port) for port in PORTS.values()]
    argv = [*network.enter(lab), sys.executable, str(PROXY), endpoints["address"], str(DELAY_S), *ports]
    proxy = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert proxy.stdout.readline() == "ready\n"
        redirect(lab, endpoints["address"], "-A")
        yield
    finally:
        redirect(lab, endpoints["address"], "-D")
        proxy.terminate()
        proxy.wait()


def redirect(lab, address, action):
    for port in PORTS.values():
        rule = f"iptables -t nat {action} PREROUTING -p tcp -d {address} --dport {port}"
        rule += f" -j REDIRECT --to-ports {port + OFFSET}"
        subprocess.run([*network.enter(lab), *rule.split()], check=action == "-A")


def longest_chain(results):
    """Return the seconds of the slowest chain of checks that need each other."""
    took = {result["id"]: result["duration_s"] for result in results}
    needs = {check.id: check.needs for check in ALL_CHECKS}

    def until_end(id_):
        return took.get(id_, 0.0) + max((until_end(id_) for id_ in needs[id_]), default=0.0)

    return max(map(until_end, took))


@at_the_stack_only  # at the desk other ports than the servers' own are closed
@pytest.mark.exhaustive
def test_with_300_ms_to_every_server_the_run_takes_its_longest_chain(deployed, endpoints):
    """At most one and a half times that, and its start. All is as green as nearby."""
    began = time.monotonic()
    assert run_task("check-deps", "--env", ENV, "--only", "cluster/api-answers").returncode == 0
    start_s = time.monotonic() - began
    with delayed(endpoints):
        began = time.monotonic()
        code, document = run_json("check-deps", "--env", ENV, "--timeout", "60")
        took_s = time.monotonic() - began
    assert code == 0, [result for result in document["results"] if result["verdict"] != "ok"]
    slowest = longest_chain(document["results"])
    assert slowest > 3 * DELAY_S, "the proxy was not in the way"
    assert took_s <= 1.5 * slowest + start_s, (took_s, slowest, start_s)
