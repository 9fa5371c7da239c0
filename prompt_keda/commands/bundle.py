"""bundle: what an expert asks for, in one archive: objects, events, logs and versions of Prompt KEDA. No Secret is among it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
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
from prompt_keda.clients.systems import Systems, viewpoint
from prompt_keda.commands import status
from prompt_keda.commands.session import Session
from prompt_keda.components.round import choose, run_round, summaries
from prompt_keda.core import exit_code
from prompt_keda.core.errors import PromptKedaError
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.core.places import incidents_folder, runs_folder
from prompt_keda.core.redaction import Redaction, known_secrets
from prompt_keda.environment.model import Environment
from prompt_keda.records.incident import Incident
from prompt_keda.records.record import JOURNAL
from prompt_keda.records.run_history import runs_kept
from prompt_keda.report.archive import refuse_unwritable, write_archive
from prompt_keda.report.as_json import as_plain
from prompt_keda.report.parts import Bundle, BundledFile
from prompt_keda.report.result import Result
from prompt_keda.runbooks.commands import go_on

LINES = 2000
"""Of each container's log."""
OF_KEDA = (DEPLOYMENTS, PODS, LEASES, EVENTS)
OF_WORKERS = (SCALED_JOBS, TRIGGER_AUTHENTICATIONS, JOBS, PODS, EVENTS)
LAST_RUNS = 3


def bundle(session: Session, file: str, observer: Observer) -> Result[Bundle]:
    """Collect what an expert asks for into one archive, without secrets; its content is listed before it is written.

    Parameters
    ----------
    file
        The archive; empty: only what it would hold is listed.

    Raises
    ------
    Refusal
        When the file already exists, or cannot be written: then nothing is collected.
    ClientError
        When the Secrets that have to be taken out cannot be read: then nothing is collected.
    """
    environment = session.environment.name
    if file:
        refuse_unwritable(Path(file))
    results = run_round(session.systems, choose())
    go_on(exit_code.of_checks(results))
    header = session.header()
    own = {"check-deps.json": json.dumps(summaries(results), indent=1), **_journals(session.environment)}
    with session.fresh_systems() as systems:  # a check that hangs may keep those of the session
        redact = Redaction(secret_values(systems))
        files = {name: redact(text) for name, text in (*own.items(), *collect(systems))}
    rows = [BundledFile(name, len(text.encode())) for name, text in files.items()]
    for row in rows:
        observer(Event(EventKind.NOTE, "bundle", "", f"{row.size_bytes:9} bytes  {row.name}"))
    size = write_archive(Path(file), f"prompt-keda-{environment}", files) if file else 0
    return Result("bundle", environment, header, Bundle(file, size, rows, redact.count))


def _journals(environment: Environment) -> dict[str, str]:
    """Return the journals of the last runs and of the newest incident that this machine has."""
    runs, _ = runs_kept(runs_folder(), environment.name, viewpoint())
    folders = [runs_folder() / run.run_id for run in runs[:LAST_RUNS]]
    incident = Incident.find_newest(incidents_folder(), environment)
    folders += [incident.path] if incident else []
    kept = [folder / JOURNAL for folder in folders]
    return {f"{file.parent.parent.name}/{file.parent.name}.jsonl": file.read_text() for file in kept if file.is_file()}


def collect(systems: Systems) -> Iterator[tuple[str, str]]:
    """Yield each file's name and text. What could not be had says so in its place: that is worth knowing as well."""
    environment = systems.environment
    yield "status.json", _json(as_plain(status.look(systems)))
    yield (
        "versions.json",
        _json_or_error(lambda: {"kubernetes": systems.kube.version(), "keda": str(environment.keda.version)}),
    )
    yield (
        "crds.json",
        _json_or_error(lambda: [_without_schema(crd) for crd in systems.kube.list(CRDS) if _is_kedas(crd)]),
    )
    yield (
        "api-services.json",
        _json_or_error(lambda: [service for service in systems.kube.list(API_SERVICES) if _is_kedas(service)]),
    )
    yield "namespaces.json", _json_or_error(lambda: systems.kube.list(NAMESPACES))
    for kind in OF_KEDA:
        yield (
            _file(environment.keda.namespace, kind),
            _json_or_error(partial(systems.kube.list, kind, environment.keda.namespace)),
        )
    for namespace in sorted({instrument.namespace for instrument in environment.instruments}):
        for kind in OF_WORKERS:
            yield _file(namespace, kind), _json_or_error(partial(systems.kube.list, kind, namespace))
    yield from _logs(systems, environment.keda.namespace)


def secret_values(systems: Systems) -> list[str]:
    """Return the values of all Secrets that the environment names, to be taken out of everything. Raises as `Kube.find` does."""
    secrets = [systems.kube.find(SECRETS, sync.name, sync.namespace) for sync in systems.environment.secrets]
    return [value for secret in secrets if secret for value in known_secrets((secret.get("data") or {}).values())]


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
                restarted = any(status.get("restartCount") for status in pod["status"].get("containerStatuses") or [])
                if previous and not restarted:
                    continue
                read = partial(systems.kube.logs, namespace, name, LINES, previous, container["name"])
                yield where, _text(read)


def _file(namespace: str, kind: Resource) -> str:
    return f"{namespace}/{kind.plural}.json"


def _is_kedas(obj: Object) -> bool:
    return "keda.sh" in str(obj["metadata"]["name"]) or "external.metrics" in str(obj["metadata"]["name"])


def _without_schema(crd: Object) -> Object:
    versions = [
        {key: value for key, value in version.items() if key != "schema"} for version in crd["spec"]["versions"]
    ]
    return {**crd, "spec": {**crd["spec"], "versions": versions}}


def _json_or_error(what: Callable[[], Any]) -> str:
    try:
        return _json(what())
    except PromptKedaError as error:
        return _json({"unknown": error.what})


def _text(what: Callable[[], str]) -> str:
    try:
        return what()
    except PromptKedaError as error:
        return f"not seen: {error.what}\n"


def _json(value: Any) -> str:
    return json.dumps(_without_noise(value), indent=1, default=str, ensure_ascii=False)


def _without_noise(document: Any) -> Any:
    """Leave out who manages which field: it is longer than all else, and holds the last applied configuration."""
    if isinstance(document, dict):
        return {key: _without_noise(value) for key, value in document.items() if key != "managedFields"}
    return [_without_noise(inner) for inner in document] if isinstance(document, list) else document
