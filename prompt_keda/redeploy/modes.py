"""From what stands to what is done: the mode, and what it removes (docs/decisions/0008-modes.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prompt_keda.clients.kube.errors import cannot_be_changed
from prompt_keda.clients.kube.objects import Object, is_going, label, some
from prompt_keda.clients.kube.resources import LEASES, SCALED_JOBS
from prompt_keda.components import finalizers
from prompt_keda.components.keda import install
from prompt_keda.components.keda.names import LEASE, OPERATOR, SCALED_JOBS_CRD
from prompt_keda.components.run import Context
from prompt_keda.components.scaled_jobs import lint
from prompt_keda.components.scaled_jobs.objects import PAUSED, is_paused
from prompt_keda.core.decisions import Decisions, Deletion
from prompt_keda.core.errors import BadAnswer, Refusal
from prompt_keda.core.marks import RUN_ANNOTATION
from prompt_keda.delivery import helm
from prompt_keda.delivery.manifests import source_name
from prompt_keda.environment.model import Instrument
from prompt_keda.redeploy.inventory import Inventory, ObservedObject, is_operator

MODES = ("auto", "cold", "repair", "reinstall", "upgrade", "purge")
REPLACED = ("APIService", "ValidatingWebhookConfiguration", "Deployment")
"""Kinds that are removed and made again where they differ; all others are applied over."""
HELD = "is being deleted, and {} holds it, which no redeploy takes away: all else comes back first"
MOST_SAID = 500
BACKLOG = {"": "", "skip": "$", "replay": "0"}


@dataclass(frozen=True)
class RedeployOptions:
    """What a person asks for.

    Parameters
    ----------
    mode
        One of `MODES`.
    group_start
        Where consumer groups begin that have to be made: ``$`` skips the backlog, ``0`` replays it; empty: as
        `restore.group_start` says.
    given_up
        ``namespace/name`` of each running Job that may be lost.
    """

    mode: str = "auto"
    group_start: str = ""
    given_up: tuple[str, ...] = ()

    @classmethod
    def parse(cls, mode: str, backlog: str = "", give_up: str = "") -> RedeployOptions:
        """Read the command line's words.

        Parameters
        ----------
        backlog
            ``skip``, ``replay``, or empty.
        give_up
            Names of Jobs, with commas between them.

        Raises
        ------
        Refusal
            When one is not known.
        """
        if mode not in MODES:
            raise Refusal(f"there is no mode {mode!r}", f"Known: {', '.join(MODES)}.")
        if backlog not in BACKLOG:
            raise Refusal(f"--backlog {backlog} is not known", "skip leaves out what waits, replay does all of it.")
        names = tuple(sorted({job.strip() for job in give_up.split(",") if job.strip()}))
        for job in names:
            if job.count("/") != 1 or not all(job.split("/")):
                raise Refusal(f"--give-up {job} is no Job", "Name it as NAMESPACE/NAME.")
        return cls(mode, BACKLOG[backlog], names)


def resolve(mode: str, inventory: Inventory, version: str) -> tuple[str, str]:
    """Return the mode that fits what was seen, and why.

    Parameters
    ----------
    mode
        What was asked for; ``auto`` takes the one that removes least.
    version
        The environment's KEDA.

    Raises
    ------
    Refusal
        When another mode than ``auto`` was asked for and does not fit; it names the one that does.
    """
    fitting, reason = _fitting(inventory, version)
    allowed = {fitting}
    if fitting == "repair":
        allowed.add("reinstall")
    if any(crd.live for crd in inventory.crds):
        allowed.add("purge")
    if mode == "auto" or mode == fitting:
        return fitting, reason
    if mode not in allowed:
        raise Refusal(f"mode {mode} does not fit: {reason}", f"Take mode {fitting}.")
    return mode, "asked for; " + _what(mode)


def _fitting(inventory: Inventory, version: str) -> tuple[str, str]:
    others = sorted(inventory.versions - {version})
    if inventory.dying:
        names = some(inventory.dying)
        return "reinstall", f"repair is not enough (being deleted: {names}): {_what('reinstall')}"
    if not inventory.stands:
        return "cold", "nothing of KEDA stands here: everything comes from the environment"
    if others:
        reason = f"KEDA {', '.join(others)} stands, and the environment wants {version}"
        return "upgrade", f"{reason}: {_what('reinstall')}; the CRDs are changed"
    return "repair", _to_repair(inventory)


def _what(mode: str) -> str:
    if mode == "purge":
        return "CRDs and ScaledJobs are removed and made again; running Jobs are orphaned before, and kept"
    return "KEDA's parts are replaced; CRDs, ScaledJobs, Jobs and good certificates are kept"


def _to_repair(inventory: Inventory) -> str:
    every = (*inventory.crds, *inventory.parts)
    wrong = {
        "missing": [label(part.wanted) for part in every if part.live is None],
        "drifted": [f"{label(part.wanted)} at {part.difference}" for part in every if part.difference],
        "not at work": [f"{pod['metadata']['name']}: {why}" for pod, why in inventory.idle_pods],
        "certificates": [inventory.certificate_fault] if inventory.certificate_fault else [],
        "another KEDA": [label({**deployment, "kind": "Deployment"}) for deployment in inventory.elsewhere],
    }
    text = "; ".join(f"{state}: {some(names)}" for state, names in wrong.items() if names)
    return f"only what is wrong is put right ({text})" if text else "KEDA stands as it should: nothing is removed"


def notes(inventory: Inventory) -> tuple[str, ...]:
    """Return what may have been lost before: nobody can bring it back, and a person has to know.

    A cluster that never had KEDA looks the same.
    """
    held = [live for live in inventory.custom if is_going(live) and finalizers.foreign(live)]
    notes = [f"{why[:MOST_SAID]}: all else comes back first" for why in inventory.left_namespaces]
    notes += [f"{label(live)} {HELD.format(', '.join(finalizers.foreign(live)))}" for live in held]
    missing = [crd.wanted["metadata"]["name"] for crd in inventory.crds if crd.live is None]
    if SCALED_JOBS_CRD in missing:
        notes.append(
            f"CRD {SCALED_JOBS_CRD} is missing. If KEDA stood here before, every ScaledJob went with it, and every Job "
            "that ran and was not orphaned: the visits that they worked on are lost then"
        )
    return tuple(notes)


def decide(context: Context, inventory: Inventory, mode: str, options: RedeployOptions) -> Decisions:
    """Return what a mode removes, takes over, unpauses and brings back. It asks by dry runs; nothing is written.

    Raises
    ------
    Refusal
        When a ScaledJob's own source pauses it, or one does not fit the CRD of an upgrade.
    """
    if mode == "upgrade":
        _refuse_unfit(context, inventory)
    whole = mode in ("reinstall", "upgrade", "purge")
    chosen = [*_deletions(context, inventory, whole), *(_crds(inventory) if mode == "purge" else ())]
    goes = {deletion.name for deletion in chosen if deletion.kind == "CustomResourceDefinition"}
    going = {crd.wanted["metadata"]["name"] for crd in inventory.crds if crd.live is not None and is_going(crd.live)}
    kept = [crd for crd in inventory.crds if crd.difference and crd.wanted["metadata"]["name"] not in goes]
    return Decisions(
        deletions=tuple(chosen),
        takes_over=tuple(label(crd.wanted) for crd in kept if _cannot_be_applied(context, crd.wanted)),
        unpauses=tuple(_unpauses(context, inventory)),
        saved=tuple(label(obj) for obj in to_save(context, inventory.custom, going | goes)),
        group_start=options.group_start,
        helm_release=_helm_release(context, inventory),
        given_up=options.given_up,
    )


def _helm_release(context: Context, inventory: Inventory) -> str:
    release = context.delivery.helm_release
    if release is not None:
        return release
    return helm.release_of(part.live for part in (*inventory.crds, *inventory.parts) if part.live)


def _deletions(context: Context, inventory: Inventory, whole: bool) -> Iterator[Deletion]:
    """Yield what is removed of KEDA's parts: all that are replaced (``whole``), or only what is wrong."""
    wanted = {part.wanted["metadata"]["name"] for part in inventory.parts if part.kind == "Deployment"}
    new_operator = whole or not any(deployment["metadata"]["name"] == OPERATOR for deployment in inventory.deployments)
    for part in inventory.parts:
        if part.live is None:
            continue
        why = _why_replaced(inventory, part, whole) if part.kind in REPLACED else _why_not_applied(context, part)
        if why:
            yield _deletion(part.kind, part.live, why)
            new_operator = new_operator or is_operator(part.wanted)
    for live in inventory.deployments:
        if live["metadata"]["name"] not in wanted:
            yield _deletion("Deployment", live, "not among KEDA's manifests")
            new_operator = True
    if not whole:
        for pod, why in inventory.idle_pods:
            yield _deletion("Pod", pod, why)
            new_operator = new_operator or pod["metadata"]["name"].startswith(f"{OPERATOR}-")
    if new_operator and inventory.lease is not None:
        yield _deletion("Lease", inventory.lease, "its operator goes, and the next one would wait for it")
    yield from helm.stuck(context.systems.kube, context.namespace)
    yield from _elsewhere(context, inventory)


def _why_replaced(inventory: Inventory, part: ObservedObject, whole: bool) -> str:
    if part.difference:
        return f"differs at {part.difference}"
    if inventory.certificate_fault:
        return f"KEDA's certificates: {inventory.certificate_fault}"
    return "replaced" if whole else ""


def _why_not_applied(context: Context, part: ObservedObject) -> str:
    if part.difference and _cannot_be_applied(context, part.wanted):
        return f"differs at {part.difference}, and cannot be applied over"
    return ""


def _cannot_be_applied(context: Context, wanted: Object) -> bool:
    """Whether other field managers own what differs (409), or it cannot be changed (422)."""
    try:
        context.systems.kube.apply(wanted, dry_run=True, field_manager=context.delivery.field_manager)
    except BadAnswer as error:
        return cannot_be_changed(error)
    return False


def _elsewhere(context: Context, inventory: Inventory) -> Iterator[Deletion]:
    """Yield another KEDA's Deployments and Lease: two operators would make twice the Jobs."""
    for live in inventory.elsewhere:
        yield _deletion("Deployment", live, "another KEDA beside this one")
    for namespace in sorted({deployment["metadata"]["namespace"] for deployment in inventory.elsewhere}):
        lease = context.systems.kube.find(LEASES, LEASE, namespace)
        if lease is not None:
            yield _deletion("Lease", lease, "of another KEDA")


def _crds(inventory: Inventory) -> Iterator[Deletion]:
    for crd in inventory.crds:
        if crd.live is not None:
            yield _deletion("CustomResourceDefinition", crd.live, "purged")


def _deletion(kind: str, live: Object, why: str) -> Deletion:
    metadata = live["metadata"]
    return Deletion(kind, metadata.get("namespace", ""), metadata["name"], metadata["uid"], why)


def to_save(context: Context, custom: Iterable[Object], going_crds: set[str]) -> list[Object]:
    """Return the live objects of KEDA's kinds that will be gone, and that no source brings back.

    Parameters
    ----------
    going_crds
        Names of the CRDs that are being deleted, or are removed.
    """
    sources = {label(obj) for own in context.instrument_objects.values() for obj in own}
    kinds = {
        (crd["spec"]["group"], crd["spec"]["names"]["kind"])
        for crd in install.crds(context)
        if crd["metadata"]["name"] in going_crds
    }
    smoke = context.environment.smoke.namespace
    return [
        obj
        for obj in custom
        if (is_going(obj) or (obj["apiVersion"].partition("/")[0], obj["kind"]) in kinds)
        and label(obj) not in sources
        and obj["metadata"].get("namespace") != smoke
    ]


def _unpauses(context: Context, inventory: Inventory) -> Iterator[str]:
    for instrument in context.environment.instruments:
        _refuse_paused_source(context, instrument)
        for live in inventory.custom:
            metadata = live["metadata"]
            mine = live["kind"] == SCALED_JOBS.kind and metadata["name"] == instrument.scaled_job
            ours = RUN_ANNOTATION in (metadata.get("annotations") or {})
            if mine and metadata["namespace"] == instrument.namespace and is_paused(live) and not ours:
                yield f"{instrument.namespace}/{instrument.scaled_job}"


def _refuse_paused_source(context: Context, instrument: Instrument) -> None:
    for obj in context.instrument_objects.get(instrument.name, []):
        if obj["kind"] == SCALED_JOBS.kind and is_paused(obj):
            raise Refusal(
                f"{source_name(instrument)} itself pauses ScaledJob {instrument.scaled_job}: nothing would scale",
                f"Take {PAUSED} out of it.",
            )
        if obj["kind"] != SCALED_JOBS.kind or install.misfits(
            context, obj
        ):  # the preflight reports what the CRD refuses
            continue
        if reason := next(lint.stops(obj.get("spec") or {}), ""):
            raise Refusal(
                f"{source_name(instrument)}, ScaledJob {instrument.scaled_job}: {reason}", "Correct it there."
            )


def _refuse_unfit(context: Context, inventory: Inventory) -> None:
    """Hold each ScaledJob that no source brings to the CRD of the new version (decision 0007).

    Those that are applied are held to it by the preflight, in every mode.
    """
    sources = {label(obj) for own in context.instrument_objects.values() for obj in own}
    for obj in inventory.custom:
        errors = install.misfits(context, obj) if label(obj) not in sources else ()
        if errors:
            raise Refusal(
                f"{label(obj)} does not fit KEDA {context.environment.keda.version}: {some(errors)}",
                "Correct it where it comes from, before the upgrade.",
            )
