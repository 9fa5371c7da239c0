"""Faults of what is in images, and of what their names mean. Each image of a fault is in a repository of this stack alone.

The registry's storage is shared by all stacks of this user: nothing that another one has there is touched.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.registry import parse_image
from prompt_keda.core.waiting import until
from prompt_keda.lab import images, services, state
from prompt_keda.lab.faults import scaled_jobs
from prompt_keda.lab.faults.fault import Fault, Stage
from prompt_keda.lab.faults.images import PART, name_own_image, own_image, set_image
from prompt_keda.lab.settings import REGISTRY_HOST

INDEX = "application/vnd.oci.image.index.v1+json"
OTHER = {"os": "linux", "architecture": "s390x"}


def offer_another_platform(stage: Stage) -> None:
    """Let the webhooks' Deployment name an image for another platform; the pod that runs stays."""
    built = _small_image(stage)
    with _registry(stage) as client:
        images.push(built, client)
        child = {"mediaType": images.MANIFEST, "digest": built.digest, "size": len(built.manifest), "platform": OTHER}
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [child]}
        digest = images.put_manifest(client, _repository(stage), "index", json.dumps(index).encode(), INDEX)
    set_image(stage, f"{REGISTRY_HOST}/{_repository(stage)}@{digest}")


def lose_layer(stage: Stage) -> None:
    """Let it name an image whose manifest is in the registry, and whose layer is not."""
    built = _small_image(stage)
    with _registry(stage) as client:
        pinned = images.push(built, client)
    layer = _folder(stage) / "_layers" / built.layer_digest.replace(":", "/")
    shutil.rmtree(layer)
    set_image(stage, f"{REGISTRY_HOST}/{pinned}")


def move_tag(stage: Stage) -> None:
    """Let the webhooks run by a tag, and then move the tag to another image."""
    tag = stage.environment.keda.version
    manifest = _copy(stage, own_image(stage), tag)
    set_image(stage, f"{REGISTRY_HOST}/{_repository(stage)}:{tag}")
    until(lambda: _run_by_tag(stage), "webhooks that run by a tag")
    moved = {**json.loads(manifest), "annotations": {"org.opencontainers.image.created": "2001-01-01T00:00:00Z"}}
    with _registry(stage) as client:
        images.put_manifest(client, _repository(stage), tag, json.dumps(moved).encode(), images.MANIFEST)


def name_latest(stage: Stage) -> None:
    """Let every ScaledJob, paused, name its image by the tag latest."""

    def named(pod: Object) -> Object:
        _copy(stage, pod["containers"][0]["image"], "latest")
        return {
            "containers": [
                {**container, "image": f"{REGISTRY_HOST}/{_repository(stage)}:latest"}
                for container in pod["containers"]
            ]
        }

    scaled_jobs.edit_workers(stage, named)


def name_own_images(stage: Stage) -> None:
    """Let the webhooks' Deployment name its own image again, and take the fault's images away."""
    name_own_image(stage)
    shutil.rmtree(_folder(stage), ignore_errors=True)


def name_digests(stage: Stage) -> None:
    """Let every ScaledJob name its image as its manifest does, and take the fault's images away."""
    scaled_jobs.restore(stage)
    shutil.rmtree(_folder(stage), ignore_errors=True)


def _small_image(stage: Stage) -> images.BuiltImage:
    """Build an image that no node has: its layer holds this stack's own certificate."""
    image = images.ImageContents(_repository(stage), "1", {"/ca.crt": stage.ca_file}, ("/none",))
    return images.build(image, stage.lab.state / "fault-images")


def _copy(stage: Stage, name: str, tag: str) -> bytes:
    """Put an image into the fault's repository under a tag, and return its manifest."""
    source = parse_image(name)
    with _registry(stage) as client:
        path = f"/v2/{source.repository}/manifests/{source.reference}"
        manifest: bytes = client.get(path, headers={"Accept": images.MANIFEST}).raise_for_status().content
        parts = json.loads(manifest)
        for blob in (parts["config"], *parts["layers"]):
            images.mount_blob(client, _repository(stage), blob["digest"], source.repository)
        images.put_manifest(client, _repository(stage), tag, manifest, images.MANIFEST)
    return manifest


def _run_by_tag(stage: Stage) -> bool:
    pods = stage.keda_pods(PART)
    named = [container["image"] for pod in pods for container in pod["spec"]["containers"]]
    ready = [status.get("ready") for pod in pods for status in pod["status"].get("containerStatuses") or []]
    return len(named) == 1 and "@" not in named[0] and ready == [True]


def _repository(stage: Stage) -> str:
    return f"faults/{stage.lab.name}"


def _folder(stage: Stage) -> Path:
    """Return where the registry keeps the fault's repository (distribution, registry/storage/paths.go)."""
    return services.registry_storage() / "docker/registry/v2/repositories" / _repository(stage)


def _registry(stage: Stage) -> Any:
    password = state.ensure_secret(stage.lab, "registry-password")
    return images.registry_client(stage.endpoints["registry_url"], stage.ca_file, services.REGISTRY_USER, password)


FAULTS: tuple[Fault, ...] = (
    Fault(
        "images/another-platform",
        "",
        "a part of KEDA names an image that is built for other nodes",
        offer_another_platform,
        name_own_images,
        {"images/platforms-fit": "fail", "keda/parts-ready": "warn"},
        ", not for linux/",
    ),
    Fault(
        "images/layer-lost",
        "",
        "the registry has lost a layer of an image",
        lose_layer,
        name_own_images,
        {"images/layers-present": "fail", "keda/parts-ready": "warn"},
        "lacks its part sha256:",
    ),
    Fault(
        "images/tag-moved",
        "",
        "a part of KEDA runs by a tag, which was moved since",
        move_tag,
        name_own_images,
        {"images/running-as-named": "warn", "images/pinned": "warn"},
        "the tag was moved",
    ),
    Fault(
        "images/latest",
        "",
        "the ScaledJob names its image by the tag latest (paused, so that no Job is lost)",
        name_latest,
        name_digests,
        {"images/pinned": "warn", "keda/specs-as-wanted": "warn", "keda/none-paused": "warn"},
        "is named by the tag latest",
        runbook="scaled-job-wrong",
        stops_scaling=True,
    ),
)
