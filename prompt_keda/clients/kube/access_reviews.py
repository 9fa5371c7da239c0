"""Which rights an identity lacks, asked with few requests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from prompt_keda.clients.kube.client import Kube
from prompt_keda.core.rights import Right, gives

NOWHERE = "prompt-keda-no-such-namespace"
"""No namespace of this name is ever made: only what holds in the whole cluster is told for it."""
AT_ONCE = 6


def missing_rights(kube: Kube, rights: Iterable[Right]) -> list[Right]:
    """Give those of some rights that this identity lacks, sorted.

    One rules review for each namespace, and access reviews only for what that does not prove: it may be incomplete.
    Raises as `Kube.request` does.
    """
    wanted = sorted(set(rights))
    namespaces = sorted({one.namespace or NOWHERE for one in wanted})
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="rights") as pool:
        rules = dict(zip(namespaces, pool.map(kube.rules, namespaces), strict=True))
        open_ = [one for one in wanted if not any(gives(rule, one) for rule in rules[one.namespace or NOWHERE])]
        allowed: Sequence[bool] = list(pool.map(lambda one: _may(kube, one), open_))
    return [one for one, may in zip(open_, allowed, strict=True) if not may]


def _may(kube: Kube, one: Right) -> bool:
    return kube.can_i(one.verb, one.group, one.plural, one.namespace, one.name, one.subresource)
