"""That events become work is said from the symptom: red whatever the cause, never red where nothing is wrong."""

from __future__ import annotations

import time

import pytest

from prompt_keda.clients.redis_streams import RedisStreams
from prompt_keda.components.catalogue import ALL_CHECKS
from prompt_keda.core.run_checks import look
from prompt_keda.environment.loading import load_environment
from prompt_keda.lab.faults import scaling
from prompt_keda.lab.faults.fault import Stage

from .conftest import ENV, ROOT, at_the_stack_only, run_json, run_task, until

pytestmark = at_the_stack_only  # a policy is the administrator's; the check is the same at the desk
WORKS = next(check for check in ALL_CHECKS if check.id == "scaling/works")
POLLS_S = 3 * 2
WITHIN_S = 20
"""So long after the third poll that was missed it has to be red."""
LOOK_S = 10


@pytest.fixture
def stage(deployed, endpoints):
    return Stage(load_environment(ROOT / "environments" / "local.yaml", endpoints))


def send(redis: RedisStreams, stage, count):
    (instrument,) = stage.environment.instruments
    redis.add(instrument.stream, [{"visit": f"chain-{number}"} for number in range(count)])


def outcome(systems):
    systems.forget_redis()
    for known in [name for name in systems._made if name.startswith("events ")]:
        systems._made.pop(known)
    return look(WORKS, systems)


def red_said(systems):
    """Return what is observed where it is red because of events; empty: it is not."""
    result = outcome(systems)
    return result.observed if result.verdict.value == "fail" and "nobody has" in result.observed else ""


def test_events_that_wait_behind_a_refusal_are_red_in_time(stage, systems):
    """A policy denies KEDA's Jobs, and no other check knows of it: exit code 1, the first line of the summary."""
    (instrument,) = stage.environment.instruments
    until(lambda: outcome(systems).verdict.value == "ok", 90, "a chain that moves")
    try:
        scaling.and_cut(scaling.deny_jobs)(stage)  # returns once the workers of before have ended
        send(systems.redis, stage, 40)
        began = time.monotonic()
        until(lambda: " events wait" in red_said(systems), POLLS_S + WITHIN_S, "that the events wait for too long")
        assert time.monotonic() - began <= POLLS_S + WITHIN_S
        code, document = run_json("check-deps", "--env", ENV)
        red = [result for result in document["results"] if result["verdict"] == "fail"]
        assert (code, [result["id"] for result in red]) == (1, ["scaling/works"])
        assert "0 of 20 workers are at work" in red[0]["observed"] and "no Job was made" in red[0]["observed"]
        text = run_task("check-deps", "--env", ENV, "--only", "scaling,redis").stdout
        assert text.partition(" checks: ")[2].splitlines()[1].startswith("FAIL scaling/works: ")
    finally:
        scaling.and_at_work(scaling.remove_policy)(stage)
    until(lambda: systems.redis.backlog(instrument.stream, instrument.consumer_group).waiting == 0, 90, "no backlog")
    until(lambda: outcome(systems).verdict.value == "ok", 60, "a chain that moves again")


SET_BACK = """
local now = redis.call('TIME')[1] .. '000-0'
for _, event in ipairs(redis.call('XRANGE', KEYS[1], now, '+')) do redis.call('XDEL', KEYS[1], event[1]) end
local stream, answer = {}, redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #answer, 2 do stream[answer[i]] = answer[i + 1] end
redis.call('XSETID', KEYS[1], now, 'ENTRIESADDED', stream['entries-added'], 'MAXDELETEDID', '0-1')
redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], now, 'ENTRIESREAD', stream['entries-added'])
return 1
"""
"""Takes the events of a time that is still to come away, and lets the stream and its group stand at now."""


def test_a_redis_clock_that_was_set_back_is_never_green(stage, systems):
    """Each event that comes is of an hour that is still to come, and none would ever seem old: amber, with the reason."""
    (instrument,) = stage.environment.instruments
    pair = (instrument.stream, instrument.consumer_group)
    until(lambda: outcome(systems).verdict.value == "ok", 90, "a chain that moves")
    later = f"{int(time.time() * 1000) + 3_600_000}-0"
    try:
        stage.redis.run(("XADD", instrument.stream, later, "visit", "chain-0"))
        result = outcome(systems)
        assert result.verdict.value == "warn" and "behind the stream's last id" in result.observed, result
        until(lambda: stage.redis.backlog(*pair).waiting == 0, 30, "a worker that reads it")
    finally:
        stage.redis.run(("EVAL", SET_BACK, 1, *pair))
    until(lambda: outcome(systems).verdict.value == "ok", 60, "a clock that is right")


def never_red(systems, stage, seconds, each_s=None):
    """Look every ten seconds, and send an event as often as is asked for; give the verdicts."""
    verdicts, end, last = [], time.monotonic() + seconds, 0.0
    while time.monotonic() < end:
        if each_s:
            send(systems.redis, stage, 1)
        if time.monotonic() - last >= LOOK_S:
            last = time.monotonic()
            result = outcome(systems)
            assert result.verdict.value in ("ok", "warn"), result
            verdicts.append(result.verdict.value)
        time.sleep(each_s or 1)  # a rate, and no wait for something
    return verdicts


@pytest.mark.parametrize(
    ("seconds", "burst", "each_s"),
    [
        pytest.param(40, 60, None, id="a burst"),
        pytest.param(40, 0, None, id="quiet"),
        pytest.param(1800, 0, 0.2, id="30 minutes of 5 events a second", marks=pytest.mark.exhaustive),
        pytest.param(1800, 0, None, id="30 quiet minutes", marks=pytest.mark.exhaustive),
    ],
)
def test_a_healthy_chain_is_never_red(stage, systems, seconds, burst, each_s):
    """Through a burst of three times the maximum, with more events than the workers take, and with none."""
    (instrument,) = stage.environment.instruments
    until(lambda: outcome(systems).verdict.value == "ok", 90, "a chain that moves")
    send(systems.redis, stage, burst)
    verdicts = never_red(systems, stage, seconds, each_s)
    if not (burst or each_s):
        assert set(verdicts) == {"ok"}
    until(lambda: systems.redis.backlog(instrument.stream, instrument.consumer_group).waiting == 0, 900, "no backlog")
