"""Prompt Redis itself: does it answer, and is it as KEDA needs it? Its table holds the checks of the streams too."""

from __future__ import annotations

from typing import Any

from prompt_keda.clients.systems import Systems
from prompt_keda.components.event_source.login import keda_may_ask
from prompt_keda.components.event_source.restart import lost_what_is_absent, up_for
from prompt_keda.components.event_source.streams import (
    backlog_not_trimmed,
    fan_out_alive,
    groups_exist,
    lag_is_right,
    pending_is_young,
)
from prompt_keda.core.check import Check, Outcome
from prompt_keda.core.errors import BadAnswer, Refused
from prompt_keda.core.outcomes import fail, ok, unknown, warn

ANSWERS = "redis/answers"
INFO = "redis/info-allowed"


def answers(systems: Systems) -> Outcome:
    """Connect and log in. That no pod stands behind the Service is the cluster's own word: FAIL, not UNKNOWN.

    A Redis that could not save refuses even PING (Redis: stop-writes-on-bgsave-error; seen): redis/takes-writes tells of it.
    """
    try:
        systems.redis.ping()
    except BadAnswer as error:
        if not error.detail.startswith("MISCONF"):
            raise
        return ok(f"{systems.redis.endpoint}; it refuses writes")
    return ok(systems.redis.endpoint)


def info_allowed(systems: Systems) -> Outcome:
    """May this login read INFO (failure mode F22)? Half of the checks, and KEDA itself, look there."""
    fix = "Let the user run INFO: ACL SETUSER NAME +info."
    try:
        return ok(f"it has been up for {_up(_info(systems))}")
    except Refused as error:
        return fail(error.detail, fix)


def version_at_least_7(systems: Systems) -> Outcome:
    """KEDA's lag needs Redis 7 (failure mode F22)."""
    version = str(_info(systems)["redis_version"])
    if int(version.split(".")[0]) < 7:
        return fail(f"Redis {version}", "KEDA reads lag from XINFO GROUPS, which Redis has from version 7 on.")
    return ok(version)


def is_a_master(systems: Systems) -> Outcome:
    """A replica cannot be written to."""
    seen = _info(systems)
    if seen["role"] == "master":
        return ok("master")
    said = f"this Redis is a {seen['role']} of {seen.get('master_host')}:{seen.get('master_port')}"
    return fail(f"{said}, link {seen.get('master_link_status')}", "Events cannot be written to a replica.")


def memory_left(systems: Systems) -> Outcome:
    """May streams be evicted, or new events refused, because memory is full? (Redis: key eviction)."""
    seen = _info(systems)
    used, limit, policy = int(seen["used_memory"]), int(seen["maxmemory"]), str(seen["maxmemory_policy"])
    said = f"{used / 2**20:.0f} MiB used"
    if not limit:
        return ok(f"{said}, no limit")
    said += f" of {limit / 2**20:.0f} MiB, {policy}"
    if used >= limit and not policy.startswith("allkeys"):
        return fail(f"{said}: new events are refused", "Trim the streams that nobody reads, or raise maxmemory.")
    if policy.startswith("allkeys"):
        return warn(f"{said}: whole streams may be evicted", "Set maxmemory-policy noeviction.")
    return warn(said, "Raise maxmemory before new events are refused.") if used > 0.9 * limit else ok(said)


def takes_writes(systems: Systems) -> Outcome:
    """Is it loading, or does it refuse writes because it could not save them? (Redis: stop-writes-on-bgsave-error)."""
    seen = _info(systems)
    if int(seen["loading"]):
        return fail("it is loading its data", "Wait: it answers nothing else until it is done.")
    if seen["rdb_last_bgsave_status"] != "ok":
        return fail("its last snapshot failed: by default it refuses writes now", "Look at its volume: is it full?")
    if int(seen["aof_enabled"]) and seen["aof_last_write_status"] != "ok":
        return fail("its last write to the append-only file failed", "Look at its volume: is it full?")
    return ok(f"it does; append-only file {'on' if int(seen['aof_enabled']) else 'off'}")


def data_is_kept(systems: Systems) -> Outcome:
    """Does it write its data anywhere (failure mode F28)? The append-only file is in INFO, snapshots are a setting."""
    if int(_info(systems)["aof_enabled"]):
        return ok("by its append-only file")
    fix = "Set appendonly yes or save in its configuration; after a restart, ./run redeploy makes streams and groups."
    try:
        snapshots = systems.redis_survey().saving()["save"]
    except (Refused, BadAnswer) as error:  # CONFIG is often renamed or denied: that says nothing about the data
        return unknown(f"no append-only file; whether it takes snapshots cannot be seen: {error.detail}", fix)
    return ok(f"by snapshots: save {snapshots}") if snapshots else warn("nowhere: a restart comes back empty", fix)


def not_restarted_empty(systems: Systems) -> Outcome:
    """Did a restart lose streams or groups (failure mode F28)? They were never taken away, and are not there."""
    seen, survey = _info(systems), systems.redis_survey()
    gone = [
        f"{one.stream} with its group {one.consumer_group}"
        for one in systems.environment.instruments
        if survey.group(one.stream, one.consumer_group) is None
    ]
    up = f"it has been up for {_up(seen)}"
    if not systems.environment.instruments:
        return unknown("nothing was looked at: the environment names none")
    if not gone:
        return ok(f"{up}; nothing is missing")
    if not lost_what_is_absent(seen):
        return ok(f"{up}; what is missing was not lost in a restart")
    fix = "./run redeploy makes them again, and what came since is read; what was not yet read before is lost."
    return fail(f"{up}, and came back without {'; '.join(gone)}", fix)


def _up(seen: dict[str, Any]) -> str:
    return str(up_for(seen))


def _info(systems: Systems) -> dict[str, Any]:
    return systems.redis_survey().info()


THERE = "keda/scaled-jobs-present"
_GROUPS = "redis/groups-exist"
_STREAMS, _STATE = (ANSWERS, _GROUPS), (ANSWERS, INFO)
_FIX = "Look at its pod and the pod's log: does it hang, or is the way there blocked?"
CHECKS: tuple[Check[Systems], ...] = (
    Check(ANSWERS, "Prompt Redis answers", answers, ("cluster/api-answers",), fix=_FIX, runbook="redis-gone"),
    Check(INFO, "it tells how it is", info_allowed, (ANSWERS,), runbook="redis-gone"),
    Check("redis/version-at-least-7", "its version is 7 or newer", version_at_least_7, _STATE, runbook="redis-gone"),
    Check("redis/is-a-master", "it is a master", is_a_master, _STATE, runbook="redis-gone"),
    Check("redis/takes-writes", "it takes writes", takes_writes, _STATE, runbook="redis-gone"),
    Check("redis/memory-left", "it has memory left", memory_left, _STATE, runbook="redis-full"),
    Check("redis/data-is-kept", "its data outlives a restart", data_is_kept, _STATE, runbook="redis-full"),
    Check(
        "redis/not-restarted-empty", "no restart has lost its data", not_restarted_empty, _STATE, runbook="redis-empty"
    ),
    Check(
        "redis/keda-may-ask", "KEDA's login may ask for the lag", keda_may_ask, (ANSWERS, THERE), runbook="redis-gone"
    ),
    Check(_GROUPS, "every stream has its consumer group", groups_exist, (ANSWERS,), runbook="redis-empty"),
    Check("redis/lag-is-right", "the lag is what waits", lag_is_right, _STREAMS, runbook="redis-lag-wrong"),
    Check(
        "redis/backlog-not-trimmed",
        "nothing unread is trimmed",
        backlog_not_trimmed,
        _STREAMS,
        runbook="redis-lag-wrong",
    ),
    Check(
        "redis/pending-is-young",
        "what is given out is acknowledged",
        pending_is_young,
        _STREAMS,
        runbook="workers-fail",
    ),
    Check("redis/fan-out-alive", "events come in", fan_out_alive, (*_STREAMS, INFO), runbook="events-stop"),
)
