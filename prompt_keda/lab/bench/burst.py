"""Measures real bursts of events beside what the model of capacity predicts for them, on the local stack.

It lies beside the layers, not in them: only `tasks.py` calls it.
"""

from __future__ import annotations

import os
import statistics
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from prompt_keda.clients.kube.resources import JOBS, NODES, PODS
from prompt_keda.clients.systems import Systems
from prompt_keda.commands.session import open_session
from prompt_keda.components.capacity.burst import keda_limit, predicted
from prompt_keda.components.capacity.host_room import ground_of
from prompt_keda.components.smoke import smoke_objects
from prompt_keda.components.smoke.smoke_test import run_smoke
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.core.waiting import until
from prompt_keda.lab import cgroups, state
from prompt_keda.lab.settings import current_lab

SIZES = (1, 10, 25, 40)
"""Workers of the bursts: from two sizes follows what each further pod costs. With 60 the first workers of the smoke test end
before the last begin, on 2 cores, and their end costs as much as a start."""


@dataclass(frozen=True)
class Burst:
    """One size of burst, in seconds from the sending of its events; what was measured are medians.

    Parameters
    ----------
    predicted_s
        Until the last worker runs; on average, that is with half of a polling interval, not a whole one.
    jobs_s, running_s
        Measured: until KEDA has made the last Job; until the last worker runs, as a watch saw it.
    spread_s
        The quickest and the slowest round.
    each_s
        What each pod costs beyond those of the smaller size; None for the smallest.
    cpu_s
        CPU seconds of the whole stack until the last worker ran: unlike all others it depends little on what else the
        machine does.
    others
        Which share of the machine's CPUs others than the stack took meanwhile, in the worst round: this program is
        one of them, with about 0.2 on 2 cores.
    """

    jobs_count: int
    predicted_s: float
    jobs_s: float
    running_s: float
    spread_s: tuple[float, float]
    each_s: float | None
    cpu_s: float
    others: float

    def __str__(self) -> str:
        least, most = self.spread_s
        running = f"measured {self.running_s:5.1f} s ({least:.1f} to {most:.1f} s), last Job {self.jobs_s:.1f} s"
        used = f"{self.cpu_s:.1f} s of CPU, {self.others:.0%} of the CPUs taken by others"
        each = f", {self.each_s * 1000:.0f} ms each pod more" if self.each_s is not None else ""
        return f"{self.jobs_count:3} events: last worker predicted after {self.predicted_s:5.1f} s, {running}, {used}{each}"


def run(rounds: int, observer: Observer) -> list[Burst]:
    """Send each size of burst in turn, ``rounds`` times each: the smoke test's own events, Jobs and verification.

    In the environment of what delivers on the stack: where that has a vCluster, inside of it.

    Raises
    ------
    LabError
        When the local stack is not up.
    PromptKedaError
        When a burst does not become running workers.
    """
    with open_session(str(state.endpoints(current_lab()).get("delivery") or "local")) as session:
        systems = session.systems
        took: dict[int, list[_Round]] = {size: [] for size in SIZES}
        for number in range(rounds):
            for size in SIZES:
                took[size].append(_round(systems, size, f"bench-{number}"))
                text = f"{size} workers after {took[size][-1].running_s:.1f} s"
                observer(Event(EventKind.NOTE, "bench", "working", f"round {number + 1}: {text}"))
        return _compared(took, {size: _predicted_s(systems, size) for size in SIZES})


@dataclass(frozen=True)
class _Round:
    """One burst; as in `Burst`."""

    jobs_s: float
    running_s: float
    cpu_s: float
    others: float


def _round(systems: Systems, size: int, run_id: str) -> _Round:
    at: dict[str, tuple[float, float, float]] = {}

    def note(event: Event) -> None:
        for point in ("events sent", "pods ran after"):  # as the smoke test says them, at the moment when they are so
            if point in event.detail:
                at.setdefault(point, (time.monotonic(), _busy_s(), cgroups.usage(current_lab().cgroup)[0]))

    # of the burst before: its deletions take requests and CPU (seen: 10 workers in 7 s, not 3)
    namespace = systems.environment.smoke.namespace
    with closing(systems.kube.watch([(PODS, namespace), (JOBS, namespace)])) as watch:
        kinds = (PODS, JOBS)
        until(lambda: not any(systems.kube.list(kind, namespace) for kind in kinds), "the end of its pods", 300, watch)
    took = run_smoke(systems, size, note, run_id).intervals_s
    pairs = zip(at["events sent"], at["pods ran after"], strict=True)
    wall_s, busy_s, cpu_s = (after - before for before, after in pairs)
    return _Round(took["all_jobs"], took["pods_ran"], cpu_s, max(0.0, busy_s - cpu_s) / wall_s / (os.cpu_count() or 1))


def _busy_s() -> float:
    """Return the CPU seconds that the machine has worked since its start (proc(5), /proc/stat)."""
    user, nice, system, _, _, *others = map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9])
    return sum((user, nice, system, *others)) / os.sysconf("SC_CLK_TCK")


def _compared(took: dict[int, list[_Round]], predictions: dict[int, float]) -> list[Burst]:
    bursts: list[Burst] = []
    for size, rounds in took.items():
        running = [burst.running_s for burst in rounds]
        median_s = statistics.median(running)
        each_s = (median_s - bursts[-1].running_s) / (size - bursts[-1].jobs_count) if bursts else None
        jobs_s, cpu_s = (statistics.median(getattr(burst, name) for burst in rounds) for name in ("jobs_s", "cpu_s"))
        spread, others = (min(running), max(running)), max(burst.others for burst in rounds)
        bursts.append(Burst(size, predictions[size], jobs_s, median_s, spread, each_s, cpu_s, others))
    return bursts


def _predicted_s(systems: Systems, size: int) -> float:
    """Predict as `capacity/burst-absorbed` does, for the smoke test's ScaledJob."""
    body = smoke_objects.scaled_job(systems, "burst", size, "bench")
    ground = ground_of(systems)
    nodes = ground.nodes if ground else systems.kube.list(NODES)
    prediction = predicted(systems, size, body, keda_limit(systems), nodes)
    return prediction.seconds - prediction.before_s / 2  # events come at any moment between two looks
