"""Makes the plan of a redeploy: it looks, and never writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import prompt_keda
from prompt_keda.clients.kube.objects import Object, label, some
from prompt_keda.clients.systems import Systems, filled
from prompt_keda.components.keda import install
from prompt_keda.components.run import Context
from prompt_keda.components.scaled_jobs import running_jobs, unpause
from prompt_keda.core.decisions import Decisions, Plan
from prompt_keda.core.errors import EnvironmentFileError, Refusal
from prompt_keda.delivery.choice import delivery
from prompt_keda.delivery.manifests import (
    has_objects,
    load_instrument_objects,
    load_keda_manifests,
    local_file,
    source_name,
)
from prompt_keda.environment.model import Instrument
from prompt_keda.redeploy import (
    changes,
    deliverer,
    finalize,
    guard,
    modes,
    preflight,
    remove,
    restore,
    snapshot,
    takeovers,
    verify,
)
from prompt_keda.redeploy.inventory import Inventory, look
from prompt_keda.redeploy.modes import RedeployOptions

GONE = (*remove.STEPS, *finalize.STEPS, remove.NAMESPACES_GONE)
UNDER_LOCK = (
    *guard.STEPS,
    deliverer.SUSPEND,
    *GONE,
    *install.STEPS,
    *restore.STEPS,
    *unpause.STEPS,
    verify.SMOKE,
    unpause.SETTLE,
    *verify.STEPS,
    *deliverer.STEPS,
    restore.LEFT,
)
STEPS = (preflight.STEP, guard.HOLD_LEASE, *map(guard.under_lock, UNDER_LOCK))

TAKES_OVER = "takes over {}: somebody has edited it, and its source has another value"


def make_context(systems: Systems, placeholders: Mapping[str, Any] | None) -> Context:
    """Read what is to be installed.

    Raises
    ------
    Refusal
        When the environment's manifests are not on this machine.
    EnvironmentFileError
        When a manifest cannot be read, or an instrument's is about another ScaledJob.
    """
    environment = systems.environment
    source = filled(environment.keda.manifests.source, "keda.manifests.source")
    sha256 = filled(environment.keda.manifests.sha256, "keda.manifests.sha256")
    file = local_file(source, sha256)
    if source.startswith("https://") and not file.exists():
        raise Refusal(
            f"KEDA's manifests {sha256[:16]}… are not in the cache of this machine",
            f"Fetch them: ./run prepare --env {environment.name}",
        )
    objects = {
        instrument.name: load_instrument_objects(instrument, placeholders) for instrument in environment.instruments
    }
    for instrument in environment.instruments:
        _check_scaled_job(instrument, objects[instrument.name])
    deliverer = delivery(systems)
    keda = [deliverer.marked(obj) for obj in load_keda_manifests(file, sha256)]
    marked = {
        instrument.name: [deliverer.marked(obj, instrument) for obj in objects[instrument.name]]
        for instrument in environment.instruments
    }
    return Context(systems, keda, marked, deliverer)


def _check_scaled_job(instrument: Instrument, objects: list[Object]) -> None:
    """Make sure that what is applied is what the guard looks at: one ScaledJob of the name in the environment."""
    wanted = [(instrument.namespace, instrument.scaled_job)] if has_objects(instrument) else []
    names = [(o["metadata"]["namespace"], o["metadata"]["name"]) for o in objects if o["kind"] == "ScaledJob"]
    if names != wanted:
        named = ", ".join("/".join(place) for place in names) or "no ScaledJob"
        raise EnvironmentFileError(
            f"{source_name(instrument)} holds {named}, and instrument {instrument.name} is {'/'.join(wanted[0])}",
            "The manifest of an instrument holds its one ScaledJob, under the name that the environment gives.",
        )


def make_plan(context: Context, options: RedeployOptions) -> Plan[Context]:
    """Look at the cluster, and say what a redeploy would do.

    Raises
    ------
    Refusal
        When the mode does not fit what stands, or what stands does not fit the mode.
    """
    inventory = look(context)
    mode, reason = modes.resolve(options.mode, inventory, str(context.environment.keda.version))
    decisions = modes.decide(context, inventory, mode, options)
    taken = takeovers.takeovers(context)
    decisions = replace(decisions, takes_over=(*decisions.takes_over, *taken))
    context.objects = snapshot.objects(inventory)
    context.saved = snapshot.saved(context.objects, decisions)
    changed = changes.changes(inventory, decisions, context.namespace)
    notes = (*modes.notes(inventory), *_behind(context, inventory), *map(TAKES_OVER.format, taken.values()))
    made = _plan(context, mode, reason, decisions, notes)
    return replace(made, changes=changed, left_alone_count=changes.left_alone_count(inventory, changed))


def _behind(context: Context, inventory: Inventory) -> Iterator[str]:
    """Yield why what was prepared may be behind who else delivers: then a redeploy would bring back what is old."""
    differing = [label(part.wanted) for part in (*inventory.crds, *inventory.parts) if part.live and part.difference]
    if differing and (obstacle := context.delivery.agrees_with_what_stands()):
        yield f"{some(differing)} differs from what was prepared, and {obstacle}: prepare first, or this goes back to what is old"


def plan_again(
    context: Context, mode: str, decisions: Decisions, objects: list[Object], notes: tuple[str, ...] = ()
) -> Plan[Context]:
    """Make the plan of an interrupted run: with what was decided then, so that nothing it has installed is removed.

    Parameters
    ----------
    objects
        Those of its snapshot.
    notes
        Those of its plan.
    """
    context.objects = objects
    context.saved = snapshot.saved(objects, decisions)
    return _plan(context, mode, "an interrupted run goes on", decisions, notes)


def _plan(context: Context, mode: str, reason: str, decisions: Decisions, notes: tuple[str, ...] = ()) -> Plan[Context]:
    context.decisions = decisions
    return Plan(
        mode=mode,
        reason=reason,
        steps=STEPS,
        decisions=decisions,
        inputs=_inputs(context, mode),
        jobs_at_risk=running_jobs.at_risk(context.systems.kube),
        notes=notes,
    )


def _inputs(context: Context, mode: str) -> dict[str, Any]:
    environment = context.environment
    return {
        "environment": environment.portable(),
        "toolkit": prompt_keda.__version__,
        "instruments": context.instrument_objects,
        "mode": mode,
        "steps": [step.id for step in STEPS],
        "decisions": context.decisions.inputs,
    }
