"""What a snapshot's file keeps of KEDA's objects: no password that stands openly in one. Without a cluster."""

from __future__ import annotations

import json

import pytest

from prompt_keda.core.decisions import Decisions
from prompt_keda.redeploy import snapshot

OPEN = "hunter" + str(2)


def scaled_job(*, env=(), metadata=None, **container):
    spec = {"containers": [{"name": "w", "env": list(env), **container}]}
    triggers = [{"type": "redis-streams", "metadata": metadata or {}}]
    body = {"jobTargetRef": {"template": {"spec": spec}}, "triggers": triggers}
    return {"kind": "ScaledJob", "metadata": {"name": "sj", "namespace": "n"}, "spec": body}


@pytest.mark.parametrize(
    "held",
    [
        scaled_job(env=[{"name": "REDIS_PASSWORD", "value": OPEN}]),
        scaled_job(env=[{"name": "API_TOKEN", "value": OPEN}]),
        scaled_job(env=[{"name": "BROKER", "value": f"redis://worker:{OPEN}@redis:6379/0"}]),
        scaled_job(metadata={"sentinelPassword": OPEN}),
        scaled_job(args=[f"--redis-password={OPEN}", "--verbose"]),
        scaled_job(command=["sh", "-c", f"work --token {OPEN} --fast"]),
    ],
)
def test_an_open_password_is_not_kept(held):
    """Its place is, and all else. What only the snapshot brings back is kept whole: without it no worker could log in."""
    (kept,) = snapshot.to_keep([held], Decisions())
    assert OPEN not in json.dumps(kept) and snapshot.LEFT_OUT in json.dumps(kept)
    assert kept["metadata"] == held["metadata"] and OPEN in json.dumps(held)
    assert snapshot.to_keep([held], Decisions(saved=("ScaledJob n/sj",))) == [held]


def test_where_a_secret_is_stays():
    """References hold no value."""
    reference = {"secretKeyRef": {"name": "prompt-redis-auth", "key": "redis-password"}}
    held = scaled_job(
        env=[{"name": "REDIS_PASSWORD", "valueFrom": reference}, {"name": "MODE", "value": "fast"}],
        metadata={"passwordFromEnv": "REDIS_PASSWORD", "stream": "instrument:i"},
        args=["--password-file=/etc/p"],
        volumeMounts=[{"name": "secret-volume", "mountPath": "/token"}],
    )
    held["spec"]["jobTargetRef"]["template"]["spec"]["imagePullSecrets"] = [{"name": "pull-secret"}]
    held["spec"]["jobTargetRef"]["template"]["spec"]["volumes"] = [{"name": "v", "secret": {"secretName": "s"}}]
    (kept,) = snapshot.to_keep([held], Decisions())
    assert kept == held
