"""The one node of the local stack: containerd, kubelet, kube-proxy and the cluster's DNS."""

from __future__ import annotations

import json
from typing import Any

from prompt_keda.core.private_folder import private_folder
from prompt_keda.lab import processes
from prompt_keda.lab.settings import DNS_SERVICE_IP, NODE_NAME, POD_CIDR, PORTS, REGISTRY_HOST, Lab

PAUSE_IMAGE = f"{REGISTRY_HOST}/pause:1"

# restrict_oom_score_adj: without CAP_SYS_RESOURCE runc cannot lower it, and dies.
_CONTAINERD = """\
version = 2
root = "{state}/containerd"
state = "{run}/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs"]
[grpc]
  address = "{run}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{state}/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{state}/registries"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    discard_unpacked_layers = true
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""
_REGISTRY_HOSTS = """\
server = "https://{address}:{port}"
[host."https://{address}:{port}"]
  capabilities = ["pull", "resolve"]
  ca = "{ca}"
"""
_COREFILE = """\
.:53 {{
  bind {address}
  errors
  health 127.0.0.1:8085
  ready 127.0.0.1:8181
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {kubeconfig}
    ttl 5
  }}
  cache 5
}}
"""


def start_containerd(lab: Lab, address: str) -> None:
    """Start containerd with folders, registry trust and pod network of its own."""
    private_folder(lab.state / "cni")
    lab.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    (lab.state / "containerd.toml").write_text(_CONTAINERD.format(state=lab.state, run=lab.run, pause=PAUSE_IMAGE))
    write_registry_trust(lab, address)
    network = pod_network(str(lab.state / "cni-addresses"))
    (lab.state / "cni" / "10-pods.conflist").write_text(json.dumps(network))
    processes.start(lab, "containerd", ["containerd", f"--config={lab.state / 'containerd.toml'}", "--log-level=warn"])


def pod_network(addresses: str, *, in_container: bool = False) -> dict[str, Any]:
    """Return the pods' network as containerd takes it (CNI).

    Parameters
    ----------
    addresses
        The folder of the addresses that are taken.
    in_container
        Whether the node is a container. kind's node images have the plugin ptp alone, and the stack's servers know no way back
        to the pods: these take the node's address outside.
    """
    ranges = {"ranges": [[{"subnet": POD_CIDR}]], "routes": [{"dst": "0.0.0.0/0"}]}
    ipam = {"ipam": {"type": "host-local", **ranges, "dataDir": addresses}}
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False, "hairpinMode": True, **ipam}
    link = {"type": "ptp", "ipMasq": True, **ipam}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [link if in_container else bridge]}


def write_registry_trust(lab: Lab, address: str) -> None:
    """Write where a containerd finds the stack's registry, and whom it believes there."""
    hosts = _REGISTRY_HOSTS.format(address=address, port=PORTS["registry"], ca=lab.pki / "ca.crt")
    (private_folder(lab.state / "registries" / REGISTRY_HOST) / "hosts.toml").write_text(hosts)


def start_kubelet(lab: Lab, address: str) -> None:
    """Start the kubelet."""
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": address,
        "authentication": {"x509": {"clientCAFile": str(lab.pki / "ca.crt")}, "webhook": {"enabled": True}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(lab.pki / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(lab.pki / "kubelet-server.key"),
        "containerRuntimeEndpoint": f"unix://{lab.containerd_socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{lab.cgroup}/pods",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [DNS_SERVICE_IP],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "maxPods": 250,
        "podPidsLimit": -1,
        "serializeImagePulls": False,
        "maxParallelImagePulls": 4,
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {},
        "podLogsDir": str(lab.state / "pod-logs"),
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": 10248,
        "readOnlyPort": 0,
        "volumePluginDir": str(lab.state / "volume-plugins"),
    }
    (lab.state / "kubelet.json").write_text(json.dumps(config))
    argv = [
        lab.program("kubelet"),
        f"--config={lab.state / 'kubelet.json'}",
        f"--kubeconfig={lab.state / 'kubelet.kubeconfig'}",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={address}",
        f"--root-dir={lab.state / 'kubelet'}",
    ]
    processes.start(lab, "kubelet", argv)


def start_proxy(lab: Lab) -> None:
    """Start kube-proxy, which gives the Services their addresses."""
    argv = [
        lab.program("kube-proxy"),
        f"--kubeconfig={lab.state / 'kube-proxy.kubeconfig'}",
        f"--hostname-override={NODE_NAME}",
        f"--cluster-cidr={POD_CIDR}",
        "--proxy-mode=iptables",
        "--conntrack-max-per-core=0",
        "--healthz-bind-address=127.0.0.1:10256",
    ]
    processes.start(lab, "kube-proxy", argv)


def start_dns(lab: Lab, address: str) -> None:
    """Start CoreDNS; the Service kube-dns leads to it."""
    (lab.state / "Corefile").write_text(_COREFILE.format(address=address, kubeconfig=lab.state / "coredns.kubeconfig"))
    processes.start(lab, "coredns", [lab.program("coredns"), "-conf", str(lab.state / "Corefile")])
