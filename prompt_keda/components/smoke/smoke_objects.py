"""The objects of one smoke test: all in its own namespace, none of them seen by an instrument."""

from __future__ import annotations

import base64
from typing import Any

from prompt_keda.clients.http.tls import authorities
from prompt_keda.core.marks import RUN_ANNOTATION
from prompt_keda.core.secret import Secret
from prompt_keda.environment.model import Environment

Object = dict[str, Any]
SMOKE_LABEL = "prompt-keda.lsst.io/smoke"
PASSWORD, AUTHORITIES = "redis-password", "ca.crt"
PARAMETERS = {PASSWORD: "password", AUTHORITIES: "ca"}
"""Key of the test's Secret → the trigger's parameter (KEDA 2.16.1, pkg/scalers/redis_scaler.go)."""
ACTIVATION = 1
WORK_S = "3"
"""Seconds that a worker holds an event. KEDA may reconcile a new ScaledJob a second time, and then breaks off in the
middle of creating Jobs ("context canceled", seen); the events that no worker has taken yet bring the rest with the next
poll. Workers that are quicker than that would take them all."""
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def hold_stream(name: str) -> str:
    """Give the stream on which a test's held workers wait for the word to end."""
    return f"{name}-hold"


def namespace(environment: Environment) -> Object:
    """Give the namespace; Pod Security ``restricted``."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted", SMOKE_LABEL: "true"}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": environment.smoke.namespace, "labels": labels},
    }


def login(environment: Environment, name: str, password: Secret | None, run_id: str) -> list[Object]:
    """Return the Secret with Redis' password and authorities, and the TriggerAuthentication that reads it; none of either: none.

    Parameters
    ----------
    password
        None: Redis without a password.

    Raises
    ------
    Missing
        When the environment names a file of authorities that is not there.
    """
    values = {PASSWORD: password.reveal()} if password else {}
    if pem := _authorities(environment):
        values[AUTHORITIES] = pem
    if not values:
        return []
    secret = _object("v1", "Secret", environment, name, run_id)
    secret["data"] = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    authentication = _object("keda.sh/v1alpha1", "TriggerAuthentication", environment, name, run_id)
    authentication["spec"] = {
        "secretTargetRef": [{"parameter": PARAMETERS[key], "name": name, "key": key} for key in values]
    }
    return [secret, authentication]


def tls_variables(environment: Environment) -> list[Object]:
    """Return what lets a worker speak TLS to Redis; nothing where Redis does not. Raises as `login` does."""
    if environment.redis.tls is None:
        return []
    pem = _authorities(environment)
    return [{"name": "REDIS_TLS", "value": "true"}, *([{"name": "REDIS_TLS_CA", "value": pem}] if pem else [])]


def _authorities(environment: Environment) -> str:
    """Return the certificates by which Redis is verified; empty where it is the system's, or no TLS."""
    redis = environment.redis
    if redis.tls is None or redis.tls.ca_file is None:
        return ""
    return authorities("Redis", redis.inside_address, redis.tls.ca_file)


def scaled_job(environment: Environment, name: str, max_jobs: int, run_id: str) -> Object:
    """Give the ScaledJob: minimum 0, so that no idle worker takes the events (failure mode F20). Raises as `login` does."""
    redis = environment.redis
    variables: list[Object] = [
        {"name": "REDIS_STREAM_HOST", "value": redis.inside_address},
        {"name": "REDIS_STREAM_NAME", "value": name},
        {"name": "REDIS_STREAM_CONSUMER_GROUP", "value": name},
        {"name": "FANNED_OUT_MSG_LISTEN_TIMEOUT", "value": "2"},
        {"name": "WORKER_RESTART_FREQ", "value": "10"},
        {"name": "WORK_TIME", "value": WORK_S},
        *tls_variables(environment),
    ]
    trigger: Object = {
        "type": "redis-streams",
        "metadata": {
            "address": redis.inside_address,
            "stream": name,
            "consumerGroup": name,
            "lagCount": "1",
            "activationLagCount": str(ACTIVATION),
        },
    }
    if redis.password:
        key = {"name": name, "key": PASSWORD}
        variables.append({"name": "REDIS_PASSWORD", "valueFrom": {"secretKeyRef": key}})
    if redis.tls:
        trigger["metadata"]["enableTLS"] = "true"
    if redis.password or (redis.tls and redis.tls.ca_file):
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
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
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
