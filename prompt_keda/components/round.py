"""A round of checks: which ones, and running them with a deadline for all together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import timedelta

from prompt_keda.clients.systems import Systems
from prompt_keda.components.cluster.vcluster import without_verdict_on_rights
from prompt_keda.core.check import Check, CheckResult
from prompt_keda.core.deadline import in_time
from prompt_keda.core.errors import PromptKedaError, Refusal
from prompt_keda.core.event import Observer, nobody
from prompt_keda.core.run_checks import run_checks
from prompt_keda.core.selection import starts_of_ids

DEEP = timedelta(seconds=60)
"""A pod has to be made, to pull its image and to run."""
LOGIN = "cluster/api-answers"
"""The check for which this machine logs in to Kubernetes."""
Observe = Callable[[Sequence[str]], AbstractContextManager[Observer]]
"""Takes the ids of a round, and returns what observes it, as a context that ends with the round."""


def unobserved(ids: Sequence[str]) -> AbstractContextManager[Observer]:
    """Return an observer that shows nothing of a round."""
    return nullcontext(nobody)


def choose(only: str = "", skip: str = "", deep: bool = False) -> list[Check[Systems]]:
    """Return the checks that are asked for, in their order; in a vCluster a right that lacks is UNKNOWN by them.

    Parameters
    ----------
    only, skip
        The start of an id, such as ``redis`` or ``redis/answers``; several with commas; empty: all, and none.
    deep
        Also what needs rights of its own: dry runs, reviews of KEDA's accounts, and a canary pod, which is deleted again.

    Raises
    ------
    Refusal
        When a part of ``only`` or ``skip`` fits no check, or both together leave none.
    """
    from prompt_keda.components.catalogue import ALL_CHECKS

    offered = [check for check in ALL_CHECKS if deep or not check.deep]
    fix = "Ids look like redis/answers, deep/… need --deep: docs/checks.md."
    wanted = starts_of_ids(only, (check.id for check in offered), "check", fix)
    unwanted = starts_of_ids(skip, (check.id for check in ALL_CHECKS), "check", fix)
    chosen = [check for check in offered if not wanted or check.id.startswith(wanted)]
    chosen = [check for check in chosen if not unwanted or not check.id.startswith(unwanted)]
    if not chosen:
        raise Refusal("--skip leaves no check of --only", "Ids look like redis/answers; see docs/checks.md.")
    return [without_verdict_on_rights(check) for check in chosen]


def run_round(
    systems: Systems, checks: Sequence[Check[Systems]], observe: Observe = unobserved, timeout_s: float | None = None
) -> list[CheckResult]:
    """Run checks side by side.

    Parameters
    ----------
    timeout_s
        For all checks together, in seconds; None: as the environment says, and `DEEP` more if one of them is deep.
    """
    limit = systems.environment.limits.checks + DEEP * any(check.deep for check in checks)
    overall = timedelta(seconds=timeout_s) if timeout_s else limit
    if observe is not unobserved and any(check.id == LOGIN for check in checks):
        # before anything is drawn: a kubeconfig's exec plugin writes on the terminal itself, and would tear a live table;
        # what fails here is reported by the checks
        with suppress(PromptKedaError):
            in_time(lambda: systems.kube, min(systems.environment.limits.connect, overall), "the login")
    with observe([check.id for check in checks]) as observer:
        return run_checks(checks, systems, observer, overall)


def summaries(results: Sequence[CheckResult]) -> list[dict[str, str]]:
    """Return what an incident's record and a support bundle keep of each result."""
    return [
        {"id": result.id, "verdict": result.verdict.value, "observed": result.observed, "runbook": result.runbook}
        for result in results
    ]
