"""How the checks look at ScaledJobs."""

from __future__ import annotations

from collections.abc import Callable

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import SCALED_JOBS
from prompt_keda.clients.systems import Systems
from prompt_keda.components.event_source.redis_streams import TRIGGER
from prompt_keda.components.scaled_jobs.objects import PAUSED
from prompt_keda.core.check import Outcome
from prompt_keda.core.outcomes import all_of, fail
from prompt_keda.environment.model import Instrument

FORCE_RECONCILE = (
    f"Check Redis first. Then, if keda/jobs-carry-their-generation is green (KEDA deletes the other Jobs when it reconciles), "
    f"annotate it {PAUSED}=true, wait 5 s, and remove that: KEDA reconciles it."
)


def of_every_instrument(systems: Systems, look: Callable[[Instrument], Outcome], good: str = "") -> Outcome:
    """Look at each instrument, named by its ScaledJob; as `all_of`."""
    return all_of(((instrument.scaled_job, instrument) for instrument in systems.environment.instruments), look, good)


def of_every_scaled_job(systems: Systems, look: Callable[[Instrument, Object], Outcome], good: str) -> Outcome:
    """Look at each instrument's ScaledJob; a missing one is FAIL, and hides none of the others."""

    def look_at(instrument: Instrument) -> Outcome:
        live = systems.kube.find(SCALED_JOBS, instrument.scaled_job, instrument.namespace)
        if live is None:
            return fail(
                f"ScaledJob {instrument.namespace}/{instrument.scaled_job} is missing", "./run redeploy applies it."
            )
        return look(instrument, live)

    return of_every_instrument(systems, look_at, good)


def lag_triggers(live: Object) -> list[Object]:
    """Return what the triggers that read a stream say; others (cron) have neither stream nor lag."""
    triggers = live["spec"].get("triggers") or []
    return [trigger.get("metadata") or {} for trigger in triggers if trigger.get("type") == TRIGGER]
