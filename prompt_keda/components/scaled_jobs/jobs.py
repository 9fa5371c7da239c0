"""The Jobs of ScaledJobs: would KEDA keep, count and not end them, and do they succeed?"""

from __future__ import annotations

import re
from dataclasses import replace

from prompt_keda.clients.kube.conditions import has_condition
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import JOBS
from prompt_keda.clients.systems import Systems
from prompt_keda.components.scaled_jobs.looks import of_every_instrument, of_every_scaled_job
from prompt_keda.components.scaled_jobs.objects import (
    SCALED_JOB_LABEL,
    is_finished,
    is_running,
    keeps_older_jobs,
    limit_of_pod,
)
from prompt_keda.components.scaled_jobs.running_jobs import would_be_deleted
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.outcomes import fail, ok, warn
from prompt_keda.delivery.argocd import HOOK
from prompt_keda.environment.model import Instrument

HOOK_POLICY = "argocd.argoproj.io/hook-delete-policy"
NEWEST, MOST_FAILED = 5, 2
"""Of so many newest finished Jobs so many may have failed."""


@check(
    "keda/jobs-carry-their-generation",
    "A restart of KEDA would delete no running Job",
    needs=("keda/scaled-jobs-present",),
    runbook="jobs-at-risk",
)
def jobs_carry_their_generation(systems: Systems) -> Outcome:
    """Would KEDA delete running Jobs when it next reconciles (failure modes F2 and F3)?

    Cause: The ScaledJob changed, or was recreated, while Jobs ran (F2, F3).
    """

    def look(instrument: Instrument, live: Object) -> Outcome:
        jobs = systems.kube.each(JOBS, instrument.namespace, f"{SCALED_JOB_LABEL}={instrument.scaled_job}")
        risky = [job["metadata"]["name"] for job in jobs if is_running(job) and would_be_deleted(job, live)]
        if not risky:
            return ok(instrument.scaled_job)
        message = f"{len(risky)} running Jobs at risk when KEDA restarts: {', '.join(risky[:3])}"
        return warn(f"{instrument.scaled_job}: {message}", "./run redeploy annotates them.")

    return of_every_scaled_job(systems, look, "every running Job carries its ScaledJob's generation")


@check(
    "keda/rollout-keeps-jobs",
    "No Argo CD sync would delete running Jobs",
    needs=("keda/scaled-jobs-present",),
    runbook="jobs-at-risk",
)
def rollout_keeps_jobs(systems: Systems) -> Outcome:
    """Is a ScaledJob with running Jobs a hook of Argo CD with the policy BeforeHookCreation, which is the default (F1,
    F6)? That an edit would delete them, because the rollout is not gradual, is reported in the detail.

    Cause: The public chart makes the ScaledJob a PostSync hook: each full sync deletes it, with its Jobs, and makes
    it again.

    Fix: Ask for no sync while Jobs run, and for `gradual` and no hook at the source.

    Notes
    -----
    A hook without a delete policy is deleted and made again at each sync (Argo CD, "Resource Hooks": BeforeHookCreation
    is the default). A rollout that is not gradual deletes them at each edit; that alone is reported, because it is meant so.
    """
    fix = "Ask for no sync while Jobs run; set rollout.strategy to gradual at the source, and no hook on a ScaledJob."
    edits: list[str] = []

    def look(instrument: Instrument, live: Object) -> Outcome:
        running = [
            job
            for job in systems.kube.each(JOBS, instrument.namespace, f"{SCALED_JOB_LABEL}={instrument.scaled_job}")
            if is_running(job)
        ]
        annotations = live["metadata"].get("annotations") or {}
        policy = annotations.get(HOOK_POLICY) or "BeforeHookCreation (the default)"
        if annotations.get(HOOK) and "BeforeHookCreation" in policy and running:
            message = f"it is a hook of Argo CD ({annotations[HOOK]}, {policy})"
            return warn(f"{instrument.scaled_job}: {message}, so a sync deletes its {len(running)} running Jobs", fix)
        if running and not keeps_older_jobs(live["spec"]):
            edits.append(
                f"an edit of {instrument.scaled_job} would delete its {len(running)} running Jobs (rollout not gradual)"
            )
        return ok(instrument.scaled_job)

    outcome = of_every_scaled_job(systems, look, "no sync deletes Jobs")
    return replace(outcome, detail="; ".join(filter(None, (outcome.detail, *edits))))


@check("keda/jobs-are-counted", "KEDA counts every running Job", needs=("cluster/api-answers",), runbook="jobs-at-risk")
def jobs_are_counted(systems: Systems) -> Outcome:
    """Has each running Job that a ScaledJob has made, by owner or name, the label `scaledjob.keda.sh/name` (F26)?

    Cause: The label was taken away. KEDA then makes more Jobs than the maximum.

    Fix: `kubectl label job NAME scaledjob.keda.sh/name=SCALEDJOB`.

    Notes
    -----
    One without it is left out of the count, and KEDA makes Jobs beyond the maximum.
    """
    fix = "First the generation, as the runbook says; then kubectl label job NAME scaledjob.keda.sh/name=SCALEDJOB"

    def look(instrument: Instrument) -> Outcome:
        lost = [
            job["metadata"]["name"]
            for job in systems.kube.each(JOBS, instrument.namespace)
            if is_running(job) and _is_of(job, instrument) and _label(job) != instrument.scaled_job
        ]
        if lost:
            return warn(
                f"{instrument.scaled_job}: {len(lost)} running Jobs are not counted: {', '.join(lost[:3])}", fix
            )
        return ok(instrument.scaled_job)

    return of_every_instrument(systems, look, "every running Job is counted")


def _label(job: Object) -> str | None:
    label: str | None = (job["metadata"].get("labels") or {}).get(SCALED_JOB_LABEL)
    return label


def _is_of(job: Object, instrument: Instrument) -> bool:
    """Return whether KEDA has made a Job for this ScaledJob: by its owner, or by a name as the API server makes it.

    The API server adds five letters or digits to a generated name.
    """
    owners = [(ref["kind"], ref["name"]) for ref in job["metadata"].get("ownerReferences") or []]
    if owners:
        return ("ScaledJob", instrument.scaled_job) in owners
    return bool(re.fullmatch(f"{re.escape(instrument.scaled_job)}-[a-z0-9]{{5}}", job["metadata"]["name"]))


@check(
    "keda/no-job-has-a-limit",
    "No running Job has a maximum run time",
    needs=("cluster/api-answers",),
    runbook="jobs-at-risk",
)
def no_job_has_a_limit(systems: Systems) -> Outcome:
    """Look at `activeDeadlineSeconds` of each running Job and of its pods: a Job keeps what its ScaledJob had when it
    was made.

    Cause: The ScaledJob had a limit when the Job was made, or still has.

    Fix: Correct the ScaledJob's source; whether such a Job may end at its limit is for its people to say.
    """

    def look(instrument: Instrument) -> Outcome:
        limited = [
            job["metadata"]["name"]
            for job in systems.kube.each(JOBS, instrument.namespace)
            if is_running(job)
            and (_is_of(job, instrument) or _label(job) == instrument.scaled_job)
            and _limit(job) is not None
        ]
        fix = "Correct the ScaledJob's source; whether these Jobs may end at their limit is for their people to say."
        if limited:
            return fail(
                f"{instrument.scaled_job}: {len(limited)} running Jobs have a maximum run time: {', '.join(limited[:3])}",
                fix,
            )
        return ok(instrument.scaled_job)

    return of_every_instrument(systems, look, "no running Job has one")


def _limit(job: Object) -> int | None:
    spec = job.get("spec") or {}
    limit_s: int | None = spec.get("activeDeadlineSeconds")
    return limit_of_pod(spec) if limit_s is None else limit_s


@check(
    "keda/jobs-do-not-fail",
    "The newest Jobs succeed",
    needs=("cluster/api-answers", "redis/answers", "redis/groups-exist"),
    runbook="workers-fail",
)
def jobs_do_not_fail(systems: Systems) -> Outcome:
    """Look at how the five newest finished Jobs of each ScaledJob ended.

    Cause: Three or more of them failed: a bad image, secret or database. KEDA goes on making Jobs, and all else
    looks green.

    Fix: `kubectl logs job/NAME` of the one that the result names.
    """
    fix = "Look at the newest one: kubectl logs job/NAME."

    def look(instrument: Instrument) -> Outcome:
        jobs = systems.kube.each(JOBS, instrument.namespace, f"{SCALED_JOB_LABEL}={instrument.scaled_job}")
        newest = sorted((job for job in jobs if is_finished(job)), key=_finished_at)[-NEWEST:]
        failed = [job for job in newest if has_condition(job, "Failed")]
        if len(failed) <= MOST_FAILED:
            return ok(f"{instrument.scaled_job}: {len(newest) - len(failed)} of the newest {len(newest)} succeeded")
        why = next(condition for condition in failed[-1]["status"]["conditions"] if condition["type"] == "Failed")
        reason = f"{failed[-1]['metadata']['name']}: {why.get('reason')}, {why.get('message')}"
        return warn(f"{instrument.scaled_job}: {len(failed)} of the newest {len(newest)} Jobs failed; {reason}", fix)

    return of_every_instrument(systems, look)


def _finished_at(job: Object) -> str:
    """Return when a Job finished; the API server's times sort as texts."""
    ends = [
        condition
        for condition in job["status"]["conditions"]
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True"
    ]
    return str(ends[0].get("lastTransitionTime", ""))
