"""Is each ScaledJob valid, for the KEDA that stands and for the one that a redeploy installs?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import CRDS, SCALED_JOBS
from prompt_keda.clients.systems import Systems
from prompt_keda.components.images.places import keda_manifests
from prompt_keda.components.keda.crd_schema import examine, find_schema
from prompt_keda.components.keda.names import SCALED_JOBS_CRD
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.errors import EnvironmentFileError
from prompt_keda.core.outcomes import all_of, fail, ok, skipped, unknown, warn
from prompt_keda.delivery.manifests import has_objects, load_instrument_objects
from prompt_keda.environment.model import FillIn, Instrument

VERSION = SCALED_JOBS.api_version.partition("/")[2]
MOST_TOLD = 3


class _Anything(Mapping[str, str]):
    """Fills in every placeholder: what stands there is a text in any case, and is none of a schema's concern."""

    def __getitem__(self, key: str) -> str:
        return f"(lab:{key})"

    def __contains__(self, key: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


@check(
    "keda/scaled-jobs-valid",
    "Every ScaledJob is valid for the installed KEDA",
    needs=("keda/scaled-jobs-present",),
    runbook="scaled-job-wrong",
)
def scaled_jobs_valid(systems: Systems) -> Outcome:
    """Hold each live ScaledJob, and each that the environment would apply, to the schema of the installed CRD, without
    asking the server.

    Cause: It was written for another version of KEDA. WARN: it has fields that KEDA does not know, and leaves out.

    Fix: Correct it where it comes from; the result names the field, and never its value.
    """
    crd = systems.kube.find(CRDS, SCALED_JOBS_CRD)
    schema = find_schema(crd, VERSION) if crd else None
    if schema is None:
        return unknown(f"{SCALED_JOBS_CRD} has no schema of {VERSION}", "./run redeploy applies the CRDs.")
    return _held_to(schema, systems, "as KEDA's CRD wants them")


@check(
    "keda/scaled-jobs-valid-for-redeploy",
    "Every ScaledJob is valid for the KEDA that a redeploy installs",
    needs=("keda/scaled-jobs-present",),
    runbook="scaled-job-wrong",
)
def scaled_jobs_valid_for_redeploy(systems: Systems) -> Outcome:
    """The same, against the CRD in the environment's manifests of KEDA ([decision
    0007](decisions/0007-the-next-kedas-schema.md)). SKIPPED when the environment names none.

    Cause: The environment pins a KEDA that refuses what runs today. UNKNOWN: the manifests are not on this machine.

    Fix: Correct the ScaledJob before the redeploy; `./run prepare` fetches the manifests.
    """
    source = systems.environment.keda.manifests.source
    if isinstance(source, FillIn):
        return skipped("the environment names no manifests of KEDA, so there is no other KEDA to compare with")
    manifests = keda_manifests(systems)
    crd = next((obj for obj in manifests if obj["metadata"].get("name") == SCALED_JOBS_CRD), None)
    schema = find_schema(crd, VERSION) if crd else None
    if schema is None:
        return unknown(
            f"KEDA's manifests are not on this machine, or have no CRD {SCALED_JOBS_CRD}", "./run prepare fetches them."
        )
    return _held_to(schema, systems, "as a redeploy's KEDA wants them")


def _held_to(schema: Object, systems: Systems, good: str) -> Outcome:
    def look(place: tuple[Instrument, str]) -> Outcome:
        instrument, source = place
        try:
            if source == "live":
                scaled_job = systems.kube.find(SCALED_JOBS, instrument.scaled_job, instrument.namespace)
            else:
                objects = load_instrument_objects(instrument, _Anything())
                scaled_job = next((obj for obj in objects if obj["kind"] == SCALED_JOBS.kind), None)
        except EnvironmentFileError as error:  # neither can a redeploy read it
            return fail(f"{instrument.scaled_job} (manifest): {error.what}", error.fix)
        if scaled_job is None:
            return ok(f"{instrument.scaled_job} is missing")  # told by keda/scaled-jobs-ready
        return _verdict(schema, scaled_job, f"{instrument.scaled_job} ({source})")

    places = [
        (instrument, source)
        for instrument in systems.environment.instruments
        for source in (("live", "manifest") if has_objects(instrument) else ("live",))
    ]
    return all_of(
        ((instrument.scaled_job, (instrument, source)) for instrument, source in places), look, f"{len(places)} {good}"
    )


def _verdict(schema: Object, scaled_job: Object, name: str) -> Outcome:
    examination = examine(schema, scaled_job)
    fix = "Correct it where it comes from."
    if examination.errors:
        return fail(f"{name}: {'; '.join(examination.errors[:MOST_TOLD])}", fix)
    if examination.unknown:
        return warn(f"{name}: KEDA knows no {', '.join(examination.unknown[:MOST_TOLD])}, and leaves that out", fix)
    return ok(name)
