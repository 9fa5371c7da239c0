"""The roles that are shipped in environments/rbac: made from the rights, for the environments local and prod.

The comment at the head of each file is written by hand, and stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import CLUSTER_ROLES, NAMESPACES, ROLES
from prompt_keda.clients.systems import Systems
from prompt_keda.components.identity.check_rights import (
    rights_on_host,
    rights_to_look,
    rights_to_look_deep,
    rights_to_see_room,
)
from prompt_keda.components.identity.redeploy_rights import rights_over_roles, rights_whatever_is_lost
from prompt_keda.core.rights import Right, Rule, uncovered
from prompt_keda.delivery.choice import delivery
from prompt_keda.delivery.manifests import load_instrument_objects
from prompt_keda.environment.loading import load_environment
from prompt_keda.environment.model import FILL_IN, Environment
from prompt_keda.records.lock import STATE_NAMESPACE

WHO = "FILL-IN"
HOST_NAMESPACE = "vcluster"
"""Stands for the vCluster's namespace on its host, which each host calls as it likes."""


def pages(folder: Path) -> dict[Path, str]:
    """Return each file of roles, with what it should hold.

    Parameters
    ----------
    folder
        That of the environments.
    """
    rbac = folder / "rbac"
    made = {
        rbac / "check-deps.yaml": check_deps_objects(folder),
        rbac / "check-deps-deep.yaml": deep_objects(folder),
        rbac / "redeploy.yaml": redeploy_objects(folder),
        rbac / "vcluster-host.yaml": host_objects(),
    }
    return {path: _page(path, objects) for path, objects in made.items()}


def _page(path: Path, objects: list[Object]) -> str:
    lines = path.read_text().splitlines(keepends=True)
    head = "".join(line for line in lines if line.startswith("#"))
    return head + yaml.safe_dump_all(objects, sort_keys=False, width=130)


def check_deps_objects(folder: Path) -> list[Object]:
    """Return what lets a group run check-deps."""
    return _objects("prompt-keda-check-deps", _to_look(folder))


def deep_objects(folder: Path) -> list[Object]:
    """Return what lets a group run ``check-deps --deep``, beside the roles of check-deps."""
    deep = {right for environment in _environments(folder) for right in rights_to_look_deep(environment)}
    return _objects("prompt-keda-check-deps-deep", _beside(deep, _to_look(folder)))


def redeploy_objects(folder: Path) -> list[Object]:
    """Return the namespaces that a redeploy makes, and what lets a group redeploy, beside the roles of check-deps.

    A Role needs its namespace, and goes with it.
    """
    rights: set[Right] = set()
    environments = _environments(folder)
    for environment in environments:
        own = [obj for instrument in environment.instruments for obj in load_instrument_objects(instrument, _NotUp())]
        rights |= {*rights_whatever_is_lost(environment, own), *rights_over_roles(environment)}
        rights |= set(delivery(Systems(environment)).rights())
    made = {STATE_NAMESPACE, *(name for environment in environments for name in _namespaces(environment))}
    namespaces = [{**NAMESPACES.head, "metadata": {"name": name}} for name in sorted(made)]
    return namespaces + _objects("prompt-keda-redeploy", _beside(rights, _to_look(folder)))


def host_objects() -> list[Object]:
    """Return what lets a group look at a vCluster's host; what it needs to see the room there stands apart."""
    looking = _objects("prompt-keda-host", rights_on_host(HOST_NAMESPACE))
    return looking + _objects("prompt-keda-host-room", rights_to_see_room())


class _NotUp(dict[str, Any]):
    """Fills the placeholders of the local stack: which rights are needed does not depend on where it is."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> str | None:
        if key == "redis_password":
            return None
        return key if key == "kubeconfig" or key.endswith("_file") else f"{FILL_IN} the local stack knows it"


def _environments(folder: Path) -> list[Environment]:
    return [load_environment(folder / f"{name}.yaml", _NotUp()) for name in ("local", "prod")]


def _namespaces(environment: Environment) -> Iterator[str]:
    yield from (environment.keda.namespace, environment.smoke.namespace)
    yield from (instrument.namespace for instrument in environment.instruments)


def _to_look(folder: Path) -> set[Right]:
    return {right for environment in _environments(folder) for right in rights_to_look(environment)}


def _beside(rights: Iterable[Right], given: Iterable[Right]) -> set[Right]:
    given = list(given)
    return {right for right in rights if not any(other.covers(right) for other in given)}


def _objects(name: str, rights: Iterable[Right]) -> list[Object]:
    """Return a ClusterRole, a Role for each namespace, and their bindings to a group that is still to be filled in."""
    made = []
    wanted = uncovered(rights)
    for namespace in sorted({right.namespace for right in wanted}):
        kind, where = (ROLES, {"namespace": namespace}) if namespace else (CLUSTER_ROLES, {})
        metadata, reference = {"name": name, **where}, {"apiGroup": kind.group, "kind": kind.kind, "name": name}
        rules = rules_of(right for right in wanted if right.namespace == namespace)
        made.append({**kind.head, "metadata": metadata, "rules": rules})
        bound = {"apiVersion": kind.api_version, "kind": f"{kind.kind}Binding", "metadata": metadata}
        subjects = [{"apiGroup": kind.group, "kind": "Group", "name": WHO}]
        made.append({**bound, "roleRef": reference, "subjects": subjects})
    return made


def rules_of(rights: Iterable[Right]) -> list[Rule]:
    """Return the rules of RBAC that give some rights of one namespace, and no others.

    A rule gives each of its verbs on each of its names: verbs stand together where they hold for the same names.
    """
    names: dict[tuple[str, str, str, str], set[str]] = {}
    for right in rights:
        names.setdefault((right.group, right.plural, right.subresource, right.verb), set()).add(right.name)
    verbs: dict[tuple[str, str, str, tuple[str, ...]], list[str]] = {}
    for (group, plural, subresource, verb), some in sorted(names.items()):
        verbs.setdefault((group, plural, subresource, tuple(sorted(some))), []).append(verb)
    return [
        {"apiGroups": [group], "resources": [f"{plural}/{subresource}" if subresource else plural], "verbs": granted}
        | ({"resourceNames": [*some]} if some != ("",) else {})
        for (group, plural, subresource, some), granted in sorted(verbs.items())
    ]
