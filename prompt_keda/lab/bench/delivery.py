"""Measures how KEDA comes back after its namespace was deleted: by a redeploy, and by what people use instead, in one run.

For a stack with Argo CD (``lab.up --with argocd``). Each way is begun once no pod of KEDA is left, when events wait and the
namespace still hangs at its APIService. The peers are measured at their best: whoever uses them knows that this APIService
has to go first, types without a pause, and looks at nothing but what the command itself waits for.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from prompt_keda.clients.kube.resources import PODS
from prompt_keda.commands.session import read_environment
from prompt_keda.components.keda.names import PARTS
from prompt_keda.core.errors import LabError
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.core.places import TASKS
from prompt_keda.core.waiting import until
from prompt_keda.lab import argocd, helm, state
from prompt_keda.lab.bench.recovery import NewJobs, as_list, kubectl, let_wait, until_idle
from prompt_keda.lab.drills.job_watcher import JobWatcher
from prompt_keda.lab.faults.fault import Stage
from prompt_keda.lab.settings import Lab

ENVIRONMENT = "argocd"
GONE_S = 120.0


@dataclass(frozen=True)
class Return:
    """One way to bring KEDA back after its namespace was deleted.

    Parameters
    ----------
    first_job_s
        Median from the first command to the first new Job of a ScaledJob whose events wait, in seconds.
    verified_s
        Median from the first command until it has ended, in seconds. What it looks at is its own: a redeploy looks at every
        check's facts and runs its smoke test, Argo CD at health, ``--wait`` and kubectl at KEDA's Deployments.
    lost_count
        The Jobs and pods that worked when it began and were deleted, in all rounds.
    """

    name: str
    first_job_s: float
    verified_s: float
    lost_count: int

    def __str__(self) -> str:
        spans = f"first Job {self.first_job_s:5.1f} s, verified {self.verified_s:5.1f} s"
        return f"{self.name:32} {spans}, {self.lost_count} Jobs and pods lost"


def run(rounds: int, observer: Observer) -> list[Return]:
    """Bring KEDA back by each way in turn, ``rounds`` times, and return the medians; ours first.

    Raises
    ------
    LabError
        When the stack is not up or has no Argo CD, or a way fails.
    DeadlinePassed
        When Argo CD does not agree in time.
    """
    stage = Stage(read_environment(ENVIRONMENT))
    ways: dict[str, Callable[[Lab, Path], None]] = {
        "redeploy, delivery argocd": _ours,
        "Argo CD: sync of the Application": _argocd,
        "helm upgrade --install --wait": _helm,
        "kubectl apply": _kubectl,
    }
    took: dict[str, list[tuple[float, float, int]]] = {name: [] for name in ways}
    with TemporaryDirectory() as folder:
        for number in range(rounds):
            for name in (*list(ways)[1:], *list(ways)[:1]):  # ours last: it leaves KEDA as its environment has it
                _ours(stage.lab, Path(folder))  # what the way before has applied would have to be taken over
                took[name].append(_measure(stage, ways[name], Path(folder)))
                text = "first Job {:.1f} s, verified {:.1f} s, {} lost".format(*took[name][-1])
                observer(Event(EventKind.NOTE, "bench", "working", f"round {number + 1}: {name}: {text}"))
    return [_medians(name, runs) for name, runs in took.items()]


def _medians(name: str, runs: list[tuple[float, float, int]]) -> Return:
    first, verified, lost = zip(*runs, strict=True)
    return Return(name, statistics.median(first), statistics.median(verified), sum(lost))


def _measure(stage: Stage, way: Callable[[Lab, Path], None], folder: Path) -> tuple[float, float, int]:
    until_idle(stage)
    jobs = NewJobs(stage)
    namespaces = [instrument.namespace for instrument in stage.environment.instruments]
    with JobWatcher.at_work(lambda: stage.kube, namespaces) as watcher:
        _delete_namespace(stage)
        let_wait(stage)
        began = time.time()
        way(stage.lab, folder)
        verified_s = time.time() - began
        return jobs.first_after(began), verified_s, len(watcher.lost())


def _delete_namespace(stage: Stage) -> None:
    """Delete KEDA's namespace, and wait until no pod is left in it: it hangs from then on."""
    namespace = stage.environment.keda.namespace
    kubectl(stage.lab, "delete", "namespace", namespace, "--wait=false")
    until(lambda: not stage.kube.list(PODS, namespace), f"pods of {namespace} that are gone", GONE_S)


def _free_namespace(lab: Lab) -> None:
    """Delete the APIService at which the namespace hangs, and wait until it is gone."""
    kubectl(lab, "delete", "apiservice", "v1beta1.external.metrics.k8s.io")
    kubectl(lab, "wait", "--for=delete", "namespace/keda", f"--timeout={GONE_S:.0f}s")


def _ours(lab: Lab, folder: Path) -> None:
    argv = [sys.executable, str(TASKS), "redeploy", "--env", ENVIRONMENT, "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        document = json.loads(done.stdout or "{}")
        raise LabError(f"bench: redeploy failed: {document.get('error', f'exit code {done.returncode}')}")


def _argocd(lab: Lab, folder: Path) -> None:
    kube, (keda, _) = argocd.client(lab), argocd.APPLICATIONS
    _free_namespace(lab)
    argocd.require(argocd.sync(kube, argocd.PARENT, [{"group": "", "kind": "Namespace", "name": "keda"}]))
    argocd.require(argocd.sync(kube, keda))
    argocd.wait_until_healthy(kube, keda)


def _helm(lab: Lab, folder: Path) -> None:
    _free_namespace(lab)
    helm.upgrade(lab, Path(state.endpoints(lab)["phalanx"]), "keda", "--create-namespace", "--take-ownership")


def _kubectl(lab: Lab, folder: Path) -> None:
    _free_namespace(lab)
    manifests = as_list(state.endpoints(lab)["rendered_keda"], folder)
    kubectl(lab, "apply", "--server-side", "--force-conflicts", "-f", str(manifests))
    for part in PARTS:
        kubectl(lab, "-n", "keda", "wait", "--for=condition=Available", f"deployment/{part}", "--timeout=180s")
