"""One small pod in the smoke test's namespace: made, seen, and deleted. It is all that check-deps ever writes (--deep).

docs/decisions/0006-deep-checks.md says why it is a Job, and why it looks up Redis.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import JOBS, PODS
from prompt_keda.clients.systems import Systems, filled
from prompt_keda.components.event_source.choice import event_source
from prompt_keda.components.smoke.smoke_objects import RESTRICTED
from prompt_keda.core.errors import ClientError, Missing, PromptKedaError, Refusal
from prompt_keda.core.waiting import looks

LABEL = "prompt-keda.lsst.io/canary"
TO_RUN = timedelta(seconds=30)
TO_SAY = timedelta(seconds=20)
LIFE_S = 60
"""The cluster ends the pod after this, and removes the Job as long after its end: also when this program was killed."""
REACHED = re.compile(r"(?:^|\")(?:[A-Z]{3,} |no event came|tls: |dial tcp \[?[0-9a-f.:]+\]?:[0-9]+: )")
"""Redis' own answer, its certificate, or a connection to an address: the worker had the name resolved.

An error of Redis begins with a word in capitals (https://redis.io/docs/latest/develop/reference/protocol-spec/, simple
errors): NOGROUP; to a worker without the password NOAUTH, or ERR for a command of more than ten words (seen).
"""
NEVER_RAN = ("StartError", "ContainerCannotRun")
"""Reasons of a container that has ended and was never started."""
NOT_RESOLVED = re.compile(r"lookup \S+?(?: on \S+)?: ([^\"]*)")
"""Go's words for a name that it could not resolve; after them stands why."""


@dataclass(frozen=True)
class CanaryRun:
    """What was seen of the canary.

    Parameters
    ----------
    pod
        Its name; empty: there was none.
    running_s
        Seconds from the Job's creation to the pod running; None: it never ran.
    state
        Where it stood when it did not run, in words.
    output
        What its log says last.
    left
        Why it could not be deleted; empty: it is gone.
    """

    pod: str = ""
    running_s: float | None = None
    state: str = ""
    output: str = ""
    left: str = ""


class Canary:
    """The canary of one round. `look` makes it, watches it and deletes it; `close` deletes it early, from another thread."""

    def __init__(self, systems: Systems) -> None:
        self._systems = systems
        self._namespace = systems.environment.smoke.namespace
        self._name = ""
        self._lock = threading.Lock()
        self._stopped = False

    def look(self) -> CanaryRun:
        """Make it, watch it until it runs and has said something, and delete it whatever happens.

        Raises
        ------
        ClientError
            When it cannot be made or seen; `Missing` when its namespace is missing.
        Refusal
            When the round has ended meanwhile.
        """
        watch = self._systems.kube.watch([(PODS, self._namespace)])  # before the Job, so that nothing is missed
        try:
            began = self._make()
            try:
                run = self._follow(watch, began)
            except BaseException:
                self._delete()
                raise
            return replace(run, left=self._delete())
        finally:
            watch.close()

    def _make(self) -> float:
        """Create the Job, and return when, by the monotonic clock."""
        name = f"canary-{secrets.token_hex(4)}"
        body = job(self._systems, name)
        with self._lock:  # what is made now is deleted, even if the round ends this moment
            if self._stopped:
                raise Refusal("the round has ended")
            began, self._name = time.monotonic(), name
            try:
                self._systems.kube.create(JOBS, body, self._namespace)
            except PromptKedaError:  # an answer that was lost may have been a yes
                self._delete()
                raise
        return began

    def close(self) -> None:
        """Delete it, and let none be made any more. Idempotent: yes."""
        with self._lock:
            self._stopped = True
            self._delete()

    def _delete(self) -> str:
        """Delete it if it is there; return why that was not possible, or nothing."""
        if self._name:
            try:
                self._systems.kube.delete(JOBS, self._name, self._namespace)
            except ClientError as error:
                return error.what
            self._name = ""
        return ""

    def _follow(self, watch: Any, began: float) -> CanaryRun:
        run = CanaryRun()
        for _ in looks(TO_RUN.total_seconds(), watch):
            if self._stopped:
                break
            pods = self._systems.kube.list(PODS, self._namespace, f"{LABEL}={self._name}")
            pod = pods[0] if pods else {}
            run = CanaryRun(pod.get("metadata", {}).get("name", ""), state=where_it_stands(pod))
            if _has_run(pod):
                running_s = time.monotonic() - began
                return replace(run, running_s=running_s, output=self._listen(watch, run.pod))
        return run

    def _listen(self, watch: Any, pod: str) -> str:
        """Return the last line of its log, once there is one."""
        for _ in looks(TO_SAY.total_seconds(), watch):
            if self._stopped:
                break
            with suppress(Missing):
                output = self._systems.kube.logs(self._namespace, pod).strip()
                if output:
                    return output.splitlines()[-1]
        return ""


def _has_run(pod: Object) -> bool:
    states = [container.get("state", {}) for container in pod.get("status", {}).get("containerStatuses") or []]
    ended = [state["terminated"].get("reason") for state in states if "terminated" in state]
    return any("running" in state for state in states) or any(state not in NEVER_RAN for state in ended)


def where_it_stands(pod: Object) -> str:
    """Return how far a pod has come that does not run, and who is to be asked."""
    if not pod:
        return "no pod was made for it: kube-controller-manager makes none, or is not allowed to"
    status, node = pod.get("status", {}), pod["spec"].get("nodeName")
    for container in status.get("containerStatuses") or []:
        state = container.get("state", {})
        stuck = state.get("waiting") or state.get("terminated") or {}
        if stuck.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return f"{stuck['reason']}: {stuck.get('message', '')[:200]}"
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            return f"no node takes it: {condition.get('message', '')[:200]}"
    if not node:
        return "it has no node: the scheduler, or in a vCluster the syncer, does not work"
    return f"it has node {node} and does not start: the kubelet, or in a vCluster the syncer, does not work"


def job(systems: Systems, name: str) -> Object:
    """Return the Job: one pod, restricted, without a token, that looks up Redis and finds no group of its name.

    Raises
    ------
    Unfilled
        When the environment does not say the smoke test's image.
    Missing
        When it names a file of Redis' authorities that is missing.
    """
    smoke, labels = systems.environment.smoke, {LABEL: name}
    variables = {
        "FANNED_OUT_MSG_LISTEN_TIMEOUT": "1",
        "REDIS_RETRY_DELAY": "1",
    }
    container = {
        "name": "canary",
        "image": filled(smoke.image, "smoke.image"),
        "imagePullPolicy": "Always",  # the node asks the registry, even if it has the layers
        "env": [
            *event_source(systems).worker_variables(name, name, secret=None),
            *({"name": key, "value": value} for key, value in variables.items()),
        ],
        "securityContext": RESTRICTED,
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532},
        "imagePullSecrets": [{"name": smoke.pull_secret.name}] if smoke.pull_secret else [],
        # a name server that is away is then reported within seconds, and not after the time-outs of all search domains
        "dnsConfig": {"options": [{"name": "timeout", "value": "1"}, {"name": "attempts", "value": "1"}]},
        "containers": [container],
    }
    return {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": {"name": name, "namespace": smoke.namespace, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": LIFE_S,
            "ttlSecondsAfterFinished": LIFE_S,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
