"""A Job of a fault's own that gets no pod, whatever may be the reason."""

from __future__ import annotations

from prompt_keda.clients.kube.resources import JOBS
from prompt_keda.core.waiting import until
from prompt_keda.lab.faults.ages import age_s
from prompt_keda.lab.faults.fault import Stage

NAME, PATIENCE_S = "drill-has-no-pod", 31
"""The checks have patience for 30 s."""


def wait_for_one(stage: Stage) -> None:
    """Make the Job, and let it wait for its pod longer than one has patience."""
    container = {"name": "worker", "image": stage.environment.smoke.image}
    pod = {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container]}
    metadata = {"name": NAME, "namespace": stage.environment.instruments[0].namespace}
    spec = {"backoffLimit": 0, "template": {"spec": pod}}
    made = stage.kube.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec})
    until(lambda: age_s(made["metadata"]["creationTimestamp"]) > PATIENCE_S, "a Job that waits for its pod")


def take_away(stage: Stage) -> None:
    """Delete the Job, and what pod it may have got by now."""
    stage.kube.delete(JOBS, NAME, stage.environment.instruments[0].namespace)
