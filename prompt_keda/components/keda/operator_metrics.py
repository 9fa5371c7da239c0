"""The metrics of KEDA's operator, read from its pod."""

from __future__ import annotations

import re
from collections.abc import Iterator

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import LEASES, PODS
from prompt_keda.components.keda.names import LEASE
from prompt_keda.components.keda.parts import leader_of
from prompt_keda.core.errors import Missing, Refused, Unreachable

LOOP = "keda_internal_scale_loop_latency_seconds"
"""How late the last poll of a loop was (KEDA 2.16.1, pkg/scaling/scale_handler.go, startScaleLoop)."""
SAMPLE = re.compile(r"(\w+)\{(.*)\} (\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def samples(page: str, name: str) -> Iterator[tuple[dict[str, str], float]]:
    """Yield the samples of one metric in Prometheus' text format: labels and value."""
    for line in page.splitlines():
        match = SAMPLE.match(line)
        if match and match[1] == name:
            yield dict(LABEL.findall(match[2])), float(match[3])


def scale_loops(page: str) -> dict[tuple[str, str], float]:
    """Return each ScaledJob for which the operator runs a loop, by namespace and name: how late its last poll was, in seconds.

    Each poll writes that again, to the nanosecond: two that are alike are one poll.
    """
    loops = ((labels, late_s) for labels, late_s in samples(page, LOOP) if labels["type"] == "scaledjob")
    return {(labels["namespace"], labels["resource"]): late_s for labels, late_s in loops}


def operator_metrics(kube: Kube, namespace: str) -> str:
    """Return the metrics of the operator that holds the Lease, through a port-forward.

    Raises
    ------
    Unreachable
        When they cannot be read from here: nothing is then known, and so nothing is red.
    """
    lease = kube.get(LEASES, LEASE, namespace)
    holder = leader_of(lease)
    try:
        pods = {pod["metadata"]["name"]: pod for pod in kube.list(PODS, namespace)}
        if holder not in pods:
            raise Missing("Kubernetes", kube.address, "no such pod")
        port = _port(pods[holder])
        if port is None:
            raise Unreachable("Kubernetes", kube.address, f"{holder} names no port for metrics")
        return kube.page(namespace, holder, port, "/metrics")
    except Missing as error:
        raise Unreachable("Kubernetes", kube.address, f"the Lease's holder {holder or '(none)'} is no pod") from error
    except Refused as error:
        message = f"the operator's metrics may not be read: {error.detail}"
        raise Unreachable("Kubernetes", kube.address, message) from error


def _port(pod: Object) -> int | None:
    """Return the port for metrics: the container's port of that name, as the public chart has it."""
    ports = (port for container in pod["spec"]["containers"] for port in container.get("ports") or [])
    return next((int(port["containerPort"]) for port in ports if port.get("name") == "metrics"), None)
