"""Faults of images and of the registry."""

from __future__ import annotations

import base64
import json

from prompt_keda.clients.kube.resources import DEPLOYMENTS, SECRETS
from prompt_keda.components.keda.names import WEBHOOKS
from prompt_keda.core.waiting import until
from prompt_keda.lab import contents, processes, services
from prompt_keda.lab.faults.fault import Fault, InChaos, Stage
from prompt_keda.lab.settings import PORTS, REGISTRY_HOST

PART = WEBHOOKS
NEVER = f"{REGISTRY_HOST}/kedacore/{PART}@sha256:{'0' * 64}"


def set_image(stage: Stage, image: str) -> None:
    """Let the webhooks' Deployment name this image."""
    place = stage.environment.keda.namespace
    live = stage.kube.get(DEPLOYMENTS, PART, place)["spec"]["template"]["spec"]["containers"][0]
    pod = {"containers": [{**live, "image": image}]}
    stage.kube.patch(DEPLOYMENTS, PART, place, {"spec": {"template": {"spec": pod}}})


def own_image(stage: Stage) -> str:
    """Return the image of the webhooks as the manifests name it."""
    return str(stage.keda_object("Deployment", PART)["spec"]["template"]["spec"]["containers"][0]["image"])


def name_missing_image(stage: Stage) -> None:
    """Let the webhooks' Deployment name an image that was never pushed; the pod that runs stays."""
    set_image(stage, NEVER)


def name_own_image(stage: Stage) -> None:
    """Let it name its own again, and wait until one pod is left."""
    set_image(stage, own_image(stage))
    until(lambda: len(stage.keda_pods(PART)) == 1, f"one pod of {PART}")


def stop_registry(stage: Stage) -> None:
    """Stop the registry's process."""
    processes.stop(stage.lab, "registry")


def start_registry(stage: Stage) -> None:
    """Start it again."""
    address = stage.endpoints["address"]
    services.start_registry(stage.lab, address)
    until(lambda: contents.answers(address, PORTS["registry"]), "the registry")


def _set_pull_secret(stage: Stage, config: str) -> None:
    data = {".dockerconfigjson": base64.b64encode(config.encode()).decode()}
    for instrument in stage.environment.instruments:
        stage.kube.patch(SECRETS, "pull-secret", instrument.namespace, {"data": data})


def wrong_password(stage: Stage) -> None:
    """Put another password into the workers' pull secret."""
    entry = {"username": services.REGISTRY_USER, "password": "outdated"}
    _set_pull_secret(stage, json.dumps({"auths": {REGISTRY_HOST: entry}}))


def wrong_registry(stage: Stage) -> None:
    """Let the workers' pull secret be for another registry."""
    config = json.loads(services.docker_config(stage.lab).reveal())
    _set_pull_secret(stage, json.dumps({"auths": {"registry.test": config["auths"][REGISTRY_HOST]}}))


def right_pull_secret(stage: Stage) -> None:
    """Put the right one back."""
    _set_pull_secret(stage, services.docker_config(stage.lab).reveal())


FAULTS: tuple[Fault, ...] = (
    Fault(
        "images/gone",
        "F40",
        "a part of KEDA names an image that the registry does not have",
        name_missing_image,
        name_own_image,
        {"images/keda-images-present": "fail", "keda/parts-ready": "warn"},
        "has no sha256:",
    ),
    Fault(
        "images/registry-stopped",
        "F40",
        "the registry is down",
        stop_registry,
        start_registry,
        {
            "images/keda-images-present": "unknown",
            "images/instrument-images-present": "unknown",
            "images/smoke-image-present": "unknown",
        },
        "no connection: refused",
        chaos=InChaos(is_repaired=False),
    ),
    Fault(
        "images/wrong-password",
        "F40",
        "the workers' pull secret has an outdated password",
        wrong_password,
        right_pull_secret,
        {"images/pull-secrets-fit": "fail", "vault/cluster-secrets-fresh": "fail"},
        "is denied by",
        runbook="secrets-missing",
    ),
    Fault(
        "images/wrong-registry",
        "F40",
        "the workers' pull secret is for another registry",
        wrong_registry,
        right_pull_secret,
        {"images/pull-secrets-fit": "fail", "vault/cluster-secrets-fresh": "fail"},
        "has nothing for",
        runbook="secrets-missing",
        stops_scaling=True,
    ),
)
