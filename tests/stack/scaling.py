"""Whether events still become work: asked from inside the stack's network, without the toolkit and without the API server."""

from __future__ import annotations

import os
import re
import subprocess

from prompt_keda.clients.kube_resources import SERVICES
from prompt_keda.errors import DeadlinePassed
from prompt_keda.faults.waiting import until
from prompt_keda.lab import network, state
from prompt_keda.redeploy.jobs import active_jobs

LEAST = 3
"""Workers that KEDA keeps without an event: minReplicaCount of the local ScaledJob. They wait, and would take what comes."""
COUNT, WORK_S, WITHIN_S = 40, 5, 45
"""The workers that wait take at most LEAST * (WITHIN_S / WORK_S + 1) = 30 of so many events in that time; all twenty take all."""
QUICK = (('FANNED_OUT_MSG_LISTEN_TIMEOUT, value: "30"', 'FANNED_OUT_MSG_LISTEN_TIMEOUT, value: "3"'),)
"""The words of the manifest that let a worker end soon when nothing comes."""
ANSWER_S, IDLE_S = 5, 120


class Scaling:
    """The scaling of the first instrument, whose workers are `QUICK`. Make it while the stack is whole.

    Parameters
    ----------
    stage
        The stack.
    """

    def __init__(self, stage):
        until(lambda: len(active_jobs(stage.kube)) <= LEAST, "the end of the workers of before", IDLE_S)
        redis, (self._instrument, *_) = stage.environment.redis, stage.environment.instruments
        address = stage.kube.get(SERVICES, redis.service, redis.namespace)["spec"]["clusterIP"]
        self._ask = [*network.enter(stage.lab), "redis-cli", "-h", address, "-p", str(redis.port)]
        self._env = {**os.environ, "REDISCLI_AUTH": state.ensure_secret(stage.lab, "redis-password").reveal()}
        self._last = ""

    def goes_on(self):
        """Send events, and tell whether there are soon enough workers to take them all. Where none can be sent, there are not."""
        try:
            until(self._is_sent, "an answer of Redis", ANSWER_S)
            until(self._all_taken, "enough workers", WITHIN_S)
        except DeadlinePassed:
            return False
        return True

    def _is_sent(self):
        add = f"for n = 1, {COUNT} do id = redis.call('XADD', KEYS[1], '*', 'visit', 'probe-' .. n) end return id"
        self._last = self._redis("EVAL", f"local id; {add}", "1", self._instrument.stream)
        return re.fullmatch("[0-9]+-[0-9]+", self._last)

    def _all_taken(self):
        words = self._redis("XINFO", "GROUPS", self._instrument.stream).split("\n")
        rows = [dict(zip(row[::2], row[1::2], strict=False)) for row in _groups(words)]
        read = [one["last-delivered-id"] for one in rows if one["name"] == self._instrument.consumer_group]
        return bool(read) and _number(read[0]) >= _number(self._last)

    def _redis(self, *words):
        try:
            done = subprocess.run(
                [*self._ask, *words], capture_output=True, text=True, timeout=ANSWER_S, env=self._env, check=False
            )
        except subprocess.TimeoutExpired:
            return ""
        return done.stdout.strip()


def _groups(words):
    """Split what redis-cli prints of XINFO GROUPS: each group begins with its name."""
    starts = [place for place, word in enumerate(words) if word == "name"]
    return [words[start:end] for start, end in zip(starts, [*starts[1:], len(words)], strict=False)]  # none: no answer


def _number(id_):
    return tuple(int(one) for one in id_.split("-"))
