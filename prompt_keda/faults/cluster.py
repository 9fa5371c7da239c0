"""Faults of the cluster."""

from __future__ import annotations

from prompt_keda.clients.kube_resources import SERVICES
from prompt_keda.faults.fault import Fault, Stage

METRICS = "keda-operator-metrics-apiserver"


def delete_metrics_service(stage: Stage) -> None:
    """Delete the Service behind KEDA's aggregated API."""
    stage.kube.delete(SERVICES, METRICS, stage.environment.keda.namespace)


def restore_metrics_service(stage: Stage) -> None:
    """Put it back."""
    stage.kube.apply(stage.keda_object("Service", METRICS), force=True)


FAULTS: tuple[Fault, ...] = (
    Fault(
        "cluster/metrics-service-gone",
        "F9",
        "the APIService points to a Service that is gone",
        delete_metrics_service,
        restore_metrics_service,
        {"cluster/external-metrics-available": "fail"},
        "is gone",
    ),
)
