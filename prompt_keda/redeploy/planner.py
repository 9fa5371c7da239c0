"""Makes the plan of a redeploy: it looks, and never writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import prompt_keda
from prompt_keda.clients.kube_resources import CRDS
from prompt_keda.clients.systems import Systems, filled
from prompt_keda.errors import EnvironmentFileError, Refusal
from prompt_keda.files.manifest_file import load_instrument_manifest, load_keda_manifests, local_file
from prompt_keda.model.environment import Instrument
from prompt_keda.model.redeploy_plan import Deletion, Plan
from prompt_keda.redeploy import guard, install, jobs, preflight, prove, remove, restore
from prompt_keda.redeploy.context import Context, Object

MODES = ("auto", "cold", "reinstall")
UNDER_LOCK = (*guard.STEPS, *remove.STEPS, *install.STEPS, *restore.STEPS, *prove.STEPS)
STEPS = (preflight.STEP, guard.HOLD_LEASE, *map(guard.under_lock, UNDER_LOCK))


def make_context(systems: Systems, placeholders: Mapping[str, Any] | None) -> Context:
    """Read what is to be installed.

    Raises
    ------
    Refusal
        When the environment is delivered by Argo CD, or its manifests are not on this machine.
    EnvironmentFileError
        When a manifest cannot be read, or an instrument's is about another ScaledJob.
    """
    environment = systems.environment
    if environment.keda.delivery == "argocd":
        raise Refusal(
            f"environment {environment.name} is delivered by Argo CD, and this toolkit cannot drive Argo CD yet",
            "Sync the Applications keda and prompt-keda-… in Argo CD; check-deps shows what is missing.",
        )
    source = filled(environment.keda.manifests.source, "keda.manifests.source")
    sha256 = filled(environment.keda.manifests.sha256, "keda.manifests.sha256")
    file = local_file(source, sha256)
    if source.startswith("https://") and not file.exists():
        raise Refusal(
            f"KEDA's manifests {sha256[:16]}… are not in the cache of this machine",
            f"Fetch them: ./run prepare --env {environment.name}",
        )
    objects = {
        one.name: load_instrument_manifest(one.manifest, placeholders) if one.manifest else []
        for one in environment.instruments
    }
    for one in environment.instruments:
        _check_scaled_job(one, objects[one.name])
    return Context(systems, load_keda_manifests(file, sha256), objects)


def _check_scaled_job(instrument: Instrument, objects: list[Object]) -> None:
    """Make sure that what is applied is what the guard looks at: one ScaledJob of the name in the environment."""
    wanted = [(instrument.namespace, instrument.scaled_job)] if objects else []
    found = [(o["metadata"]["namespace"], o["metadata"]["name"]) for o in objects if o["kind"] == "ScaledJob"]
    if found != wanted:
        named = ", ".join("/".join(one) for one in found) or "no ScaledJob"
        raise EnvironmentFileError(
            f"{instrument.manifest} holds {named}, and instrument {instrument.name} is {'/'.join(wanted[0])}",
            "The manifest of an instrument holds its one ScaledJob, under the name that the environment gives.",
        )


def make_plan(context: Context, mode: str, deletions: tuple[Deletion, ...] | None = None) -> Plan[Context]:
    """Look at the cluster, and say what a redeploy would do.

    Parameters
    ----------
    mode
        ``auto``, ``cold`` or ``reinstall``.
    deletions
        On resume: what the interrupted run's plan removes, so that nothing that it has installed since is removed.

    Raises
    ------
    Refusal
        When the mode is not known, or does not fit what stands.
    """
    check_mode(mode)
    systems = context.systems
    found = remove.find_deletions(systems) if deletions is None else deletions
    stands = systems.kube.find(CRDS, "scaledjobs.keda.sh") is not None
    if deletions is None:
        resolved, reason = _resolve(mode, bool(found), stands)
    else:
        resolved, reason = mode, "an interrupted run goes on"
    context.deletions = found
    return Plan(
        mode=resolved,
        reason=reason,
        steps=STEPS,
        deletions=found,
        inputs=_inputs(context, resolved),
        jobs_at_risk=jobs.at_risk(systems.kube) if stands else (),
    )


def check_mode(mode: str) -> None:
    """Make sure that a mode is known. Raises `Refusal` when it is not."""
    if mode not in MODES:
        raise Refusal(f"there is no mode {mode!r}", f"Known are: {', '.join(MODES)}.")


def _resolve(mode: str, parts_stand: bool, crds_stand: bool) -> tuple[str, str]:
    if parts_stand or crds_stand:
        if mode == "cold":
            raise Refusal(
                "mode cold is for a cluster without KEDA, and KEDA's objects stand here", "Take mode reinstall."
            )
        what = "KEDA's parts stand" if parts_stand else "KEDA's CRDs stand, its parts are gone"
        return "reinstall", f"{what}: the parts are replaced; CRDs, ScaledJobs, Jobs and certificates are kept"
    if mode == "reinstall":
        raise Refusal("mode reinstall is for a cluster with KEDA, and nothing of KEDA stands here", "Take mode cold.")
    return "cold", "nothing of KEDA stands here: everything comes from the environment"


def _inputs(context: Context, mode: str) -> dict[str, Any]:
    environment = context.environment
    return {
        "environment": json.loads(environment.model_dump_json()),
        "toolkit": prompt_keda.__version__,
        "instruments": context.instrument_objects,
        "mode": mode,
        "steps": [step.id for step in STEPS],
        "deletions": [one.__dict__ for one in context.deletions],
    }
