"""Prompt Redis: does it answer, and are the streams and groups there?"""

from __future__ import annotations

from collections.abc import Callable

from prompt_keda.checks.outcomes import all_of, fail, ok, warn
from prompt_keda.clients.systems import Systems
from prompt_keda.model.check import Check, Outcome
from prompt_keda.model.environment import Instrument

ANSWERS = "redis/answers"


def answers(systems: Systems) -> Outcome:
    """Connect and log in. That no pod stands behind the Service is the cluster's own word: FAIL, not UNKNOWN."""
    systems.redis.ping()
    return ok(systems.redis.endpoint)


def version_at_least_7(systems: Systems) -> Outcome:
    """KEDA's lag needs Redis 7 (failure mode F22)."""
    version = str(systems.redis.info("server")["redis_version"])
    if int(version.split(".")[0]) < 7:
        return fail(f"Redis {version}", "KEDA reads lag from XINFO GROUPS, which Redis has from version 7 on.")
    return ok(version)


def groups_exist(systems: Systems) -> Outcome:
    """Is each instrument's stream and consumer group there?"""
    fix = "./run redeploy makes them; without them workers fail with NOGROUP."

    def look(one: Instrument) -> Outcome:
        if systems.redis.group_info(one.stream, one.consumer_group) is None:
            return fail(f"{one.stream} has no group {one.consumer_group}", fix)
        return ok(one.consumer_group)

    return _of_every_stream(systems, look, f"{len(systems.environment.instruments)} groups there")


def lag_is_right(systems: Systems) -> Outcome:
    """Is the lag what waits? KEDA 2.16.1 takes nil for 0, and makes workers for a lag that is too high (F16)."""
    fix = "./run redeploy counts it again; no group is moved."

    def look(one: Instrument) -> Outcome:
        found = systems.redis.backlog(one.stream, one.consumer_group)
        if found.lag != found.waiting:
            told = "takes that for 0" if found.lag is None else "believes it"
            lag = "unknown" if found.lag is None else found.lag
            return fail(f"{one.stream}: {found.waiting} events wait, the lag is {lag}, and KEDA {told}", fix)
        if not found.counted:
            said = "Redis has lost what was read; KEDA takes the lag of the next events for 0"
            return warn(f"{one.stream}: {said}", fix)
        return ok(f"{one.stream} lag {found.lag}")

    return _of_every_stream(systems, look)


def _of_every_stream(systems: Systems, look: Callable[[Instrument], Outcome], good: str = "") -> Outcome:
    return all_of(((one.stream, one) for one in systems.environment.instruments), look, good)


def is_a_master(systems: Systems) -> Outcome:
    """A replica cannot be written to."""
    role = systems.redis.info("replication")["role"]
    return ok(role) if role == "master" else fail(f"this Redis is a {role}", "Events cannot be written to a replica.")


def memory_left(systems: Systems) -> Outcome:
    """May streams be evicted, or new events refused, because memory is full? (Redis: key eviction)."""
    seen = systems.redis.info("memory")
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
    seen = systems.redis.info("persistence")
    if int(seen["loading"]):
        return fail("it is loading its data", "Wait: it answers nothing else until it is done.")
    if seen["rdb_last_bgsave_status"] != "ok":
        return fail("its last snapshot failed: by default it refuses writes now", "Look at its volume: is it full?")
    if int(seen["aof_enabled"]) and seen["aof_last_write_status"] != "ok":
        return fail("its last write to the append-only file failed", "Look at its volume: is it full?")
    return ok(f"it does; append-only file {'on' if int(seen['aof_enabled']) else 'off'}")


CHECKS: tuple[Check[Systems], ...] = (
    Check(ANSWERS, "Prompt Redis answers", answers, ("cluster/api-answers",), runbook="redis-gone"),
    Check(
        "redis/version-at-least-7", "its version is 7 or newer", version_at_least_7, (ANSWERS,), runbook="redis-gone"
    ),
    Check("redis/is-a-master", "it is a master", is_a_master, (ANSWERS,), runbook="redis-gone"),
    Check("redis/takes-writes", "it takes writes", takes_writes, (ANSWERS,), runbook="redis-gone"),
    Check("redis/memory-left", "it has memory left", memory_left, (ANSWERS,), runbook="redis-gone"),
    Check("redis/groups-exist", "every stream has its consumer group", groups_exist, (ANSWERS,), runbook="redis-gone"),
    Check(
        "redis/lag-is-right",
        "the lag is what waits",
        lag_is_right,
        (ANSWERS, "redis/groups-exist"),
        runbook="redis-gone",
    ),
)
