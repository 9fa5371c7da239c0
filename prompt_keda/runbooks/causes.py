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
SYMPTOM = "scaling/works"
"""Says that events do not become work, whatever the cause. Where another check names a cause, this is its consequence."""
NO_CAUSE_OF_IT = ("wrong-cluster", "not-allowed", "jobs-at-risk", "image-moved", "events-stop", "redis-full")
"""Runbooks of what may be red or amber beside it, and leaves scaling alone."""
AMBER_CAUSES = ("cluster-degraded", "keda-does-not-scale", "redis-lag-wrong", "no-room", "workers-fail", "keda-paused")
"""Runbooks whose checks are amber, and no more, where scaling stands still because of them."""
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

    A check that was skipped is a consequence of one that is not green, and counts for nothing here. `SYMPTOM` is ranked
    behind the causes that explain it, and is the root where nothing does.
    """
    ranked = _ranked(results)
    symptom = next((cause for cause in ranked if [one.id for one in cause.checks] == [SYMPTOM]), None)
    if symptom is None:
        return ranked
    others = [cause for cause in ranked if cause is not symptom]
    explaining = [cause for cause in others if _explains(cause)]
    return [*explaining, symptom, *(cause for cause in others if cause not in explaining)]


def _explains(cause: Cause) -> bool:
    """Tell whether events may wait for this reason."""
    if cause.worst is Verdict.WARN:
        return cause.runbook in AMBER_CAUSES
    return cause.runbook not in NO_CAUSE_OF_IT


def _ranked(results: Sequence[CheckResult]) -> list[Cause]:
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
