"""The checks of Jobs: each is seen red for its reason, and green where nothing is wrong."""

from __future__ import annotations

import pytest

from prompt_keda.clients.kube import resources as kinds
from tests.unit.faults import both, broken_verdict, environment, scaled_job, turns_red
from tests.unit.world import SCALED_JOB, SPACE


def other_generation(world):
    world.remove(kinds.JOBS, "j1", SPACE)
    world.put_job("1")


def job(name="prompt-keda-lsstcam-ab12c", labels=None, spec=None, owner=None, **status):
    """Let one more Job stand."""

    def apply(world):
        world.put(kinds.JOBS, name, SPACE, labels, spec=spec or {}, status=status)
        references = [{"kind": "ScaledJob", "name": owner, "uid": "u"}] if owner else []
        world.change(kinds.JOBS, name, SPACE, metadata={"ownerReferences": references})

    return apply


def finished(*kinds_of_end):
    """Let Jobs be finished, one after the other; each is Complete or Failed."""
    ends = [{"type": kind, "status": "True", "reason": "BackoffLimitExceeded", "message": "m"} for kind in kinds_of_end]
    return both(
        *(
            job(f"done-{index}", LABELLED, conditions=[{**end, "lastTransitionTime": f"2026-01-01T00:0{index}:00Z"}])
            for index, end in enumerate(ends)
        )
    )


LABELLED = {"scaledjob.keda.sh/name": SCALED_JOB}
HOOK = {"annotations": {"argocd.argoproj.io/hook": "PostSync"}}
OF_INSTRUMENTS = [
    "keda/jobs-carry-their-generation",
    "keda/rollout-keeps-jobs",
    "keda/jobs-are-counted",
    "keda/no-job-has-a-limit",
    "keda/jobs-do-not-fail",
]
RED = [
    *((check, environment(instruments=()), "unknown", "names none") for check in OF_INSTRUMENTS),
    ("keda/jobs-carry-their-generation", other_generation, "warn", "1 running Jobs at risk"),
    ("keda/rollout-keeps-jobs", scaled_job(metadata=HOOK), "warn", "a sync deletes its 1 running Jobs"),
    ("keda/jobs-are-counted", job(active=1), "warn", "1 running Jobs are not counted: prompt-keda-lsstcam-ab12c"),
    ("keda/jobs-are-counted", job("renamed", owner=SCALED_JOB, active=1), "warn", "renamed"),
    (
        "keda/no-job-has-a-limit",
        job(labels=LABELLED, spec={"activeDeadlineSeconds": 900}, active=1),
        "fail",
        "1 running Jobs have a maximum run time",
    ),
    (
        "keda/no-job-has-a-limit",
        job(labels=LABELLED, spec={"template": {"spec": {"activeDeadlineSeconds": 900}}}, active=1),
        "fail",
        "prompt-keda-lsstcam-ab12c",
    ),
    (
        "keda/jobs-do-not-fail",
        finished("Failed", "Complete", "Failed", "Complete", "Failed", "Failed"),
        "warn",
        "3 of the newest 5 Jobs failed; done-5: BackoffLimitExceeded, m",
    ),
]


test_a_check_turns_red_for_its_reason = turns_red(RED)


@pytest.mark.parametrize("check", ["keda/jobs-are-counted", "keda/no-job-has-a-limit"])
def test_a_suspended_job_is_no_running_one(check):
    """It has no pod, and takes no event: nothing of it is at risk."""
    suspended = job("prompt-keda-lsstcam-ab12c", spec={"suspend": True, "activeDeadlineSeconds": 900})
    assert broken_verdict(check, suspended).verdict.value == "ok"


@pytest.mark.parametrize(
    ("check", "fault", "message"),
    [
        (
            "keda/rollout-keeps-jobs",
            lambda world: None,
            "an edit of prompt-keda-lsstcam would delete its 1 running Jobs",
        ),
    ],
)
def test_what_is_reported_and_no_more_is_green(check, fault, message):
    """Jobs that an edit would delete."""
    outcome = broken_verdict(check, fault)
    assert outcome.verdict.value == "ok" and message in f"{outcome.observed} {outcome.detail}", outcome
