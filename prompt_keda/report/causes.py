"""From what the checks saw to the runbook that fits: a root cause before its consequences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prompt_keda.core.check import CheckResult, Verdict
from prompt_keda.core.run_checks import WAITS_FOR

ORDER = (
    "cluster-unreachable",
    "vcluster",
    "wrong-cluster",
    "not-allowed",
    "cluster-degraded",
    "vault-sealed",
    "secrets-missing",
    "redis-gone",
    "redis-empty",
    "image-not-pulled",
    "namespace-stuck",
    "duplicate-operator",
    "keda-gone",
    "certificates-wrong",
    "scaled-job-wrong",
    "keda-does-not-scale",
    "redis-lag-wrong",
    "redis-full",
    "argocd-disagrees",
    "jobs-at-risk",
    "no-room",
    "workers-fail",
    "image-moved",
    "keda-paused",
    "events-stop",
)
"""What stands earlier makes what stands later red as well: KEDA needs Redis, Redis needs nodes, all need the API server."""
SYMPTOM = "scaling/works"
"""Says that events do not become work, whatever the cause. Where another check names a cause, this is its consequence."""
NO_CAUSE_OF_IT = (
    "wrong-cluster",
    "not-allowed",
    "jobs-at-risk",
    "image-moved",
    "events-stop",
    "redis-full",
    "argocd-disagrees",
)
"""Runbooks of what may be red or amber beside it, and leaves scaling alone."""
AMBER_CAUSES = ("cluster-degraded", "keda-does-not-scale", "redis-lag-wrong", "no-room", "workers-fail", "keda-paused")
"""Runbooks whose checks are amber, and no more, where scaling stands still because of them."""
EARLIER = {"cluster/keda-namespace-present": "secrets-missing"}
"""A check that is seen broken → the runbook before which its own comes then: with KEDA's namespace its Secrets go as well."""
SEVERITY = (Verdict.FAIL, Verdict.UNKNOWN, Verdict.WARN)
RANK = {Verdict.FAIL: 0, Verdict.UNKNOWN: 1, Verdict.WARN: 1}
"""What is amber may be the reason why another cannot be seen: a node that does not report, before Redis on it."""


@dataclass(frozen=True)
class Cause:
    """What may be at the root of what is seen.

    Parameters
    ----------
    runbook
        Its name; empty: no runbook answers these checks.
    worst
        The worst verdict of its checks.
    checks
        Their results, the worst first, and of these those that most others wait for.
    blocked
        Id of one of these checks → how many others wait for it, directly or not; the most first. None where nothing waits.
    """

    runbook: str
    worst: Verdict
    checks: tuple[CheckResult, ...]
    blocked: Mapping[str, int] = field(default_factory=dict)


def causes(results: Sequence[CheckResult]) -> list[Cause]:
    """Rank what may be at the root: seen broken first, then not seen and amber, each in the order in which things need another.

    A check that was skipped is a consequence of one that is not green, and counts for nothing here. `SYMPTOM` is ranked
    behind the causes that explain it, and is the root where nothing does.
    """
    ranked = _ranked(results)
    symptom = next((cause for cause in ranked if [check.id for check in cause.checks] == [SYMPTOM]), None)
    if symptom is None:
        return ranked
    others = [cause for cause in ranked if cause is not symptom]
    explaining = [cause for cause in others if _explains(cause)]
    return [*explaining, symptom, *(cause for cause in others if cause not in explaining)]


def _explains(cause: Cause) -> bool:
    """Return whether events may wait for this reason."""
    if cause.worst is Verdict.WARN:
        return cause.runbook in AMBER_CAUSES
    return cause.runbook not in NO_CAUSE_OF_IT


def _ranked(results: Sequence[CheckResult]) -> list[Cause]:
    groups: dict[str, list[CheckResult]] = {}
    for result in results:
        if result.verdict in SEVERITY:
            groups.setdefault(result.runbook, []).append(result)
    waiting = Counter(filter(None, waits_for(results).values()))
    ranked = []
    for runbook, checks in groups.items():
        checks.sort(key=lambda check: (SEVERITY.index(check.verdict), check.id not in EARLIER, -waiting[check.id]))
        ids = {check.id for check in checks}
        blocked = {id_: count for id_, count in waiting.most_common() if id_ in ids}
        ranked.append(Cause(runbook, checks[0].verdict, tuple(checks), blocked))
    return sorted(ranked, key=lambda cause: (RANK[cause.worst], _place(cause)))


def _place(cause: Cause) -> float:
    earlier = [
        ORDER.index(EARLIER[check.id]) - 0.5
        for check in cause.checks
        if check.verdict is Verdict.FAIL and check.id in EARLIER
    ]
    return min([*earlier, ORDER.index(cause.runbook) if cause.runbook in ORDER else len(ORDER)])


def waits_for(results: Sequence[CheckResult]) -> dict[str, str]:
    """Return the id of each skipped check → the id of the check at the root of that; empty where it does not apply here."""
    direct = {
        result.id: result.observed.removeprefix(WAITS_FOR) if result.observed.startswith(WAITS_FOR) else ""
        for result in results
        if result.verdict is Verdict.SKIPPED
    }
    roots = {}
    for id_ in direct:
        root, passed = direct[id_], {id_}
        while root in direct and direct[root] and root not in passed:
            passed.add(root)
            root = direct[root]
        roots[id_] = root
    return roots
