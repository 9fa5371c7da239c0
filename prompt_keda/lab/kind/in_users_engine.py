"""kind in the user's own engine: implements `cluster.KindEngine`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from prompt_keda.core.errors import LabError
from prompt_keda.core.event import Observer
from prompt_keda.core.private_folder import private_folder
from prompt_keda.lab import packages, provider, users_engine
from prompt_keda.lab.commands import Children, run
from prompt_keda.lab.settings import PORTS, Lab, cache_home

CAPABILITIES = frozenset({provider.HOST_PROCESSES, provider.CONTROL_PLANE})
NEEDS_ROOT = False
MAKE_ROOM = users_engine.MAKE_ROOM
CONNECT = "exec 3<>/dev/tcp/$0/$1"
"""For bash: it opens a connection."""


def start(lab: Lab, observer: Observer, children: Children) -> None:
    """Do nothing: it runs."""


def docker(lab: Lab) -> list[str]:
    """Return the start of a command line for the engine."""
    return users_engine.docker(lab)


def environment(lab: Lab) -> dict[str, str]:
    """Return the environment in which kind finds the engine and the stack's network, and nothing else of the user's settings."""
    program = users_engine.command_line(lab).program
    return {
        **users_engine.environment(lab),
        "KIND_EXPERIMENTAL_PROVIDER": program,
        f"KIND_EXPERIMENTAL_{program.upper()}_NETWORK": users_engine.network(lab),
    }


def cluster(lab: Lab) -> str:
    """Return what the stack's cluster is called in the engine, where others may be."""
    return users_engine.network(lab)


def prepare_node(lab: Lab, address: str) -> None:
    """See that the servers are reached.

    Raises
    ------
    LabError
        When they are not.
    """
    port = str(PORTS["registry"])
    try:
        run([*users_engine.in_node(lab), "timeout", "5", "bash", "-c", CONNECT, address, port])
    except LabError as error:
        what = f"containers do not reach {address}:{port}, where the stack's registry listens"
        fix = f"Does a firewall of this machine hold up what comes from containers? Let the network {users_engine.network(lab)} in."
        raise LabError(what, fix) from error


def build(lab: Lab, observer: Observer, children: Children, plan: dict[str, str]) -> list[str]:
    """Return a command line that builds the node's image as root in a container of this engine.

    It may write into the cache alone.
    """
    tools = packages.unpack(packages.this_machines(), packages.FOR_NODE, observer, children)
    plan.update({"debootstrap": str(tools), "scratch": "/scratch"})
    shown = [f"--volume={path}:{path}:ro" for path in (plan["kind"], "/var/lib/dpkg")]
    options = ["--network=host", f"--volume={_cache()}:{_cache()}", *shown]
    program = [sys.executable, "-m", "prompt_keda.lab.kind.node_image", json.dumps(plan)]
    return [*users_engine.with_this_machines_programs(lab, *options, folder=tools), *program]


def _cache() -> Path:
    return private_folder(cache_home() / "prompt-keda" / "build")


def forget(lab: Lab) -> None:
    """Do nothing: containers and network go with the place."""
