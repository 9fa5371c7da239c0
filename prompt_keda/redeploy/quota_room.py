"""Whether ResourceQuotas let in the pods that a redeploy needs: KEDA's own, in a vCluster on its host, and a smoke test's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from prompt_keda.clients.kube.objects import Object, selector_of
from prompt_keda.clients.kube.resources import LIMIT_RANGES, PODS, RESOURCE_QUOTAS
from prompt_keda.components.capacity.pod_room import amounts
from prompt_keda.components.capacity.quota_arithmetic import COMPUTE, FOR_OTHERS, FOR_PODS, takes
from prompt_keda.components.capacity.quota_arithmetic import PODS as OF_PODS
from prompt_keda.components.cluster.vcluster import MANAGED, NAMESPACE
from prompt_keda.components.run import Context
from prompt_keda.components.smoke.smoke_objects import RESOURCES
from prompt_keda.core.errors import ClientError, Refused
from prompt_keda.redeploy import remove


@dataclass(frozen=True)
class _PodsToAdmit:
    """Pods that the quotas have to admit."""

    name: str
    spec: Object
    count: int = 1


SMOKE = _PodsToAdmit("the smoke test", {"containers": [{"name": "worker", "resources": RESOURCES}]})
"""One pod of it: the others may wait until it ends."""


def of_quotas(context: Context) -> Iterator[str]:
    """Yield which quota would keep a pod of KEDA's out, where new ones have to come.

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
    deployments = [obj for obj in context.keda_objects if obj["kind"] == "Deployment"] if quotas else []
    standing = list(_standing(context, deployments))
    to_admit = [_pods_of(deployment) for deployment in deployments]
    for quota in quotas:
        if _is_for_pods(quota):
            try:
                yield from _of_one(quota, ranges, to_admit, standing)
            except ValueError as error:
                yield f"ResourceQuota {quota['metadata']['name']} in {context.namespace} cannot be read: {error}"


def of_host(context: Context) -> Iterator[str]:
    """Return which quota of a vCluster's host keeps KEDA's new pods or the smoke test out, also once every worker has ended.

    Where workers alone fill it they end, and a pod comes then. A quota that is not seen from here says nothing, nor does one that
    counts what a container does not name: a LimitRange of the host, which is not looked at, may name it.
    """
    host, settings = context.systems.host, context.environment.kubernetes.host
    if host is None or settings is None:
        return
    try:
        quotas = [quota for quota in host.list(RESOURCE_QUOTAS, settings.namespace) if _is_for_pods(quota)]
        pods = host.list(PODS, settings.namespace, f"{MANAGED}={settings.name}") if quotas else []
    except ClientError:
        return
    come = remove.deployments_to_come(context)
    leave = {
        context.environment.smoke.namespace,
        *(instrument.namespace for instrument in context.environment.instruments),
    }
    leave |= {context.namespace} if come else set()
    standing = [pod["spec"] for pod in pods if _counts(pod) and pod["metadata"]["annotations"].get(NAMESPACE) in leave]
    for quota in quotas:
        try:
            to_admit = [_pods_of(deployment) for deployment in come] + [SMOKE]
            for problem in _of_one(quota, [], to_admit, standing, is_whole=False):
                yield f"{problem}: it is the vCluster's host's, ask its owners for more"
        except ValueError:
            continue


def _is_for_pods(quota: Object) -> bool:
    """Return whether a quota counts all pods that run for long."""
    spec = quota.get("spec") or {}
    scopes = set(spec.get("scopes") or [])
    return not (scopes & FOR_OTHERS or spec.get("scopeSelector") or scopes - FOR_PODS)


def _pods_of(deployment: Object) -> _PodsToAdmit:
    spec = deployment["spec"]
    return _PodsToAdmit(deployment["metadata"]["name"], spec["template"]["spec"], spec.get("replicas", 1))


def _counts(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def _standing(context: Context, deployments: list[Object]) -> Iterator[Object]:
    """Return the specs of KEDA's pods that count now."""
    for deployment in deployments:
        selector = selector_of(deployment)
        for pod in context.systems.kube.list(PODS, context.namespace, selector) if selector else ():
            if _counts(pod):
                yield pod["spec"]


def _of_one(
    quota: Object, ranges: list[Object], to_admit: Sequence[_PodsToAdmit], standing: list[Object], is_whole: bool = True
) -> Iterator[str]:
    """Return what of one quota is too little.

    Parameters
    ----------
    is_whole
        Whether ``ranges`` are all that may name what a container does not.
    """
    name = f"ResourceQuota {quota['metadata']['name']}"
    whose = "KEDA's pods not in again" if is_whole else "no new pod in"
    used = amounts((quota.get("status") or {}).get("used"))
    for resource, hard in amounts((quota.get("spec") or {}).get("hard")).items():
        if resource not in OF_PODS and resource not in COMPUTE:
            continue
        needed, freed = Decimal(0), Decimal(0)
        for pods in to_admit:
            amount, unnamed = takes(resource, ranges, pods.spec)
            if unnamed and is_whole:
                yield f"{name} counts {resource}, which {unnamed} of {pods.name} does not name: no pod is let in"
                break
            needed += amount * pods.count
        for pod in standing:
            freed += takes(resource, ranges, pod)[0]
        others = max(Decimal(0), used.get(resource, Decimal(0)) - freed)
        if needed and others + needed > hard:
            yield f"{name} lets {whose}: {resource} {hard:f}, others use {others:f}, KEDA needs {needed:f}"
