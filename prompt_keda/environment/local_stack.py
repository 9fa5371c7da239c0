"""Where the local stack keeps its state, and the endpoints that it publishes there.

The stack itself is built by `prompt_keda.lab`, which the toolkit never imports: this file is all that both agree on.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from prompt_keda.core.errors import LabError, Refusal
from prompt_keda.core.places import state_home

NO_PROXY = ("NO_PROXY", "no_proxy")
"""Go prefers the first (golang.org/x/net/http/httpproxy), Python the second (urllib.request.getproxies_environment)."""
STANDS_WHILE = "stands_while"
"""Key of the endpoints: a file that goes when the stack's network goes, for example when the machine is restarted."""


def current_stack() -> str:
    """Return the name of the stack that ``$PROMPT_KEDA_LAB`` names, else ``local``.

    Raises
    ------
    Refusal
        When the name cannot be part of the names of namespaces and folders.
    """
    name = os.environ.get("PROMPT_KEDA_LAB") or "local"
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,11}", name):
        raise Refusal(
            f"$PROMPT_KEDA_LAB is {name!r}, which cannot name a local stack",
            "Take 1 to 12 lower-case letters, digits and dashes.",
        )
    return name


def reach_directly(*hosts: str) -> None:
    """Let no proxy of the environment stand before these hosts, for this process and all that it starts. Idempotent: yes.

    What the user has named stays. Where no proxy is set nothing is changed.

    Parameters
    ----------
    hosts
        Addresses, networks, names, and domains with a dot before them. Go, requests and the client of Kubernetes know networks;
        urllib and httpx do not, and need each address.
    """
    if not any(
        value and name.lower().endswith("_proxy") and name not in NO_PROXY for name, value in os.environ.items()
    ):
        return
    named = [entry.strip() for name in NO_PROXY for entry in os.environ.get(name, "").split(",")]
    # "*" means all hosts; to urllib only where it stands alone
    value = "*" if "*" in named else ",".join(dict.fromkeys(filter(None, [*named, *hosts])))
    os.environ.update(dict.fromkeys(NO_PROXY, value))


def stack_folder(name: str) -> Path:
    """Return the folder that holds a stack's state."""
    return state_home() / "prompt-keda" / "lab" / name


def endpoints_file(name: str) -> Path:
    """Return the file in which a stack publishes its endpoints: the values for ``${lab:NAME}`` in an environment."""
    return stack_folder(name) / "endpoints.json"


def read_endpoints(name: str) -> dict[str, Any] | None:
    """Return what a stack has published; None if it has not.

    Raises
    ------
    LabError
        When the file is damaged or cannot be read.
    """
    path = endpoints_file(name)
    try:
        endpoints = json.loads(path.read_text())
        if not isinstance(endpoints, dict) or not isinstance(endpoints.get("address"), str):
            raise ValueError("no object, or without the stack's address")
        return endpoints
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # ValueError: no JSON, or no text
        reason = getattr(error, "strerror", None) or "it is damaged"
        raise LabError(f"{path} cannot be read: {reason}", "Run ./run lab.down, then lab.up.") from error


def endpoints(name: str) -> dict[str, Any]:
    """Return the values for ``${lab:NAME}`` in an environment's file.

    Raises
    ------
    LabError
        When the local stack is not up, or the file that says where its parts are is damaged.
    """
    published = read_endpoints(name)
    if published is None:
        raise LabError(f"the local stack {name!r} is not up", "Bring it up with ./run lab.up.")
    if not Path(published.get(STANDS_WHILE, "")).exists():
        raise LabError(f"the local stack {name!r} was up, but its network is gone", "Run ./run lab.down, then lab.up.")
    return published
