"""Faults that cut the chain from an event to a Job that ended well, by causes that few checks know.

None ends a running Job. Each waits until too few workers have run for a while: the symptom is red then.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from prompt_keda.clients.kube.resources import PODS, Resource
from prompt_keda.lab.faults.fault import Fault, Stage
from prompt_keda.lab.faults.waiting import until

Object = dict[str, Any]
ADMISSION = "admissionregistration.k8s.io/v1"
POLICIES = Resource(ADMISSION, "ValidatingAdmissionPolicy", "validatingadmissionpolicies", False)
BINDINGS = Resource(ADMISSION, "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", False)
POLICY = "no-jobs"
END_S = 180
"""Idle workers end after 30 s; those that take events after ten of them."""
CUT_S = 20
"""Some polls, and what the start of some workers may take on the local stack."""
LASTS_S = 3
"""Who runs for longer is a worker that stays."""


def refuse_jobs(stage: Stage) -> None:
    """Let an admission policy refuse every new Job of the instruments."""
    spaces = sorted({instrument.namespace for instrument in stage.environment.instruments})
    rule = {"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}
    expression = f"!(request.namespace in {spaces!r})"
    spec: Object = {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [rule]}}
    spec["validations"] = [{"expression": expression, "message": "Jobs need a label"}]
    stage.kube.apply(_object(POLICIES, spec))
    stage.kube.apply(_object(BINDINGS, {"policyName": POLICY, "validationActions": ["Deny"]}))
    until_cut(stage)


def _object(resource: Resource, spec: Object) -> Object:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": POLICY},
        "spec": spec,
    }


def admit_jobs(stage: Stage) -> None:
    """Delete the policy, and wait until workers run again."""
    stage.kube.delete(BINDINGS, POLICY)
    stage.kube.delete(POLICIES, POLICY)
    until_at_work(stage)


def until_cut(stage: Stage) -> None:
    """Wait until fewer workers than the minimum have run for a while."""
    since = [time.monotonic()]

    def is_cut() -> bool:
        if _is_at_work(stage):
            since[0] = time.monotonic()
        return time.monotonic() - since[0] > CUT_S

    until(is_cut, "workers that end, and none that follow", END_S)


def until_at_work(stage: Stage) -> None:
    """Wait until the minimum of workers runs."""
    until(lambda: _is_at_work(stage), "workers that run")


def _is_at_work(stage: Stage) -> bool:
    return all(
        _running_count(stage, instrument.namespace) >= instrument.min_jobs
        for instrument in stage.environment.instruments
    )


def _running_count(stage: Stage, namespace: str) -> int:
    """Count the pods that run, and have done so for more than a moment."""
    statuses = [pod["status"] for pod in stage.kube.list(PODS, namespace)]
    starts = [status["startTime"] for status in statuses if status["phase"] == "Running"]
    now = datetime.now(UTC)
    return sum((now - datetime.fromisoformat(start)).total_seconds() > LASTS_S for start in starts)


FAULTS: tuple[Fault, ...] = (
    Fault(
        "scaling/jobs-refused",
        "",
        "an admission policy refuses KEDA's Jobs",
        refuse_jobs,
        admit_jobs,
        {"scaling/works": "fail"},
        "and none came to be",
        stops_scaling=True,
    ),
)
