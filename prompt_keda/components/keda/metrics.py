"""What the operator's own metrics say: its loops run, and its triggers do not err."""

from __future__ import annotations

import threading
from datetime import timedelta

from prompt_keda.clients.systems import Systems
from prompt_keda.components.keda.operator_metrics import operator_metrics, samples, scale_loops
from prompt_keda.components.scaled_jobs.looks import FORCE_RECONCILE, of_every_instrument
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.outcomes import ok, warn
from prompt_keda.environment.model import Instrument

ERRORS = {"keda_scaled_job_errors_total": "scaledJob", "keda_scaler_detail_errors_total": "scaledObject"}
"""Counters of errors, and their label for the ScaledJob (KEDA 2.16.1, pkg/metricscollector/prommetrics.go)."""
PATIENCE = timedelta(seconds=5)
"""A trigger that is polled more seldom is not waited for: a check has 10 s."""


@check(
    "keda/scale-loops-run",
    "The operator runs a scale loop for every ScaledJob",
    needs=("keda/scaled-jobs-present", "keda/lease-fresh", "keda/parts-ready", "keda/scaled-jobs-ready"),
    runbook="keda-does-not-scale",
)
def scale_loops_run(systems: Systems) -> Outcome:
    """The condition Ready has no time, so the metrics of the operator that holds the Lease are read through a
    port-forward: has it a loop for each ScaledJob (F15, F21)?

    Cause: Ready is the memory of an operator that is gone. UNKNOWN: the metrics cannot be read from here (the pod
    names no port `metrics`, or port-forwards are denied).

    Fix: Check Redis, then pause and unpause the ScaledJob: KEDA reconciles it.

    Notes
    -----
    The condition Ready has no time, so it may be of an operator that is gone. A loop that runs is in this one's metrics.
    """
    fix = FORCE_RECONCILE
    loops = scale_loops(_page(systems))

    def look(instrument: Instrument) -> Outcome:
        if (instrument.namespace, instrument.scaled_job) in loops:
            return ok(instrument.scaled_job)
        return warn(f"{instrument.scaled_job}: the operator runs no loop for it, so its Ready is stale", fix)

    return of_every_instrument(systems, look, "every loop runs")


@check(
    "keda/no-scaler-errors",
    "KEDA's scalers report no new errors",
    needs=("keda/scaled-jobs-present", "keda/lease-fresh", "keda/parts-ready", "keda/scaled-jobs-ready"),
    runbook="keda-does-not-scale",
)
def no_scaler_errors(systems: Systems) -> Outcome:
    """Read `keda_scaled_job_errors_total` and `keda_scaler_detail_errors_total`; if there are any, read them once more
    after a poll. Old errors are reported and no more, unless `keda_internal_scale_loop_latency_seconds` says that the
    last poll came late by more than the polling interval: a trigger whose time runs out errs more seldom than it is
    polled.

    Cause: A trigger errs at each poll: Redis, its password, or the stream; and KEDA may not say so in the
    ScaledJob, or its Ready comes and goes. WARN also when the ScaledJob is polled too seldom to wait for. UNKNOWN
    as above.

    Fix: Read the operator's log.

    Notes
    -----
    A trigger whose time runs out errs more seldom than it is polled: meanwhile a late loop shows it.
    """
    instruments = systems.environment.instruments
    page = _page(systems)
    before = _errors(page, instruments)
    polling = max((instrument.polling_interval for instrument in instruments), default=timedelta())
    if any(before.values()) and polling < PATIENCE:
        threading.Event().wait(1.5 * polling.total_seconds())  # nothing says when KEDA has polled again
        page = _page(systems)
    after, loops = _errors(page, instruments), scale_loops(page)

    def look(instrument: Instrument) -> Outcome:
        more = after[instrument.name] - before[instrument.name]
        late_s = loops.get((instrument.namespace, instrument.scaled_job), 0.0)
        if not before[instrument.name] and not more:
            return ok(f"{instrument.scaled_job}: none since the operator's start")
        message = f"{instrument.scaled_job}: {after[instrument.name]:.0f} errors since the operator's start"
        fix = "Its log says which: kubectl logs -n keda deployment/keda-operator."
        if more:
            return warn(f"{message}, {more:.0f} of them just now", fix)
        if late_s > instrument.polling_interval.total_seconds():
            return warn(
                f"{message}, and its last poll came {late_s:.0f} s late: a trigger does not answer in time", fix
            )
        return (
            ok(f"{message}, none just now")
            if polling < PATIENCE
            else warn(f"{message}; whether they go on is not seen", fix)
        )

    return of_every_instrument(systems, look)


def _errors(page: str, instruments: tuple[Instrument, ...]) -> dict[str, float]:
    counts = {}
    for instrument in instruments:
        counts[instrument.name] = sum(
            value
            for name, key in ERRORS.items()
            for labels, value in samples(page, name)
            if (labels.get("namespace"), labels.get(key)) == (instrument.namespace, instrument.scaled_job)
        )
    return counts


def _page(systems: Systems) -> str:
    return operator_metrics(systems.kube, systems.environment.keda.namespace)
