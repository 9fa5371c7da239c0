"""The streams of Prompt Redis: their groups, what waits in them, and whether events come."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from prompt_keda.clients.redis_words import fix_for
from prompt_keda.clients.systems import Systems
from prompt_keda.components.event_source.words import other_than_stream, wrong_lag
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.errors import ErrorReply
from prompt_keda.core.outcomes import all_of, fail, ok, unknown, warn
from prompt_keda.environment.model import Instrument

TRIM_COUNT = 1000
"""A cron job beside Prompt Redis trims every stream to its newest 1000 events (docs/domain.md)."""
NEAR = 0.8
SILENCE = timedelta(hours=48)
"""Longer without an event is reported. In the southern summer a night that is lost to weather leaves 40 hours without one."""


@check("redis/groups-exist", "Every stream has its consumer group", needs=("redis/answers",), runbook="redis-empty")
def groups_exist(systems: Systems) -> Outcome:
    """Is each instrument's stream and consumer group there? The number of consumers is shown; those of dead workers
    stay, and do no harm.

    Cause: Redis was recreated. Workers fail with NOGROUP, and KEDA falls back to the stream's length (F17). Or
    something else has taken the stream's name: a string, a list.
    """
    fix = "./run redeploy makes them; without them workers fail with NOGROUP."
    redis_state = systems.redis_state()

    def look(instrument: Instrument) -> Outcome:
        try:
            group = redis_state.group(instrument.stream, instrument.consumer_group)
        except ErrorReply:
            if message := other_than_stream(instrument.stream, redis_state.key_type(instrument.stream)):
                return fail(message, fix_for("WRONGTYPE"))
            raise
        if group is None:
            return fail(f"{instrument.stream} has no group {instrument.consumer_group}", fix)
        return ok(f"{instrument.consumer_group} with {group.consumers} consumers")

    return _of_every_stream(systems, look)


@check(
    "redis/lag-matches-backlog",
    "Every group's lag matches its backlog",
    needs=("redis/answers", "redis/groups-exist"),
    runbook="redis-lag-wrong",
)
def lag_matches_backlog(systems: Systems) -> Outcome:
    """The events after the last one that was given out are counted, and compared with the lag that Redis reports to KEDA
    (failure mode F16).

    Cause: Redis before 7.2.4 was restarted with an append-only file, or a replica took over: what was read is then
    lost (lag unknown, which KEDA takes for 0) or an old number (lag too high, and KEDA makes workers for nothing).
    Or unread events were trimmed; or a group was made with a plain `$` on a stream that was not empty, or with a
    count of its own (`ENTRIESREAD 5000`): on an empty stream the lag is still reported as 0, and is negative once events
    come. Or the group was set to an id that the stream has not reached: no event before that is ever delivered.

    Fix: `./run redeploy` counts again what the group has read, and moves no group ([decision
    0005](decisions/0005-a-lost-lag.md)) but one that stands ahead of its stream.
    """
    fix = "./run redeploy counts it again; no group is moved."
    redis_state = systems.redis_state()

    def look(instrument: Instrument) -> Outcome:
        backlog = redis_state.backlog(instrument.stream, instrument.consumer_group)
        if backlog.is_ahead:
            group = redis_state.group(instrument.stream, instrument.consumer_group)
            at = group.last_delivered_id if group else "an id"
            message = (
                f"{instrument.consumer_group} stands at {at}, which the stream has not reached: "
                "no event before it is delivered"
            )
            return fail(
                f"{instrument.stream}: {message}",
                "./run redeploy moves it back; --backlog replay: to the stream's first event.",
            )
        if backlog.is_right:
            return ok(f"{instrument.stream} lag {backlog.lag}")
        is_right_for_now = backlog.lag == backlog.waiting and not backlog.excess
        return (warn if is_right_for_now else fail)(wrong_lag(instrument.stream, backlog), fix)

    return _of_every_stream(systems, look)


@check(
    "redis/streams-permanent",
    "No stream expires",
    needs=("redis/answers", "redis/groups-exist"),
    runbook="redis-full",
)
def streams_permanent(systems: Systems) -> Outcome:
    """Ask how long each stream's key lives (PTTL): Redis deletes one that expires, with its groups and all that waits.

    Cause: Somebody ran `EXPIRE` on it, or restored it with a time to live.

    Fix: `PERSIST STREAM`; `./run redeploy` does that too.
    """
    redis_state = systems.redis_state()

    def look(instrument: Instrument) -> Outcome:
        lives_ms = redis_state.lives_ms(instrument.stream)
        if lives_ms is None:
            return ok(instrument.stream)
        left = timedelta(seconds=lives_ms // 1000)
        fix = f"PERSIST {instrument.stream}; ./run redeploy does that too."
        return fail(f"{instrument.stream} expires in {left}, with its group and all that waits", fix)

    return all_of(
        ((instrument.stream, instrument) for instrument in systems.environment.instruments), look, "no stream expires"
    )


@check(
    "redis/backlog-not-trimmed",
    "No unread event was trimmed",
    needs=("redis/answers", "redis/groups-exist"),
    runbook="redis-lag-wrong",
)
def backlog_not_trimmed(systems: Systems) -> Outcome:
    """FAIL: Redis counts more unread events than wait, and the stream holds none that was read, so the missing ones
    were trimmed from its beginning. WARN: 800 events or more wait; a cron job trims each stream to 1000.

    Cause: Nobody reads fast enough: KEDA does not scale, the maximum is too low, or the nodes have no room. The
    visits of trimmed events are lost.

    Fix: Let more workers run; `./run redeploy` counts again what was read.

    Notes
    -----
    They were, where Redis has counted more unread events than wait, and the stream holds none of those that were read:
    so what is missing stood at its beginning. A count that a restart has brought back old is reported by
    redis/lag-matches-backlog.
    """
    fix = "./run redeploy counts again; those visits are lost. Find out why nobody read them: is KEDA scaling?"
    redis_state = systems.redis_state()

    def look(instrument: Instrument) -> Outcome:
        known, group = (
            redis_state.stream(instrument.stream),
            redis_state.group(instrument.stream, instrument.consumer_group),
        )
        backlog = redis_state.backlog(instrument.stream, instrument.consumer_group)
        if known is None or group is None:
            return unknown(f"{instrument.stream} or its group is missing")
        holds_no_read = known.first_id is None or _order(known.first_id) > _order(group.last_delivered_id)
        if backlog.lag is not None and backlog.lag > backlog.waiting and holds_no_read:
            return fail(
                f"{instrument.stream}: {backlog.lag - backlog.waiting} events were gone before they were read", fix
            )
        if backlog.waiting >= NEAR * TRIM_COUNT:
            message = f"{backlog.waiting} events wait; beyond {TRIM_COUNT} the oldest are trimmed unread"
            return warn(f"{instrument.stream}: {message}", "Let more workers run: maxReplicaCount, room on the nodes.")
        return ok(f"{instrument.stream}: {backlog.waiting} of {TRIM_COUNT} wait")

    return _of_every_stream(systems, look)


@check(
    "redis/pending-acknowledged",
    "Delivered events are acknowledged in time",
    needs=("redis/answers", "redis/groups-exist"),
    runbook="workers-fail",
)
def pending_acknowledged(systems: Systems) -> Outcome:
    """WARN when an event was given out more than a minute ago and not acknowledged (up to 100 are counted). Workers
    acknowledge before they work, within milliseconds.

    Cause: A worker died or hung between the two; nobody gives the event to another, so its visit is not worked on.

    Fix: Work the visit off by hand, then `XACK`.

    Notes
    -----
    Who was given an older one is dead, or hangs: nobody gives the event to another, so its visit is not worked on.
    """
    fix = "Work the visit off by hand, then XACK the event: nobody gives it out again."
    redis_state = systems.redis_state()

    def look(instrument: Instrument) -> Outcome:
        pending = redis_state.old_pending(instrument.stream, instrument.consumer_group)
        if not pending.count:
            return ok(f"{instrument.stream}: nothing is pending for long")
        since = timedelta(seconds=int(pending.oldest_s))
        message = f"{pending.count} events were given out and not acknowledged, the oldest for {since}"
        return warn(f"{instrument.stream}: {message} by {pending.consumer}", fix)

    return _of_every_stream(systems, look)


@check(
    "redis/fan-out-alive",
    "The fan-out writes events",
    needs=("redis/answers", "redis/groups-exist", "redis/info-allowed"),
    runbook="events-stop",
)
def fan_out_alive(systems: Systems) -> Outcome:
    """The age of each stream's last event by Redis' own clock. WARN beyond 48 hours: by day none comes, and in the
    southern summer a night lost to weather leaves 40 hours without one. A stream that never had one is as old as
    Redis is up.

    Cause: next-visit-fan-out does not write; or the telescope has not observed for two nights, and all is well.

    Fix: Look at next-visit-fan-out.
    """
    fix = "Is the telescope observing? Then look at next-visit-fan-out: it writes the events."
    redis_state = systems.redis_state()
    up = timedelta(seconds=int(redis_state.info()["uptime_in_seconds"]))

    def look(instrument: Instrument) -> Outcome:
        info = redis_state.stream(instrument.stream)
        if info is None:
            return unknown(f"{instrument.stream} is missing")
        came_ms = _order(info.last_id)[0]
        silent = timedelta(seconds=int(redis_state.now_s() - came_ms / 1000)) if came_ms else up
        message = (
            f"last event {_short(silent)} ago" if came_ms else f"no event in the {_short(silent)} that Redis is up"
        )
        if silent > SILENCE:
            return warn(f"{instrument.stream}: {message}, expected within {SILENCE.total_seconds() / 3600:.0f} h", fix)
        return ok(f"{instrument.stream}: {message}")

    return _of_every_stream(systems, look)


def _short(span: timedelta) -> str:
    return (
        f"{span.total_seconds() / 3600:.1f} h" if span > timedelta(hours=1) else f"{span.total_seconds() / 60:.0f} min"
    )


def _order(entry_id: str) -> tuple[int, int]:
    """Return milliseconds and number of an id such as ``1700000000000-0``: texts would not sort."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number or 0)


def _of_every_stream(systems: Systems, look: Callable[[Instrument], Outcome]) -> Outcome:
    return all_of(((instrument.stream, instrument) for instrument in systems.environment.instruments), look)
