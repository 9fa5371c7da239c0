"""Whether the ResourceQuotas of KEDA's namespace let its pods in again once those that stand are gone."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from prompt_keda.clients.kube.objects import Object, selector_of
from prompt_keda.clients.kube.resources import LIMIT_RANGES, PODS, RESOURCE_QUOTAS
from prompt_keda.components.capacity.pod_room import amounts
from prompt_keda.components.capacity.quota_arithmetic import COMPUTE, FOR_OTHERS, FOR_PODS, takes
from prompt_keda.components.capacity.quota_arithmetic import PODS as OF_PODS
from prompt_keda.components.run import Context
from prompt_keda.core.errors import Refused
from prompt_keda.redeploy import remove


def of_quotas(context: Context) -> Iterator[str]:
    """Say which quota would keep a pod of KEDA's out, where new ones have to come.

    Quotas that may not be read, or are for some pods only, say nothing. What KEDA's pods of now take is free again by
    then. Raises as `Kube.list` does.
    """
    kube = context.systems.kube
    if not remove.deployments_to_come(context):
        return
    try:
        quotas = kube.list(RESOURCE_QUOTAS, context.namespace)
        ranges = kube.list(LIMIT_RANGES, context.namespace) if quotas else []
    except Refused:
        return
    wanted = [obj for obj in context.keda_objects if obj["kind"] == "Deployment"] if quotas else []
    standing = list(_standing(context, wanted))
    for quota in quotas:
        spec, scopes = quota.get("spec") or {}, set((quota.get("spec") or {}).get("scopes") or [])
        if scopes & FOR_OTHERS or spec.get("scopeSelector") or scopes - FOR_PODS:
            continue
        try:
            yield from _of_one(quota, ranges, wanted, standing)
        except ValueError as error:
            yield f"ResourceQuota {quota['metadata']['name']} in {context.namespace} cannot be read: {error}"


def _standing(context: Context, wanted: list[Object]) -> Iterator[Object]:
    """Give the specs of KEDA's pods that count now."""
    for deployment in wanted:
        selector = selector_of(deployment)
        for pod in context.systems.kube.list(PODS, context.namespace, selector) if selector else ():
            if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
                yield pod["spec"]


def _of_one(quota: Object, ranges: list[Object], wanted: list[Object], standing: list[Object]) -> Iterator[str]:
    name = f"ResourceQuota {quota['metadata']['name']}"
    used = amounts((quota.get("status") or {}).get("used"))
    for what, hard in amounts((quota.get("spec") or {}).get("hard")).items():
        if what not in OF_PODS and what not in COMPUTE:
            continue
        needed, freed = Decimal(0), Decimal(0)
        for deployment in wanted:
            spec = deployment["spec"]
            each, unnamed = takes(what, ranges, spec["template"]["spec"])
            if unnamed:
                yield f"{name} counts {what}, which {unnamed} of {deployment['metadata']['name']} does not name: no pod is let in"
                break
            needed += each * spec.get("replicas", 1)
        for pod in standing:
            freed += takes(what, ranges, pod)[0]
        others = max(Decimal(0), used.get(what, Decimal(0)) - freed)
        if needed and others + needed > hard:
            yield f"{name} lets KEDA's pods not in again: {what} {hard:f}, others use {others:f}, KEDA needs {needed:f}"
