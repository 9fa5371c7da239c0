"""What kind is told: its configuration, and the files that its node is given.

The form of kubeadm's patches is that of Kubernetes below 1.36 (kubeadm v1beta3, where extraArgs is a map).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prompt_keda.core.private_folder import private_folder
from prompt_keda.lab import base_objects, control_plane, node
from prompt_keda.lab.pki import Authority
from prompt_keda.lab.settings import PORTS, Lab

EXTRA, LOGS, PKI = "/etc/kubernetes/extra", "/var/log/prompt-keda", "/etc/kubernetes/pki"
"""In the node: the API server's own files, where its audit log goes, and kubeadm's keys."""
NO_PROBE = [{"op": "remove", "path": "/spec/containers/0/livenessProbe"}]
"""A control plane's part that a fault has frozen stays frozen: the kubelet would start it again after some 80 s."""


def write(lab: Lab, cluster: str, authority: Authority, address: str, authentication: dict[str, Any]) -> Path:
    """Write kind's configuration of a cluster of that name and the node's files, and return the former."""
    place = private_folder(lab.state / "kind")
    extra = private_folder(place / "extra")
    (extra / "authentication.json").write_text(json.dumps(authentication))
    (extra / "audit-policy.json").write_text(json.dumps(control_plane.AUDIT_POLICY))
    for part in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"):
        (private_folder(extra / "patches") / f"{part}+json.json").write_text(json.dumps(NO_PROBE))
    network = place / "10-pods.conflist"
    network.write_text(json.dumps(node.pod_network("/var/lib/cni/networks", in_container=True)))
    node.write_registry_trust(lab, address)
    private_folder(lab.audit_log.parent)
    lab.audit_log.touch(mode=0o600)  # so that it is ours, whoever writes
    mounts = [
        _mount(extra, EXTRA),
        # kubeadm takes an authority that is there: one for the whole stack
        *({**_mount(authority.folder / name, f"{PKI}/{name}"), "readOnly": True} for name in ("ca.crt", "ca.key")),
        _mount(lab.audit_log.parent, LOGS),
        {**_mount(network, f"/etc/cni/net.d/{network.name}"), "readOnly": True},
        {**_mount(lab.state / "registries", "/etc/containerd/certs.d"), "readOnly": True},
        {**_mount(authority.ca_file, str(authority.ca_file)), "readOnly": True},
    ]
    if not lab.is_users:
        base_objects.make_redis_folder(lab)
        mounts.append(_mount(lab.redis_data, str(lab.redis_data)))
    config = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": cluster,
        "networking": {"apiServerAddress": address, "apiServerPort": PORTS["api"], "disableDefaultCNI": True},
        "kubeadmConfigPatches": [json.dumps(patch) for patch in _patches(lab)],
        "nodes": [{"role": "control-plane", "extraMounts": mounts}],
    }
    file = place / "cluster.json"
    file.write_text(json.dumps(config, indent=1))  # JSON is YAML
    return file


def _mount(host: Path, inside: str) -> dict[str, Any]:
    return {"hostPath": str(host), "containerPath": inside}


def _patches(lab: Lab) -> list[dict[str, Any]]:
    api_server = {
        "audit-policy-file": f"{EXTRA}/audit-policy.json",
        "audit-log-path": f"{LOGS}/{lab.audit_log.name}",
        "audit-log-maxsize": str(control_plane.AUDIT_LOG_MIB),
        "audit-log-maxbackup": "1",
        "enable-aggregator-routing": "true",
        "authentication-config": f"{EXTRA}/authentication.json",
    }
    volumes = [
        {"name": name, "hostPath": path, "mountPath": path, "pathType": "Directory"}
        for name, path in (("extra", EXTRA), ("logs", LOGS))
    ]
    return [
        {"kind": "InitConfiguration", "patches": {"directory": f"{EXTRA}/patches"}},
        {
            "kind": "ClusterConfiguration",
            "apiServer": {"extraArgs": api_server, "extraVolumes": volumes},
            "controllerManager": {"extraArgs": {"pvclaimbinder-sync-period": "1s"}},
            "etcd": {"local": {"extraArgs": {"unsafe-no-fsync": "true"}}},
        },
        {
            "kind": "KubeletConfiguration",
            "failCgroupV1": False,
            "serializeImagePulls": False,
            "maxParallelImagePulls": 4,
            "maxPods": 250,
        },
    ]
