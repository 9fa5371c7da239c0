"""The runs that a machine keeps, as tests look for them."""

from __future__ import annotations

from types import SimpleNamespace

from prompt_keda.environment.model import FillIn
from prompt_keda.records.record import RunFolder

NOBODY_KNOWS = FillIn("FILL-IN: ask the owners")


def unfinished_run(runs, environment, fits=lambda plan: True):
    """Return the newest run of an environment whose plan fits, if it has not ended green; else None."""
    for run in RunFolder.listed(runs, environment)[0]:
        if RunFolder.find(runs, run.id) is None or run.was_refused:
            continue
        if fits(run.read_json("plan.json")):
            return None if run.is_finished else run
    return None


def cluster_of(name, uid=NOBODY_KNOWS):
    """Return as much of an environment as an incident needs: its name, and the identity of its cluster, which may be any."""
    identity = SimpleNamespace(kube_system_uid=uid)
    return SimpleNamespace(name=name, kubernetes=SimpleNamespace(identity=identity))
