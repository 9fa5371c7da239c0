"""status: what stands of Prompt KEDA now, without a verdict. A support bundle holds the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from time import sleep
from typing import NoReturn, TypeVar

from prompt_keda.clients.kube.conditions import conditions, has_condition
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import DEPLOYMENTS, JOBS, PODS, SCALED_JOBS
from prompt_keda.clients.systems import Systems
from prompt_keda.commands.session import Session
from prompt_keda.components.event_source.choice import event_source
from prompt_keda.components.scaled_jobs import running_jobs
from prompt_keda.components.scaled_jobs.objects import PAUSED, SCALED_JOB_LABEL, is_paused, is_suspended
from prompt_keda.core import exit_code
from prompt_keda.core.errors import PromptKedaError
from prompt_keda.core.marks import RUN_ANNOTATION
from prompt_keda.core.places import incidents_folder, runs_folder
from prompt_keda.environment.model import Instrument
from prompt_keda.records.incident import Incident
from prompt_keda.redeploy.history import runs_here
from prompt_keda.report.result import Result
from prompt_keda.report.status import (
    ClusterState,
    InstrumentState,
    NotSeen,
    PartState,
    ScaledJobState,
    Status,
    StreamState,
)

T = TypeVar("T")
LAST_RUNS = 3
EVERY_S = 2.0
"""Between two looks of a watch, as `watch` of procps has it."""


def status(session: Session) -> Result[Status]:
    """Return what stands, with the last runs of this machine on this cluster and the open incident. It reads, and never writes.

    Notes
    -----
    What could not be seen is said in its place, and makes the exit code 3.
    """
    stands = _look_with_records(session.systems)
    code = exit_code.UNKNOWN if any(stands.status.not_seen()) else exit_code.GREEN
    return Result("status", session.environment.name, session.header(), stands, code)


def watch(session: Session, show: Callable[[Status], None], pause: Callable[[float], None] = sleep) -> NoReturn:
    """Look every `EVERY_S` seconds, until somebody stops it: nothing else ends it. It reads, and never writes.

    Parameters
    ----------
    show
        Given what stands.
    pause
        Waits so many seconds.
    """
    while True:
        with session.fresh_systems() as systems:
            while True:
                stands = _look_with_records(systems)
                show(stands)
                pause(EVERY_S)
                if any(stands.status.not_seen()):
                    break  # a client that has lost its connection may stay so


def _look_with_records(systems: Systems) -> Status:
    incident = Incident.find_open(incidents_folder(), systems.environment)
    runs, _ = runs_here(systems, runs_folder())
    return Status(look(systems), runs[:LAST_RUNS], incident.id if incident else "")


def look(systems: Systems) -> ClusterState:
    """Return KEDA's parts, and for each instrument its ScaledJob, its stream and its Jobs. It reads, and never writes.

    What could not be seen is `NotSeen` in its place; the rest is reported all the same.
    """
    return ClusterState(
        keda=_seen(partial(_parts, systems)),
        instruments={
            instrument.name: InstrumentState(
                scaled_job=_seen(partial(_scaled_job, systems, instrument)),
                stream=_seen(partial(_stream, systems, instrument)),
                jobs=_seen(partial(_jobs, systems, instrument)),
            )
            for instrument in systems.environment.instruments
        },
    )


def _seen(what: Callable[[], T]) -> T | NotSeen:
    try:
        return what()
    except PromptKedaError as error:
        return NotSeen(error.what, error.fix)


def _parts(systems: Systems) -> list[PartState]:
    namespace = systems.environment.keda.namespace
    pods, parts = systems.kube.list(PODS, namespace), []
    for deployment in systems.kube.list(DEPLOYMENTS, namespace):
        name, spec = deployment["metadata"]["name"], deployment["spec"]
        own = [pod for pod in pods if pod["metadata"]["name"].startswith(f"{name}-")]
        restarts = sum(state["restartCount"] for pod in own for state in pod["status"].get("containerStatuses") or [])
        images = [container["image"] for container in spec["template"]["spec"]["containers"]]
        ready = (deployment.get("status") or {}).get("availableReplicas", 0)
        parts.append(PartState(name, spec.get("replicas", 1), ready, images, restarts))
    return parts


def _scaled_job(systems: Systems, instrument: Instrument) -> ScaledJobState:
    live = systems.kube.find(SCALED_JOBS, instrument.scaled_job, instrument.namespace)
    if live is None:
        return ScaledJobState(instrument.scaled_job, is_there=False)
    states = conditions(live)
    run = (live["metadata"].get("annotations") or {}).get(RUN_ANNOTATION)
    return ScaledJobState(
        name=instrument.scaled_job,
        is_there=True,
        ready=states.get("Ready", {}).get("status", "not looked at"),
        active=states.get("Active", {}).get("status", "not looked at"),
        paused_by=(f"run {run}" if run else _who_paused(live)) if is_paused(live) else "",
        generation=live["metadata"].get("generation"),
    )


def _who_paused(scaled_job: Object) -> str:
    """Return the field manager that set the annotation, and when, as the API server kept it; ``somebody`` if it did not."""
    for entry in scaled_job["metadata"].get("managedFields") or []:
        annotations = ((entry.get("fieldsV1") or {}).get("f:metadata") or {}).get("f:annotations") or {}
        if f"f:{PAUSED}" in annotations:
            return f"{entry.get('manager') or 'somebody'} at {entry.get('time') or 'an unknown time'}"
    return "somebody"


def _stream(systems: Systems, instrument: Instrument) -> StreamState:
    source = event_source(systems)
    group = source.find_group(instrument.stream, instrument.consumer_group)
    return StreamState(
        name=instrument.stream,
        length=source.find_length(instrument.stream),
        lag=group.lag if group else None,
        pending=group.pending if group else None,
        has_group=group is not None,
        last_event_at=source.find_newest_at(instrument.stream),
    )


def _jobs(systems: Systems, instrument: Instrument) -> dict[str, int]:
    """Count the Jobs of a ScaledJob by what they do."""
    owner = {"metadata": {"namespace": instrument.namespace, "name": instrument.scaled_job}}
    jobs = systems.kube.each(JOBS, instrument.namespace, SCALED_JOB_LABEL)
    return dict(Counter(_state(job) for job in jobs if running_jobs.is_of(job, owner)))


def _state(job: Object) -> str:
    if has_condition(job, "Failed"):
        return "failed"
    if has_condition(job, "Complete"):
        return "complete"
    if is_suspended(job):
        return "suspended"
    return "running" if (job.get("status") or {}).get("ready") else "pending"
