"""The rollout strategy gradual: a changed ScaledJob leaves its running Jobs alone. KEDA has no test of it."""

from __future__ import annotations

from dataclasses import replace

from prompt_keda.clients.kube.conditions import has_condition
from prompt_keda.clients.kube.objects import Object
from prompt_keda.components.smoke.acceptance.case import Case
from prompt_keda.components.smoke.acceptance.shape import Shape
from prompt_keda.components.smoke.acceptance.trial import Trial
from prompt_keda.core.errors import StepBroken

CHANGED = "second"
SLOW_S = 4


def _gradual(trial: Trial) -> None:
    trial.send_work_for(2)
    trial.makes(2)
    trial.take_all()
    trial.runs(2)
    before = {obj["metadata"]["uid"] for obj in (*trial.jobs(), *trial.pods())}
    trial.change(replace(trial.shape, mark=CHANGED))
    trial.stays("running Jobs and pods under the changed spec", "the same", lambda: _all_live(trial, before))
    trial.send_work_for(1)
    trial.until("Jobs of the changed spec", "1", lambda: _changed(trial))
    trial.take_all()
    trial.runs(3)
    trial.stays("Jobs and pods of before", "the same", lambda: _all_live(trial, before))
    trial.release(3)
    trial.until("Jobs of before and after", "3 ended well", lambda: _all_complete(trial, before))


def _all_live(trial: Trial, before: set[str]) -> tuple[bool, str]:
    objects = [obj for obj in (*trial.jobs(), *trial.pods()) if obj["metadata"]["uid"] in before]
    live = [obj for obj in objects if "deletionTimestamp" not in obj["metadata"]]
    return len(live) == len(before), f"{len(live)} of {len(before)} live on"


def _changed(trial: Trial) -> tuple[bool, str]:
    count = sum(_mark(job) == CHANGED for job in trial.jobs())
    if count > 1:
        raise StepBroken(f"Jobs of the changed spec: expected 1, seen {count}")
    return count == 1, f"{count} Jobs of the changed spec"


def _mark(job: Object) -> str:
    variables = job["spec"]["template"]["spec"]["containers"][0]["env"]
    return next((str(variable["value"]) for variable in variables if variable["name"] == "CASE_MARK"), "")


def _all_complete(trial: Trial, before: set[str]) -> tuple[bool, str]:
    still, detail = _all_live(trial, before)
    if not still:
        raise StepBroken(f"Jobs and pods of before: {detail}")
    complete = sum(has_condition(job, "Complete") for job in trial.jobs())
    return complete == trial.made_count == 3, f"{complete} of {trial.made_count} Jobs ended well"


CASES = (
    Case(
        "rollout/gradual",
        "a changed ScaledJob with the rollout gradual leaves its running Jobs to their end",
        "ours",
        Shape(polling_s=SLOW_S),
        _gradual,
    ),
)
