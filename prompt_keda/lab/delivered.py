"""What a stack needs on which KEDA comes from git, by Argo CD or Helm: the repository, the kinds, the Secrets, the groups.

Production has parts for these that the stack has not: an operator of VaultSecrets, a provisioner of volumes, and whoever
made the consumer groups.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from prompt_keda.clients.kube.resources import CRDS, VAULT_SECRETS
from prompt_keda.clients.systems import Systems
from prompt_keda.components.event_source.choice import event_source
from prompt_keda.core.places import ENVIRONMENTS
from prompt_keda.environment.loading import load_environment
from prompt_keda.lab import contents, go_builds, phalanx, state
from prompt_keda.lab.settings import Lab

Object = dict[str, Any]
VOLUMES = 30
"""A volume whose claim was deleted is used up: so often the workers' namespace can be deleted."""
ENVIRONMENT = "local"
"""The environment's name in the repository: values-local.yaml."""


def ensure_ground(lab: Lab, repo_url: str) -> Path:
    """Write the repository unless it is there, make kind and volumes, and return the repository's folder. Idempotent: yes."""
    folder = lab.state / "git" / "phalanx"
    known = state.endpoints(lab)
    if not (folder / ".git").exists():
        worker = go_builds.build(go_builds.WORKER, lambda event: None)
        images = contents.publish_small_images(lab, known["registry_url"], worker)
        keda = json.loads(Path(known["keda_manifests"]).read_text())
        phalanx.write(folder, keda, images["worker"], images["busybox"], repo_url)
    contents.apply(lab, [vault_secret_kind(), *_volumes(lab)])
    contents.kubectl(lab, ["wait", "--for=condition=Established", f"crd/{VAULT_SECRETS.for_kubectl}", "--timeout=30s"])
    return folder


def ensure_inputs(lab: Lab) -> None:
    """Write the Secrets of KEDA and the workers, and make the consumer groups, as the environment local has them.

    Their namespaces are there. Idempotent: yes.
    """
    systems = Systems(load_environment(ENVIRONMENTS / "local.yaml", state.endpoints(lab)))
    try:
        contents.apply(lab, [_secret(systems, sync) for sync in systems.environment.secrets])
        for instrument in systems.environment.instruments:
            event_source(systems).ensure_group(instrument.stream, instrument.consumer_group, "0")
    finally:
        systems.close()


def mark_vault_secrets(lab: Lab) -> None:
    """Say of each VaultSecret that its Secret was made, as its operator would: `ensure_inputs` has made it. Idempotent: yes."""
    found = json.loads(contents.kubectl(lab, ["get", VAULT_SECRETS.for_kubectl, "--all-namespaces", "-o", "json"]))
    condition = {"type": "SecretCreated", "status": "True", "reason": "Created", "message": "Secret was created"}
    for item in found["items"]:
        name, namespace = item["metadata"]["name"], item["metadata"]["namespace"]
        patch = json.dumps({"status": {"conditions": [condition]}})
        arguments = ["patch", VAULT_SECRETS.for_kubectl, name, "-n", namespace, "--type=merge", f"--patch={patch}"]
        contents.kubectl(lab, arguments)


def vault_secret_kind() -> Object:
    """Return the CRD of VaultSecret, as much of it as this project reads."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": "VaultSecret", "plural": VAULT_SECRETS.plural, "singular": "vaultsecret"}
    spec = {"group": VAULT_SECRETS.group, "scope": "Namespaced", "names": names, "versions": [version]}
    metadata = {"name": f"{VAULT_SECRETS.plural}.{VAULT_SECRETS.group}"}
    return {"apiVersion": CRDS.api_version, "kind": CRDS.kind, "metadata": metadata, "spec": spec}


def _volumes(lab: Lab) -> list[Object]:
    """Return volumes for the claims of the workers' chart, which nothing writes to."""
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteMany"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "local",
        "hostPath": {"path": str(lab.state / "cache-volume"), "type": "DirectoryOrCreate"},
    }
    head = {"apiVersion": "v1", "kind": "PersistentVolume"}
    return [{**head, "metadata": {"name": f"cache-{number:02}"}, "spec": spec} for number in range(VOLUMES)]


def _secret(systems: Systems, sync: Any) -> Object:
    values = systems.secret_keys(sync.vault_path)
    data = {key: base64.b64encode(values[key].reveal().encode()).decode() for key in sync.keys}
    metadata = {"name": sync.name, "namespace": sync.namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": sync.type, "data": data}
