"""Measures check-deps beside what people use instead, in one run, on the local stack.

It lies beside the layers, not in them: only `tasks.py` calls it.
"""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prompt_keda.commands.session import read_environment
from prompt_keda.components.identity.check_rights import rights_to_look
from prompt_keda.components.identity.rights import rights_to_redeploy
from prompt_keda.core.errors import LabError
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.core.places import ROOT, TASKS
from prompt_keda.core.rights import Right
from prompt_keda.lab import network, services, state
from prompt_keda.lab.settings import current_lab

BENCH = ROOT / "tests" / "bench"
OURS = "check-deps"


@dataclass(frozen=True)
class Timing:
    """Medians of one program. ``wall_s`` and ``cpu_s`` are in seconds; its children's CPU counts."""

    name: str
    wall_s: float
    cpu_s: float
    ratio: float
    """How many times as long as ours it takes, on the clock."""

    def __str__(self) -> str:
        took = f"{self.wall_s:6.2f} s on the clock, {self.cpu_s:6.2f} s of CPU, {self.ratio:5.1f} times ours"
        return f"{self.name:42} {took}"


def run(rounds: int, observer: Observer) -> list[Timing]:
    """Run check-deps and the script in turn, ``rounds`` times each, and return their medians; ours first.

    The script runs in series and 16 at once; and both again without the rights, which it asks one by one.

    Raises
    ------
    LabError
        When the local stack is not up, or a program fails.
    """
    endpoints = state.endpoints(current_lab())
    with TemporaryDirectory() as folder:
        programs = _programs(endpoints, Path(folder))
        took: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
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


def _programs(known: dict[str, Any], folder: Path) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Return each program's name, its arguments and its environment."""
    questions = (BENCH / "check_deps.questions").read_text().splitlines()
    rights = _asked_one_by_one()
    inside, env = network.enter(current_lab()), _peer_environment(known, folder)
    programs = {OURS: ([sys.executable, str(TASKS), "check-deps", "--env", "local", "--json"], {**os.environ})}
    for what, asked in (("", questions + rights), (" without rights", questions)):
        file = folder / f"{len(asked)}.questions"
        file.write_text("\n".join(asked) + "\n")
        for how, at_once in (("in series", "1"), ("16 at once", "16")):
            name = f"script of {len(asked)}{what}, {how}"
            programs[name] = ([*inside, str(BENCH / "peer.sh"), at_once, str(file)], env)
    return programs


def _asked_one_by_one() -> list[str]:
    """Return the question for each right that check-deps verifies.

    ``kubectl auth can-i --list`` is no answer: it may be incomplete, and a person has to read it.
    """
    environment = read_environment("local")
    asked = sorted({*rights_to_look(environment), *rights_to_redeploy(environment)})
    return [_can_i(right) for right in asked]


def _can_i(right: Right) -> str:
    what = f"{right.plural}.{right.group}" if right.group else right.plural
    named = f"{what}/{right.name}" if right.name else what
    where = ["-n", right.namespace] if right.namespace else ["-A"]
    part = ["--subresource", right.subresource] if right.subresource else []
    return f"kubectl auth can-i {shlex.join([right.verb, named, *where, *part])} 2>/dev/null"


def _measure(name: str, argv: list[str], env: Mapping[str, str]) -> tuple[float, float]:
    before, began = os.times(), time.monotonic()
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    wall_s, after = time.monotonic() - began, os.times()
    if done.returncode or (name != OURS and done.stderr.strip()):
        message = (done.stderr.strip() or "no words").splitlines()[-1]
        raise LabError(f"bench: {name} did not get every answer ({message})", "Is the stack green? ./run check-deps")
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return wall_s, cpu_s


def _peer_environment(known: dict[str, Any], folder: Path) -> dict[str, str]:
    """Return what the script needs. It may use the administrator's certificate, and Redis' own address: both favour it."""
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
    role_id, secret_id = (Path(known[f"vault_{part}_id_file"]).read_text() for part in ("role", "secret"))
    token: str = vault.auth.approle.login(role_id, secret_id)["auth"]["client_token"]
    return token
