"""Measures check-deps beside what people use instead, in one run, on the local stack.

It lies beside the layers, not in them: only `tasks.py` calls it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prompt_keda.errors import LabError
from prompt_keda.lab import network, services, state
from prompt_keda.lab.settings import current_lab
from prompt_keda.model.event import Event, EventKind, Observer

ROOT = Path(__file__).parents[1]
BENCH = ROOT / "tests" / "bench"
OURS, SERIES, AT_ONCE = "check-deps", "shell script, in series", "shell script, 16 at once"


@dataclass(frozen=True)
class Timing:
    """Medians of one program. ``wall_s`` and ``cpu_s`` are in seconds; its children's CPU counts."""

    name: str
    wall_s: float
    cpu_s: float
    ratio: float
    """How many times as long as ours it takes, on the clock."""


def run(rounds: int, observer: Observer) -> list[Timing]:
    """Run the three in turn, ``rounds`` times each, and give their medians; ours first.

    Raises
    ------
    LabError
        When the local stack is not up, or a program fails.
    """
    lab = current_lab()
    known = state.endpoints(lab)
    took: dict[str, list[tuple[float, float]]] = {OURS: [], SERIES: [], AT_ONCE: []}
    with TemporaryDirectory() as folder:
        peer_env = _peer_environment(known, Path(folder))
        programs = {
            OURS: (
                [sys.executable, str(ROOT / "tasks.py"), "check-deps", "--env", "local", "--json"],
                dict(os.environ),
            ),
            SERIES: ([*network.enter(lab), str(BENCH / "peer.sh"), "1"], peer_env),
            AT_ONCE: ([*network.enter(lab), str(BENCH / "peer.sh"), "16"], peer_env),
        }
        for number in range(rounds):
            for name, (argv, env) in programs.items():
                took[name].append(_measure(name, argv, env))
                wall_s = took[name][-1][0]
                observer(Event(EventKind.NOTE, "bench", "working", f"round {number + 1}: {name} {wall_s:.2f} s"))
    ours = statistics.median(wall for wall, _ in took[OURS])
    return [
        Timing(name, wall, statistics.median(cpu for _, cpu in runs), wall / ours)
        for name, runs in took.items()
        for wall in [statistics.median(wall for wall, _ in runs)]
    ]


def _measure(name: str, argv: list[str], env: Mapping[str, str]) -> tuple[float, float]:
    before, began = os.times(), time.monotonic()
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    wall_s, after = time.monotonic() - began, os.times()
    if done.returncode or (name != OURS and done.stderr.strip()):
        said = (done.stderr.strip() or "no words").splitlines()[-1]
        raise LabError(f"bench: {name} did not get every answer ({said})", "Is the stack green? ./run check-deps")
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return wall_s, cpu_s


def _peer_environment(known: dict[str, Any], folder: Path) -> dict[str, str]:
    """Give what the script needs. It may use the administrator's certificate, and Redis' own address: both favour it."""
    lab = current_lab()
    kubectl = [lab.program("kubectl"), "--kubeconfig", str(lab.admin_kubeconfig)]
    pod = [*kubectl, "-n", "prompt-redis", "get", "pod", "prompt-redis-0", "-o", "jsonpath={.status.podIP}"]
    address = subprocess.run(pod, capture_output=True, text=True, check=True).stdout
    header, config = folder / "vault-header", folder / "registry.curl"
    header.write_text(f"X-Vault-Token: {_vault_token(known)}\n")
    password = state.ensure_secret(lab, "registry-password").reveal()
    config.write_text(f'user = "{services.REGISTRY_USER}:{password}"\n')
    own = {
        "KUBECONFIG": str(lab.admin_kubeconfig),
        "API": known["api_url"],
        "LDAP": known["ldap_url"],
        "VAULT_ADDR": known["vault_url"],
        "VAULT_CACERT": known["ca_file"],
        "VAULT_HEADER": str(header),
        "REGISTRY": known["registry_url"],
        "REGISTRY_CONFIG": str(config),
        "REDIS": address,
        "PATH": f"{lab.state / 'bin'}:{os.environ['PATH']}",
    }
    if known["redis_password"]:
        own["REDISCLI_AUTH"] = state.ensure_secret(lab, "redis-password").reveal()
    return {**os.environ, **own}


def _vault_token(known: dict[str, Any]) -> str:
    import hvac

    vault = hvac.Client(url=known["vault_url"], verify=known["ca_file"], timeout=10)
    role_id, secret_id = (Path(known[f"vault_{one}_id_file"]).read_text() for one in ("role", "secret"))
    token: str = vault.auth.approle.login(role_id, secret_id)["auth"]["client_token"]
    return token


def to_json(timings: list[Timing]) -> list[dict[str, Any]]:
    """Give the medians for ``--json``."""
    found: list[dict[str, Any]] = json.loads(json.dumps([one.__dict__ for one in timings]))
    return found
