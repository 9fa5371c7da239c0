"""etcd, the API server, the controller manager and the scheduler of the local stack."""

from __future__ import annotations

import json
from typing import Any

from prompt_keda.core.private_folder import private_folder
from prompt_keda.lab import kubeconfig, processes
from prompt_keda.lab.pki import Authority
from prompt_keda.lab.settings import API_SERVICE_IP, NODE_NAME, POD_CIDR, PORTS, SERVICE_CIDR, Lab

CLIENTS = {
    "admin": ("admin", ("system:masters",)),
    "controller-manager": ("system:kube-controller-manager", ()),
    "scheduler": ("system:kube-scheduler", ()),
    "kube-proxy": ("system:kube-proxy", ()),
    "coredns": ("prompt-keda-lab:coredns", ()),
    "kubelet": (f"system:node:{NODE_NAME}", ("system:nodes",)),
    "apiserver-kubelet": ("kube-apiserver-kubelet-client", ("system:masters",)),
    "front-proxy": ("front-proxy-client", ()),
}
"""Client certificate → user and groups (the names that Kubernetes' own roles are bound to)."""

READS = ["get", "list", "watch"]
SYSTEM_USERS = [
    "system:apiserver",
    "system:kube-controller-manager",
    "system:kube-scheduler",
    "system:kube-proxy",
    "prompt-keda-lab:coredns",
]
SYSTEM_GROUPS = ["system:nodes", "system:serviceaccounts"]
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*"]},
        {"level": "None", "userGroups": SYSTEM_GROUPS, "verbs": READS},
        {"level": "None", "users": SYSTEM_USERS},
        {"level": "None", "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}]},
        {"level": "Metadata"},
    ],
}
"""Who asked for what, with the URI and so with dryRun; never a body, which may hold a secret.

What the cluster does by itself all the time is left out, so that the log costs next to nothing: system users, reads of
nodes and service accounts, Leases. Rules: the first that fits (https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/).
"""
AUDIT_LOG_MIB = 20
"""With one older file beside it."""


def server_url(address: str) -> str:
    """Return the API server's address as every client uses it."""
    return f"https://{address}:{PORTS['api']}"


def prepare(lab: Lab, authority: Authority, address: str) -> None:
    """Make the certificates and kubeconfigs. Idempotent: yes."""
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    authority.ensure_server("apiserver", [*names, address, API_SERVICE_IP, "127.0.0.1"])
    authority.ensure_server("kubelet-server", [NODE_NAME, address])
    authority.ensure_key_pair("service-account")
    for name, (user, groups) in CLIENTS.items():
        authority.ensure_client(f"client-{name}", user, groups)
    for name in ("controller-manager", "scheduler", "kube-proxy", "coredns", "kubelet", "admin"):
        login = kubeconfig.client_certificate(lab.pki, f"client-{name}")
        path = lab.state / f"{name}.kubeconfig"
        kubeconfig.write(path, server_url(address), authority.ca_file, f"prompt-keda-{lab.name}", login)


def start_etcd(lab: Lab) -> None:
    """Start etcd on the namespace's own loopback. Without fsync: the stack's data may be lost with the machine."""
    arguments = {
        "name": "lab",
        "data-dir": lab.state / "etcd",
        "listen-client-urls": "http://127.0.0.1:2379",
        "advertise-client-urls": "http://127.0.0.1:2379",
        "listen-peer-urls": "http://127.0.0.1:2380",
        "initial-advertise-peer-urls": "http://127.0.0.1:2380",
        "initial-cluster": "lab=http://127.0.0.1:2380",
        "log-level": "warn",
    }
    processes.start(lab, "etcd", [lab.program("etcd"), *_flags(arguments), "--unsafe-no-fsync"])


def start_api_server(lab: Lab, address: str, authentication: dict[str, Any]) -> None:
    """Start the API server.

    Parameters
    ----------
    authentication
        An AuthenticationConfiguration: which issuer's tokens it believes.
    """
    config = lab.state / "authentication.json"
    config.write_text(json.dumps(authentication))
    policy = lab.state / "audit-policy.json"
    policy.write_text(json.dumps(AUDIT_POLICY))
    private_folder(lab.audit_log.parent)
    pki = lab.pki
    arguments = {
        "advertise-address": address,
        "bind-address": address,
        "secure-port": PORTS["api"],
        "etcd-servers": "http://127.0.0.1:2379",
        "service-cluster-ip-range": SERVICE_CIDR,
        "authorization-mode": "Node,RBAC",
        "authentication-config": config,
        "client-ca-file": pki / "ca.crt",
        "tls-cert-file": pki / "apiserver.crt",
        "tls-private-key-file": pki / "apiserver.key",
        "kubelet-client-certificate": pki / "client-apiserver-kubelet.crt",
        "kubelet-client-key": pki / "client-apiserver-kubelet.key",
        "kubelet-certificate-authority": pki / "ca.crt",
        "kubelet-preferred-address-types": "InternalIP",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": pki / "service-account.pub",
        "service-account-signing-key-file": pki / "service-account.key",
        "requestheader-client-ca-file": pki / "ca.crt",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "proxy-client-cert-file": pki / "client-front-proxy.crt",
        "proxy-client-key-file": pki / "client-front-proxy.key",
        "enable-aggregator-routing": "true",
        "audit-policy-file": policy,
        "audit-log-path": lab.audit_log,
        "audit-log-maxsize": AUDIT_LOG_MIB,
        "audit-log-maxbackup": 1,
    }
    processes.start(lab, "kube-apiserver", [lab.program("kube-apiserver"), *_flags(arguments)])


def start_controllers(lab: Lab) -> None:
    """Start the controller manager and the scheduler, both with Kubernetes' own limits on requests."""
    manager = {
        "kubeconfig": lab.state / "controller-manager.kubeconfig",
        "authentication-kubeconfig": lab.state / "controller-manager.kubeconfig",
        "authorization-kubeconfig": lab.state / "controller-manager.kubeconfig",
        "use-service-account-credentials": "true",
        "service-account-private-key-file": lab.pki / "service-account.key",
        "root-ca-file": lab.pki / "ca.crt",
        "leader-elect": "false",
        "bind-address": "127.0.0.1",
        "cluster-cidr": POD_CIDR,
        "pvclaimbinder-sync-period": "1s",  # 15 s by default: what it missed at first kept Redis waiting that long (seen)
    }
    scheduler = {
        "kubeconfig": lab.state / "scheduler.kubeconfig",
        "authentication-kubeconfig": lab.state / "scheduler.kubeconfig",
        "authorization-kubeconfig": lab.state / "scheduler.kubeconfig",
        "leader-elect": "false",
        "bind-address": "127.0.0.1",
    }
    processes.start(lab, "kube-controller-manager", [lab.program("kube-controller-manager"), *_flags(manager)])
    processes.start(lab, "kube-scheduler", [lab.program("kube-scheduler"), *_flags(scheduler)])


def _flags(arguments: dict[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in arguments.items()]
