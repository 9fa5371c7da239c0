"""What an expert asks for: objects, events, logs and versions of Prompt KEDA. No Secret is among it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import (
    API_SERVICES,
    CRDS,
    DEPLOYMENTS,
    EVENTS,
    JOBS,
    LEASES,
    NAMESPACES,
    PODS,
    SCALED_JOBS,
    SECRETS,
    TRIGGER_AUTHENTICATIONS,
    Resource,
)
from prompt_keda.clients.systems import Systems
from prompt_keda.commands import standing as status
from prompt_keda.core.errors import PromptKedaError
from prompt_keda.core.redaction import known_secrets

LINES = 2000
"""Of each container's log."""
OF_KEDA = (DEPLOYMENTS, PODS, LEASES, EVENTS)
OF_WORKERS = (SCALED_JOBS, TRIGGER_AUTHENTICATIONS, JOBS, PODS, EVENTS)


def collect(systems: Systems) -> Iterator[tuple[str, str]]:
    """Give each file's name and text. What could not be had says so in its place: that is worth knowing as well."""
    environment = systems.environment
    yield "status.json", _json(status.look(systems))
    yield "versions.json", _told(lambda: {"kubernetes": systems.kube.version(), "keda": str(environment.keda.version)})
    yield "crds.json", _told(lambda: [_without_schema(one) for one in systems.kube.list(CRDS) if _is_kedas(one)])
    yield "api-services.json", _told(lambda: [one for one in systems.kube.list(API_SERVICES) if _is_kedas(one)])
    yield "namespaces.json", _told(lambda: systems.kube.list(NAMESPACES))
    for kind in OF_KEDA:
        yield (
            _file(environment.keda.namespace, kind),
            _told(partial(systems.kube.list, kind, environment.keda.namespace)),
        )
    for namespace in sorted({one.namespace for one in environment.instruments}):
        for kind in OF_WORKERS:
            yield _file(namespace, kind), _told(partial(systems.kube.list, kind, namespace))
    yield from _logs(systems, environment.keda.namespace)


def secret_values(systems: Systems) -> list[str]:
    """Give the values of all Secrets that the environment names, to be taken out of everything. Raises as `Kube.find` does."""
    found = [systems.kube.find(SECRETS, one.name, one.namespace) for one in systems.environment.secrets]
    return [value for one in found if one for value in known_secrets((one.get("data") or {}).values())]


def _logs(systems: Systems, namespace: str) -> Iterator[tuple[str, str]]:
    try:
        pods = systems.kube.list(PODS, namespace)
    except PromptKedaError as error:
        yield f"{namespace}/logs/not-seen.txt", error.what
        return
    for pod in pods:
        name = pod["metadata"]["name"]
        for container in pod["spec"]["containers"]:
            for previous in (False, True):
                where = f"{namespace}/logs/{name}-{container['name']}{'-before' if previous else ''}.txt"
                restarted = any(one.get("restartCount") for one in pod["status"].get("containerStatuses") or [])
                if previous and not restarted:
                    continue
                read = partial(systems.kube.logs, namespace, name, LINES, previous, container["name"])
                yield where, _text(read)


def _file(namespace: str, kind: Resource) -> str:
    return f"{namespace}/{kind.plural}.json"


def _is_kedas(one: Object) -> bool:
    return "keda.sh" in str(one["metadata"]["name"]) or "external.metrics" in str(one["metadata"]["name"])


def _without_schema(crd: Object) -> Object:
    versions = [{key: value for key, value in one.items() if key != "schema"} for one in crd["spec"]["versions"]]
    return {**crd, "spec": {**crd["spec"], "versions": versions}}


def _told(what: Callable[[], Any]) -> str:
    try:
        return _json(what())
    except PromptKedaError as error:
        return _json({"unknown": error.what})


def _text(what: Callable[[], str]) -> str:
    try:
        return what()
    except PromptKedaError as error:
        return f"not seen: {error.what}\n"


def _json(found: Any) -> str:
    return json.dumps(_without_noise(found), indent=1, default=str, ensure_ascii=False)


def _without_noise(found: Any) -> Any:
    """Leave out who manages which field: it is longer than all else, and holds the last applied configuration."""
    if isinstance(found, dict):
        return {key: _without_noise(value) for key, value in found.items() if key != "managedFields"}
    return [_without_noise(one) for one in found] if isinstance(found, list) else found
