"""Whether events still become work: asked from inside the stack's network, without the toolkit and without the API server."""

from __future__ import annotations

import os
import subprocess

from prompt_keda.clients.kube.resources import SERVICES
from prompt_keda.components.scaled_jobs.running_jobs import active_jobs
from prompt_keda.core.errors import DeadlinePassed
from prompt_keda.core.waiting import until
from prompt_keda.lab import processes, state
from prompt_keda.lab.faults.redis import other_password

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
        self._ask = [*processes.enter_node(stage.lab), "redis-cli", "-h", address, "-p", str(redis.port)]
        self._passwords, self._first = (state.ensure_secret(stage.lab, "redis-password"), other_password(stage)), "0-0"

    def goes_on(self):
        """Send events, and tell whether workers soon take as many. Where none can be sent, they do not."""
        try:
            until(self._is_sent, "an answer of Redis", ANSWER_S)
            until(self._as_many_taken, "enough workers", WITHIN_S)
        except DeadlinePassed:
            return False
        return True

    def _is_sent(self):
        self._first = self._last_taken() or "0-0"
        add = f"for n = 1, {COUNT} do redis.call('XADD', KEYS[1], '*', 'visit', 'probe-' .. n) end return 'sent'"
        return self._redis("EVAL", add, "1", self._instrument.stream) == "sent"

    def _as_many_taken(self):
        """Count events, whichever: others may wait before these, and the group's own count may be lost."""
        last = self._last_taken()
        count = f"return #redis.call('XRANGE', KEYS[1], '({self._first}', '{last}', 'COUNT', {COUNT})"
        return last and self._redis("EVAL", count, "1", self._instrument.stream) == str(COUNT)

    def _last_taken(self):
        """Return the id of the last event that the group has given out; None if there is no group, or no answer."""
        words = self._redis("XINFO", "GROUPS", self._instrument.stream).split("\n")
        rows = [dict(zip(row[::2], row[1::2], strict=False)) for row in _groups(words)]
        return next((row["last-delivered-id"] for row in rows if row["name"] == self._instrument.consumer_group), None)

    def _redis(self, *words):
        """Ask with the first password, or with the one that Redis has while another is its fault; empty: no answer."""
        for password in self._passwords:
            env = {**os.environ, "REDISCLI_AUTH": password.reveal()}
            try:
                done = subprocess.run([*self._ask, *words], capture_output=True, text=True, timeout=ANSWER_S, env=env)
            except subprocess.TimeoutExpired:
                return ""
            if not done.stdout.startswith("NOAUTH"):
                return done.stdout.strip()
        return ""


def _groups(words):
    """Split what redis-cli prints of XINFO GROUPS: each group begins with its name."""
    starts = [place for place, word in enumerate(words) if word == "name"]
    return [words[start:end] for start, end in zip(starts, [*starts[1:], len(words)], strict=False)]  # none: no answer
