"""From what the checks saw to the runbook that fits: a root cause before its consequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prompt_keda.model.check import CheckResult, Verdict

ORDER = (
    "cluster-unreachable",
    "wrong-cluster",
    "not-allowed",
    "namespace-stuck",
    "cluster-nodes",
    "vault-sealed",
    "secrets-missing",
    "redis-gone",
    "redis-empty",
    "image-not-pulled",
    "certificates-wrong",
    "two-kedas",
    "keda-gone",
    "scaled-job-wrong",
    "keda-does-not-scale",
    "keda-paused",
    "redis-lag-wrong",
    "jobs-at-risk",
    "workers-fail",
    "redis-at-its-limit",
    "no-room",
)
"""What stands earlier makes what stands later red as well: KEDA needs Redis, Redis needs nodes, all need the API server."""
SEVERITY = (Verdict.FAIL, Verdict.UNKNOWN, Verdict.WARN)


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
    """Rank what may be at the root: seen broken before not seen before amber, each in the order in which things need another.

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
    return sorted(ranked, key=lambda one: (SEVERITY.index(one.worst), _place(one.runbook)))


def _place(runbook: str) -> int:
    return ORDER.index(runbook) if runbook in ORDER else len(ORDER)
