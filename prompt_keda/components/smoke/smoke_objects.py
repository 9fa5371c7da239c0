"""The objects of one smoke test: all in its own namespace, none of them seen by an instrument."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.systems import Systems
from prompt_keda.components.event_source.choice import event_source
from prompt_keda.core.marks import RUN_ANNOTATION
from prompt_keda.core.secret import Secret
from prompt_keda.environment.model import Environment

SMOKE_LABEL = "prompt-keda.lsst.io/smoke"
ACTIVATION = 1
WORK_S = "3"
"""Seconds that a worker holds an event. KEDA may reconcile a new ScaledJob a second time, and then breaks off in the
middle of creating Jobs ("context canceled", seen); the events that no worker has taken yet bring the rest with the next
poll. Workers that are quicker than that would take them all."""
RESOURCES = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}}
"""What a worker asks for."""
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""Pod Security ``restricted`` (https://kubernetes.io/docs/concepts/security/pod-security-standards/)."""


def hold_stream(name: str) -> str:
    """Return the stream on which a test's held workers wait for the word to end."""
    return f"{name}-hold"


def namespace(environment: Environment) -> Object:
    """Return the namespace; Pod Security ``restricted``."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted", SMOKE_LABEL: "true"}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": environment.smoke.namespace, "labels": labels},
    }


def login(environment: Environment, name: str, parameters: Mapping[str, Secret], run_id: str) -> list[Object]:
    """Return the Secret with a trigger's parameters, and the TriggerAuthentication that reads it; nothing without any."""
    if not parameters:
        return []
    secret = _object("v1", "Secret", environment, name, run_id)
    secret["data"] = {key: base64.b64encode(value.reveal().encode()).decode() for key, value in parameters.items()}
    authentication = _object("keda.sh/v1alpha1", "TriggerAuthentication", environment, name, run_id)
    authentication["spec"] = {"secretTargetRef": [{"parameter": key, "name": name, "key": key} for key in parameters]}
    return [secret, authentication]


def scaled_job(systems: Systems, name: str, max_jobs: int, run_id: str) -> Object:
    """Return the ScaledJob: minimum 0, so that no idle worker takes the events (failure mode F20).

    Raises
    ------
    ClientError
        When Vault does not give what the event source needs, or a file of authorities is missing.
    """
    environment, source = systems.environment, event_source(systems)
    variables: list[Object] = [
        *source.worker_variables(name, name, secret=name),
        {"name": "FANNED_OUT_MSG_LISTEN_TIMEOUT", "value": "2"},
        {"name": "WORKER_RESTART_FREQ", "value": "10"},
        {"name": "WORK_TIME", "value": WORK_S},
    ]
    trigger = source.trigger(name, name, 1, ACTIVATION)
    if source.trigger_parameters():
        trigger["authenticationRef"] = {"name": name}
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532},
        "imagePullSecrets": [{"name": environment.smoke.pull_secret.name}] if environment.smoke.pull_secret else [],
        "containers": [
            {
                "name": "worker",
                "image": environment.smoke.image,
                "env": variables,
                "securityContext": RESTRICTED,
                "resources": RESOURCES,
            }
        ],
    }
    made = _object("keda.sh/v1alpha1", "ScaledJob", environment, name, run_id)
    made["spec"] = {
        "jobTargetRef": {
            "parallelism": 1,
            "completions": 1,
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": 600,
            "template": {"metadata": {"labels": {SMOKE_LABEL: name}}, "spec": pod},
        },
        "pollingInterval": 1,
        "minReplicaCount": 0,
        "maxReplicaCount": max_jobs,
        "successfulJobsHistoryLimit": 100,  # the evidence must not be tidied away (failure mode F48)
        "failedJobsHistoryLimit": 100,
        "rollout": {"strategy": "gradual"},
        "scalingStrategy": {"strategy": "eager"},
        "triggers": [trigger],
    }
    return made


def _object(api_version: str, kind: str, environment: Environment, name: str, run_id: str) -> Object:
    metadata = {
        "name": name,
        "namespace": environment.smoke.namespace,
        "labels": {SMOKE_LABEL: name},
        "annotations": {RUN_ANNOTATION: run_id},
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}
