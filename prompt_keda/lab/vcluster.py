"""A vCluster on the local stack: what it is made of, and how tests and faults reach it and its host.

As in production, Prompt KEDA lives inside of it, and the stack's own cluster is its host. etcd is deployed by the chart, Helm
installs that from the Go module, and people log in through the directory. Its Redis and its KEDA are others than the host's.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import ssl
from pathlib import Path

import yaml

from prompt_keda.clients.kube.objects import Object
from prompt_keda.core.errors import LabError
from prompt_keda.core.event import Observer
from prompt_keda.core.places import ENVIRONMENTS
from prompt_keda.core.private_folder import private_folder
from prompt_keda.core.waiting import looks
from prompt_keda.lab import base_objects, contents, go_builds, helm, images, kubeconfig, services, state
from prompt_keda.lab.settings import KUBERNETES_VERSION, REGISTRY_HOST, Lab

NAME, NAMESPACE = "vc", "vcluster"
"""The release, and its namespace on the host; the Service, Deployment and kubeconfig's Secret (vc-NAME) are called after it."""
DEPLOYMENT, STORE = f"deployment/{NAME}", f"statefulset/{NAME}-etcd"
APPS = {DEPLOYMENT: "vcluster", STORE: "vcluster-etcd"}
"""Workload → its pods' label ``app``."""
PORT = 30443
"""Of the API server: a NodePort of the host."""
MODULE = "github.com/loft-sh/vcluster"
READY_S, STORE_READY_S, ASK_S = 300, 120, 0.5
REDIS_CLAIM = f"data-prompt-redis-0-x-prompt-redis-x-{NAME}"
"""What the claim of the Redis inside is called on the host."""
VOLUME = "vcluster-redis"
HOST_LOOKER = "prompt-keda-looks"
"""The account by which the toolkit looks at the host: it has the shipped rights, and no others."""
COREFILE = """.:1053 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
    }
    cache 30
}
"""
"""What the stack's CoreDNS, which has few plugins, takes."""


def up(lab: Lab, observer: Observer) -> None:
    """Build vCluster, install it with Redis inside, and publish where it is. Idempotent: yes.

    Raises
    ------
    LabError
        When something does not build, or does not become ready.
    """
    program = go_builds.build(go_builds.VCLUSTER, observer) / "vcluster"
    helm.link(lab, observer)
    names = _publish_images(lab, program)
    contents.apply(lab, _ground(lab))
    install(lab, names)
    publish(lab)
    fill(lab)


def install(lab: Lab, names: dict[str, str]) -> None:
    """Install the chart of the Go module, or bring it to its values, and wait until its API server answers. Idempotent: yes.

    Parameters
    ----------
    names
        The images, as `_publish_images` names them.
    """
    values = private_folder(lab.state / "helm") / "vcluster.json"  # JSON is YAML
    values.write_text(json.dumps(_values(lab, names)))
    chart = go_builds.module_folder(go_builds.VCLUSTER, MODULE) / "chart"
    helm.call(lab, "upgrade", "--install", NAME, str(chart), f"--namespace={NAMESPACE}", f"--values={values}")
    wait_until_ready(lab)


def on_host(lab: Lab, *arguments: str, timeout_s: float = 60) -> str:
    """Run kubectl on the host in the vCluster's namespace. Raises as `contents.kubectl` does."""
    return contents.kubectl(lab, ["-n", NAMESPACE, *arguments], timeout_s=timeout_s)


def wait_until_ready(lab: Lab, workload: str = DEPLOYMENT) -> None:
    """Wait until the syncer, which is the API server, or another workload is ready. Raises `LabError` when it does not."""
    limit_s = READY_S if workload == DEPLOYMENT else STORE_READY_S
    on_host(lab, "rollout", "status", workload, f"--timeout={limit_s}s", timeout_s=limit_s + 10)


def publish(lab: Lab) -> None:
    """Write the kubeconfigs of people and administrator, and say where the vCluster is. Idempotent: yes.

    Its CA is another one once it was rebuilt: so is the kubeconfig then.
    """
    secret = f"vc-{NAME}"  # its syncer writes it once it works: that may be after it is ready
    on_host(lab, "wait", "--for=create", f"secret/{secret}", f"--timeout={READY_S}s", timeout_s=READY_S + 10)
    data = json.loads(on_host(lab, "get", "secret", secret, "-o", "json"))["data"]
    ca, certificate, key = (lab.state / f"vcluster-{name}.pem" for name in ("ca", "admin", "admin-key"))
    parts = {ca: "certificate-authority", certificate: "client-certificate", key: "client-key"}
    for path, part in parts.items():
        path.touch(mode=0o600)
        path.write_bytes(base64.b64decode(data[part]))
    server, context = f"https://{state.endpoints(lab)['address']}:{PORT}", f"prompt-keda-{lab.name}-vcluster"
    person = json.loads(lab.people_kubeconfig.read_text())["users"][0]["user"]
    kubeconfig.write(lab.state / "vcluster.kubeconfig", server, ca, context, person)
    certificates = {"client-certificate": str(certificate), "client-key": str(key)}
    kubeconfig.write(admin_kubeconfig(lab), server, ca, context, certificates)
    wait_until_it_answers(lab)
    uid = kubectl(lab, ["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"]).strip()
    made = {
        "vcluster_kubeconfig": str(lab.state / "vcluster.kubeconfig"),
        "vcluster_context": context,
        "vcluster_ca_sha256": hashlib.sha256(ssl.PEM_cert_to_DER_cert(ca.read_text())).hexdigest(),
        "vcluster_kube_system_uid": uid,
        **_let_look_at_host(lab),
    }
    state.write_endpoints(lab, {**state.endpoints(lab), **made, "delivery": "vcluster"})


def _let_look_at_host(lab: Lab) -> dict[str, str]:
    """Grant the rights that the toolkit ships for a host to an account there, and return where its kubeconfig is."""
    account = {"kind": "ServiceAccount", "name": HOST_LOOKER, "namespace": NAMESPACE}
    head = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": HOST_LOOKER, "namespace": NAMESPACE}}
    rights = list(yaml.safe_load_all((ENVIRONMENTS / "rbac" / "vcluster-host.yaml").read_text()))
    for item in rights:
        if "subjects" in item:
            item["subjects"] = [account]
    contents.apply(lab, [head, *rights])
    token = lab.state / "vcluster-host.token"
    token.touch(mode=0o600)
    token.write_text(on_host(lab, "create", "token", HOST_LOOKER, "--duration=48h").strip())
    server, context = json.loads(lab.admin_kubeconfig.read_text())["clusters"][0]["cluster"], f"{lab.name}-host"
    path = lab.state / "vcluster-host.kubeconfig"
    kubeconfig.write(path, server["server"], Path(server["certificate-authority"]), context, {"tokenFile": str(token)})
    return {"vcluster_host_kubeconfig": str(path), "vcluster_host_context": context}


def wait_until_it_answers(lab: Lab) -> None:
    """Wait until the API server answers from here: its Deployment counts as available before its NodePort leads to it, and
    right after its death. Raises `LabError` when it does not answer in time."""
    for _ in looks(READY_S, every_s=ASK_S):
        if _answers(lab):
            return
    raise LabError(f"the vCluster's API server does not answer within {READY_S} s")


def _answers(lab: Lab) -> bool:
    try:
        return kubectl(lab, ["get", "--raw", "/readyz"]) == "ok"
    except LabError:
        return False


def fill(lab: Lab) -> None:
    """Put inside what a cluster starts with: people's rights, its marker, and Redis. Idempotent: yes."""
    endpoints = state.endpoints(lab)
    image = contents.publish_redis_image(lab, endpoints["registry_url"])
    password = state.ensure_secret(lab, "redis-password") if endpoints["redis_password"] else None
    objects = base_objects.redis(image, _redis_data(lab), password, services.docker_config(lab))
    inside = [item for item in objects if item["kind"] != "PersistentVolume"]  # its syncer would delete it
    for item in inside:
        if item["kind"] == "StatefulSet":
            item["spec"]["volumeClaimTemplates"][0]["spec"]["volumeName"] = VOLUME
    bind_people(lab)
    contents.apply(lab, inside, admin_kubeconfig(lab))
    kubectl(lab, ["rollout", "status", "statefulset/prompt-redis", "-n", "prompt-redis", "--timeout=120s"], 130)


def bind_people(lab: Lab) -> None:
    """Give people their rights inside, and put the local stack's marker there, as its administrator. Idempotent: yes."""
    wanted = ("ClusterRoleBinding", "ConfigMap")
    every = base_objects.cluster(lab.name)
    contents.apply(lab, [item for item in every if item["kind"] in wanted], admin_kubeconfig(lab))


def admin_kubeconfig(lab: Lab) -> Path:
    """Return the vCluster's own kubeconfig, with a certificate: who has it can bind rights again."""
    return lab.state / "vcluster-admin.kubeconfig"


def kubectl(lab: Lab, arguments: list[str], timeout_s: float = 60) -> str:
    """Run kubectl inside the vCluster as its administrator. Raises as `contents.kubectl` does."""
    return contents.kubectl(lab, arguments, timeout_s=timeout_s, kubeconfig=admin_kubeconfig(lab))


def scale(lab: Lab, replicas: int, workload: str = DEPLOYMENT) -> None:
    """Scale the syncer or the store, and wait until that is so. Raises `LabError` when it does not become ready, or go."""
    on_host(lab, "scale", workload, f"--replicas={replicas}")
    if replicas:
        wait_until_ready(lab, workload)
        if workload == DEPLOYMENT:
            wait_until_it_answers(lab)
    else:
        pods = f"app={APPS[workload]},release={NAME}"
        on_host(lab, "wait", "pod", "-l", pods, "--for=delete", "--timeout=60s", timeout_s=70)


def _publish_images(lab: Lab, program: Path) -> dict[str, str]:
    """Push the images of Kubernetes, CoreDNS and vCluster, and return their names by digest."""
    kube = (lab.state / "bin" / "kubectl").resolve()
    kubernetes = "/kubernetes/kube"
    tools = {f"/bin/{name}": "/bin/busybox" for name in ("sh", "cp")}
    parts = {f"/kubernetes/{name}": "kube" for name in ("kube-apiserver", "kube-controller-manager")}
    programs = {f"/bin/{name}": kubernetes for name in ("etcd", "coredns")}
    files, links = {kubernetes: kube, "/bin/busybox": contents.BUSYBOX}, {**tools, **parts, **programs}
    version = f"v{KUBERNETES_VERSION}"
    wanted = {
        "kubernetes": images.ImageContents("vcluster/kubernetes", version, files, ("/bin/sh",), "0:0", links),
        "coredns": images.ImageContents("vcluster/coredns", version, files, ("/bin/coredns",), links=links),
        "vcluster": images.ImageContents(
            "vcluster/vcluster",
            go_builds.required_version(go_builds.VCLUSTER, MODULE),
            {"/vcluster": program, "/bin/busybox": contents.BUSYBOX},
            ("/vcluster", "start"),
            "0:0",
            tools,
        ),
    }
    return contents.publish(lab, state.endpoints(lab)["registry_url"], wanted)


def _ground(lab: Lab) -> list[Object]:
    """Return what stands on the host before the chart: namespace, pull secret, volumes, whose tokens people come with."""
    login = {"authentication.json": (lab.state / "authentication.json").read_text()}
    metadata = {"namespace": NAMESPACE, "name": "login"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        base_objects.pull_secret(NAMESPACE, services.docker_config(lab)),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": login},
        _volume("vcluster-etcd", private_folder(lab.state / "vcluster-etcd"), f"data-{NAME}-etcd-0"),
        _volume(VOLUME, _redis_data(lab), REDIS_CLAIM),
    ]


def _redis_data(lab: Lab) -> Path:
    folder = private_folder(lab.state / "vcluster-redis")
    os.chown(folder, base_objects.REDIS_USER, base_objects.REDIS_USER)
    return folder


def _volume(name: str, folder: Path, claim: str) -> Object:
    spec = {
        "capacity": {"storage": "5Gi"},
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "",
        "claimRef": {"namespace": NAMESPACE, "name": claim},
        "hostPath": {"path": str(folder)},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}


def _values(lab: Lab, names: dict[str, str]) -> Object:
    """Return the chart's values. Two CPUs for all: the control plane asks for little, and is limited in nothing."""
    address = state.endpoints(lab)["address"]
    free = {"limits": None, "requests": {"cpu": "10m", "memory": "64Mi"}}
    accounts = {"imagePullSecrets": [{"name": "pull-secret"}]}
    login = {"name": "login", "configMap": {"name": "login"}}
    control_plane = {
        "distro": {
            "k8s": {
                "enabled": True,
                "image": _chart_image(names["kubernetes"]),
                "apiServer": {"extraArgs": ["--authentication-config=/etc/login/authentication.json"]},
                "resources": free,
            }
        },
        "backingStore": {
            "etcd": {
                "deploy": {
                    "enabled": True,
                    "statefulSet": {
                        "image": _chart_image(names["kubernetes"]),
                        "extraArgs": ["--unsafe-no-fsync"],
                        "resources": free,
                    },
                }
            }
        },
        "proxy": {"extraSANs": [address]},
        "coredns": {
            "overwriteConfig": COREFILE,
            "deployment": {"image": names["coredns"], "resources": free, "topologySpreadConstraints": []},
        },
        "service": {"spec": {"type": "NodePort"}, "httpsNodePort": PORT},
        "statefulSet": {
            "image": _chart_image(names["vcluster"]),
            "resources": free,
            "persistence": {"addVolumes": [login], "addVolumeMounts": [{"name": "login", "mountPath": "/etc/login"}]},
        },
        "advanced": {"serviceAccount": accounts, "workloadServiceAccount": accounts},
    }
    return {
        "controlPlane": control_plane,
        # one image less; and no token of a service account stands open on the host
        "sync": {"toHost": {"pods": {"rewriteHosts": {"enabled": False}, "useSecretsForSATokens": True}}},
        "exportKubeConfig": {"server": f"https://{address}:{PORT}"},
        "telemetry": {"enabled": False},
    }


def _chart_image(name: str) -> Object:
    """Return an image, named by digest, in the parts that the chart puts together again with a colon."""
    repository, _, digest = name.removeprefix(f"{REGISTRY_HOST}/").partition("@")
    if not digest:
        raise LabError(f"{name} is not named by its digest")
    return {"registry": REGISTRY_HOST, "repository": repository, "tag": f"local@{digest}"}
