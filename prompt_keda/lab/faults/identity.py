"""Faults of the identity."""

from __future__ import annotations

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES
from prompt_keda.lab import ldap_server, processes
from prompt_keda.lab.faults.fault import Fault, InChaos, Stage

OPERATORS, LOOKS = "prompt-keda-lab:operators", "prompt-keda-fault:looks"


def stop_directory(stage: Stage) -> None:
    """Stop the directory. Whoever has no token gets none."""
    processes.stop(stage.lab, "slapd")


def start_directory(stage: Stage) -> None:
    """Start it again."""
    ldap_server.start(stage.lab, stage.endpoints["address"])


def let_only_look(stage: Stage) -> None:
    """Let the operators read everything, and change nothing."""
    everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}
    forward = {"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["create"]}
    _bind(stage, LOOKS, LOOKS, [everything, forward])
    stage.kube.delete(CLUSTER_ROLE_BINDINGS, OPERATORS)


def let_do_all(stage: Stage) -> None:
    """Let them do everything again."""
    _bind(stage, OPERATORS, "cluster-admin")
    stage.kube.delete(CLUSTER_ROLE_BINDINGS, LOOKS)
    stage.kube.delete(CLUSTER_ROLES, LOOKS)


def _bind(stage: Stage, name: str, role: str, rules: list[Object] | None = None) -> None:
    api, group = CLUSTER_ROLES.api_version, CLUSTER_ROLES.group
    if rules:
        stage.kube.apply({"apiVersion": api, "kind": CLUSTER_ROLES.kind, "metadata": {"name": role}, "rules": rules})
    people = {"apiGroup": group, "kind": "Group", "name": "ldap:prompt-keda-operators"}
    body = {"apiVersion": api, "kind": CLUSTER_ROLE_BINDINGS.kind, "metadata": {"name": name}, "subjects": [people]}
    body["roleRef"] = {"apiGroup": group, "kind": CLUSTER_ROLES.kind, "name": role}
    stage.kube.apply(body, force=True)


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
        chaos=InChaos(is_repaired=False),
    ),
    Fault(
        "identity/may-only-look",
        "",
        "the person on call has lost the rights to change anything",
        let_only_look,
        let_do_all,
        {"identity/may-redeploy": "warn"},
        "not allowed: ",
        chaos=InChaos(),
    ),
)
