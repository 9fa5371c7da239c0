"""A vCluster: is this cluster one, and what in it is only a stand-in, which shows nothing of its host?

A vCluster's API server is real. Its nodes and volumes are made up by its syncer, which makes the pods on a host cluster: room,
quota and admission are the host's, and cannot be seen from inside. What the syncer cannot make, it says in an Event SyncError.
"""

from __future__ import annotations

import statistics
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from prompt_keda.clients.kube.errors import SYSTEM
from prompt_keda.clients.kube.in_vcluster import HOST_RIGHT, NO_RIGHT, OWNERS, SKIP_BACKSYNC, is_forbidden
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import NODES, PODS, SCALED_JOBS
from prompt_keda.clients.systems import Systems
from prompt_keda.components.cluster.clock import age
from prompt_keda.core.check import Check, Outcome, Verdict, check
from prompt_keda.core.errors import BadAnswer, PromptKedaError, Refused
from prompt_keda.core.outcomes import all_of, ok, skipped, unknown, warn
from prompt_keda.environment.model import Instrument

FAKE_NODE = "vcluster.loft.sh/fake-node"
"""The label of a node that a syncer has made up: 16 CPUs, 32 Gi, Ready, no Lease, no images, whatever its host has."""
MANAGED = "vcluster.loft.sh/managed-by"
"""The label of what a syncer has made on its host; its value is the vCluster's name."""
UID, NAMESPACE = (f"vcluster.loft.sh/object-{key}" for key in ("uid", "namespace"))
"""The annotations by which an object on the host names the one inside."""
KEPT = "is a vCluster"
SYNC_ERROR = "SyncError"
"""The reason of the Event by which a syncer says why it cannot make an object on its host."""
HEADER = "in a vCluster: its nodes, room, quota and volumes are stand-ins"
FORBIDDEN = ("403 on ", "403: ")
"""How an API server's 403 stands in what a check has observed of several things."""
SYNC_FIXES = (
    ("quota", f"{OWNERS} for more: the quota of the vCluster's namespace on its host is used up."),
    ("denied", f"{OWNERS}: the host's admission refuses such pods."),
    ("admission", f"{OWNERS}: the host's admission refuses such pods."),
    ("forbidden", f"{OWNERS}: the host refuses such pods, or its syncer lacks a right there."),
)
"""A part of what a SyncError says, in small letters → what to do about it; the first that fits."""
LATELY, NEWEST = timedelta(minutes=10), 10
"""Of so many pods the median is taken, each started no longer ago: those of before would hide that it is slow now."""
SLOW = timedelta(seconds=10)
"""A syncer may send 40 requests a second, and needs 2.2 for a pod: the median pod of a burst of 172 waits for 5 s."""


def is_stated(systems: Systems) -> bool:
    """Return whether the environment says that its cluster is a vCluster."""
    return systems.environment.capacity.syncer is not None


def is_made_up(node: Object) -> bool:
    """Return whether a syncer has made a node up."""
    return (node["metadata"].get("labels") or {}).get(FAKE_NODE) == "true"


def in_a_vcluster(systems: Systems) -> bool:
    """Return whether the cluster is a vCluster: the environment says so, or a node is made up. Raises as `Kube.list` does."""
    return is_stated(systems) or _shows_made_up_nodes(systems)


def _shows_made_up_nodes(systems: Systems) -> bool:
    return systems.keep(KEPT, lambda: any(map(is_made_up, systems.kube.list(NODES))))


def header(systems: Systems, may_ask: bool) -> str:
    """Return what a command's header says of a vCluster; empty: it is none, or that is not known.

    Parameters
    ----------
    may_ask
        Whether the cluster may be asked; else what was seen before counts.
    """
    with suppress(PromptKedaError):
        is_one = in_a_vcluster(systems) if may_ask else systems.kept(KEPT)
        return HEADER if is_one or is_stated(systems) else ""
    return ""


@check(
    "cluster/vcluster-named",
    "The environment names a vCluster where it is one",
    needs=("cluster/api-answers",),
    runbook="vcluster",
)
def vcluster_named(systems: Systems) -> Outcome:
    """Compare `capacity.syncer` of the environment with the label vcluster.loft.sh/fake-node of the nodes.

    Cause: WARN: the nodes are made up by a vCluster's syncer, and the environment does not name it. What they show is no
    room; all that only the host knows is UNKNOWN or SKIPPED.

    Fix: Set `capacity.syncer`, and `capacity.host_workers_count` as the vCluster's owners say.
    """
    made_up = _shows_made_up_nodes(systems)
    if is_stated(systems):
        return ok("as the environment says; its nodes are " + ("made up" if made_up else "not marked as made up"))
    if not made_up:
        return ok("no vCluster: no node is made up, and the environment names none")
    fix = "In the environment: capacity.syncer {qps: 40, burst: 80}, and capacity.host_workers_count as its owners say."
    return warn("this is a vCluster, and the environment does not name its syncer", fix)


@check(
    "cluster/workers-outlive-the-store",
    "Workers outlive a vCluster's store",
    needs=("cluster/api-answers",),
    runbook="vcluster",
)
def workers_outlive_the_store(systems: Systems) -> Outcome:
    """Is vcluster.loft.sh/skip-backsync on the pod template of each live ScaledJob as the environment says?

    A syncer that starts on a store that was lost deletes all pods on its host that it does not find there, running workers
    too, but for those with this annotation. Its price: they run on unseen beside new ones, and one that hangs is deleted on the
    host alone.

    Cause: WARN: nobody has decided, or a ScaledJob is not as it was decided.

    Fix: Set `skip_backsync` of the instrument; a redeploy puts it on the ScaledJobs that it applies.
    """
    if not in_a_vcluster(systems):
        return ok("no vCluster: its store is not lost by itself")
    instruments = ((instrument.name, instrument) for instrument in systems.environment.instruments)
    return all_of(instruments, lambda instrument: _outlives(systems, instrument))


def _outlives(systems: Systems, instrument: Instrument) -> Outcome:
    live = systems.kube.find(SCALED_JOBS, instrument.scaled_job, instrument.namespace)
    if live is None:
        return skipped(f"{instrument.scaled_job} is missing")
    template = (live["spec"].get("jobTargetRef") or {}).get("template") or {}
    is_marked = ((template.get("metadata") or {}).get("annotations") or {}).get(SKIP_BACKSYNC) == "true"
    if is_marked or instrument.skip_backsync is False:
        return ok(f"{instrument.scaled_job}: {'marked' if is_marked else 'not wanted'}")
    if instrument.skip_backsync:
        fix = f"./run redeploy applies it to a manifest of its own; else put {SKIP_BACKSYNC} where the ScaledJob comes from."
        return warn(f"{instrument.scaled_job}: its workers would go with the store, and that is not wanted", fix)
    observed = f"{instrument.scaled_job}: its workers would go with the store, and nobody has decided that"
    return warn(
        observed, "Decide: skip_backsync of the instrument, true or false. runbooks/vcluster.md says what true costs."
    )


@check(
    "cluster/pods-synced-in-time",
    "A vCluster's pods start on its host in time",
    needs=("cluster/api-answers",),
    runbook="vcluster",
)
def pods_synced_in_time(systems: Systems) -> Outcome:
    """Take the time from a pod's creation inside to its start by a kubelet of the host, for the ten newest pods that were
    started in the last ten minutes. In between are the syncer, the host's API server and its scheduler.

    Cause: WARN: the median is more than ten seconds. The syncer is behind, the host's API server or its admission is slow, or
    pods wait for room there. cluster/pods-start reports pods that are not started at all.

    Fix: The vCluster's owners see on the host which of them it is.
    """
    if not in_a_vcluster(systems):
        return ok("no vCluster: no syncer is in between")
    starts = [start for pod in systems.kube.each(PODS) if (start := _start_lately(systems, pod)) is not None]
    spans = [(started - made).total_seconds() for started, made in sorted(starts)[-NEWEST:]]
    if not spans:
        return ok(f"no pod was started in the last {LATELY.seconds // 60} minutes")
    median = statistics.median(spans)
    observed = f"{len(spans)} pods started on the host, the median {median:.0f} s after it was made inside"
    if median > SLOW.total_seconds():
        return warn(observed, f"{OWNERS}: its syncer, or the host's API server, admission or scheduler is slow.")
    return ok(observed)


def _start_lately(systems: Systems, pod: Object) -> tuple[datetime, datetime] | None:
    """Return when a pod was started, and when it was made; None: it was not started, or not lately."""
    started = (pod.get("status") or {}).get("startTime")
    if not started or age(systems, started) > LATELY:
        return None
    return datetime.fromisoformat(started), datetime.fromisoformat(pod["metadata"]["creationTimestamp"])


def only_inside(outcome: Outcome, unseen: str) -> Outcome:
    """Return what was seen of a stand-in as it counts: never OK, and never FAIL for what it does not show.

    Parameters
    ----------
    unseen
        What was not looked at, as a part of a sentence.
    """
    observed = f"{outcome.observed}; {unseen}"
    if outcome.verdict is Verdict.OK:
        return skipped(observed)
    return replace(outcome, verdict=Verdict.UNKNOWN, observed=observed)


def sync_fix(words: str) -> str:
    """Return what to do about the words of a SyncError."""
    fixes = (fix for part, fix in SYNC_FIXES if part in words.lower())
    return next(fixes, f"{OWNERS}: its syncer cannot make this on its host.")


def without_verdict_on_rights(checked: Check[Systems]) -> Check[Systems]:
    """Return a check by which a right that lacks is UNKNOWN, where the environment names a vCluster.

    A 403 can mean rights that went with a lost store, or rights that nobody gave: what may not be looked at is not
    seen. The checks of category identity name missing rights.
    """

    def run(systems: Systems) -> Outcome:
        if not is_stated(systems) or checked.category == "identity":
            return checked.run(systems)
        try:
            outcome = checked.run(systems)
        except Refused as error:
            if error.system != SYSTEM or not is_forbidden(error):
                raise
            fix = error.fix if error.fix == HOST_RIGHT else NO_RIGHT
            raise BadAnswer(SYSTEM, error.endpoint, error.detail, fix) from error
        if outcome.verdict is Verdict.FAIL and any(words in outcome.observed for words in FORBIDDEN):
            return unknown(outcome.observed, NO_RIGHT)
        return outcome

    run.__doc__ = checked.run.__doc__
    return replace(checked, run=run)
