"""What the AppProject of each Application lets Argo CD deliver, and when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from prompt_keda.clients.kube.objects import Object, some
from prompt_keda.clients.kube.resources import APP_PROJECTS
from prompt_keda.clients.systems import Systems
from prompt_keda.components.argocd.applications import of_every_application
from prompt_keda.components.argocd.sync_windows import NotEvaluated, find_denial, matches_any, windows_of
from prompt_keda.components.cluster.clock import server_now
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.outcomes import fail, ok, warn
from prompt_keda.delivery.argocd import syncs_by_itself

SOON = timedelta(hours=6)
"""A window that opens within this time is reported."""
IN_CLUSTER = {"name": "in-cluster", "server": "https://kubernetes.default.svc"}
"""How Argo CD calls the cluster that it runs in."""


@check(
    "argocd/project-permits",
    "The project of each Application permits what it delivers, and denies no sync",
    needs=("cluster/api-answers",),
    runbook="argocd-disagrees",
)
def project_permits(systems: Systems) -> Outcome:
    """Compare the destination of each Application, and the kinds and namespaces of its objects, with its AppProject; and
    evaluate the sync windows that count for it. SKIPPED where Argo CD does not deliver.

    Cause: FAIL: the project was restricted, or is gone: Argo CD's next sync is refused. WARN: a sync window denies syncs, or
    will within six hours, or is of a form that is not evaluated.

    Fix: The owner of the project permits what the result names, or changes the window. A redeploy needs neither: it asks for
    no sync.
    """

    def look(name: str, live: Object) -> Outcome:
        project_name = str((live.get("spec") or {}).get("project") or "default")
        project = systems.kube.find(APP_PROJECTS, project_name, live["metadata"]["namespace"])
        if project is None:
            fix = f"Sync the Application that brings AppProject {project_name}."
            return fail(f"{name}: there is no project {project_name}: its next sync is refused", fix)
        if refused := list(dict.fromkeys(_not_permitted(project.get("spec") or {}, live))):
            fix = f"Its owner permits them in AppProject {project_name}; a redeploy needs no sync."
            return fail(
                f"{name}: project {project_name} does not permit {some(refused)}: its next sync is refused", fix
            )
        return _of_windows(systems, name, project, live)

    return of_every_application(systems, look, "")


def _of_windows(systems: Systems, name: str, project: Object, live: Object) -> Outcome:
    now, project_name = server_now(systems), project["metadata"]["name"]
    fix = f"Wait until it ends, or let the owner of AppProject {project_name} change it; a redeploy needs no sync."
    try:
        denial = find_denial(windows_of(project, live), now, SOON)
    except NotEvaluated as error:
        return warn(f"{name}: a window of project {project_name}: {error}", "See the project's page in Argo CD.")
    if denial is None or not (denial.also_by_hand or syncs_by_itself(live)):
        return ok(f"{name} in project {project_name}")
    begins = "now" if denial.since <= now else f"from {denial.since:%Y-%m-%dT%H:%MZ} on"
    ways = "all syncs" if denial.also_by_hand else "automatic syncs"
    windows = "; ".join(map(str, denial.windows[:2]))
    return warn(f"{name}: project {project_name} denies {ways} {begins}: {windows}", fix)


def _not_permitted(spec: Object, application: Object) -> Iterator[str]:
    """Yield what of an Application its project does not permit, in words."""
    destination = (application.get("spec") or {}).get("destination") or {}
    resources = (application.get("status") or {}).get("resources") or []
    if not _permits_destination(spec, destination, str(destination.get("namespace") or "")):
        yield f"its destination, namespace {destination.get('namespace')}"
    for resource in resources:
        group, kind, namespace = (str(resource.get(key) or "") for key in ("group", "kind", "namespace"))
        if not _permits_kind(spec, resource, "namespace" if namespace else "cluster"):
            yield f"{kind}.{group}" if group else kind
        elif namespace and not _permits_destination(spec, destination, namespace):
            yield f"namespace {namespace}"


def _permits_kind(spec: Object, resource: Mapping[str, Any], scope: str) -> bool:
    """Return whether a kind may be delivered. Where nothing is said, all kinds in namespaces are, and no others."""
    allowed, denied = spec.get(f"{scope}ResourceWhitelist"), spec.get(f"{scope}ResourceBlacklist")
    is_allowed = scope == "namespace" if allowed is None else _names_kind(allowed, resource)
    return is_allowed and not _names_kind(denied or [], resource)


def _names_kind(items: Sequence[Mapping[str, Any]], resource: Mapping[str, Any]) -> bool:
    """Return whether one of some items is of a resource's group, kind and, where an item has one, name."""
    return any(
        all(
            _matches(str(item.get(key) or any_), str(resource.get(key) or ""))
            for key, any_ in (("group", ""), ("kind", ""), ("name", "*"))
        )
        for item in items
    )


def _permits_destination(spec: Object, destination: Mapping[str, Any], namespace: str) -> bool:
    """Return whether a project has a destination for a namespace, and none that denies it with a ``!``."""
    is_own = any(destination.get(key) == value for key, value in IN_CLUSTER.items())
    cluster = IN_CLUSTER if is_own else {key: str(destination.get(key) or "") for key in IN_CLUSTER}
    is_permitted = False
    for item in spec.get("destinations") or []:
        patterns = {key: str(item.get(key) or "") for key in (*IN_CLUSTER, "namespace")}
        fits = {key: bool(value) and _matches(patterns[key], value) for key, value in cluster.items()}
        fits["namespace"] = _matches(patterns["namespace"], namespace)
        if fits["namespace"] and (fits["name"] or fits["server"]):
            is_permitted = True
        elif _is_denied(patterns, fits):
            return False
    return is_permitted


def _is_denied(patterns: Mapping[str, str], fits: Mapping[str, bool]) -> bool:
    """Return whether a destination that does not fit denies: as Argo CD has it (app_project_types.go, isDestinationMatched)."""
    denies = {key: pattern.startswith("!") and not fits[key] for key, pattern in patterns.items()}
    return denies["name"] or (denies["server"] and fits["namespace"]) or (denies["namespace"] and fits["server"])


def _matches(pattern: str, value: str) -> bool:
    """Return whether a glob, or one that a ``!`` turns round, matches a value, which may be empty: the core group is."""
    if pattern.startswith("!"):
        return not _matches(pattern[1:], value)
    return matches_any([pattern], value)
