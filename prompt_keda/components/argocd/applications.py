"""The Applications of Argo CD that deliver KEDA and the ScaledJobs: read alone, and as Argo CD last wrote them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from prompt_keda.clients.kube.objects import Object, is_going, some
from prompt_keda.clients.kube.resources import APPLICATIONS, CONFIG_MAPS, SCALED_JOBS
from prompt_keda.clients.systems import Systems
from prompt_keda.components.cluster.clock import age, server_now
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.outcomes import all_of, fail, ok, skipped, warn
from prompt_keda.delivery.argocd import (
    CONFIG,
    HOOK_FINALIZER,
    application_names,
    is_busy,
    is_left,
    out_of_sync,
    scaled_jobs_that_go,
    suspended_by,
    sync_status,
    syncs_by_itself,
    tracked_otherwise,
    tracking,
    trouble_of,
)

LONG = timedelta(minutes=30)
"""A sync that takes longer waits for something that does not come."""
OLD_LOOK = timedelta(minutes=30)
"""Argo CD compares every three minutes by default (timeout.reconciliation)."""
FORGET = "Take the state away: runbooks/argocd-disagrees.md has the command. A redeploy does not wait for it."
ELSEWHERE = "Argo CD does not deliver here"


def of_every_application(systems: Systems, look: Callable[[str, Object], Outcome], good: str) -> Outcome:
    """Look at each Application that stands; one that is missing is argocd/applications-present's."""
    if systems.environment.argocd is None:
        return skipped(ELSEWHERE)
    namespace = systems.environment.argocd.namespace

    def look_at(name: str) -> Outcome:
        live = systems.kube.find(APPLICATIONS, name, namespace)
        return ok(f"{name} is missing") if live is None else look(name, live)

    return all_of(((name, name) for name in application_names(systems.environment)), look_at, good)


@check(
    "argocd/applications-present",
    "Every Application that delivers KEDA and a ScaledJob is there",
    needs=("cluster/api-answers",),
    runbook="argocd-disagrees",
)
def applications_present(systems: Systems) -> Outcome:
    """Read each Application by its name. SKIPPED where Argo CD does not deliver.

    Cause: WARN: it was deleted, or Argo CD is not installed (yet). What it has delivered may stand all the same; a redeploy
    does not need it.

    Fix: Sync the parent Application in Argo CD's user interface, that one alone; or wait for `phalanx environment install`.
    """
    if systems.environment.argocd is None:
        return skipped(ELSEWHERE)
    namespace, names = systems.environment.argocd.namespace, application_names(systems.environment)
    by_name = {name: systems.kube.find(APPLICATIONS, name, namespace) for name in names}
    missing = [name for name, live in by_name.items() if live is None]
    going = [name for name, live in by_name.items() if live is not None and is_going(live)]
    if going:
        return fail(
            f"being deleted: {some(going)}: Argo CD deletes what it has delivered, but for CRDs",
            "Ask who deletes it to stop; ./run redeploy brings back what went, with or without the Application.",
        )
    if missing:
        return warn(
            f"missing: {some(missing)}", "Sync the parent Application, that one alone; a redeploy does not need it."
        )
    return ok(f"{len(names)} in namespace {namespace}")


@check(
    "argocd/no-sync-runs",
    "No sync runs that could delete Jobs",
    needs=("cluster/api-answers",),
    runbook="argocd-disagrees",
)
def no_sync_runs(systems: Systems) -> Outcome:
    """Read each Application's operation. A full sync of an Application whose ScaledJob is a hook deletes that, and all of its
    running Jobs. SKIPPED where Argo CD does not deliver.

    Cause: WARN: somebody has begun a sync, or it was begun for a new commit. FAIL: it has run for half an hour, and waits
    for something; or it has deleted a ScaledJob, and waits for KEDA's operator to let that go. "Nobody runs it": somebody
    has taken the operation away by hand, and left its state.

    Fix: Wait until it ends; a redeploy waits by itself. It does not wait for one that has deleted a ScaledJob: it orphans
    the running Jobs, and lets the ScaledJob go; the sync recreates it. Do not press Terminate while a sync waits for a
    ScaledJob: that deletes it.
    """

    def look(name: str, live: Object) -> Outcome:
        if not is_busy(live):
            return ok(name)
        state = (live.get("status") or {}).get("operationState") or {}
        message = " ".join(str(state.get("message") or "it has just begun").split())[:200]
        began = state.get("startedAt")
        if is_left(live, server_now(systems)):
            return warn(f"the state of a sync of {name} was left: it runs since {began}, and nobody runs it", FORGET)
        if going := scaled_jobs_that_go(systems.kube, systems.environment, name):
            return fail(
                f"a sync of {name} has deleted ScaledJob {some(going)}: it goes once KEDA's operator is back, with all Jobs of it",
                "Start no operator by hand: ./run redeploy orphans the Jobs that still run, and lets it go.",
            )
        if began and state.get("phase") in ("Running", "Terminating") and age(systems, str(began)) > LONG:
            fix = "docs/by-hand.md says what waits, and what is safe. Terminate deletes a ScaledJob that it waits for."
            return fail(f"a sync of {name} has run since {began}: {message}", fix)
        return warn(f"a sync of {name} runs: {message}", "Wait until it ends; a redeploy waits by itself.")

    return of_every_application(systems, look, "none runs")


@check(
    "argocd/automation-as-meant",
    "No redeploy has left automatic sync suspended",
    needs=("cluster/api-answers",),
    runbook="argocd-disagrees",
)
def automation_as_meant(systems: Systems) -> Outcome:
    """Read whether each Application syncs by itself, and which run has suspended that. SKIPPED where Argo CD does not deliver.

    Cause: A redeploy runs right now, or one has ended before its last step.

    Fix: `./run resume` goes on with it, and puts automatic sync back as it was.
    """

    def look(name: str, live: Object) -> Outcome:
        if run_id := suspended_by(live):
            return warn(
                f"{name} is suspended by run {run_id}", f"If it does not run any more: ./run resume --run {run_id}"
            )
        return ok(f"{name} syncs {'by itself' if syncs_by_itself(live) else 'when somebody asks for it'}")

    return of_every_application(systems, look, "")


@check(
    "argocd/tracking-right",
    "Argo CD knows its objects by the marks that the environment says",
    needs=("cluster/api-answers",),
    runbook="argocd-disagrees",
)
def tracking_right(systems: Systems) -> Outcome:
    """Compare `argocd.tracking` and `argocd.label_key` with the ConfigMap `argocd-cm`. SKIPPED where Argo CD does not deliver.

    Cause: Argo CD was configured to track in another way, or the environment file is wrong. A redeploy would apply KEDA without
    the marks that Argo CD looks for: it would say OutOfSync, and its next sync would touch every object.

    Fix: Correct the environment; the result says what `argocd-cm` has. UNKNOWN: it cannot be read.
    """
    settings = systems.environment.argocd
    if settings is None:
        return skipped(ELSEWHERE)
    config = systems.kube.find(CONFIG_MAPS, CONFIG, settings.namespace)
    if config is None:
        return warn(f"there is no ConfigMap {settings.namespace}/{CONFIG}: the environment is taken at its word")
    wrong = tracked_otherwise(config, settings)
    if wrong:
        return fail("; ".join(wrong), "Correct the environment, and redeploy nothing before that.")
    method, key = tracking(config)
    return ok(method + (f", {key}" if "label" in method else ""))


@check(
    "argocd/agrees",
    "Argo CD finds what it wants",
    needs=("cluster/api-answers",),
    runbook="argocd-disagrees",
)
def agrees(systems: Systems) -> Outcome:
    """Read each Application's sync status, and how old Argo CD's look is: it is never asked for a new one here. SKIPPED
    where Argo CD does not deliver.

    Cause: WARN: git has moved on, somebody has changed something by hand, Argo CD cannot read git, or its controller does
    not look any more. The last sync may have failed, and says why.

    Fix: The result names the objects. `./run redeploy` applies what was prepared; `./run prepare` renders what git has now.
    """

    def look(name: str, live: Object) -> Outcome:
        if trouble := trouble_of(live):
            return warn(
                f"{name}: it cannot compare: {trouble}", "Its repo-server, or the way to git. A redeploy needs neither."
            )
        state = (live.get("status") or {}).get("operationState") or {}
        if state.get("phase") in ("Failed", "Error"):
            message = " ".join(str(state.get("message", "")).split())[:300]
            return warn(
                f"{name}: its last sync has failed: {message}", "./run redeploy applies what it wants, as it would."
            )
        if differing := out_of_sync(live):
            fix = "./run redeploy makes it what was prepared; ./run prepare renders what git has now."
            return warn(f"{name} is OutOfSync: {some(differing)}", fix)
        looked = (live.get("status") or {}).get("reconciledAt")
        if not looked:
            return warn(f"{name}: Argo CD has never looked at it", "Is its application controller at work?")
        if age(systems, str(looked)) > OLD_LOOK:
            return warn(f"{name}: Argo CD looked last at {looked}", "Is its application controller at work?")
        return ok(f"{name} {sync_status(live)}, seen {age(systems, str(looked)).total_seconds():.0f} s ago")

    return of_every_application(systems, look, "")


@check(
    "argocd/no-finalizer-left",
    "Argo CD has left no finalizer on a ScaledJob",
    needs=("cluster/api-answers", "keda/scaled-jobs-present"),
    runbook="argocd-disagrees",
)
def no_finalizer_left(systems: Systems) -> Outcome:
    """Read the finalizers of each ScaledJob. Argo CD puts one on its hooks while a sync runs. SKIPPED where it does not
    deliver.

    Cause: WARN: a sync was cut off, and has left it ([argo-cd#29464](https://github.com/argoproj/argo-cd/issues/29464)).
    Once the ScaledJob is deleted it hangs.

    Fix: Begin no deletion. Once no sync runs: `kubectl -n NAMESPACE edit scaledjob NAME`, and take that finalizer out.
    """
    if systems.environment.argocd is None:
        return skipped(ELSEWHERE)
    held = []
    for instrument in systems.environment.instruments:
        live = systems.kube.find(SCALED_JOBS, instrument.scaled_job, instrument.namespace)
        if live is not None and HOOK_FINALIZER in (live["metadata"].get("finalizers") or []):
            held.append(f"{instrument.namespace}/{instrument.scaled_job}")
    if held:
        return warn(f"{HOOK_FINALIZER} is on {some(held)}", "Once no sync runs, take it out: kubectl edit scaledjob.")
    return ok("none")
