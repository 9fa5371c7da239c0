"""Faults of the cluster."""

from __future__ import annotations

from typing import Any

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.conditions import conditions
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import (
    API_SERVICES,
    CONFIG_MAPS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    NAMESPACES,
    PODS,
    SERVICES,
)
from prompt_keda.components.keda.names import METRICS_SERVER, WEBHOOKS
from prompt_keda.core.waiting import until
from prompt_keda.lab import processes
from prompt_keda.lab.faults.ages import age_s
from prompt_keda.lab.faults.fault import Fault, InChaos, Stage

DRILL = "prompt-keda-drill"
FINALIZER = "prompt-keda.lsst.io/drill"
FOREIGN_API = "v1.drill.prompt-keda.test"
WAITS = "drill-waits"


def delete_metrics_service(stage: Stage) -> None:
    """Delete the Service behind KEDA's aggregated API."""
    stage.kube.delete(SERVICES, METRICS_SERVER, stage.environment.keda.namespace)


def restore_metrics_service(stage: Stage) -> None:
    """Put it back."""
    stage.kube.apply(stage.keda_object("Service", METRICS_SERVER), force=True)


def stop_scheduler(stage: Stage) -> None:
    """Stop the scheduler, and let a pod wait for it longer than one has patience."""
    processes.stop(stage.lab, "kube-scheduler")
    made = stage.kube.apply(_pod(stage))["metadata"]["creationTimestamp"]
    until(lambda: age_s(made) > 31, "a pod that waits for the scheduler")


def start_scheduler(stage: Stage) -> None:
    """Take the pod away, and start it again."""
    stage.kube.delete(PODS, WAITS, _workers(stage))
    processes.start_again(stage.lab, "kube-scheduler")


def take_dns_away(stage: Stage) -> None:
    """Mark the cluster's DNS as not ready, as the endpoint controller does when CoreDNS has no pod."""
    _dns_ready(stage, False)


def bring_dns_back(stage: Stage) -> None:
    """Mark it as ready."""
    _dns_ready(stage, True)


def hold_namespace(stage: Stage) -> None:
    """Delete a namespace with an object whose finalizer nobody removes, and wait until it counts as stuck."""
    metadata = {"namespace": DRILL, "name": "held", "finalizers": [FINALIZER]}
    stage.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": DRILL}})
    stage.kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    kube = stage.kube
    kube.delete(NAMESPACES, DRILL)
    since = kube.get(NAMESPACES, DRILL)["metadata"]["deletionTimestamp"]
    until(lambda: age_s(since) > 61, "a stuck namespace")


def let_namespace_go(stage: Stage) -> None:
    """Remove the finalizer, and wait until the namespace is gone."""
    kube = stage.kube
    if kube.find(CONFIG_MAPS, "held", DRILL):
        kube.patch(CONFIG_MAPS, "held", DRILL, {"metadata": {"finalizers": None}})
    until(lambda: kube.find(NAMESPACES, DRILL) is None, "a namespace that is gone")


def add_foreign_api(stage: Stage) -> None:
    """Register an aggregated API whose Service is not there, and wait until the API server has looked."""
    version, _, group = FOREIGN_API.partition(".")
    service = {"name": "gone", "namespace": "default"}
    spec = {"group": group, "version": version, "service": service, "groupPriorityMinimum": 1, "versionPriority": 1}
    body = {"apiVersion": API_SERVICES.api_version, "kind": "APIService", "metadata": {"name": FOREIGN_API}}
    stage.kube.apply({**body, "spec": spec})
    kube = stage.kube
    until(lambda: available(kube, FOREIGN_API) == "False", "an APIService that is not available")


def remove_foreign_api(stage: Stage) -> None:
    """Take it away."""
    stage.kube.delete(API_SERVICES, FOREIGN_API)


def mislead_webhooks(stage: Stage) -> None:
    """Let the webhooks' Service select no pod."""
    _select(stage, {"app": "none"})
    until(lambda: not _behind_webhooks(stage), "a Service without endpoints")


def lead_webhooks(stage: Stage) -> None:
    """Let it select them again."""
    stage.kube.apply(stage.keda_object("Service", WEBHOOKS), force=True)
    _select(stage, stage.keda_object("Service", WEBHOOKS)["spec"]["selector"])
    place = stage.environment.keda.namespace
    # in a chaos round they may be gone: nobody comes behind the Service then
    until(
        lambda: _behind_webhooks(stage) or not stage.kube.find(DEPLOYMENTS, WEBHOOKS, place), "a Service with endpoints"
    )


def stop_webhooks(stage: Stage) -> None:
    """Scale the webhooks' Deployment to nothing."""
    _scale_webhooks(stage, 0)


def start_webhooks(stage: Stage) -> None:
    """Scale it up again."""
    _scale_webhooks(stage, 1)


def _scale_webhooks(stage: Stage, replicas: int) -> None:
    where = stage.environment.keda.namespace
    stage.kube.patch(DEPLOYMENTS, WEBHOOKS, where, {"spec": {"replicas": replicas}})

    def reached() -> bool:
        available = stage.kube.get(DEPLOYMENTS, WEBHOOKS, where)["status"].get("availableReplicas", 0)
        return bool(available == replicas) and bool(_behind_webhooks(stage)) is bool(replicas)

    until(reached, f"{replicas} pods of the webhooks")


def _select(stage: Stage, labels: dict[str, str]) -> None:
    where = stage.environment.keda.namespace
    old_selector = stage.kube.get(SERVICES, WEBHOOKS, where)["spec"].get("selector") or {}
    selector: dict[str, str | None] = {**dict.fromkeys(old_selector), **labels}
    stage.kube.patch(SERVICES, WEBHOOKS, where, {"spec": {"selector": selector}})


def _behind_webhooks(stage: Stage) -> list[Any]:
    selector = f"kubernetes.io/service-name={WEBHOOKS}"
    slices = stage.kube.list(ENDPOINT_SLICES, stage.environment.keda.namespace, selector)
    return [
        endpoint for piece in slices for endpoint in piece.get("endpoints") or [] if endpoint["conditions"].get("ready")
    ]


def _dns_ready(stage: Stage, ready: bool) -> None:
    if coredns := stage.kube.find(DEPLOYMENTS, "coredns", "kube-system"):
        count = 2 if ready else 0
        if coredns["spec"]["replicas"] != count:
            stage.kube.patch(DEPLOYMENTS, "coredns", "kube-system", {"spec": {"replicas": count}})
        until(lambda: _dns_count(stage) == count, "the cluster's DNS", 60)
        return
    endpoint_slice = stage.kube.get(ENDPOINT_SLICES, "kube-dns", "kube-system")
    endpoints = [{**endpoint, "conditions": {"ready": ready}} for endpoint in endpoint_slice["endpoints"]]
    stage.kube.patch(ENDPOINT_SLICES, "kube-dns", "kube-system", {"endpoints": endpoints})


def _dns_count(stage: Stage) -> int:
    slices = stage.kube.list(ENDPOINT_SLICES, "kube-system", "kubernetes.io/service-name=kube-dns")
    endpoints = [endpoint for slice_ in slices for endpoint in slice_.get("endpoints") or []]
    return sum(bool((endpoint.get("conditions") or {}).get("ready")) for endpoint in endpoints)


def available(kube: Kube, name: str) -> str:
    """Return what an APIService says of itself: ``True``, ``False`` or ``None``."""
    return str(conditions(kube.get(API_SERVICES, name)).get("Available", {}).get("status"))


def _pod(stage: Stage) -> Object:
    container = {"name": "worker", "image": stage.environment.smoke.image}
    spec = {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container]}
    metadata = {"name": WAITS, "namespace": _workers(stage)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _workers(stage: Stage) -> str:
    return stage.environment.instruments[0].namespace


FAULTS: tuple[Fault, ...] = (
    Fault(
        "cluster/metrics-service-gone",
        "F9",
        "the APIService points to a Service that is gone",
        delete_metrics_service,
        restore_metrics_service,
        {"cluster/external-metrics-available": "fail"},
        "is gone",
        chaos=InChaos(),
    ),
    Fault(
        "cluster/scheduler-stopped",
        "F30",
        "the scheduler stands still",
        stop_scheduler,
        start_scheduler,
        {"cluster/pods-start": "fail"},
        "neither a node nor a word of the scheduler",
        stops_scaling=True,
        chaos=InChaos(is_repaired=False),
    ),
    Fault(
        "cluster/dns-gone",
        "F31",
        "nothing is ready behind the cluster's DNS",
        take_dns_away,
        bring_dns_back,
        {"cluster/dns-answers": "fail"},
        "nothing ready is behind the Service",
        stops_scaling=True,
        chaos=InChaos(is_repaired=False),
    ),
    Fault(
        "cluster/namespace-held",
        "F9",
        "a namespace is held by a finalizer",
        hold_namespace,
        let_namespace_go,
        {"cluster/namespaces-not-stuck": "warn"},
        "finalizers remaining",
    ),
    Fault(
        "cluster/foreign-api-gone",
        "F9",
        "another aggregated API has no Service",
        add_foreign_api,
        remove_foreign_api,
        {"cluster/api-services-available": "fail"},
        "is not present",
        chaos=InChaos(),
    ),
    Fault(
        "cluster/webhooks-mislead",
        "F12",
        "the webhooks' Service selects no pod",
        mislead_webhooks,
        lead_webhooks,
        {"cluster/webhooks-reachable": "warn"},
        "admitted unseen",
        chaos=InChaos(),
    ),
    Fault(
        "cluster/webhooks-stopped",
        "F12",
        "the webhooks have no pod",
        stop_webhooks,
        start_webhooks,
        {"keda/parts-ready": "fail"},
        "0 available pods",
    ),
)
