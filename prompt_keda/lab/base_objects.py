"""The objects that the local stack's cluster starts with: DNS, the people's rights, its marker, and Prompt Redis."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

from prompt_keda.clients.kube.objects import Object
from prompt_keda.core.private_folder import private_folder
from prompt_keda.core.secret import Secret
from prompt_keda.lab import users_engine
from prompt_keda.lab.commands import run
from prompt_keda.lab.settings import DNS_SERVICE_IP, Lab
from prompt_keda.redeploy.approval import MARKER

REDIS_NAMESPACE = "prompt-redis"
REDIS_USER = 65532


def dns(address: str) -> list[Object]:
    """Return what leads to a CoreDNS that is no pod, and its rights; ``address`` is where it listens on port 53."""
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
    dns = {"namespace": "kube-system", "name": "kube-dns"}
    return [
        _object("v1", "Service", dns, spec={"clusterIP": DNS_SERVICE_IP, "ports": ports}),
        _object(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            {**dns, "labels": {"kubernetes.io/service-name": "kube-dns"}},
            addressType="IPv4",
            ports=ports,
            endpoints=[{"addresses": [address], "conditions": {"ready": True}}],
        ),
        _object(
            "rbac.authorization.k8s.io/v1",
            "ClusterRole",
            {"name": "prompt-keda-lab:coredns"},
            rules=[
                {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
            ],
        ),
        binding("prompt-keda-lab:coredns", "prompt-keda-lab:coredns", "User", "prompt-keda-lab:coredns"),
    ]


def cluster(lab_name: str) -> list[Object]:
    """Return rights and the marker of the stack of that name."""
    return [
        _object("v1", "ConfigMap", {"namespace": "kube-system", "name": MARKER}, data={"name": lab_name}),
        # The Node authorizer knows a new pod only a moment after the kubelet does; a kubelet that is refused the pod's
        # pull secret in between pulls without it, is denied, and waits 10 s (seen). On the one node of this cluster
        # these rights give nothing away: every Secret in use is there anyhow.
        _object(
            "rbac.authorization.k8s.io/v1",
            "ClusterRole",
            {"name": "prompt-keda-lab:node"},
            rules=[{"apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": ["get", "list", "watch"]}],
        ),
        binding("prompt-keda-lab:node", "prompt-keda-lab:node", "Group", "system:nodes"),
        binding("prompt-keda-lab:operators", "cluster-admin", "Group", "ldap:prompt-keda-operators"),
        binding("prompt-keda-lab:readers", "view", "Group", "ldap:prompt-keda-readers"),
    ]


def make_redis_folder(lab: Lab) -> None:
    """Make the folder for Redis' volume, which is Redis' own; without root it lies in the node. Idempotent: yes."""
    if lab.is_users:
        own = ["install", "-d", f"--owner={REDIS_USER}", f"--group={REDIS_USER}", str(lab.redis_data)]
        run([*users_engine.in_node(lab), *own])
    else:
        os.chown(private_folder(lab.redis_data), REDIS_USER, REDIS_USER)


def redis(image: str, data: Path, password: Secret | None, pull_config: Secret) -> list[Object]:
    """Return Prompt Redis: a StatefulSet with a volume, with or without a password.

    Parameters
    ----------
    image
        A Redis 7 by digest.
    data
        Folder on the node for its volume.
    password
        None: Redis without a password, as production has it.
    pull_config
        A docker config JSON for the registry.
    """
    name = {"namespace": REDIS_NAMESPACE, "name": "prompt-redis"}
    labels = {"app.kubernetes.io/name": "prompt-redis"}
    lines = ["dir /data", "appendonly yes", "bind * -::*", "protected-mode no", "save 60 1"]
    lines += [f"requirepass {password.reveal()}"] if password else []
    for_cli = {"secretKeyRef": {"name": "prompt-redis-config", "key": "password"}}
    container = {
        "name": "redis",
        "image": image,
        "env": [{"name": "REDISCLI_AUTH", "valueFrom": for_cli}] if password else [],
        "args": ["/etc/redis/redis.conf"],
        "ports": [{"containerPort": 6379, "name": "redis"}],
        "readinessProbe": {"tcpSocket": {"port": "redis"}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}},
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "config", "mountPath": "/etc/redis", "readOnly": True},
        ],
    }
    pod = {
        "terminationGracePeriodSeconds": 5,
        "automountServiceAccountToken": False,
        "imagePullSecrets": [{"name": "pull-secret"}],
        "securityContext": {"runAsUser": REDIS_USER, "runAsNonRoot": True},
        "containers": [container],
        "volumes": [{"name": "config", "secret": {"secretName": "prompt-redis-config"}}],
    }
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
            "volumeName": "prompt-redis",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    volume = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "",
        "claimRef": {"namespace": REDIS_NAMESPACE, "name": "data-prompt-redis-0"},
        "hostPath": {"path": str(data)},
    }
    config = {"redis.conf": "\n".join([*lines, ""]), **({"password": password.reveal()} if password else {})}
    return [
        _object("v1", "Namespace", {"name": REDIS_NAMESPACE}),
        pull_secret(REDIS_NAMESPACE, pull_config),
        _object("v1", "Secret", {**name, "name": "prompt-redis-config"}, stringData=config),
        _object("v1", "PersistentVolume", {"name": "prompt-redis"}, spec=volume),
        _object("v1", "Service", name, spec={"selector": labels, "ports": [{"port": 6379, "targetPort": "redis"}]}),
        _object(
            "apps/v1",
            "StatefulSet",
            name,
            spec={
                "serviceName": "prompt-redis",
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
                "volumeClaimTemplates": [claim],
            },
        ),
    ]


def pull_secret(namespace: str, config: Secret) -> Object:
    """Return a pull secret named ``pull-secret``, as Phalanx names it."""
    data = {".dockerconfigjson": base64.b64encode(config.reveal().encode()).decode()}
    metadata = {"namespace": namespace, "name": "pull-secret"}
    return _object("v1", "Secret", metadata, type="kubernetes.io/dockerconfigjson", data=data)


def binding(name: str, role: str, kind: str, subject: str) -> Object:
    """Return a ClusterRoleBinding of one user or group."""
    group = "rbac.authorization.k8s.io"
    return _object(
        f"{group}/v1",
        "ClusterRoleBinding",
        {"name": name},
        roleRef={"apiGroup": group, "kind": "ClusterRole", "name": role},
        subjects=[{"apiGroup": group, "kind": kind, "name": subject}],
    )


def _object(api_version: str, kind: str, metadata: Object, **fields: Any) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}
