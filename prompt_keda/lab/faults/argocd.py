"""Faults of delivery: Argo CD disagrees, syncs, is away, or was left suspended. For a stack with ``lab.up --with argocd``.

They are not among `ALL_FAULTS`, which each stack has; drills take them by their ids. None of them deletes a running Job.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import APPLICATIONS, JOBS, SCALED_JOBS, SERVICES
from prompt_keda.components.keda.names import OPERATOR
from prompt_keda.core.waiting import until
from prompt_keda.delivery.argocd import ENABLED_WAS, HOOK_FINALIZER, SUSPENDED_BY, is_busy, scaled_jobs_that_go
from prompt_keda.lab import argocd, phalanx, processes, state
from prompt_keda.lab.faults.fault import Fault, FaultAction, Stage
from prompt_keda.lab.faults.keda_parts import remove_operator, restore_operator, until_fresh, until_stale
from prompt_keda.lab.faults.signals import send

DEAD_RUN = "20260101t000000z-argocd-1"
WORKERS = argocd.APPLICATIONS[1]
CONTROLLER, REPO_SERVER = "argocd-application-controller", "argocd-repo-server"
VALUES = "applications/keda/values-local.yaml"
MOVED = "keda:\n  podLabels: {keda: {moved: 'on'}}\n"
NO_OPERATOR = "keda:\n  operator: {replicaCount: 0}\n"
LOOSE = "prompt-keda-lsstcam-loose"


def _patch(stage: Stage, name: str, body: Object) -> None:
    stage.kube.patch(APPLICATIONS, name, argocd.NAMESPACE, body)


def leave_suspended(stage: Stage) -> None:
    """Leave both Applications as a run does that dies before its last step."""
    annotations = {SUSPENDED_BY: DEAD_RUN, ENABLED_WAS: "null"}
    spec = {"syncPolicy": {"automated": {"enabled": False}}}
    for name in argocd.APPLICATIONS:
        _patch(stage, name, {"metadata": {"annotations": annotations}, "spec": spec})


def without_automation(stage: Stage) -> None:
    """Let nothing sync by itself, and bear no mark, as lab.up has made them."""
    annotations = {SUSPENDED_BY: None, ENABLED_WAS: None}
    for name in argocd.APPLICATIONS:
        _patch(stage, name, {"metadata": {"annotations": annotations}, "spec": {"syncPolicy": {"automated": None}}})


def track_otherwise(stage: Stage) -> None:
    """Make Argo CD look for annotations; it is not asked to look."""
    argocd.track(stage.lab, "annotation")


def track_as_before(stage: Stage) -> None:
    """Make it look for labels again."""
    argocd.track(stage.lab, argocd.LABEL)


def move_git_on(stage: Stage) -> None:
    """Commit another label for the operator's pods, which nobody has prepared or delivered."""
    _commit(stage, MOVED, "Label the operator's pods")


def move_git_back(stage: Stage) -> None:
    """Commit what was there before."""
    _commit(stage, (phalanx.FILES / VALUES).read_text(), "Put the values back")


def _commit(stage: Stage, values: str, message: str) -> None:
    """Commit other values of KEDA, and let Argo CD look."""
    folder = Path(state.endpoints(stage.lab)["phalanx"])
    (folder / VALUES).write_text(values)
    phalanx.commit(folder, message)
    argocd.refresh(stage.kube, "keda")


def let_self_heal_fight(stage: Stage) -> None:
    """Let git want no pod of the operator, and Argo CD heal whatever differs: who scales it up sees it go down again."""
    _patch(stage, "keda", {"spec": {"syncPolicy": {"automated": {"selfHeal": True}}}})
    _commit(stage, NO_OPERATOR, "Scale the operator down")
    until(lambda: not stage.keda_pods(OPERATOR), "no pod of the operator")
    until_stale(stage)


def let_self_heal_rest(stage: Stage) -> None:
    """Switch automatic sync off, let git want a pod again, and have one."""
    without_automation(stage)
    move_git_back(stage)
    operator = {"group": "apps", "kind": "Deployment", "name": OPERATOR}
    argocd.require(argocd.sync(stage.kube, "keda", [operator]))
    until_fresh(stage)
    argocd.refresh(stage.kube, "keda")


def stop_repo_server(stage: Stage) -> None:
    """Stop what reads git, and let Argo CD find that out."""
    processes.stop(stage.lab, REPO_SERVER)
    argocd.refresh(stage.kube, "keda", "hard")


def start_repo_server(stage: Stage) -> None:
    """Start it again, and let Argo CD look."""
    processes.start_again(stage.lab, REPO_SERVER)
    until(lambda: argocd.verdict(argocd.refresh(stage.kube, "keda", "hard"))[0] == "Synced", "keda Synced")


def begin_sync_that_waits(stage: Stage) -> None:
    """Ask for a sync while the controller is frozen: it is about to begin, and does not."""
    send(stage, CONTROLLER, signal.SIGSTOP)
    argocd.begin_sync(stage.kube, "keda", [{"group": "", "kind": "ServiceAccount", "name": "keda-operator"}])


def end_sync_that_waits(stage: Stage) -> None:
    """Take the question back, and let the controller go on."""
    _patch(stage, "keda", {"operation": None, "status": {"operationState": None}})
    send(stage, CONTROLLER, signal.SIGCONT)
    argocd.refresh(stage.kube, "keda")


def leave_a_state(stage: Stage) -> None:
    """Leave what is left where somebody takes the operation of a sync away that hangs: its state says that it runs."""
    sync: Object = {"sync": {"syncStrategy": {"hook": {}}}}
    message = "waiting for healthy state of apps/Deployment/keda-operator"
    state = {"phase": "Running", "startedAt": "2026-01-01T00:00:00Z", "message": message, "operation": sync}
    ended = {"finishedAt": None, "syncResult": None}
    _patch(stage, "keda", {"status": {"operationState": {**state, **ended}}})


def forget_the_state(stage: Stage) -> None:
    """Take the state away."""
    _patch(stage, "keda", {"status": {"operationState": None}})


def add_finalizer(stage: Stage) -> None:
    """Leave what a sync that was cut off leaves on its hook."""
    _finalizers(stage, lambda names: [*names, HOOK_FINALIZER])


def drop_finalizer(stage: Stage) -> None:
    """Take it away."""
    _finalizers(stage, lambda names: names)


def _finalizers(stage: Stage, change: Any) -> None:
    for instrument in stage.environment.instruments:
        name, namespace = instrument.scaled_job, instrument.namespace
        live = stage.kube.get(SCALED_JOBS, name, namespace)
        names = [finalizer for finalizer in live["metadata"].get("finalizers") or [] if finalizer != HOOK_FINALIZER]
        stage.kube.patch(SCALED_JOBS, name, namespace, {"metadata": {"finalizers": change(names) or None}})


def block_the_next_sync(stage: Stage) -> None:
    """Make the operator's Service as somebody else, its port under the same name and another number.

    Argo CD's next sync adds the port that it wants, and the API server takes no two of one name.
    """
    name, namespace = "keda-operator", stage.environment.keda.namespace
    live = stage.kube.get(SERVICES, name, namespace)
    ports = [{"name": port["name"], "port": port["port"] + 1} for port in live["spec"]["ports"]]
    wanted = {**SERVICES.head, "metadata": {"name": name, "namespace": namespace}}
    stage.kube.delete(SERVICES, name, namespace)
    stage.kube.apply(
        {**wanted, "spec": {"ports": ports, "selector": live["spec"]["selector"]}}, field_manager="somebody"
    )
    argocd.refresh(stage.kube, "keda")


def unblock(stage: Stage) -> None:
    """Remove it, and let Argo CD make its own again."""
    stage.kube.delete(SERVICES, "keda-operator", stage.environment.keda.namespace)
    service = {"group": "", "kind": "Service", "name": "keda-operator"}
    argocd.require(argocd.sync(stage.kube, "keda", [service]))
    argocd.refresh(stage.kube, "keda")


def leave_a_loose_job(stage: Stage) -> None:
    """Make a Job without an owner that bears the tracking mark, as one that was orphaned with its marks."""
    instrument = stage.environment.instruments[0]
    live = stage.kube.get(SCALED_JOBS, instrument.scaled_job, instrument.namespace)
    labels = {argocd.LABEL_KEY: WORKERS}
    pod = {**live["spec"]["jobTargetRef"]["template"]["spec"], "restartPolicy": "Never"}
    body = {
        "metadata": {"name": LOOSE, "namespace": instrument.namespace, "labels": labels},
        "spec": {"suspend": True, "template": {"spec": pod}},
    }
    if stage.kube.find(JOBS, LOOSE, instrument.namespace) is None:
        stage.kube.create(JOBS, body, instrument.namespace)
    argocd.refresh(stage.kube, WORKERS)


def remove_the_loose_job(stage: Stage) -> None:
    """Remove it."""
    stage.kube.delete(JOBS, LOOSE, stage.environment.instruments[0].namespace)
    argocd.refresh(stage.kube, WORKERS)


def delete_application(stage: Stage) -> None:
    """Delete the Application keda without what it has delivered."""
    live = stage.kube.find(APPLICATIONS, "keda", argocd.NAMESPACE)
    if live is not None:
        _patch(stage, "keda", {"metadata": {"finalizers": None}})
        stage.kube.delete(APPLICATIONS, "keda", argocd.NAMESPACE)


def make_application_again(stage: Stage) -> None:
    """Let the app of apps make it, and Argo CD look at what stands."""
    if stage.kube.find(APPLICATIONS, "keda", argocd.NAMESPACE) is None:
        argocd.require(argocd.sync(stage.kube, argocd.PARENT))
    until(lambda: argocd.verdict(argocd.refresh(stage.kube, "keda"))[0] == "Synced", "keda Synced")


def sync_without_an_operator(stage: Stage) -> None:
    """Let a full sync delete the ScaledJob while nobody takes KEDA's finalizer from it: the sync waits.

    In the background, as an Application may ask for: else the garbage collector deletes the running Jobs first, at once.
    """
    remove_operator(stage)
    argocd.begin_sync(stage.kube, WORKERS, syncOptions=["PrunePropagationPolicy=background"])
    until(lambda: scaled_jobs_that_go(stage.kube, stage.environment, WORKERS), "the ScaledJob being deleted")


def let_the_sync_go_on(stage: Stage) -> None:
    """Bring the operator back, which lets the ScaledJob go; its running Jobs go too, unless somebody has orphaned them."""
    restore_operator(stage)
    until(lambda: not is_busy(stage.kube.get(APPLICATIONS, WORKERS, argocd.NAMESPACE)), "the end of the sync")
    for name in argocd.APPLICATIONS:
        argocd.refresh(stage.kube, name)


def _disagrees(
    id_: str, title: str, inject: FaultAction, revert: FaultAction, expected_checks: dict[str, str], message: str
) -> Fault:
    page = "argocd-disagrees"
    return Fault(
        f"argocd/{id_}", "", title, inject, revert, expected_checks, message, runbook=page, needs=frozenset({"argocd"})
    )


AGREES = "argocd/agrees"
FAULTS: tuple[Fault, ...] = (
    _disagrees(
        "suspended-by-a-dead-run",
        "A run has died, and automatic sync is still suspended",
        leave_suspended,
        without_automation,
        {"argocd/automation-as-meant": "warn"},
        "is suspended by run",
    ),
    _disagrees(
        "tracking-changed",
        "Argo CD looks for other marks than the environment says",
        track_otherwise,
        track_as_before,
        {"argocd/tracking-right": "fail"},
        "argocd-cm says annotation",
    ),
    _disagrees(
        "git-has-moved-on",
        "Git has another KEDA than stands",
        move_git_on,
        move_git_back,
        {AGREES: "warn"},
        "keda is OutOfSync: Deployment/keda/keda-operator",
    ),
    _disagrees(
        "repo-server-away",
        "Argo CD cannot read git",
        stop_repo_server,
        start_repo_server,
        {AGREES: "warn"},
        "it cannot compare",
    ),
    _disagrees(
        "sync-that-waits",
        "A sync was asked for, and does not begin",
        begin_sync_that_waits,
        end_sync_that_waits,
        {"argocd/no-sync-runs": "warn"},
        "a sync of keda runs",
    ),
    _disagrees(
        "state-left",
        "The state of a sync says that it runs, and nobody runs it",
        leave_a_state,
        forget_the_state,
        {"argocd/no-sync-runs": "warn"},
        "and nobody runs it",
    ),
    _disagrees(
        "finalizer-left",
        "A sync that was cut off has left its finalizer on a ScaledJob",
        add_finalizer,
        drop_finalizer,
        {"argocd/no-finalizer-left": "warn"},
        "argocd.argoproj.io/hook-finalizer is on",
    ),
    _disagrees(
        "others-have-applied",
        "Somebody has applied a Service of KEDA's with another port",
        block_the_next_sync,
        unblock,
        {AGREES: "warn"},
        "keda is OutOfSync: Service/keda/keda-operator",
    ),
    _disagrees(
        "job-would-be-pruned",
        "A Job without an owner bears the tracking mark",
        leave_a_loose_job,
        remove_the_loose_job,
        {AGREES: "warn"},
        f"OutOfSync: Job/{WORKERS}/{LOOSE}",
    ),
    Fault(
        "argocd/self-heal-fights",
        "",
        "Git wants no operator, and self-heal takes away whoever brings it back",
        let_self_heal_fight,
        let_self_heal_rest,
        {"keda/lease-fresh": "fail", "keda/parts-ready": "fail"},
        "every status of KEDA is stale",
        stops_scaling=True,
        needs=frozenset({"argocd"}),
    ),
    Fault(
        "argocd/full-sync-without-operator",
        "",
        "A full sync has deleted a ScaledJob, and KEDA's operator is away",
        sync_without_an_operator,
        let_the_sync_go_on,
        {
            "keda/finalizers-not-stuck": "fail",
            "keda/lease-fresh": "fail",
            "keda/parts-ready": "fail",
            "argocd/no-sync-runs": "fail",
        },
        "is being deleted since",
        stops_scaling=True,
        needs=frozenset({"argocd"}),
    ),
    _disagrees(
        "application-deleted",
        "The Application keda was deleted",
        delete_application,
        make_application_again,
        {"argocd/applications-present": "warn"},
        "missing: keda",
    ),
)
