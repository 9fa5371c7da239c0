"""Faults that only a vCluster has: its syncer dies or is away, its host's quota is full, its store is lost.

For a stack with ``lab.up --with vcluster``; they are not among `ALL_FAULTS`, which each stack has: drills take them by their
ids. They work on the host, as its owners would; who sees them is inside.
"""

from __future__ import annotations

import json
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.objects import Object, is_going
from prompt_keda.clients.kube.resources import CLAIMS, PODS
from prompt_keda.components.cluster.host import IN_ANNOTATION
from prompt_keda.components.cluster.vcluster import MANAGED, NEWEST, SLOW, UID
from prompt_keda.components.keda.names import OPERATOR
from prompt_keda.core.errors import LabError
from prompt_keda.core.event import nobody
from prompt_keda.core.private_folder import private_folder
from prompt_keda.core.waiting import until
from prompt_keda.lab import contents, helm, processes, vcluster
from prompt_keda.lab.faults import admission, scaling
from prompt_keda.lab.faults.ages import age_s
from prompt_keda.lab.faults.fault import Fault, Stage
from prompt_keda.lab.faults.keda_restarts import renew_operator
from prompt_keda.lab.faults.signals import processes_of, send_to
from prompt_keda.lab.settings import Lab

QUOTA = "host-quota"
HOST_DELAY_S = 15
TEN_YEARS_S = 10 * 365 * 24 * 60 * 60
SYNCER_PODS = f"app={vcluster.APPS[vcluster.DEPLOYMENT]},release={vcluster.NAME}"
AWAY = {
    "cluster/host-runs-the-vcluster": "fail",
    "cluster/api-answers": "unknown",
    "images/instrument-images-present": "unknown",
}
"""What needs no API server is OK; the live ScaledJob's images are not seen. The host says why."""
NO_SYNCER = f"no pod of {vcluster.NAME}'s syncer is in {vcluster.NAMESPACE} of the host"


def kill_syncer(stage: Stage) -> None:
    """Kill the syncer, and with it its API server and controller manager: the kubelet starts it again."""
    pods = stage.host.list(PODS, vcluster.NAMESPACE, SYNCER_PODS)
    mains = [pid for pid in processes_of(pods) if _is_syncer(pid)]
    send_to(stage, mains, signal.SIGKILL)


def _is_syncer(pid: int) -> bool:
    return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"/vcluster\0")


def wait_until_back(stage: Stage) -> None:
    """Wait until the syncer's API server answers again: right after its death its Deployment still counts as available."""
    vcluster.wait_until_it_answers(stage.lab)
    vcluster.wait_until_ready(stage.lab)


def take_syncer_away(stage: Stage) -> None:
    """Scale the syncer to 0, as its owners do before they restore its store."""
    vcluster.scale(stage.lab, 0)


def bring_syncer_back(stage: Stage) -> None:
    """Scale it to 1 again, and put a new operator in place of one that has lost its Lease, and waits to be started again."""
    vcluster.scale(stage.lab, 1)
    renew_operator(stage)


def fill_host_quota(stage: Stage) -> None:
    """Let the host allow one pod of the vCluster: those that run go on, and no new one comes."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"namespace": vcluster.NAMESPACE, "name": QUOTA},
        "spec": {"hard": {"pods": "1"}},
    }
    contents.apply(stage.lab, [quota])
    until(lambda: _pods_that_wait(stage), "a pod that the host does not make", 120)


def _pods_that_wait(stage: Stage) -> bool:
    """Return whether a worker inside waits for its pod: those of before end one after another, and KEDA makes others."""
    (instrument, *_) = stage.environment.instruments
    listed = vcluster.kubectl(stage.lab, ["get", "pods", "-n", instrument.namespace, "-o", "json"])
    pods = json.loads(listed)["items"]
    return any(pod["status"]["phase"] == "Pending" and not pod["spec"].get("nodeName") for pod in pods)


def free_host_quota(stage: Stage) -> None:
    """Take the quota away, and let the syncer try again the pods that wait: by itself it does that later and later.

    After four minutes of a full quota it took more than two minutes; a pod that changes is tried at once (seen). Idempotent: yes.
    """
    vcluster.on_host(stage.lab, "delete", "resourcequota", QUOTA, "--ignore-not-found")
    waiting = ["pods", "--all-namespaces", "--field-selector=status.phase=Pending"]
    vcluster.kubectl(stage.lab, ["annotate", *waiting, "--overwrite", f"tried-again={time.time():.0f}"])


def slow_host(stage: Stage) -> None:
    """Let the host's admission take its time for each new pod of the vCluster, and wait until most of the newest are such ones.

    Idle workers end after half a minute, and three others come: without events it takes two or three rounds of them.
    """
    ca_file = admission.run_server(stage, [], HOST_DELAY_S)
    hook = admission.configuration(
        admission.PORT, ca_file, [vcluster.NAMESPACE], ("", "pods"), timeout_s=HOST_DELAY_S + 10
    )
    contents.apply(stage.lab, [hook])
    until(lambda: _most_start_late(stage), "pods that start late", 240)


def _most_start_late(stage: Stage) -> bool:
    """Return whether most of the newest pods were started late, as cluster/pods-synced-in-time counts them."""
    started = [pod for pod in stage.kube.each(PODS) if pod["status"].get("startTime")]
    newest = sorted((pod["status"]["startTime"], pod["metadata"]["creationTimestamp"]) for pod in started)[-NEWEST:]
    late = [start for start, made in newest if age_s(made) - age_s(start) > SLOW.total_seconds()]
    return len(late) > NEWEST / 2


def quicken_host(stage: Stage) -> None:
    """Delete the webhook, and then its server. Idempotent: yes."""
    vcluster.on_host(stage.lab, "delete", admission.WEBHOOKS.for_kubectl, scaling.MARK_NAME, "--ignore-not-found")
    processes.remove(stage.lab, admission.SERVER)


def open_token(stage: Stage) -> None:
    """Put a token of KEDA's operator, bound to its pod, into an annotation on the host: a syncer puts it there unless it is
    configured to keep it in a Secret."""
    pod = _operator(stage)
    bound = {"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
    account = f"/api/v1/namespaces/{pod['metadata']['namespace']}/serviceaccounts/{pod['spec']['serviceAccountName']}"
    wanted = {"spec": {"expirationSeconds": TEN_YEARS_S, "boundObjectRef": bound}}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", **wanted}
    token = stage.kube.request("POST", f"{account}/token", body=body)["status"]["token"]
    _annotate_on_host(stage, token)


def close_token(stage: Stage) -> None:
    """Take it away again. Idempotent: yes."""
    _annotate_on_host(stage, None)


def _operator(stage: Stage) -> Object:
    pods = stage.kube.list(PODS, stage.environment.keda.namespace, f"app={OPERATOR}")
    return next(pod for pod in pods if not is_going(pod))


def _annotate_on_host(stage: Stage, token: str | None) -> None:
    """Put a token onto what the syncer has made of the operator's pod; None: take it away."""
    uid = _operator(stage)["metadata"]["uid"]
    for pod in stage.host.list(PODS, vcluster.NAMESPACE, f"{MANAGED}={vcluster.NAME}"):
        if (pod["metadata"].get("annotations") or {}).get(UID) == uid:
            body = {"metadata": {"annotations": {f"{IN_ANNOTATION}fault": token}}}
            stage.host.patch(PODS, pod["metadata"]["name"], vcluster.NAMESPACE, body)


def _store(lab: Lab) -> tuple[Path, Path]:
    return lab.state / "vcluster-etcd", lab.state / "vcluster-etcd.saved"


def lose_store(stage: Stage) -> None:
    """Put the store aside, and lose it, in the order that keeps workers alive: the syncer goes first.

    It is renamed: whoever is killed in between leaves it whole, under one of its two names.
    """
    store, saved = _store(stage.lab)
    vcluster.scale(stage.lab, 0)
    vcluster.scale(stage.lab, 0, vcluster.STORE)
    if not saved.exists():
        store.rename(saved)
    private_folder(store)


def start_on_lost_store(stage: Stage) -> None:
    """Lose the store, and start a syncer on the empty one, as nobody should: it deletes what it does not find there."""
    lose_store(stage)
    vcluster.scale(stage.lab, 1, vcluster.STORE)
    vcluster.scale(stage.lab, 1)


def restore_store(stage: Stage) -> None:
    """Put the saved store back while no syncer runs, then start: store first, syncer last.

    A volume whose claim a syncer has deleted meanwhile is freed for the next one; what is in it is kept.
    """
    store, saved = _store(stage.lab)
    if saved.exists():
        vcluster.scale(stage.lab, 0)
        vcluster.scale(stage.lab, 0, vcluster.STORE)
        shutil.rmtree(store, ignore_errors=True)
        saved.rename(store)
    _free_volume(stage)
    vcluster.scale(stage.lab, 1, vcluster.STORE)
    bring_syncer_back(stage)


def _free_volume(stage: Stage) -> None:
    """Let the volume of Redis be bound again, where its claim was deleted; what is in it is kept."""
    if vcluster.on_host(stage.lab, "get", "pv", vcluster.VOLUME, "-o", "jsonpath={.status.phase}") == "Released":
        freed = json.dumps({"spec": {"claimRef": {"uid": None, "resourceVersion": None}}})
        vcluster.on_host(stage.lab, "patch", "pv", vcluster.VOLUME, "--type=merge", "-p", freed)


def delete_release(stage: Stage) -> None:
    """Uninstall the vCluster: the host's garbage collector ends all that its syncer had made. The store's claim stays."""
    with suppress(LabError):  # it is deleted already
        helm.call(stage.lab, "uninstall", vcluster.NAME, f"--namespace={vcluster.NAMESPACE}")
    until(lambda: not stage.host.list(PODS, vcluster.NAMESPACE), "the end of its pods", 120)


def forget_store(stage: Stage) -> None:
    """Empty the store of a release that was deleted: what is installed then is another cluster. Nothing is saved."""
    store, _ = _store(stage.lab)
    shutil.rmtree(store)
    private_folder(store)


def install_release(stage: Stage) -> None:
    """Install it again, over the store that was kept, as its owners do. It has another CA: its kubeconfig is another one.

    CoreDNS came back in the first seconds with what fitted before, and waited for its API server for good (seen).
    """
    until(lambda: not _claims(stage), "the end of Redis' claim", 120)
    _free_volume(stage)
    vcluster.up(stage.lab, nobody)
    vcluster.kubectl(stage.lab, ["-n", "kube-system", "rollout", "restart", "deployment/coredns"])
    vcluster.kubectl(stage.lab, ["-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=120s"], 130)


def _claims(stage: Stage) -> list[Object]:
    """Return the claims on the host that the syncer has made: not that of its own store."""
    return stage.host.list(CLAIMS, vcluster.NAMESPACE, f"vcluster.loft.sh/managed-by={vcluster.NAME}")


def workers_on_host(host: Kube) -> dict[str, str]:
    """Return the workers' pods on the host that nobody has deleted: UID → phase. They are there whoever answers inside."""
    pods = host.list(PODS, vcluster.NAMESPACE, f"vcluster.loft.sh/managed-by={vcluster.NAME}")
    workers = [pod for pod in pods if "-x-prompt-keda-" in pod["metadata"]["name"]]
    stay = [pod for pod in workers if "deletionTimestamp" not in pod["metadata"]]
    return {pod["metadata"]["uid"]: pod["status"].get("phase", "") for pod in stay}


def running_on_host(host: Kube) -> set[str]:
    """Return the UIDs of the workers' pods that run on the host."""
    return {uid for uid, phase in workers_on_host(host).items() if phase == "Running"}


FAULTS: tuple[Fault, ...] = (
    Fault(
        "vcluster/syncer-away",
        "",
        "the vCluster's syncer is away",
        take_syncer_away,
        bring_syncer_back,
        AWAY,
        NO_SYNCER,
        runbook="vcluster",
        stops_scaling=True,
        needs=frozenset({"vcluster"}),
    ),
    Fault(
        "vcluster/host-quota-full",
        "",
        "the quota of the vCluster's host is full",
        fill_host_quota,
        free_host_quota,
        {
            "cluster/pods-start": "fail",
            "cluster/host-has-the-pods": "fail",
            "capacity/quota-allows": "fail",
            "scaling/works": "fail",
        },
        "its host does not make it: SyncError",
        runbook="vcluster",
        stops_scaling=True,
        needs=frozenset({"vcluster"}),
    ),
    Fault(
        "vcluster/host-slow",
        "",
        "the vCluster's host takes its time for each pod",
        slow_host,
        quicken_host,
        {"cluster/pods-synced-in-time": "warn"},
        "after it was made inside",
        runbook="vcluster",
        needs=frozenset({"vcluster"}),
    ),
    Fault(
        "vcluster/token-open",
        "",
        "a token of KEDA's operator that lasts ten years stands open on the vCluster's host",
        open_token,
        close_token,
        {"cluster/host-hides-tokens": "warn"},
        "stand open in annotations of 1 pods on the host, the last until",
        runbook="vcluster",
        needs=frozenset({"vcluster"}),
    ),
    Fault(
        "vcluster/store-lost",
        "",
        "the vCluster's store is lost, and its syncer kept away",
        lose_store,
        restore_store,
        AWAY,
        NO_SYNCER,
        runbook="vcluster",
        stops_scaling=True,
        needs=frozenset({"vcluster"}),
    ),
)
