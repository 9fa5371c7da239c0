"""How long one visit's burst takes until its last worker runs.

Pure arithmetic on numbers; `prompt_keda.components.capacity.burst` looks at the cluster with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prompt_keda.clients.kube.objects import Object

LADDER = ((50.0, 100), (100.0, 200), (300.0, 600))
"""Limits to try instead of those that bind, from the gentlest."""
SYNCER, NODES = "the vCluster's syncer", "the pods' start on the nodes"
JOB_REQUESTS = 2.4
"""Requests of the Job controller for each Job: see `predict`."""
SYNCER_REQUESTS = 2.2
"""Requests of a vCluster's syncer for each pod that starts: see `predict`."""


@dataclass(frozen=True)
class Limit:
    """A client's limit on its own requests: ``burst`` at once, then ``qps`` a second. A negative ``qps``: none."""

    qps: float
    burst: int

    def seconds(self, requests_count: float) -> float:
        """Return how long so many requests are held back, in seconds."""
        return 0.0 if self.qps < 0 else max(0.0, (requests_count - self.burst) / self.qps)

    def __str__(self) -> str:
        return f"{self.qps:g}/{self.burst}"


@dataclass(frozen=True)
class PipelineStage:
    """One program on an event's way to a running worker.

    Parameters
    ----------
    name
        What people call it; also where its limit is set.
    limit
        On its requests to the API server.
    requests_each
        Requests for one worker.
    """

    name: str
    limit: Limit
    requests_each: float = 1.0

    def seconds(self, jobs_count: int) -> float:
        """Return how long it needs for so many workers, in seconds."""
        return self.limit.seconds(jobs_count * self.requests_each)


@dataclass(frozen=True)
class Prediction:
    """From a burst of events to its last worker running, at the worst.

    Parameters
    ----------
    jobs_count
        Events of the burst, each of which wants a worker.
    stages
        They work at the same time, each on what the one before gives it: the slowest sets the pace.
    before_s
        Until KEDA polls: one polling interval.
    after_s
        Of the last pod: until its container runs, a pull included.
    """

    jobs_count: int
    stages: Sequence[PipelineStage]
    before_s: float
    after_s: float

    @property
    def binding(self) -> PipelineStage:
        """The slowest stage."""
        return max(self.stages, key=lambda stage: stage.seconds(self.jobs_count))

    @property
    def seconds(self) -> float:
        """The whole of it."""
        return self.before_s + self.binding.seconds(self.jobs_count) + self.after_s

    def relieved(self, target_s: float) -> tuple[Limit, float] | None:
        """Return a higher limit for the binding stage, and the seconds that it would leave.

        It is the gentlest of `LADDER` that reaches the target or lets another stage bind; None if there is no higher one.
        """
        relief = None
        if self.binding.name == NODES:
            return None
        for limit in (Limit(*rung) for rung in LADDER if rung[0] > self.binding.limit.qps >= 0):
            stages = [
                PipelineStage(stage.name, limit, stage.requests_each) if stage is self.binding else stage
                for stage in self.stages
            ]
            changed = Prediction(self.jobs_count, stages, self.before_s, self.after_s)
            relief = (limit, changed.seconds)
            if changed.seconds <= target_s or changed.binding.name != self.binding.name:
                break
        return relief


def predict(
    jobs_count: int,
    *,
    keda: Limit,
    controller_manager: Limit,
    scheduler: Limit,
    syncer: Limit | None,
    starts: Limit | None = None,
    before_s: float,
    after_s: float,
) -> Prediction:
    """Predict how long a burst takes.

    Parameters
    ----------
    jobs_count
        Events of the burst, from 1 on.
    syncer
        The vCluster syncer's limit towards its host; None: no vCluster.
    starts
        How many pods all nodes together start at once, and then a second; None: as many as come.
    before_s, after_s
        As in `Prediction`.

    Notes
    -----
    - KEDA creates the Jobs one after another, one request each (its ScaledJob executor). Measured with 20/30: 189 Jobs in
      8.0 s; (189 - 30) / 20 = 7.95.
    - The Job controller creates a pod and updates the Job's status: two requests of a worker for each Job. Its events go
      out by the same client, from one goroutine beside the 5 workers, so they take a sixth of what passes:
      2 x 6/5 = 2.4 requests. Measured with 20/30: 189 Jobs, last pod after 21 s, 8.9 pods a second;
      (189 x 2.4 - 30) / 20 = 21.2 s. With 300/600 it binds no more, and KEDA's 8 s remain, as measured.
      Deletions of finished Jobs at the same time come on top, and are not in here (measured: 55 s with 189 of them).
    - The scheduler sends one binding a pod; its events have a client of their own.
    - The syncer of a vCluster creates each pod on its host, and writes its status there. Its limit is 40/80 (loft-sh/vcluster
      0.26, pkg/pro/remote.go), for each kind of objects by itself, so that pods share it with nothing; towards the vCluster it
      is 1000/2000 and does not count. Measured by the host's audit log, 87 pods in vCluster 0.26.0 on Kubernetes 1.35: 1 create
      and 1.1 updates of the status for each, a quarter of which end with 409 and are repeated; so 2.2. Where finished workers
      are deleted at the same time, 3.3.
    """
    stages = [
        PipelineStage("keda-operator", keda),
        PipelineStage("kube-controller-manager", controller_manager, JOB_REQUESTS),
        *([PipelineStage(SYNCER, syncer, SYNCER_REQUESTS)] if syncer else []),
        PipelineStage("kube-scheduler", scheduler),
        *([PipelineStage(NODES, starts)] if starts else []),
    ]
    return Prediction(jobs_count, stages, before_s, after_s)


def has_image(node: Object, name: str) -> bool:
    """Return whether a node says that it has an image. It names its largest fifty at most."""
    return any(name in (image.get("names") or []) for image in node.get("status", {}).get("images") or [])
