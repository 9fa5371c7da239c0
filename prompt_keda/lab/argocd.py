"""Argo CD on the local stack: what it is made of, and how tests and drills speak with it.

It is what delivers in production, without what people look at: Redis, the repo-server (which calls Helm) and the
application controller, as processes of the stack; no server, no dex, no ApplicationSets. It delivers from the repository of
`prompt_keda.lab.phalanx`, which git's own daemon serves. The Application science-platform is the app of apps: its chart
makes namespaces, and the Applications keda and prompt-keda-lsstcam.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import APPLICATIONS as APPLICATION
from prompt_keda.core.errors import LabError
from prompt_keda.core.event import Observer
from prompt_keda.core.private_folder import private_folder
from prompt_keda.core.waiting import until
from prompt_keda.delivery import argocd
from prompt_keda.lab import (
    base_objects,
    contents,
    control_plane,
    delivered,
    go_builds,
    helm,
    kubeconfig,
    processes,
    services,
    state,
)
from prompt_keda.lab.commands import run
from prompt_keda.lab.pki import Authority
from prompt_keda.lab.settings import Lab

NAMESPACE = "argocd"
PARENT = "science-platform"
APPLICATIONS = ("keda", "prompt-keda-lsstcam")
"""In the order in which they are delivered at first."""
SERVERS = ("argocd-redis", "argocd-git", "argocd-repo-server", "argocd-application-controller")
REDIS, REPO_SERVER, GIT_PORT = "127.0.0.1:6380", "127.0.0.1:8081", 9418
USER = "system:serviceaccount:argocd:argocd-application-controller"
"""As whom the controller works: the name that it has where it runs as a pod."""
LABEL, LABEL_KEY = "label", "argocd.argoproj.io/instance"
"""How production's Argo CD tracks what it has delivered, most likely (docs/domain.md)."""
SYNC_S = 240
MODULE = "github.com/argoproj/argo-cd/v3"


def up(lab: Lab, observer: Observer) -> None:
    """Start Argo CD, let it deliver what it has not delivered before, and publish where it is. Idempotent: yes.

    Raises
    ------
    LabError
        When something does not build, start or become Synced.
    """
    endpoints = state.endpoints(lab)
    address, url = endpoints["address"], f"git://{endpoints['address']}/phalanx"
    program = go_builds.build(go_builds.ARGOCD, observer) / "argocd"
    helm.link(lab, observer)
    folder = delivered.ensure_ground(lab, url)
    _apply_settings(lab, url)
    if "argocd_tracking" not in endpoints:
        track(lab, LABEL, LABEL_KEY)
    _start(lab, address, program)
    made = {"argocd_namespace": NAMESPACE, "argocd_application": APPLICATIONS[0], "argocd_parent": PARENT}
    repository = {**helm.publish(lab, folder), "phalanx_url": url}
    state.write_endpoints(lab, {**state.endpoints(lab), **made, **repository, "delivery": "argocd"})
    deliver(lab)


def track(lab: Lab, method: str, key: str = LABEL_KEY) -> None:
    """Set how Argo CD marks what it delivers: ``label``, ``annotation`` or ``annotation+label``, and the label's key.

    Raises `LabError` as `contents.apply` does.
    """
    data = {argocd.METHOD_KEY: method, argocd.LABEL_KEY: key}
    contents.apply(lab, [_settings_object("ConfigMap", argocd.CONFIG, data=data)])
    state.write_endpoints(lab, {**state.endpoints(lab), "argocd_tracking": method, "argocd_label_key": key})


def deliver(lab: Lab) -> None:
    """Let Argo CD deliver what it never has: the app of apps, KEDA, the workers. Idempotent: yes.

    What it has delivered before is left as it is, whatever it says of it: a full sync deletes running Jobs.

    Raises
    ------
    LabError
        When a sync does not succeed.
    DeadlinePassed
        When an Application does not become Synced and Healthy.
    """
    kube = client(lab)
    is_parent_new = _is_new(kube, PARENT)
    if is_parent_new:
        require(sync(kube, PARENT))
    delivered.ensure_groups(lab)
    new = [name for name in APPLICATIONS if _is_new(kube, name)]
    for name in new:
        refresh(kube, name)  # what it says of its project may be older than the project
        require(sync(kube, name))
    for name in [PARENT] * is_parent_new + new:
        refresh(kube, name)
        wait_until_healthy(kube, name)


def client(lab: Lab) -> Kube:
    """Return a client of the stack's API server, as its administrator."""
    return Kube.connect(lab.admin_kubeconfig, None, timedelta(seconds=10))


def sync(
    kube: Kube,
    name: str,
    resources: Sequence[Object] = (),
    strategy: str = "hook",
    **options: Any,
) -> Object:
    """Run a sync of an Application to its end, and return the state of the operation.

    A full one by the strategy ``hook`` deletes the ScaledJob with its running Jobs, and recreates it.

    Parameters
    ----------
    resources
        Selective: these alone, each with ``group``, ``kind`` and ``name``. No hook runs then.
    strategy
        ``hook``, or ``apply``: without hooks.
    options
        More of the operation's ``sync``: ``prune``, ``syncOptions``, ``revision``.

    Raises
    ------
    DeadlinePassed
        When it has not ended in time.
    """
    run_id = begin_sync(kube, name, resources, strategy, **options)

    def ended() -> Object | None:
        application = kube.get(APPLICATION, name, NAMESPACE)
        operation: Object = (application.get("status") or {}).get("operationState") or {}
        is_ours = {"name": "run", "value": run_id} in (operation.get("operation") or {}).get("info", [])
        return operation if is_ours and operation["phase"] in ("Succeeded", "Failed", "Error") else None

    return _wait(kube, f"the end of the sync of {name}", ended)


def begin_sync(kube: Kube, name: str, resources: Sequence[Object] = (), strategy: str = "hook", **options: Any) -> str:
    """Begin a sync of an Application as its server would, and return the id by which its state is known.

    The state of the last operation goes in the same patch: else the controller takes its results for the new one's. The
    Application's own options do not count for an operation, so that they are repeated.
    """
    application, run_id = kube.get(APPLICATION, name, NAMESPACE), str(uuid.uuid4())
    own = (application["spec"].get("syncPolicy") or {}).get("syncOptions") or []
    wanted = {"syncStrategy": {strategy: {}}, "syncOptions": own, **options}
    if resources:
        wanted["resources"] = list(resources)
    operation = {
        "initiatedBy": {"username": "prompt-keda-lab"},
        "info": [{"name": "run", "value": run_id}],
        "sync": wanted,
    }
    version = {"resourceVersion": application["metadata"]["resourceVersion"]}
    body = {"metadata": version, "operation": operation, "status": {"operationState": None}}
    kube.patch(APPLICATION, name, NAMESPACE, body)
    return run_id


def require(operation: Object) -> Object:
    """Return the state of an operation that has succeeded. Raises `LabError` of another, with Argo CD's own words."""
    if operation["phase"] != "Succeeded":
        raise LabError(f"Argo CD's sync has ended as {operation['phase']}: {operation.get('message', '')}")
    return operation


def refresh(kube: Kube, name: str, kind: str = "normal") -> Object:
    """Let Argo CD look at an Application again, and return it once it has looked.

    Parameters
    ----------
    kind
        ``normal``, or ``hard``: without what is cached of the rendering.

    Raises
    ------
    DeadlinePassed
        When it has not looked in time.
    """
    key = "argocd.argoproj.io/refresh"
    kube.patch(APPLICATION, name, NAMESPACE, {"metadata": {"annotations": {key: kind}}})

    def looked() -> Object | None:
        application = kube.get(APPLICATION, name, NAMESPACE)
        return application if key not in application["metadata"].get("annotations", {}) else None

    return _wait(kube, f"a refresh of {name}", looked)


def wait_until_healthy(kube: Kube, name: str) -> Object:
    """Return an Application once it is Synced and Healthy. Raises `DeadlinePassed` when it is not in time."""

    def healthy() -> Object | None:
        application = kube.get(APPLICATION, name, NAMESPACE)
        return application if verdict(application) == ("Synced", "Healthy") else None

    return _wait(kube, f"{name} Synced and Healthy", healthy)


def verdict(application: Object) -> tuple[str, str]:
    """Return what Argo CD says of an Application: whether it is as git has it, and its health."""
    status = application.get("status") or {}
    return tuple((status.get(part) or {}).get("status", "Unknown") for part in ("sync", "health"))


def _is_new(kube: Kube, name: str) -> bool:
    """Return whether an Application is there of which no full sync has ever ended well."""
    live = kube.find(APPLICATION, name, NAMESPACE)
    return live is not None and not (live.get("status") or {}).get("history")


def _wait(kube: Kube, what: str, look: Callable[[], Object | None]) -> Object:
    """Look whenever an Application changes, until there is something to return."""
    with closing(kube.watch([(APPLICATION, NAMESPACE)])) as watch:
        return until(look, what, SYNC_S, watch)


def _apply_settings(lab: Lab, url: str) -> None:
    """Make kinds, settings, projects, rights and the app of apps."""
    manifests = go_builds.module_folder(go_builds.ARGOCD, MODULE) / "manifests" / "crds"
    kinds = [
        yaml.load((manifests / f"{kind}-crd.yaml").read_text(), yaml.CSafeLoader)
        for kind in ("application", "appproject")
    ]
    contents.apply(lab, kinds)
    names = [kind["metadata"]["name"] for kind in kinds]
    contents.kubectl(lab, ["wait", "--for=condition=Established", *(f"crd/{name}" for name in names), "--timeout=30s"])
    key = state.ensure_secret(lab, "argocd-server-key").reveal()
    rights = base_objects.binding("prompt-keda-lab:argocd", "cluster-admin", "User", USER)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    secret = _settings_object("Secret", "argocd-secret", stringData={"server.secretkey": key})
    projects = [_project(name) for name in ("default", "support", "prompt")]
    contents.apply(lab, [namespace, secret, rights, *projects, _parent(url)])


def _settings_object(kind: str, name: str, **fields: Any) -> Object:
    """Return an object that Argo CD reads its settings from: it looks for the label."""
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"app.kubernetes.io/part-of": "argocd"}}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **fields}


def _project(name: str) -> Object:
    """Return a project that lets all through, as in Phalanx."""
    everything = [{"group": "*", "kind": "*"}]
    spec = {
        "sourceRepos": ["*"],
        "destinations": [{"server": "*", "namespace": "*"}],
        "clusterResourceWhitelist": everything,
        "namespaceResourceWhitelist": everything,
        "orphanedResources": {"warn": False},
    }
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": APPLICATION.api_version, "kind": "AppProject", "metadata": metadata, "spec": spec}


def _parent(url: str) -> Object:
    values = ["values.yaml", f"values-{delivered.ENVIRONMENT}.yaml"]
    source = {"repoURL": url, "targetRevision": "main", "path": "environments", "helm": {"valueFiles": values}}
    spec = {
        "project": "default",
        "destination": {"namespace": NAMESPACE, "server": "https://kubernetes.default.svc"},
        "source": source,
    }
    return {**APPLICATION.head, "metadata": {"name": PARENT, "namespace": NAMESPACE}, "spec": spec}


def _start(lab: Lab, address: str, argocd: Path) -> None:
    """Start the servers. Redis and the repo-server listen on the stack's own loopback, where nobody else is."""
    programs = private_folder(lab.state / "bin")
    for name in ("argocd", *SERVERS[2:]):  # one program, which its name makes one of its servers
        (programs / name).unlink(missing_ok=True)
        (programs / name).symlink_to(argocd)
    home = private_folder(lab.state / "argocd")
    env = {
        "HOME": str(home),
        "TMPDIR": str(private_folder(home / "tmp")),
        "PATH": f"{programs}:/usr/bin:/bin",
        "ARGOCD_GPG_ENABLED": "false",
        "ARGOCD_FAKE_IN_CLUSTER": "true",  # https://kubernetes.default.svc is the kubeconfig's cluster
        "KUBECONFIG": str(_kubeconfig(lab, address)),
    }
    host, port = REDIS.split(":")
    quiet = ["--save", "", "--appendonly", "no", "--dir", str(home)]
    processes.start(lab, SERVERS[0], ["redis-server", "--bind", host, "--port", port, *quiet])
    daemon = Path(run(["git", "--exec-path"]).strip()) / "git-daemon"
    served = [f"--base-path={lab.state / 'git'}", "--export-all", "--reuseaddr"]
    processes.start(lab, SERVERS[1], [str(daemon), f"--listen={address}", f"--port={GIT_PORT}", *served])
    listen = ["--address=127.0.0.1", "--metrics-address=127.0.0.1", "--disable-tls"]
    log = ["--loglevel=warn", "--logformat=text", f"--redis={REDIS}"]
    processes.start(lab, SERVERS[2], [str(programs / SERVERS[2]), *listen, *log], env)
    # fewer workers than for a whole site's Applications: there are three
    work = ["--status-processors=4", "--operation-processors=4", "--kubectl-parallelism-limit=4"]
    reach = [f"--repo-server={REPO_SERVER}", "--repo-server-plaintext", f"--namespace={NAMESPACE}"]
    processes.start(lab, SERVERS[3], [str(programs / SERVERS[3]), *reach, *work, *log], env)
    services.wait_until("git's daemon", lambda: contents.answers(address, GIT_PORT), 10, lab, SERVERS[1])


def _kubeconfig(lab: Lab, address: str) -> Path:
    """Write the controller's kubeconfig, with a certificate of its own: the audit log knows its writes."""
    authority = Authority(lab.pki)
    authority.ensure_client("client-argocd", USER, ("system:serviceaccounts",))
    path = lab.state / "argocd.kubeconfig"
    login = kubeconfig.client_certificate(lab.pki, "client-argocd")
    kubeconfig.write(path, control_plane.server_url(address), authority.ca_file, f"prompt-keda-{lab.name}", login)
    return path
