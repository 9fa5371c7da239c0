"""Prompt Redis itself: does it answer, and is it as KEDA needs it? Its table holds the checks of the streams too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prompt_keda.clients.redis_words import fix_for
from prompt_keda.clients.systems import Systems
from prompt_keda.components.event_source.restart import lost_what_is_absent, up_for
from prompt_keda.components.event_source.words import work_refused
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.errors import BadAnswer, ErrorReply, Refused
from prompt_keda.core.outcomes import fail, ok, unknown, warn
from prompt_keda.environment.model import Instrument

if TYPE_CHECKING:
    from prompt_keda.clients.redis_state import RedisState


@check(
    "redis/answers",
    "Prompt Redis answers",
    needs=("cluster/api-answers",),
    fix="Look at its pod and the pod's log: does it hang, or is the way there blocked?",
    runbook="redis-gone",
)
def answers(systems: Systems) -> Outcome:
    """Connect and log in. That no pod stands behind the Service is the cluster's own word: FAIL, not UNKNOWN.

    Cause: FAIL: the cluster itself says that no ready pod is behind the Service, or the password is wrong. UNKNOWN:
    it cannot be reached from here, or Vault does not give its password; its certificate is not accepted; a Redis that
    wants TLS closes the connection silently, one without TLS is silent to it.
    A Redis that refuses writes, and so even PING, has answered.

    Notes
    -----
    A Redis that could not save refuses even PING (Redis: stop-writes-on-bgsave-error; seen): redis/accepts-writes reports it.
    """
    try:
        systems.redis.ping()
    except BadAnswer as error:
        if not error.detail.startswith("MISCONF"):
            raise
        return ok(f"{systems.redis.endpoint}; it refuses writes")
    return ok(systems.redis.endpoint)


@check("redis/info-allowed", "Prompt Redis allows INFO", needs=("redis/answers",), runbook="redis-gone")
def info_allowed(systems: Systems) -> Outcome:
    """May this login run INFO? The checks of Redis' state, and KEDA, look there.

    Cause: An ACL without `+info` (F22).

    Fix: `ACL SETUSER NAME +info`.
    """
    fix = "Let the user run INFO: ACL SETUSER NAME +info."
    try:
        return ok(f"it has been up for {_up(_info(systems))}")
    except Refused as error:
        return fail(error.detail, fix)


@check(
    "redis/version-at-least-7",
    "Prompt Redis has version 7 or newer",
    needs=("redis/answers", "redis/info-allowed"),
    runbook="redis-gone",
)
def version_at_least_7(systems: Systems) -> Outcome:
    """KEDA's lag needs Redis 7 (failure mode F22).

    Cause: An older Redis; KEDA then cannot read the lag (F22).
    """
    version = str(_info(systems)["redis_version"])
    if int(version.split(".")[0]) < 7:
        return fail(f"Redis {version}", "KEDA reads lag from XINFO GROUPS, which Redis has from version 7 on.")
    return ok(version)


@check(
    "redis/is-a-master",
    "Prompt Redis is a master",
    needs=("redis/answers", "redis/info-allowed"),
    runbook="redis-gone",
)
def is_a_master(systems: Systems) -> Outcome:
    """A replica cannot be written to.

    Cause: A failover made this Redis a replica.

    Fix: The result names it, with its master.
    """
    info = _info(systems)
    if info["role"] == "master":
        return ok("master")
    message = f"this Redis is a {info['role']} of {info.get('master_host')}:{info.get('master_port')}"
    return fail(f"{message}, link {info.get('master_link_status')}", "Events cannot be written to a replica.")


@check(
    "redis/memory-left",
    "Prompt Redis has memory left",
    needs=("redis/answers", "redis/info-allowed"),
    runbook="redis-full",
)
def memory_left(systems: Systems) -> Outcome:
    """May streams be evicted, or new events refused, because memory is full?

    Cause: Streams that nobody trims, or a maxmemory-policy that evicts them.
    """
    info = _info(systems)
    used, limit, policy = int(info["used_memory"]), int(info["maxmemory"]), str(info["maxmemory_policy"])
    message = f"{_size(used)} used"
    if not limit:
        return ok(f"{message}, no limit")
    message += f" of {_size(limit)}, {policy}"
    if used >= limit and not policy.startswith("allkeys"):
        return fail(f"{message}: new events are refused", "Trim the streams that nobody reads, or raise maxmemory.")
    if policy.startswith("allkeys"):
        return warn(f"{message}: whole streams may be evicted", "Set maxmemory-policy noeviction.")
    return warn(message, "Raise maxmemory before new events are refused.") if used > 0.9 * limit else ok(message)


def _size(count: int) -> str:
    return f"{count / 2**20:.0f} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"


@check(
    "redis/accepts-writes",
    "Prompt Redis accepts writes",
    needs=("redis/answers", "redis/info-allowed", "redis/is-a-master", "redis/memory-left"),
    runbook="redis-gone",
)
def accepts_writes(systems: Systems) -> Outcome:
    """Is it loading, does it refuse writes because it could not save them, and would it take what fan-out and workers
    send? XADD, XREADGROUP and XACK are tried on each stream with arguments under which they change nothing: Redis
    looks at rights, replicas and pauses before it looks at those.

    Cause: Its volume is full or gone; Redis refuses writes after a failed snapshot (stop-writes-on-bgsave-error).
    `min-replicas-to-write` wants more replicas than it has. A `CLIENT PAUSE … WRITE` lets writes hang. An ACL denies
    the command, or the key. The login tried is the environment's; where workers have another one, it says nothing of
    theirs.

    Fix: The result has Redis' own words, and the setting.
    """
    info = _info(systems)
    if int(info["loading"]):
        return fail("it is loading its data", "Wait: it answers nothing else until it is done.")
    if info["rdb_last_bgsave_status"] != "ok":
        return fail("its last snapshot failed: by default it refuses writes now", "Look at its volume: is it full?")
    if int(info["aof_enabled"]) and info["aof_last_write_status"] != "ok":
        return fail("its last write to the append-only file failed", "Look at its volume: is it full?")
    for instrument in systems.environment.instruments:
        refused = systems.redis.refused_work(instrument.stream, instrument.consumer_group)
        if refusal := work_refused(refused):
            if "min_slaves_good_slaves" in info:
                refusal += f" (replicas that are well: {info['min_slaves_good_slaves']})"
            fix = fix_for(refusal) or "Look at Redis' log, and its settings."
            return fail(f"{instrument.stream}: {refusal}", fix)
    return ok(f"it does; append-only file {'on' if int(info['aof_enabled']) else 'off'}")


@check(
    "redis/data-persisted",
    "Prompt Redis persists its data",
    needs=("redis/answers", "redis/info-allowed"),
    runbook="redis-full",
)
def data_persisted(systems: Systems) -> Outcome:
    """Is an append-only file on, or are snapshots taken? UNKNOWN where CONFIG is denied and no append-only file is on.

    Cause: Persistence is off: after a restart streams and groups are gone (F28).

    Fix: Set `appendonly yes` or `save` in its configuration.
    """
    if int(_info(systems)["aof_enabled"]):
        return ok("by its append-only file")
    fix = "Set appendonly yes or save in its configuration; after a restart, ./run redeploy makes streams and groups."
    try:
        snapshots = systems.redis_state().saving()["save"]
    except (Refused, BadAnswer) as error:  # CONFIG is often renamed or denied: that says nothing about the data
        return unknown(f"no append-only file; whether it takes snapshots cannot be seen: {error.detail}", fix)
    return ok(f"by snapshots: save {snapshots}") if snapshots else warn("nowhere: a restart comes back empty", fix)


@check(
    "redis/not-restarted-empty",
    "No restart of Prompt Redis has lost streams or groups",
    needs=("redis/answers", "redis/info-allowed"),
    runbook="redis-empty",
)
def not_restarted_empty(systems: Systems) -> Outcome:
    """(F28). FAIL when a stream or group is missing, Redis has been up for less than a day, and nothing was deleted or
    evicted since it started (INFO commandstats). It names the cause that redis/groups-exist cannot.

    Cause: Redis came back without its data: no persistence, or another volume. Also a Redis in which the group was
    never made.

    Fix: `./run redeploy` makes streams and groups, and lets them begin before all that came since; what was not yet
    read before is lost.
    """
    info, redis_state = _info(systems), systems.redis_state()
    gone = [
        f"{instrument.stream} with its group {instrument.consumer_group}"
        for instrument in systems.environment.instruments
        if _is_absent(redis_state, instrument)
    ]
    up = f"it has been up for {_up(info)}"
    if not systems.environment.instruments:
        return unknown("nothing was looked at: the environment names none")
    if not gone:
        return ok(f"{up}; nothing is missing")
    if not lost_what_is_absent(info):
        return ok(f"{up}; what is missing was not lost in a restart")
    fix = "./run redeploy makes them again, and what came since is read; what was not yet read before is lost."
    return fail(f"{up}, and came back without {'; '.join(gone)}", fix)


def _up(info: dict[str, Any]) -> str:
    return str(up_for(info))


def _is_absent(redis_state: RedisState, instrument: Instrument) -> bool:
    """Whether a stream or its group is missing; a key of another type is there, and was not lost."""
    try:
        return redis_state.group(instrument.stream, instrument.consumer_group) is None
    except ErrorReply:
        return False


def _info(systems: Systems) -> dict[str, Any]:
    return systems.redis_state().info()
