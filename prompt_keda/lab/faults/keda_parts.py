"""Faults of KEDA's parts: operator, certificates, CRDs, a second KEDA."""

from __future__ import annotations

import base64

from prompt_keda.clients.kube.resources import API_SERVICES, CRDS, DEPLOYMENTS, LEASES
from prompt_keda.components.keda import parts
from prompt_keda.components.keda.names import (
    API_SERVICE,
    CERTIFICATES,
    LEASE,
    OPERATOR,
    SCALED_JOBS_CRD,
    VERSION_LABEL,
    WEBHOOKS,
)
from prompt_keda.core.waiting import until
from prompt_keda.lab.faults import kept_secrets
from prompt_keda.lab.faults.ages import age_s
from prompt_keda.lab.faults.fault import Fault, InChaos, Stage

STALE_S = parts.STALE_S + 1
OTHER = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "another-keda", "namespace": "default"}


def scale(stage: Stage, name: str, replicas: int) -> None:
    """Give one of KEDA's Deployments so many pods, and wait until they are ready, and no others are there."""
    place = stage.environment.keda.namespace
    stage.kube.patch(DEPLOYMENTS, name, place, {"spec": {"replicas": replicas}})
    until(lambda: _pods_ready(stage, name) == [True] * replicas, f"{replicas} pods of {name}")


def _pods_ready(stage: Stage, name: str) -> list[bool]:
    pods = stage.keda_pods(name)
    return [all(status.get("ready") for status in pod["status"].get("containerStatuses") or [{}]) for pod in pods]


def lease_age_s(stage: Stage) -> float:
    """Return how long ago the operator renewed its Lease."""
    lease = stage.kube.get(LEASES, LEASE, stage.environment.keda.namespace)
    return age_s(lease["spec"]["renewTime"])


def until_stale(stage: Stage) -> None:
    """Wait until the operator's Lease is old."""
    until(lambda: lease_age_s(stage) > STALE_S, "an old Lease")


def until_fresh(stage: Stage) -> None:
    """Wait until it is renewed by a pod that is there: a pod that ends leaves it held, and young for some seconds."""
    until(lambda: lease_age_s(stage) < STALE_S / 2 and _holder_is_there(stage), "a fresh Lease")


def _holder_is_there(stage: Stage) -> bool:
    holder = parts.leader_of(stage.kube.get(LEASES, LEASE, stage.environment.keda.namespace))
    return holder in [pod["metadata"]["name"] for pod in stage.keda_pods(OPERATOR)]


def remove_operator(stage: Stage) -> None:
    """Take the operator's pods away, and wait until its Lease is old."""
    scale(stage, OPERATOR, 0)
    until_stale(stage)


def restore_operator(stage: Stage) -> None:
    """Bring them back; the new one takes the Lease."""
    scale(stage, OPERATOR, 1)
    until_fresh(stage)


def corrupt_bundle(stage: Stage) -> None:
    """Let the APIService trust another CA, and keep the operator from correcting it at once.

    It stays Available: the aggregator asks without verifying (seen), so only a look at the bundle shows it.
    """
    remove_operator(stage)
    stage.kube.patch(API_SERVICES, API_SERVICE, None, {"spec": {"caBundle": _other_ca(stage)}})


def restore_bundle(stage: Stage) -> None:
    """Bring the operator back, which puts its CA in, and wait for that."""
    restore_operator(stage)
    until(lambda: _bundle(stage) != _other_ca(stage), "the right CA in the APIService")


def _bundle(stage: Stage) -> str | None:
    bundle: str | None = stage.kube.get(API_SERVICES, API_SERVICE)["spec"].get("caBundle")
    return bundle


def _other_ca(stage: Stage) -> str:
    return base64.b64encode(stage.ca_file.read_bytes()).decode()


def delete_certificates(stage: Stage) -> None:
    """Delete the Secret with KEDA's certificates; its pods go on with what they have read."""
    kept_secrets.take(stage, CERTIFICATES, stage.environment.keda.namespace)


def restore_certificates(stage: Stage) -> None:
    """Put it back as it was."""
    kept_secrets.put_back(stage, CERTIFICATES, stage.environment.keda.namespace)


def _label_crd(stage: Stage, version: str) -> None:
    stage.kube.patch(CRDS, SCALED_JOBS_CRD, None, {"metadata": {"labels": {VERSION_LABEL: version}}})


def age_crd(stage: Stage) -> None:
    """Let the CRD say that it is of an older version."""
    _label_crd(stage, "2.15.0")


def restore_crd(stage: Stage) -> None:
    """Give it the environment's version again."""
    _label_crd(stage, stage.environment.keda.version)


def age_part(stage: Stage) -> None:
    """Let the webhooks' Deployment say that it is of an older version."""
    _label_part(stage, "2.15.0")


def restore_part(stage: Stage) -> None:
    """Give it the environment's version again."""
    _label_part(stage, stage.environment.keda.version)


def _label_part(stage: Stage, version: str) -> None:
    body = {"metadata": {"labels": {VERSION_LABEL: version}}}
    stage.kube.patch(DEPLOYMENTS, WEBHOOKS, stage.environment.keda.namespace, body)


def add_operator(stage: Stage) -> None:
    """Put a second KEDA's operator beside the first; without a pod, so that it does no harm."""
    place = stage.environment.keda.namespace
    image = stage.kube.get(DEPLOYMENTS, OPERATOR, place)["spec"]["template"]["spec"]["containers"][0]["image"]
    labels = {"app": OTHER["name"]}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "operator", "image": image}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod}
    metadata = {"name": OTHER["name"], "namespace": OTHER["namespace"]}
    body = {"apiVersion": OTHER["apiVersion"], "kind": OTHER["kind"], "metadata": metadata, "spec": spec}
    stage.kube.apply(body, force=True)


def remove_added_operator(stage: Stage) -> None:
    """Take it away."""
    stage.kube.delete(DEPLOYMENTS, OTHER["name"], OTHER["namespace"])


FAULTS: tuple[Fault, ...] = (
    Fault(
        "keda/operator-gone",
        "F15",
        "the operator has no pod",
        remove_operator,
        restore_operator,
        {"keda/lease-fresh": "fail", "keda/parts-ready": "fail"},
        "every status of KEDA is stale",
        stops_scaling=True,
    ),
    Fault(
        "keda/another-ca",
        "F10",
        "the APIService trusts another CA, and no operator corrects it",
        corrupt_bundle,
        restore_bundle,
        {
            "keda/certificates-agree": "fail",
            "keda/lease-fresh": "fail",
            "keda/parts-ready": "fail",
        },
        "the APIService trusts another CA",
        runbook="keda-gone",
        stops_scaling=True,
    ),
    Fault(
        "keda/certificates-gone",
        "F10",
        "the Secret with KEDA's certificates is deleted",
        delete_certificates,
        restore_certificates,
        {"keda/certificates-agree": "fail"},
        "the Secret kedaorg-certs is",
        chaos=InChaos(),
    ),
    Fault(
        "keda/crd-of-another-version",
        "",
        "the CRD of ScaledJobs is of another version",
        age_crd,
        restore_crd,
        {"keda/crds-of-version": "warn"},
        "is of version",
        chaos=InChaos(),
    ),
    Fault(
        "keda/part-of-another-version",
        "",
        "a part of KEDA is of another version",
        age_part,
        restore_part,
        {"keda/one-version": "warn"},
        "keda-admission-webhooks: label",
        chaos=InChaos(),
    ),
    Fault(
        "keda/second-operator",
        "",
        "a second KEDA stands in another namespace",
        add_operator,
        remove_added_operator,
        {"keda/single-operator": "fail"},
        "another KEDA operator",
        chaos=InChaos(),
    ),
)
