"""The first step: sees, before anything is removed, that what comes after it can be done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

from prompt_keda.clients.kube.access_reviews import missing_rights
from prompt_keda.clients.kube.objects import Object, is_going, some
from prompt_keda.clients.kube.resources import CRDS, NAMESPACES
from prompt_keda.clients.registry import parse_image
from prompt_keda.components.cluster import vcluster
from prompt_keda.components.event_source.choice import event_source
from prompt_keda.components.identity.redeploy_rights import copy_rights, redeploy_rights
from prompt_keda.components.keda import install
from prompt_keda.components.run import Context
from prompt_keda.components.scaled_jobs import running_jobs
from prompt_keda.core.errors import BadAnswer, ClientError, ErrorReply, Missing, Refused, Unreachable, Untrusted
from prompt_keda.core.plan import Progress, State, Step
from prompt_keda.core.rights import named
from prompt_keda.environment.model import Instrument, SecretSync
from prompt_keda.redeploy import dry_runs, held, quota_room, remove


def inspect(context: Context) -> Progress:
    """Can all be read, written and pulled that a redeploy needs, and is nothing being deleted that it keeps?

    Objects are tried by server-side dry runs, the rights of all steps by access reviews, Redis by commands that change
    nothing; nothing is changed. An image is looked up
    only where its registry can be reached from here: that it cannot says nothing of the nodes.

    Raises
    ------
    ClientError
        When the API server or Vault does not answer: it could not tell.
    """
    looks = [*_looks(context)]
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="preflight") as pool:
        problems = [problem for problem in pool.map(lambda look: look(), looks) if problem]
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        return Progress(State.BROKEN, "; ".join(problems[:3]) + more)
    unseen = vcluster.header(context.systems, may_ask=False)  # what stands in the run's header was asked for there
    return Progress(State.DONE, f"{len(looks)} things seen that have to hold{'; ' * bool(unseen)}{unseen}")


def look_only(context: Context) -> None:
    """Do nothing: a preflight never writes. Idempotent: yes."""


def _looks(context: Context) -> Iterator[dry_runs.Look]:
    yield partial(_jobs_of_dying_namespaces, context)
    yield from (
        partial(_in_one_line, context, look) for look in (held.of_namespaces, held.of_parts, held.of_certificates)
    )
    yield partial(_in_one_line, context, remove.obstacles)
    yield partial(_in_one_line, context, lambda context: context.delivery.obstacles())
    for sync in (*context.environment.secrets, context.environment.smoke.pull_secret):
        if sync is not None:
            yield partial(_try_secret, context, sync)
    yield from (partial(_does_not_fit, context, obj) for obj in _own(context))
    deliverer = context.delivery.field_manager
    yield from (partial(dry_runs.try_apply, context, obj, deliverer) for obj in _to_apply(context))
    yield from (partial(_events_refused, context, instrument) for instrument in context.environment.instruments)
    yield partial(_may_do_all, context)
    yield from (partial(_in_one_line, context, look) for look in (quota_room.of_quotas, quota_room.of_host))
    yield from dry_runs.looks(context)
    yield from (partial(_is_there, context, image) for image in _images(context))


def _jobs_of_dying_namespaces(context: Context) -> str | None:
    """Name the running Jobs that nobody can keep: the server removes all that is in a Terminating namespace."""
    kube = context.systems.kube
    going = {namespace["metadata"]["name"] for namespace in kube.list(NAMESPACES) if is_going(namespace)}
    lost = [f"{job['metadata']['namespace']}/{job['metadata']['name']}" for job in running_jobs.active_jobs(kube)]
    doomed = [name for name in lost if name.partition("/")[0] in going and name not in context.decisions.given_up]
    if not doomed:
        return None
    return f"running Jobs go with their namespace, which is Terminating: {some(doomed)}; --give-up names those that may"


def _in_one_line(context: Context, look: Callable[[Context], Iterable[str]]) -> str | None:
    """Put what one look says into one line."""
    return "; ".join(look(context)) or None


def _try_secret(context: Context, sync: SecretSync) -> str | None:
    """Return why a Secret could not be written: Vault has it not, or the API server would not take what Vault has."""
    try:
        wanted = install.wanted_secret(context, sync)
    except (Missing, Refused) as error:
        return error.what
    namespace = context.systems.kube.find(NAMESPACES, sync.namespace)
    if namespace is None or is_going(namespace):
        return None
    return dry_runs.try_apply(context, wanted)


def _to_apply(context: Context) -> list[Object]:
    """Return what will be applied and can be tried now, as far as that is known before the install.

    Left out is what stands as it should, what is removed before, and what belongs into a namespace that is on its way
    out: nothing can be made there now, and the removal waits until it is gone. So are objects of KEDA's kinds whose CRD
    goes.
    """
    kube = context.systems.kube
    rest = install.parts_without_ca(context)
    removed = {(deletion.kind, deletion.name) for deletion in context.decisions.deletions}
    going = {namespace["metadata"]["name"] for namespace in kube.list(NAMESPACES) if is_going(namespace)}
    crds = [
        crd
        for crd in kube.list(CRDS)
        if is_going(crd) or ("CustomResourceDefinition", crd["metadata"]["name"]) in removed
    ]
    gone_kinds = {(crd["spec"]["group"], crd["spec"]["names"]["kind"]) for crd in crds}
    return [
        obj
        for obj in [*install.drifted(context, [*install.crds(context), *rest]), *_own(context)]
        if (obj["kind"], obj["metadata"]["name"]) not in removed
        and obj["metadata"].get("namespace") not in going
        and (obj["apiVersion"].partition("/")[0], obj["kind"]) not in gone_kinds
    ]


def _own(context: Context) -> list[Object]:
    """Return the ScaledJobs that will be applied, with what belongs to them."""
    return [*(obj for objects in context.instrument_objects.values() for obj in objects), *context.saved]


def _does_not_fit(context: Context, wanted: Object) -> str | None:
    """Hold an object of KEDA's kinds to the CRD that is installed before it."""
    errors = install.misfits(context, wanted)
    return f"{wanted['kind']} {wanted['metadata']['name']}: {'; '.join(errors[:3])}" if errors else None


def _events_refused(context: Context, instrument: Instrument) -> str | None:
    """Return why no event could be added or worked on. What may come back until it is needed is no reason.

    That is an event source that is not reached, or has no pod that is ready. A password that Vault does not give is one.
    """
    try:
        return event_source(context.systems).obstacle(instrument.stream, instrument.consumer_group) or None
    except (Refused, ErrorReply, Untrusted) as error:
        return f"{error.what}. {error.fix}"
    except (Unreachable, Missing, BadAnswer):  # the last: a kubelet that the API server does not reach
        return None
    except ClientError as error:  # Vault has answered that its password is not available
        return f"{error.what}. {error.fix}"


def _may_do_all(context: Context) -> str | None:
    wanted = redeploy_rights(context.environment, context.keda_objects, context.instrument_objects, context.decisions)
    wanted = [right for right in wanted if right not in copy_rights()] + context.delivery.rights()
    missing = missing_rights(context.systems.kube, wanted)
    return f"this identity may not {named(missing)}" if missing else None


def _images(context: Context) -> set[str]:
    deployments = [obj for obj in context.keda_objects if obj["kind"] == "Deployment"]
    pods = [deployment["spec"]["template"]["spec"] for deployment in deployments]
    return {container["image"] for pod in pods for container in pod["containers"]}


def _is_there(context: Context, name: str) -> str | None:
    image = parse_image(name)
    try:
        context.systems.registry(image.host).manifest_digest(image.repository, image.reference)
    except Missing as error:
        return f"image {name.partition('@')[0]}: {error.detail}"
    except ClientError:
        return None
    return None


STEP: Step[Context] = Step(
    "preflight/prerequisites",
    "see that all can be read, written and pulled that this needs",
    inspect,
    look_only,
    deadline=timedelta(seconds=30),
)
