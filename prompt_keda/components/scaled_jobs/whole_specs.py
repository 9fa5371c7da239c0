"""The whole spec of each ScaledJob: as its source says, and without what keeps workers from coming."""

from __future__ import annotations

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import CRDS, SCALED_JOBS
from prompt_keda.clients.systems import Systems
from prompt_keda.components.keda.names import SCALED_JOBS_CRD
from prompt_keda.components.scaled_jobs import drift, lint
from prompt_keda.components.scaled_jobs.looks import of_every_scaled_job
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.errors import EnvironmentFileError
from prompt_keda.core.outcomes import fail, ok, skipped, unknown, warn
from prompt_keda.delivery.manifests import has_objects, load_instrument_objects, source_name
from prompt_keda.environment.model import Instrument

MOST_TOLD = 3


@check(
    "keda/specs-as-wanted",
    "Every ScaledJob's spec is as its source says",
    needs=("keda/scaled-jobs-present",),
    runbook="scaled-job-wrong",
)
def specs_as_wanted(systems: Systems) -> Outcome:
    """Compare the whole live spec with the manifest of the environment: what is missing, what is another value, and
    what nobody wanted. What the API server fills in by itself is left out, by the CRD's schema. SKIPPED where somebody
    else delivers the ScaledJob: keda/specs-linted looks at those too.

    Cause: Somebody has changed it by hand, or the manifest was changed and not applied. FAIL: the field decides how many
    workers come or how long they live. WARN: it decides what they run and may read, or who sees them fail.

    Fix: `./run redeploy` makes it what its source says; or put the change into the source.
    """
    fix = "./run redeploy makes it what its source says, and ends no Job for it; or put the change into the source."
    crd = systems.kube.find(CRDS, SCALED_JOBS_CRD)

    def look(instrument: Instrument, live: Object) -> Outcome:
        if not has_objects(instrument):
            return skipped(f"{instrument.scaled_job} is delivered by others")
        try:
            objects = load_instrument_objects(instrument, systems.placeholders)
        except EnvironmentFileError as error:
            return unknown(f"{instrument.scaled_job} has no source to compare with: {error.what}", error.fix)
        wanted = next((obj for obj in objects if obj["kind"] == SCALED_JOBS.kind), None)
        if wanted is None:
            return unknown(f"{source_name(instrument)} holds no ScaledJob")
        differences = drift.drift(crd, wanted, live)
        if not differences:
            return ok(instrument.scaled_job)
        differences.sort(key=lambda difference: drift.effect_of(difference.path) not in drift.STOPS)
        texts = [drift.in_words(difference, live) for difference in differences[:MOST_TOLD]]
        more = f" (and {len(differences) - MOST_TOLD} more)" if len(differences) > MOST_TOLD else ""
        effect = drift.effect_of(differences[0].path)
        message = f"{instrument.scaled_job}: {'; '.join(texts)}{more}: that decides {effect}"
        return fail(message, fix) if effect in drift.STOPS else warn(message, fix)

    return of_every_scaled_job(systems, look, "every spec is as its source says")


@check(
    "keda/specs-linted",
    "No ScaledJob's spec keeps its workers from working",
    needs=("keda/scaled-jobs-present",),
    runbook="scaled-job-wrong",
)
def specs_linted(systems: Systems) -> Outcome:
    """Read each live spec, whoever delivers it, for what API server and KEDA accept silently. FAIL: no worker comes
    or begins (suspended Jobs, no pod in a Job, no Job at all, a gate, another controller), or workers read another
    stream, group or Redis than KEDA scales on. WARN: fewer or more pods than KEDA counts, a strategy that makes too few,
    finished Jobs that go at once, failures that no Job shows, another scheduler, a fixed node, workers that reach into
    their node.

    Cause: It was changed at its source, or by hand.

    Fix: The result names the field. Correct it where the ScaledJob comes from.
    """
    fix = "Correct it where the ScaledJob comes from; ./run redeploy reverts what was changed by hand."

    def look(instrument: Instrument, live: Object) -> Outcome:
        spec = live["spec"]
        variables = {
            "REDIS_STREAM_NAME": instrument.stream,
            "REDIS_STREAM_CONSUMER_GROUP": instrument.consumer_group,
        }
        bad = [*lint.stops(spec), *lint.misreads(spec, variables)]
        if bad:
            return fail(f"{instrument.scaled_job}: {'; '.join(bad)}", fix)
        odd = list(lint.oddities(spec))
        return warn(f"{instrument.scaled_job}: {'; '.join(odd)}", fix) if odd else ok(instrument.scaled_job)

    return of_every_scaled_job(systems, look, "nothing in any spec keeps workers from working")
