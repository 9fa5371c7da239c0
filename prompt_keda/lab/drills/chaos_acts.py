"""The acts of a chaos round on the local stack, and how they are reverted."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from prompt_keda.clients.kube.resources import PODS
from prompt_keda.core.errors import Missing, PromptKedaError
from prompt_keda.delivery.manifests import load_keda_manifests
from prompt_keda.lab import processes
from prompt_keda.lab.drills.chaos_plan import DELETE, FREEZE, INJECT, PAUSE, POD, Act, Targets
from prompt_keda.lab.faults import ALL_FAULTS, fault_of, scaled_jobs, signals
from prompt_keda.lab.faults.fault import Fault, Stage
from prompt_keda.lab.faults.presence import inject, revert_all

OPERATOR, REDIS = "the operator", "Redis"
"""These run in pods; the others are processes that the stack started itself."""
FROZEN = (
    *("kube-apiserver", "etcd", "kube-controller-manager", "kube-scheduler", "kubelet", "coredns"),
    *("vault", "registry", "slapd", OPERATOR, REDIS),
)
FAULTS = {fault.id: fault.chaos for fault in ALL_FAULTS if fault.chaos is not None}
KEPT_KINDS = ("CustomResourceDefinition",)
"""With KEDA's CRD every ScaledJob is deleted, and its Jobs with it: what a redeploy finds then is past help."""


def targets(stage: Stage) -> Targets:
    """Return what a chaos round may disrupt. Raises `LabError` when the stack is not up, `ManifestError` for a wrong file."""
    manifests = load_keda_manifests(Path(stage.endpoints["keda_manifests"]), stage.endpoints["keda_manifests_sha256"])
    disruptable = [obj for obj in manifests if obj["kind"] not in KEPT_KINDS]
    objects = sorted(f"{obj['kind']}/{obj['metadata']['name']}" for obj in disruptable)
    parts = sorted(obj["metadata"]["name"] for obj in disruptable if obj["kind"] == "Deployment")
    return Targets(FROZEN, objects, parts, tuple(FAULTS))


class Acts:
    """Disrupts, and reverts all of it. Make it with `of`; at its end nothing is left frozen."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._faults: list[Fault] = []
        self._seen: list[Fault] = []
        self._thaws: list[tuple[subprocess.Popen[bytes], Sequence[int]]] = []
        self.not_done: list[str] = []

    @classmethod
    @contextmanager
    def of(cls, stage: Stage) -> Iterator[Acts]:
        """Yield the acts of a round; what is left of them at the end is reverted."""
        acts = cls(stage)
        try:
            yield acts
        finally:
            with suppress(PromptKedaError):  # the round's own undo has told it, or what ended the round is told
                acts.undo()

    @property
    def still_injected(self) -> list[Fault]:
        """The faults that were not reverted yet, that no redeploy repairs, and whose checks are red at once."""
        chosen = [(fault, fault.chaos) for fault in self._seen]
        return [fault for fault, chaos in chosen if chaos and not chaos.is_repaired and not chaos.inject]

    def disrupt(self, act: Act) -> None:
        """Let an act happen. One that is not possible now, because of another, is noted in ``not_done``."""
        do = {
            FREEZE: self._freeze,
            DELETE: self._delete,
            POD: self._delete_pods,
            PAUSE: lambda act: scaled_jobs.mark_paused(self._stage, "true"),
            INJECT: self._inject,
        }
        try:
            do[act.kind](act)
        except PromptKedaError as error:
            self.not_done.append(f"{act}: {error.what}")

    def undo(self) -> None:
        """Revert all of it, the last first. Idempotent: yes.

        What another fault keeps from being reverted, as a stopped Vault does its policy, is tried again after that one. What
        is left then is tried at the next call. Raises as the faults' own `revert` does, when all were tried.
        """
        for thaw, pids in self._thaws:
            signals.send_to(self._stage, pids, signal.SIGCONT)
            thaw.kill()
            thaw.wait()
        self._thaws.clear()
        self._seen.clear()
        errors = revert_all(self._faults, self._stage)
        self._faults[:] = [fault for fault in self._faults if fault.id in errors]
        if errors:
            raise next(iter(errors.values()))

    def _freeze(self, act: Act) -> None:
        pids = self._pids(act.target)
        if not pids:
            raise PromptKedaError("it does not run")

        words = f"sleep {act.seconds}; kill -CONT {' '.join(map(str, pids))}"
        # a process of its own, and before it is frozen: it is thawed also when we are killed
        thaw = subprocess.Popen(["sh", "-c", words], start_new_session=True, stderr=subprocess.DEVNULL)
        self._thaws.append((thaw, pids))
        signals.send_to(self._stage, pids, signal.SIGSTOP)

    def _pids(self, name: str) -> list[int]:
        """Return the processes. Those in pods are found by way of the API server, before anything is frozen."""
        if name == OPERATOR:
            return list(
                signals.processes_in_pods(self._stage, self._stage.environment.keda.namespace, "app=keda-operator")
            )
        if name == REDIS:
            return list(signals.processes_in_pods(self._stage, *self._stage.redis_pods))
        pid = processes.pid_of(self._stage.lab, name)
        return [] if pid is None else [pid]

    def _delete(self, act: Act) -> None:
        kind, _, name = act.target.partition("/")
        obj = self._stage.keda_object(kind, name)
        kube = self._stage.kube
        with suppress(Missing):
            kube.delete(kube.resource_of(obj), name, obj["metadata"].get("namespace"))

    def _delete_pods(self, act: Act) -> None:
        kube, namespace = self._stage.kube, self._stage.environment.keda.namespace
        for pod in self._stage.keda_pods(act.target):
            with suppress(Missing):
                kube.delete(PODS, pod["metadata"]["name"], namespace)

    def _inject(self, act: Act) -> None:
        fault = _at_once(fault_of(act.target))
        if fault in self._faults:
            return
        if others := [other for other in self._faults if _writes_the_same(other, fault)]:
            raise PromptKedaError(f"it would revert that {others[0].title}")
        self._faults.append(fault)
        inject(fault, self._stage)
        # one that was injected half-way is reverted as well, but nothing is asked of its checks
        self._seen.append(fault)


def _writes_the_same(other: Fault, fault: Fault) -> bool:
    written = [chaos.writes for chaos in (other.chaos, fault.chaos) if chaos]
    return len(written) == 2 and written[0] == written[1] != ""


def _at_once(fault: Fault) -> Fault:
    """Return a fault whose acts wait for no symptom."""
    chaos = fault.chaos
    return replace(fault, inject=chaos.inject or fault.inject, revert=chaos.revert or fault.revert) if chaos else fault
