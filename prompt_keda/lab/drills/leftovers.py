"""What the toolkit may have left behind on the stack: pauses, its lock, and the smoke test's objects."""

from __future__ import annotations

from prompt_keda.clients.kube.resources import JOBS, SCALED_JOBS, SECRETS, TRIGGER_AUTHENTICATIONS
from prompt_keda.components.scaled_jobs.objects import PAUSED
from prompt_keda.lab.faults.fault import Stage
from prompt_keda.records.lock import find_run_at_work


def leftovers(stage: Stage) -> list[str]:
    """Name them. Whoever looks before and after knows what came between. Raises as the clients do."""
    kube, left = stage.kube, []
    for scaled_job in kube.list(SCALED_JOBS):
        if PAUSED in (scaled_job["metadata"].get("annotations") or {}):
            left.append(f"ScaledJob {scaled_job['metadata']['namespace']}/{scaled_job['metadata']['name']} is paused")
    smoke = stage.environment.smoke.namespace
    for kind in (SCALED_JOBS, JOBS, TRIGGER_AUTHENTICATIONS, SECRETS):
        left += [f"{kind.kind} {smoke}/{obj['metadata']['name']}" for obj in kube.list(kind, smoke)]
    (keys,) = stage.redis.run(["KEYS", "smoke-*"])
    left += [f"stream {key}" for key in keys]
    if holder := find_run_at_work(kube):
        left.append(f"the lock of {holder}")
    return left
