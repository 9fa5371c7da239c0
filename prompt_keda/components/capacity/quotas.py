"""What a ResourceQuota or a LimitRange lets in of an instrument's workers."""

from __future__ import annotations

from decimal import Decimal

from prompt_keda.clients.kube.objects import Object
from prompt_keda.components.capacity.pod_room import Amounts, amounts, asked_by
from prompt_keda.components.capacity.quota_arithmetic import (
    COMPUTE,
    FOR_OTHERS,
    FOR_PODS,
    PODS,
    containers,
    takes,
    with_defaults,
)
from prompt_keda.core.check import Outcome
from prompt_keda.core.outcomes import fail, ok, unknown, warn
from prompt_keda.environment.model import Instrument

COUNTED = (*PODS, "count/jobs.batch")
KEPT = 100
"""A ScaledJob's history limits where it has none (KEDA 2.16.1)."""
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
    if spec.get("scopeSelector") or scopes - FOR_PODS:
        fix = "Look at its scopes: if it counts workers, compare it with max_jobs by hand."
        return unknown(f"quota {name} is for some pods only; whether workers are among them is not known", fix)
    worst: tuple[int, str] | None = None
    for resource, hard in amounts(spec.get("hard")).items():
        if resource not in COUNTED and resource not in COMPUTE:
            continue
        worker = scaled_job["spec"]["jobTargetRef"]["template"]["spec"]
        amount, unnamed = (Decimal(1), "") if resource in COUNTED else takes(resource, ranges, worker)
        if unnamed:
            fix = f"Give them {resource}, or the namespace a LimitRange with a default."
            return fail(f"quota {name} counts {resource}, which {unnamed} does not name: no worker is let in", fix)
        if amount > 0:
            count = max(0, int((hard - _kept(resource, scaled_job)) // amount))
            worst = min(worst or (count, resource), (count, resource))
    if worst is None or worst[0] >= instrument.max_jobs:
        return ok(f"quota {name} lets {instrument.max_jobs} workers in")
    message = f"quota {name} lets {worst[0]} workers of {instrument.name} in ({worst[1]}), "
    if worst[0] < instrument.burst_count:
        return fail(f"{message}one visit wants {instrument.burst_count}", FIX)
    return warn(f"{message}{instrument.max_jobs} may run", FIX)


def _kept(resource: str, scaled_job: Object) -> int:
    """Return how many finished Jobs or pods count as well: KEDA keeps some."""
    if not resource.startswith("count/"):
        return 0
    limits = ("successfulJobsHistoryLimit", "failedJobsHistoryLimit")
    return sum(int(scaled_job["spec"].get(key, KEPT)) for key in limits)


def of_range(limits: Object, ranges: list[Object], worker: Object) -> Outcome:
    """Hold a worker against one LimitRange's least and most (Kubernetes, admission plugin LimitRanger).

    Parameters
    ----------
    ranges
        All LimitRanges of the namespace: what they give to containers that name nothing counts as named.

    Raises
    ------
    ValueError
        When an amount cannot be read.
    """
    name, filled = limits["metadata"]["name"], with_defaults(worker, ranges)
    for limit in limits.get("spec", {}).get("limits") or []:
        specs = [{"containers": [container]} for container in containers(filled)]
        for spec in {"Pod": [filled], "Container": specs}.get(limit["type"], []):
            problem = _out_of(limit, asked_by(spec), asked_by(spec, "limits"))
            if problem:
                return fail(
                    f"LimitRange {name} lets no worker in: {problem}", "Change the LimitRange or the ScaledJob."
                )
    return ok(f"LimitRange {name} lets workers in")


def _out_of(limit_range: Object, requests: Amounts, limits: Amounts) -> str:
    for resource, most in amounts(limit_range.get("max")).items():
        if resource not in limits:
            return f"no limit of {resource}, {limit_range['max'][resource]} is the most"
        if max(requests.get(resource, Decimal(0)), limits[resource]) > most:
            return f"more {resource} than {limit_range['max'][resource]}"
    for resource, least in amounts(limit_range.get("min")).items():
        if resource not in requests:
            return f"no request of {resource}, {limit_range['min'][resource]} is the least"
        if min(requests[resource], limits.get(resource, requests[resource])) < least:
            return f"less {resource} than {limit_range['min'][resource]}"
    for resource, most in amounts(limit_range.get("maxLimitRequestRatio")).items():
        asked, limit = requests.get(resource, Decimal(0)), limits.get(resource, Decimal(0))
        if not asked or not limit or limit / asked > most:
            return f"the limit of {resource} is more than {most:f} times its request, or one of them is missing"
    return ""
