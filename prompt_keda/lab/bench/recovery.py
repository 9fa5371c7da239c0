"""Measures a redeploy of a healthy KEDA beside the same by plain kubectl, in one run, on the local stack.

It lies beside the layers, not in them: only `tasks.py` calls it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from prompt_keda.clients.kube.resources import DEPLOYMENTS, JOBS
from prompt_keda.clients.kube.watch import events
from prompt_keda.commands.session import read_environment
from prompt_keda.components.keda.names import PARTS
from prompt_keda.core.errors import LabError
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.core.places import TASKS, runs_folder
from prompt_keda.core.waiting import until
from prompt_keda.lab import commands, state
from prompt_keda.lab.faults.fault import Stage
from prompt_keda.lab.settings import Lab
from prompt_keda.records.record import RunFolder

EVENTS_COUNT = 60
"""More than the idle workers take: some wait when the new KEDA comes. They are sent once the old one is gone, because it would
make so many Jobs that no more may be."""
LIMIT_S = 180.0


@dataclass(frozen=True)
class RecoveryMedians:
    """Medians of one way to replace KEDA, in seconds.

    Parameters
    ----------
    removal_s
        From the first removal until all is gone.
    first_job_s
        From the first write of the install to the first new Job of a ScaledJob whose events wait.
    ready_s
        From the first write of the install until every part is available.
    """

    name: str
    removal_s: float
    first_job_s: float
    ready_s: float

    def __str__(self) -> str:
        spans = f"removal {self.removal_s:5.1f} s, first Job {self.first_job_s:5.1f} s, ready {self.ready_s:5.1f} s"
        return f"{self.name:32} {spans}"


def run(rounds: int, observer: Observer) -> list[RecoveryMedians]:
    """Replace KEDA by both ways in turn, ``rounds`` times each, and return their medians; ours first.

    Raises
    ------
    LabError
        When the local stack is not up, or a way fails.
    """
    stage = Stage(read_environment("local"))
    ways = {"redeploy --mode reinstall": _ours, "kubectl delete, kubectl apply": _kubectl}
    took: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
    with TemporaryDirectory() as folder:
        for number in range(rounds):
            for name, way in ways.items():
                took[name].append(way(stage, Path(folder)))
                text = "removal {:.1f} s, first Job {:.1f} s, ready {:.1f} s".format(*took[name][-1])
                observer(Event(EventKind.NOTE, "bench", "working", f"round {number + 1}: {name}: {text}"))
    return [RecoveryMedians(name, *map(statistics.median, zip(*runs, strict=True))) for name, runs in took.items()]


class NewJobs:
    """Notes when each Job of the instrument is made."""

    def __init__(self, stage: Stage) -> None:
        (instrument, *_) = stage.environment.instruments
        self._kube, self._kind, self._namespace = stage.kube, JOBS, instrument.namespace
        self.times: list[float] = []
        self._over = False
        self._changed = threading.Condition()
        listed = self._kube.get_raw(self._kind.path(self._namespace))
        version = listed["metadata"]["resourceVersion"]
        threading.Thread(target=self._follow, args=(version,), daemon=True).start()

    def _follow(self, version: str) -> None:
        query = {"watch": "1", "resourceVersion": version}
        path = self._kind.path(self._namespace)
        answer = self._kube.open("GET", path, query=query, timeout_s=LIMIT_S, stream=True)
        for event in events(answer):
            with self._changed:
                if event["type"] == "ADDED":
                    self.times.append(time.time())
                self._changed.notify()
                if self._over:
                    return

    def first_after(self, begun: float) -> float:
        """Return the time of the first one after ``begun``, in seconds since then; wait for it."""

        def later() -> list[float]:
            return [moment for moment in self.times if moment > begun]

        with self._changed:
            self._changed.wait_for(later, LIMIT_S)
            self._over = True
            if not later():
                raise LabError(f"bench: no new Job within {LIMIT_S:.0f} s", "Is the stack green? ./run check-deps")
            return later()[0] - begun


def let_wait(stage: Stage) -> None:
    """Send more events than the workers take."""
    (instrument, *_) = stage.environment.instruments
    stage.redis.add(instrument.stream, [{"visit": str(n)} for n in range(EVENTS_COUNT)])


def until_idle(stage: Stage) -> None:
    """Wait until only the workers are left that there always are: with many more KEDA would have to wait for their end."""
    (instrument, *_) = stage.environment.instruments

    def is_idle() -> bool:
        jobs = stage.kube.list(JOBS, instrument.namespace)
        return bool(sum(job.get("status", {}).get("active", 0) for job in jobs) <= instrument.min_jobs)

    until(is_idle, "workers of the round before that end", LIMIT_S)


def _let_wait_once_removed(stage: Stage) -> threading.Thread:
    """Send the events as soon as the operator's Deployment is deleted; return the thread that does it."""
    path = DEPLOYMENTS.path(stage.environment.keda.namespace)
    version = stage.kube.get_raw(path)["metadata"]["resourceVersion"]
    query = {"watch": "1", "resourceVersion": version}
    answer = stage.kube.open("GET", path, query=query, timeout_s=LIMIT_S, stream=True)

    def follow() -> None:
        for event in events(answer):
            if (event["type"], event["object"]["metadata"]["name"]) == ("DELETED", PARTS[0]):
                let_wait(stage)
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    return thread


def _ours(stage: Stage, folder: Path) -> tuple[float, float, float]:
    until_idle(stage)
    jobs = NewJobs(stage)
    sender = _let_wait_once_removed(stage)
    argv = [sys.executable, str(TASKS), "redeploy", "--env", "local", "--mode", "reinstall", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    document = json.loads(done.stdout or "{}")
    if done.returncode:
        raise LabError(f"bench: redeploy failed: {document.get('error', f'exit code {done.returncode}')}")
    sender.join(LIMIT_S)
    entries = RunFolder.open_(runs_folder(), document["run"]).journal.entries()
    begun = next(
        _time(entry) for entry in entries if entry["step"].startswith("install/") and entry["event"] == "begin"
    )
    ready = next(
        _time(entry) for entry in entries if entry["step"] == "verify/parts-ready" and entry["event"] != "begin"
    )
    return document["timings"]["removal"], jobs.first_after(begun), ready - begun


def _time(entry: dict[str, str]) -> float:
    return datetime.fromisoformat(entry["at"]).timestamp()


def _kubectl(stage: Stage, folder: Path) -> tuple[float, float, float]:
    lab = stage.lab
    until_idle(stage)
    with _kept(lab, folder) as secret:
        jobs = NewJobs(stage)
        began = time.time()
        kubectl(lab, "delete", "apiservice", "v1beta1.external.metrics.k8s.io")
        kubectl(lab, "delete", "validatingwebhookconfiguration", "keda-admission")
        kubectl(lab, "delete", "namespace", "keda", "--wait", "--timeout=180s")
        removed = time.time()
        let_wait(stage)
        kubectl(lab, "create", "namespace", "keda")
        kubectl(lab, "apply", "-f", str(secret))
        kubectl(lab, "apply", "--server-side", "-f", str(as_list(state.endpoints(lab)["keda_manifests"], folder)))
        first = jobs.first_after(removed)
        for part in PARTS:
            kubectl(lab, "-n", "keda", "wait", "--for=condition=Available", f"deployment/{part}", "--timeout=180s")
        return removed - began, first, time.time() - removed


@contextmanager
def _kept(lab: Lab, folder: Path) -> Iterator[Path]:
    """Keep KEDA's pull secret, as who deletes its namespace has to."""
    file = folder / "pull-secret.json"
    live = json.loads(kubectl(lab, "-n", "keda", "get", "secret", "pull-secret", "-o", "json"))
    metadata = {key: live["metadata"][key] for key in ("name", "namespace")}
    file.touch(mode=0o600)
    file.write_text(json.dumps({**live, "metadata": metadata}))
    try:
        yield file
    finally:
        file.unlink()


def as_list(manifests: str, folder: Path) -> Path:
    """Write the objects of a file with KEDA's manifests as one list, which kubectl takes, and return that file."""
    file = folder / "keda.json"
    items = json.loads(Path(manifests).read_text())
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    return file


def kubectl(lab: Lab, *arguments: str) -> str:
    """Run kubectl as the stack's administrator, and return its output. Raises `LabError` when it fails, with its last line."""
    return commands.run(
        [lab.program("kubectl"), "--kubeconfig", str(lab.admin_kubeconfig), *arguments], timeout_s=LIMIT_S + 30
    )
