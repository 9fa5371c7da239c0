"""The rights that the checks need. The roles in environments/rbac are made from them (`roles`), and give no more.

tests/unit/components/identity/test_rights.py holds this to what the checks ask for on the double, tests/stack/test_rights.py to
a real server.
"""

from __future__ import annotations

from collections.abc import Iterator

from prompt_keda.clients.kube.resources import (
    API_SERVICES,
    APP_PROJECTS,
    APPLICATIONS,
    CLAIMS,
    CLUSTER_TRIGGER_AUTHENTICATIONS,
    CONFIG_MAPS,
    CRDS,
    CRON_JOBS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    EVENTS,
    JOBS,
    LEASES,
    LIMIT_RANGES,
    NAMESPACES,
    NODES,
    PODS,
    RESOURCE_QUOTAS,
    SCALED_JOBS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    TRIGGER_AUTHENTICATIONS,
    VALIDATING_WEBHOOKS,
    VAULT_SECRETS,
    VOLUMES,
    Resource,
)
from prompt_keda.components.cluster.nodes import NODE_LEASES
from prompt_keda.components.cluster.services import DNS_NAMESPACE
from prompt_keda.components.identity.redeploy_rights import forwarding
from prompt_keda.components.keda.names import API_SERVICE, CERTIFICATES, LEASE, NEEDED_CRDS, WEBHOOK_CONFIGURATION
from prompt_keda.core.rights import Right, uncovered
from prompt_keda.delivery.argocd import CONFIG, application_names
from prompt_keda.environment.model import Environment

REVIEWS = (
    ("authentication.k8s.io", "selfsubjectreviews"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
)


def rights_to_look(environment: Environment) -> list[Right]:
    """Return every right that the checks need in an environment, sorted; none that another one covers."""
    needed = {*_of_the_cluster(environment), *_of_keda(environment), *_of_the_workers(environment)}
    return uncovered({*needed, *_of_argo_cd(environment)})


def rights_to_look_deep(environment: Environment) -> list[Right]:
    """Return every right that the deep checks need in an environment, but for the dry runs: those are for who may redeploy."""
    smoke = environment.smoke.namespace
    return [
        Right("create", "authorization.k8s.io", "subjectaccessreviews"),
        _right("get", DEPLOYMENTS, environment.keda.namespace),
        *(_right(verb, JOBS, smoke) for verb in ("create", "delete")),
        *(_right(verb, PODS, smoke) for verb in ("list", "watch")),
        Right("get", PODS.group, PODS.plural, smoke, subresource="log"),
    ]


def rights_on_host(namespace: str) -> list[Right]:
    """Return every right that the checks need on the host of a vCluster, which runs there in a namespace."""
    return [
        *(_right("list", kind, namespace) for kind in (PODS, CLAIMS, RESOURCE_QUOTAS)),
        _right("list", NODES),
        _right("get", VOLUMES),
        _right("list", LEASES, NODE_LEASES),
    ]


def rights_to_see_room() -> list[Right]:
    """Return what is needed on the host of a vCluster to see what others use of its nodes."""
    return [_right("list", PODS)]


def _of_the_cluster(environment: Environment) -> Iterator[Right]:
    yield from (Right("create", group, plural) for group, plural in REVIEWS)
    yield from (_right("list", kind) for kind in (NODES, PODS, NAMESPACES, API_SERVICES))
    yield from (_right("get", NAMESPACES, name=name) for name in ("kube-system", environment.keda.namespace))
    yield _right("get", API_SERVICES, name=API_SERVICE)
    yield _right("get", VALIDATING_WEBHOOKS, name=WEBHOOK_CONFIGURATION)
    yield from (_right("get", CRDS, name=name) for name in NEEDED_CRDS)
    yield _right("list", LEASES, NODE_LEASES)
    yield from (_right("list", kind) for kind in (DEPLOYMENTS, LEASES))  # is there another KEDA?
    yield _right("get", CLUSTER_TRIGGER_AUTHENTICATIONS)  # a live ScaledJob may name one
    yield from (_right("list", kind, DNS_NAMESPACE) for kind in (SERVICES, ENDPOINT_SLICES))


def _of_keda(environment: Environment) -> Iterator[Right]:
    namespace = environment.keda.namespace
    yield from (_right(verb, DEPLOYMENTS, namespace) for verb in ("get", "list"))
    yield _right("get", SERVICES, namespace)
    yield _right("list", ENDPOINT_SLICES, namespace)
    yield _right("get", LEASES, namespace, LEASE)
    yield _right("get", SECRETS, namespace, CERTIFICATES)
    yield _right("get", SERVICE_ACCOUNTS, namespace)  # their pull secrets, where a pod names none
    yield from forwarding(namespace)  # to the operator's metrics


def _of_the_workers(environment: Environment) -> Iterator[Right]:
    for instrument in environment.instruments:
        yield _right("get", SCALED_JOBS, instrument.namespace, instrument.scaled_job)
        yield from (
            _right("list", kind, instrument.namespace) for kind in (JOBS, CRON_JOBS, RESOURCE_QUOTAS, LIMIT_RANGES)
        )
        yield from (_right("get", kind, instrument.namespace) for kind in (TRIGGER_AUTHENTICATIONS, SERVICE_ACCOUNTS))
    places = {environment.keda.namespace, environment.redis.namespace, *(i.namespace for i in environment.instruments)}
    yield from (_right("list", EVENTS, place) for place in places)  # why a pod does not start
    for sync in environment.secrets:
        yield from (_right("get", kind, sync.namespace, sync.name) for kind in (SECRETS, VAULT_SECRETS))
    if environment.redis.reach == "port-forward":
        yield from forwarding(environment.redis.namespace)


def _of_argo_cd(environment: Environment) -> Iterator[Right]:
    settings = environment.argocd
    if settings is not None:
        yield _right("get", CONFIG_MAPS, settings.namespace, CONFIG)
        yield _right("get", APP_PROJECTS, settings.namespace)  # which one stands in the Application
        for name in application_names(environment):
            yield _right("get", APPLICATIONS, settings.namespace, name)


def _right(verb: str, resource: Resource, namespace: str = "", name: str = "") -> Right:
    return Right(verb, resource.group, resource.plural, namespace, name)
