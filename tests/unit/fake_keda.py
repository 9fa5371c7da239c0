"""A double of KEDA and of the workers, as far as the acceptance suite looks at them. It polls whenever somebody waits.

Its numbers are those of KEDA 2.16.1, pkg/scaling/executor/scale_jobs.go.
"""

from __future__ import annotations

import itertools
import math

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.clients.kube.conditions import conditions as conditions_of
from prompt_keda.components.scaled_jobs.objects import is_finished, is_paused

from .world import OPERATOR, conditions

NAME, NAMESPACE = "scaledjob.keda.sh/name", "prompt-keda-smoke"


class FakeKeda:
    """Works the ScaledJobs of a `World`. ``other`` names what this KEDA does otherwise than it should."""

    def __init__(self, world, other=""):
        self.world, self.other = world, other
        self.kube, self.redis = world.kube, world.redis
        self.late = {}
        self.errors = {}
        self._numbers = itertools.count()
        self._seen = {}

    def poll(self):
        """Look at each ScaledJob once."""
        self._bring_operator_back()
        for scaled_job in self.kube.list(kinds.SCALED_JOBS, NAMESPACE) if self._operators() else ():
            self._reconcile(scaled_job)
            if is_paused(scaled_job):
                self._status(scaled_job, Ready="True", Active="False", Paused="True")
            if not is_paused(scaled_job) or self.other == "does not pause":
                self._poll(scaled_job)
        self._work()
        lines = [
            f'keda_internal_scale_loop_latency_seconds{{namespace="{NAMESPACE}",resource="{n}",type="scaledjob"}} {v}'
            for n, v in self.late.items()
        ]
        lines += [
            f'keda_scaled_job_errors_total{{namespace="{NAMESPACE}",scaledJob="{n}"}} {v}'
            for n, v in self.errors.items()
        ]
        for pod in self._operators():
            self.kube.pages["keda", pod["metadata"]["name"], 8080, "/metrics"] = "\n".join(lines)

    def _reconcile(self, scaled_job):
        name, spec = scaled_job["metadata"]["name"], scaled_job["spec"]
        before, self._seen[name] = self._seen.get(name, spec), spec
        if before != spec and (spec["rollout"]["strategy"] != "gradual" or self.other == "deletes on a change"):
            for job in self._jobs(name):
                self._delete(job["metadata"]["name"])

    def _poll(self, scaled_job):
        name, spec = scaled_job["metadata"]["name"], scaled_job["spec"]
        if self.other != "does not poll":
            self.late[name] = next(self._numbers)
        trigger = spec["triggers"][0]
        if trigger["type"] != "redis-streams":
            self.errors[name] = self.errors.get(name, 0) + (self.other != "counts no errors")
            self._status(scaled_job, Ready="Unknown", Active="False")
            return
        data = trigger["metadata"]
        lag = self.redis.group_info(data["stream"], data["consumerGroup"]).lag or 0
        is_active = lag > int(data["activationLagCount"]) or self.other == "has no activation"
        self._make(scaled_job, lag / int(data["lagCount"]) if is_active else 0)
        paused = "True" if is_paused(scaled_job) else "False"
        self._status(scaled_job, Ready="True", Active=str(is_active), Paused=paused)

    def _status(self, scaled_job, **statuses):
        if conditions_of(scaled_job) != statuses:
            self.world.change(
                kinds.SCALED_JOBS, scaled_job["metadata"]["name"], NAMESPACE, status=conditions(**statuses)
            )

    def _make(self, scaled_job, work):
        name, spec = scaled_job["metadata"]["name"], scaled_job["spec"]
        least = 0 if self.other == "has no minimum" else spec["minReplicaCount"]
        most = spec["maxReplicaCount"] - least
        active = [job for job in self._jobs(name) if not is_finished(job)]
        pending = sum(not job["status"]["runs"] for job in active)
        wanted = min(math.ceil(work), most)
        if len(active) < least:
            count = least - len(active)
        else:
            count = self._by_strategy(spec["scalingStrategy"], wanted, len(active) - least, pending, most)
        if self.other == "knows no maximum" and work:
            count = math.ceil(work)
        for _ in range(count):
            self._create(name, spec["jobTargetRef"]["template"]["spec"])

    def _by_strategy(self, strategy, wanted, running, pending, most):
        name = self.other.removeprefix("always ") if self.other.startswith("always") else strategy["strategy"]
        if name == "eager":
            return min(most - running - pending, wanted)
        if name == "accurate":
            return most - running if wanted + running > most else wanted - pending
        if name == "custom":
            share = float(strategy["customScalingRunningJobPercentage"])
            return min(wanted - strategy["customScalingQueueLengthDeduction"] - int(running * share), most)
        return wanted - running

    def _create(self, scaled_job, pod):
        name = f"{scaled_job}-{next(self._numbers)}"
        runs = "nodeSelector" not in pod
        spec = {"template": {"spec": pod}}
        self.world.put(kinds.JOBS, name, NAMESPACE, {NAME: scaled_job}, spec=spec, status={"runs": runs})
        labels = {"prompt-keda.lsst.io/smoke": scaled_job}
        self.world.put(kinds.PODS, name, NAMESPACE, labels, status={"phase": "Running" if runs else "Pending"})

    def _work(self):
        """Let the workers take what is there: held ones end at it, others when nothing is left."""
        for job in self.kube.list(kinds.JOBS, NAMESPACE):
            variables = job["spec"]["template"]["spec"]["containers"][0]["env"]
            env = {variable["name"]: variable.get("value") for variable in variables}
            if is_finished(job) or not job["status"]["runs"]:
                continue
            stream, group = env["REDIS_STREAM_NAME"], env["REDIS_STREAM_CONSUMER_GROUP"]
            took = self.redis.take(stream, group, "w", min(10, int(env["WORKER_RESTART_FREQ"])))
            if took if stream.endswith("-hold") else not took:
                self.world.change(kinds.JOBS, job["metadata"]["name"], NAMESPACE, status=conditions(Complete="True"))

    def _bring_operator_back(self):
        if self.other != "has no operator" and not self._operators():
            self.world.put_part_pod("keda-operator")
            self.world.change(kinds.PODS, OPERATOR, "keda", metadata={"labels": {"app": "keda-operator"}})

    def _operators(self):
        return self.kube.list(kinds.PODS, "keda", "app=keda-operator")

    def _jobs(self, name):
        return self.kube.list(kinds.JOBS, NAMESPACE, f"{NAME}={name}")

    def _delete(self, name):
        self.kube.delete(kinds.JOBS, name, NAMESPACE)
        self.kube.delete(kinds.PODS, name, NAMESPACE)
