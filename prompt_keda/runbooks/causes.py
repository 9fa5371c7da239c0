"""From what the checks saw to the runbook that fits: a root cause before its consequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prompt_keda.core.check import CheckResult, Verdict

ORDER = (
    "cluster-unreachable",
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
    "jobs-at-risk",
    "no-room",
    "workers-fail",
    "image-moved",
    "keda-paused",
    "events-stop",
)
"""What stands earlier makes what stands later red as well: KEDA needs Redis, Redis needs nodes, all need the API server."""
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
        Their results, the worst first.
    """

    runbook: str
    worst: Verdict
    checks: tuple[CheckResult, ...]


def causes(results: Sequence[CheckResult]) -> list[Cause]:
    """Rank what may be at the root: seen broken first, then not seen and amber, each in the order in which things need another.

    A check that was skipped is a consequence of one that is not green, and counts for nothing here.
    """
    found: dict[str, list[CheckResult]] = {}
    for one in results:
        if one.verdict in SEVERITY:
            found.setdefault(one.runbook, []).append(one)
    ranked = []
    for runbook, checks in found.items():
        checks.sort(key=lambda one: SEVERITY.index(one.verdict))
        ranked.append(Cause(runbook, checks[0].verdict, tuple(checks)))
    return sorted(ranked, key=lambda one: (RANK[one.worst], _place(one.runbook)))


def _place(runbook: str) -> int:
    return ORDER.index(runbook) if runbook in ORDER else len(ORDER)
