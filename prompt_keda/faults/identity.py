"""Faults of the identity."""

from __future__ import annotations

from prompt_keda.faults.fault import Fault, Stage
from prompt_keda.lab import ldap_server, processes


def stop_directory(stage: Stage) -> None:
    """Stop the directory. Whoever has no token gets none."""
    processes.stop(stage.lab, "slapd")


def start_directory(stage: Stage) -> None:
    """Start it again."""
    ldap_server.start(stage.lab, stage.endpoints["address"])


FAULTS: tuple[Fault, ...] = (
    Fault(
        "identity/directory-stopped",
        "F32",
        "the directory is away, and nobody gets a token",
        stop_directory,
        start_directory,
        {
            "cluster/api-answers": "fail",
            "identity/ldap-answers": "unknown",
            "images/instrument-images-present": "unknown",  # which of them run cannot be seen
        },
        "gave no token",
    ),
)
