"""Stage remove: what has to go before KEDA is installed. ScaledJobs, Jobs, namespaces and good certificates stay."""

from __future__ import annotations

from datetime import timedelta

from prompt_keda.clients.kube.objects import Object, is_going, some
from prompt_keda.clients.kube.resources import (
    API_SERVICES,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CRDS,
    DEPLOYMENTS,
    LEASES,
    NAMESPACES,
    PODS,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    VALIDATING_WEBHOOKS,
    Resource,
)
from prompt_keda.clients.kube.watch import Watch
from prompt_keda.components import finalizers
from prompt_keda.components.cluster import held_namespaces as namespaces
from prompt_keda.components.cluster.namespaces import why_terminating
from prompt_keda.components.keda.names import API_SERVICE
from prompt_keda.components.run import Context
from prompt_keda.core.decisions import Deletion
from prompt_keda.core.plan import Progress, State, Step
from prompt_keda.redeploy import held

OTHERS = (ROLES, ROLE_BINDINGS, CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS, SERVICES, SERVICE_ACCOUNTS, SECRETS)
"""What is removed only where it cannot be applied over; of Secrets the revisions of Helm releases that hang."""
KINDS: dict[str, Resource] = {
    kind.kind: kind for kind in (API_SERVICES, VALIDATING_WEBHOOKS, DEPLOYMENTS, PODS, LEASES, CRDS, *OTHERS)
}


def left(context: Context, *kinds: str) -> list[Deletion]:
    """Return what the plan removes of some kinds, and what is still there. Raises as `Kube.find` does."""
    return [deletion for deletion, _ in live_ones(context, *kinds)]


def live_ones(context: Context, *kinds: str) -> list[tuple[Deletion, Object]]:
    """Return what the plan removes of some kinds and is still there, each as it stands. Raises as `Kube.find` does."""
    kube, there = context.systems.kube, []
    for deletion in context.decisions.deletions:
        if deletion.kind in kinds:
            live = kube.find(KINDS[deletion.kind], deletion.name, deletion.namespace or None)
            if live is not None and live["metadata"]["uid"] == deletion.uid:
                there.append((deletion, live))
    return there


def deployments_to_come(context: Context) -> list[Object]:
    """Return those of KEDA's wanted Deployments of which new pods come: missing, or removed, or a pod of one is."""
    removed = {(deletion.kind, deletion.namespace, deletion.name) for deletion in context.decisions.deletions}
    loses_pods = any(kind == PODS.kind for kind, _, _ in removed)
    every = [wanted for wanted in context.keda_objects if wanted["kind"] == DEPLOYMENTS.kind]
    return [
        wanted
        for wanted in every
        if loses_pods
        or (DEPLOYMENTS.kind, context.namespace, wanted["metadata"]["name"]) in removed
        or context.find(wanted) is None
    ]


def obstacles(context: Context) -> list[str]:
    """Return what would hold up one of the plan's removals: nothing is removed while there is something."""
    every = live_ones(context, *KINDS)
    return [words for deletion, live in every for words in held.of_removal(context, KINDS[deletion.kind], live)]


def remove_all(context: Context, kind: str, propagation: str) -> None:
    """Remove what the plan removes of a kind, each with its UID as a precondition. Idempotent: yes."""
    for deletion in left(context, kind):
        context.systems.kube.delete(
            KINDS[kind], deletion.name, deletion.namespace or None, uid=deletion.uid, propagation=propagation
        )


def _inspect(context: Context, *kinds: str) -> Progress:
    there = live_ones(context, *kinds)
    if not there:
        return Progress(State.DONE)
    begun = any(is_going(live) for _, live in there)
    if not begun and (in_the_way := obstacles(context)):
        return Progress(State.BROKEN, f"nothing more is removed: {some(in_the_way, '; ')}")
    return Progress(State.WORKING, f"still there: {', '.join(_with_finalizers(*pair) for pair in there)}")


def _with_finalizers(deletion: Deletion, live: Object) -> str:
    names = finalizers.foreign(live)
    return f"{deletion.name}, held by {' and '.join(names)}" if names else deletion.name


def _removal(
    id_: str, title: str, kinds: tuple[Resource, ...], *, foreground: bool = False, watch: str = ""
) -> Step[Context]:
    """Return the step that removes what the plan removes of some kinds.

    Parameters
    ----------
    foreground
        They stay until what they own is gone.
    watch
        ``cluster`` or ``keda``: where a watch says that they are gone; empty: it is looked at each second.
    """
    names = tuple(kind.kind for kind in kinds)

    def act(context: Context) -> None:
        for name in names:
            remove_all(context, name, "Foreground" if foreground else "Background")

    def signal(context: Context) -> Watch:
        return Watch(context.systems.kube, [(kind, context.namespace if watch == "keda" else None) for kind in kinds])

    return Step(id_, title, lambda context: _inspect(context, *names), act, True, watch=signal if watch else None)


def namespaces_inspect(context: Context) -> Progress:
    """Is one of the namespaces being deleted, and why does it not go?"""
    wanted = {context.namespace, *(instrument.namespace for instrument in context.environment.instruments)}
    for name in sorted(wanted - namespaces.left(context).keys()):
        namespace = context.systems.kube.find(NAMESPACES, name)
        if namespace is not None and is_going(namespace):
            return Progress(State.WORKING, f"namespace {name} is Terminating: {why_terminating(namespace)[:200]}")
    return Progress(State.DONE)


def let_namespaces_go(context: Context) -> None:
    """Remove the metrics APIService if KEDA's namespace is Terminating: it would hold it up (F9). Idempotent: yes.

    What the plan saw of it was removed by the steps before. This one is there where somebody deletes the namespace after
    the install, and the run is resumed (seen in a chaos round). Its Service goes with the namespace; the install makes both again.
    """
    kube = context.systems.kube
    namespace, service = kube.find(NAMESPACES, context.namespace), kube.find(API_SERVICES, API_SERVICE)
    if namespace is None or "deletionTimestamp" not in namespace["metadata"] or service is None:
        return
    if (service["spec"].get("service") or {}).get("namespace") == context.namespace:
        kube.delete(API_SERVICES, API_SERVICE, uid=service["metadata"]["uid"])


STEPS: tuple[Step[Context], ...] = (
    _removal(
        "remove/api-service", "remove the metrics APIService, before what serves it", (API_SERVICES,), watch="cluster"
    ),
    # KEDA's operator owns its caBundle: where the certificates are new, applying another one over it would be a conflict.
    _removal("remove/webhooks", "remove the admission webhooks, before what serves them", (VALIDATING_WEBHOOKS,)),
    _removal(
        "remove/deployments",
        "remove KEDA's Deployments and their pods",
        (DEPLOYMENTS,),
        foreground=True,
        watch="keda",
    ),
    _removal("remove/idle-pods", "remove KEDA's pods that do not work", (PODS,), watch="keda"),
    # The new operator need not wait up to 17 s for the Lease of one that is gone.
    _removal("remove/operator-lease", "remove the old operator's Lease", (LEASES,)),
    _removal("remove/what-conflicts", "remove what cannot be applied over, and what holds Helm up", OTHERS),
)
NAMESPACES_GONE: Step[Context] = Step(
    "remove/terminating-namespaces",
    "wait until no namespace is Terminating",
    namespaces_inspect,
    let_namespaces_go,
    deadline=timedelta(seconds=120),
    watch=lambda context: Watch(context.systems.kube, [(NAMESPACES, None)]),
)
