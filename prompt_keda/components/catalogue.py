"""Every check. Each stands where its function stands: a new one in a file that is named here needs no line here."""

from __future__ import annotations

from prompt_keda.clients.systems import Systems
from prompt_keda.components.argocd import applications, projects
from prompt_keda.components.capacity import burst, quotas
from prompt_keda.components.cluster import api, host, jobs, namespaces, nodes, other_jobs, pods, services, vcluster
from prompt_keda.components.event_source import login as redis_login
from prompt_keda.components.event_source import server as redis_server
from prompt_keda.components.event_source import streams
from prompt_keda.components.identity import login, rights
from prompt_keda.components.images import contents, names, present, pull_secrets
from prompt_keda.components.keda import certificates, metrics, parts
from prompt_keda.components.scaled_jobs import jobs as scaled_jobs_jobs
from prompt_keda.components.scaled_jobs import schemas, specs, whole_specs
from prompt_keda.components.scaling import works
from prompt_keda.components.smoke import deep_checks
from prompt_keda.components.vault import secrets, server
from prompt_keda.core.check import Check

MODULES = (
    works,
    *(api, vcluster, host, nodes, pods, jobs, other_jobs, services, namespaces),
    *(login, rights),
    *(server, secrets),
    *(redis_server, redis_login, streams),
    *(present, contents, pull_secrets, names),
    *(parts, certificates, specs, whole_specs, schemas, metrics, scaled_jobs_jobs),
    *(applications, projects),
    *(burst, quotas),
    deep_checks,
)
CATEGORIES = ("scaling", "cluster", "identity", "vault", "redis", "images", "keda", "argocd", "capacity", "deep")
"""In the order in which results are shown."""

ALL_CHECKS: tuple[Check[Systems], ...] = tuple(
    sorted(
        {check.id: check for module in MODULES for check in vars(module).values() if isinstance(check, Check)}.values(),
        key=lambda check: CATEGORIES.index(check.category),
    )
)
"""Every check: by category, and within one in the order in which modules and functions stand."""
