"""Which rights an identity lacks, asked with few requests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from prompt_keda.clients.kube.client import Kube
from prompt_keda.core.rights import Right, gives

NOWHERE = "prompt-keda-no-such-namespace"
"""No namespace of this name is ever made: only rights in the whole cluster hold for it."""
AT_ONCE = 6


def missing_rights(kube: Kube, rights: Iterable[Right]) -> list[Right]:
    """Return those of some rights that this identity lacks, sorted.

    One rules review for each namespace, and access reviews only for what that does not prove: it may be incomplete.
    Raises as `Kube.request` does.
    """
    wanted = sorted(set(rights))
    namespaces = sorted({right.namespace or NOWHERE for right in wanted})
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="rights") as pool:
        rules = dict(zip(namespaces, pool.map(kube.rules, namespaces), strict=True))
        open_ = [right for right in wanted if not any(gives(rule, right) for rule in rules[right.namespace or NOWHERE])]
        allowed: Sequence[bool] = list(pool.map(lambda right: _may(kube, right), open_))
    return [right for right, may in zip(open_, allowed, strict=True) if not may]


def _may(kube: Kube, right: Right) -> bool:
    return kube.can_i(right.verb, right.group, right.plural, right.namespace, right.name, right.subresource)
