"""What a stack needs on which KEDA comes from git, by Argo CD or Helm: repository, VaultSecrets, volumes, consumer groups.

In production others bring these: vault-secrets-operator, a provisioner of volumes, and whoever has made the groups.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import CRDS, VAULT_SECRETS
from prompt_keda.clients.systems import Systems
from prompt_keda.components.event_source.choice import event_source
from prompt_keda.core.places import CODE, ENVIRONMENTS
from prompt_keda.environment.loading import load_environment
from prompt_keda.lab import contents, go_builds, phalanx, processes, state
from prompt_keda.lab.settings import Lab

VOLUMES = 30
"""A volume whose claim was deleted is used up: so often the workers' namespace can be deleted."""
OPERATOR = "vault-operator"
"""Its process."""
ENVIRONMENT = "local"
"""The environment's name in the repository: values-local.yaml."""


def ensure_ground(lab: Lab, repo_url: str) -> Path:
    """Write the repository, start the operator of VaultSecrets, and return the repository's folder. Idempotent: yes.

    A repository that is there stays as it is.
    """
    folder = lab.state / "git" / "phalanx"
    endpoints = state.endpoints(lab)
    if not (folder / ".git").exists():
        worker = go_builds.build(go_builds.WORKER, lambda event: None)
        images = contents.publish_small_images(lab, endpoints["registry_url"], worker)
        keda = json.loads(Path(endpoints["keda_manifests"]).read_text())
        phalanx.write(folder, keda, images["worker"], images["busybox"], repo_url)
    contents.apply(lab, [vault_secret_kind(), *_volumes(lab)])
    contents.kubectl(lab, ["wait", "--for=condition=Established", f"crd/{VAULT_SECRETS.for_kubectl}", "--timeout=30s"])
    _start_operator(lab)
    return folder


def ensure_groups(lab: Lab) -> None:
    """Make the consumer groups that are missing, as the environment local has them. Idempotent: yes."""
    systems = Systems(load_environment(ENVIRONMENTS / "local.yaml", state.endpoints(lab)))
    try:
        for instrument in systems.environment.instruments:
            event_source(systems).ensure_group(instrument.stream, instrument.consumer_group, "0")
    finally:
        systems.close()


def _start_operator(lab: Lab) -> None:
    """Start the operator of VaultSecrets, which reads Vault with the stack's own token. Idempotent: yes."""
    endpoints = state.endpoints(lab)
    config = {
        "kubeconfig": endpoints["admin_kubeconfig"],
        "vault_url": endpoints["vault_url"],
        "ca_file": endpoints["ca_file"],
        "token_file": str(state.secret_file(lab, "vault-root-token")),
    }
    file = lab.state / "vault-operator.json"
    file.write_text(json.dumps(config))
    argv = [sys.executable, "-m", "prompt_keda.lab.vault_operator", "--config", str(file)]
    processes.start(lab, OPERATOR, argv, {"PYTHONPATH": str(CODE)})


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
