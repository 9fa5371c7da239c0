"""What a ResourceQuota or a LimitRange lets in of an instrument's workers."""

from __future__ import annotations

import math
from typing import Any

from prompt_keda.checks.outcomes import fail, ok, unknown, warn
from prompt_keda.model.capacity import Amounts, amount, amounts, asked_by
from prompt_keda.model.check import Outcome
from prompt_keda.model.environment import Instrument

Object = dict[str, Any]
COUNTED = ("pods", "count/pods", "count/jobs.batch")
KEPT = 100
"""A ScaledJob's history limits where it has none (KEDA 2.16.1)."""
COMPUTE = {one: ("requests", one) for one in ("cpu", "memory", "ephemeral-storage")}
COMPUTE |= {f"{kind}.{one}": (kind, one) for kind in ("requests", "limits") for one in tuple(COMPUTE)}
"""What a quota counts → whether it is the pods' requests or limits, and of what."""
FOR_WORKERS, FOR_OTHERS = {"NotTerminating", "NotBestEffort"}, {"Terminating", "BestEffort"}
"""Scopes; workers have no maximum run time, and ask for something."""
FIX = "Raise the quota, or name a smaller max_jobs."


def of_quota(quota: Object, ranges: list[Object], instrument: Instrument, scaled_job: Object) -> Outcome:
    """Compare one ResourceQuota with as many workers as one visit wants, and as may run.

    Raises
    ------
    ValueError
        When an amount cannot be read.
    """
    name, spec = quota["metadata"]["name"], quota.get("spec") or {}
    scopes = set(spec.get("scopes") or [])
    if scopes & FOR_OTHERS:
        return ok(f"quota {name} is not about workers")
    if spec.get("scopeSelector") or scopes - FOR_WORKERS:
        return unknown(f"quota {name} is for some pods only; whether workers are among them is not known")
    worst: tuple[int, str] | None = None
    for what, hard in amounts(spec.get("hard")).items():
        each = _each(what, ranges, scaled_job)
        if each is None:
            continue
        if each == 0:
            fix = f"Give the workers {what}, or the namespace a LimitRange with a default."
            return fail(f"quota {name} counts {what}, which workers do not name: none is let in", fix)
        count = max(0, math.floor((hard - _kept(what, scaled_job)) / each + 1e-3))
        worst = min(worst or (count, what), (count, what))
    if worst is None or worst[0] >= instrument.max_jobs:
        return ok(f"quota {name} lets {instrument.max_jobs} workers in")
    said = f"quota {name} lets {worst[0]} workers of {instrument.name} in ({worst[1]}), "
    if worst[0] < instrument.burst_count:
        return fail(f"{said}one visit wants {instrument.burst_count}", FIX)
    return warn(f"{said}{instrument.max_jobs} may run", FIX)


def _each(what: str, ranges: list[Object], scaled_job: Object) -> float | None:
    """Give what one worker takes of a quota; 0 for what it has to name and does not, None for what is not about workers."""
    if what in COUNTED:
        return 1.0
    if what not in COMPUTE:
        return None
    kind, resource = COMPUTE[what]
    asked = asked_by(scaled_job["spec"]["jobTargetRef"]["template"]["spec"], kind)
    return asked.get(resource) or _default(kind, resource, ranges)


def _default(kind: str, resource: str, ranges: list[Object]) -> float:
    key = "default" if kind == "limits" else "defaultRequest"
    for one in ranges:
        for limit in one.get("spec", {}).get("limits") or []:
            if resource in (limit.get(key) or {}):
                return amount(limit[key][resource])
    return 0.0


def _kept(what: str, scaled_job: Object) -> int:
    """Give how many finished Jobs or pods count as well: KEDA keeps some."""
    if not what.startswith("count/"):
        return 0
    limits = ("successfulJobsHistoryLimit", "failedJobsHistoryLimit")
    return sum(int(scaled_job["spec"].get(one, KEPT)) for one in limits)


def of_range(limits: Object, worker: Object) -> Outcome:
    """Hold a worker against one LimitRange's least and most. Raises `ValueError` when an amount cannot be read."""
    name = limits["metadata"]["name"]
    for one in limits.get("spec", {}).get("limits") or []:
        specs = [{"containers": [container]} for container in worker.get("containers") or []]
        for spec in {"Pod": [worker], "Container": specs}.get(one["type"], []):
            told = _out_of(one, asked_by(spec), asked_by(spec, "limits"))
            if told:
                return fail(f"LimitRange {name} lets no worker in: {told}", "Change the LimitRange or the ScaledJob.")
    return ok(f"LimitRange {name} lets workers in")


def _out_of(one: Object, requests: Amounts, limits: Amounts) -> str:
    for resource, most in amounts(one.get("max")).items():
        if max(requests.get(resource, 0.0), limits.get(resource, 0.0)) > most:
            return f"more {resource} than {one['max'][resource]}"
    for resource, least in amounts(one.get("min")).items():
        if resource in requests and requests[resource] < least:
            return f"less {resource} than {one['min'][resource]}"
    return ""
