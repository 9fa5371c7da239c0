"""The operator's pod is deleted: scaling goes on with the next one, and running Jobs live on."""

from __future__ import annotations

from prompt_keda.clients.kube.resources import PODS
from prompt_keda.components.keda.names import OPERATOR
from prompt_keda.components.smoke.acceptance.case import Case
from prompt_keda.components.smoke.acceptance.shape import Shape
from prompt_keda.components.smoke.acceptance.trial import Trial
from prompt_keda.core.errors import StepBroken

SLOW_S = 5


def _deleted(trial: Trial) -> None:
    trial.makes_one_more(1)
    for count in (2, 3):
        before = {job["metadata"]["uid"] for job in trial.jobs()}
        _delete_operator(trial)
        trial.makes_one_more(count)
        if not before <= {job["metadata"]["uid"] for job in trial.jobs()}:
            raise StepBroken("a Job that ran is gone with the operator's pod")
    trial.keeps(3)


def _delete_operator(trial: Trial) -> None:
    kube, namespace = trial.systems.kube, trial.systems.environment.keda.namespace
    old = {pod["metadata"]["uid"]: pod["metadata"]["name"] for pod in kube.list(PODS, namespace, f"app={OPERATOR}")}
    for uid, name in old.items():
        kube.delete(PODS, name, namespace, uid=uid)

    def gone() -> tuple[bool, str]:
        left = [pod for pod in kube.list(PODS, namespace, f"app={OPERATOR}") if pod["metadata"]["uid"] in old]
        return not left, f"{len(left)} of {len(old)} left"

    trial.until("operator's pod", "gone", gone)


CASES = (
    Case(
        "operator/deleted",
        "scaling goes on when the operator's pod is deleted between two steps",
        "sequential/disruption",
        Shape(polling_s=SLOW_S),
        _deleted,
        disrupts=True,
    ),
)
