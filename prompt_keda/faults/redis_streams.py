"""Faults of the streams in Prompt Redis.

Idle workers wait for events. A transaction in which a consumer of the fault's own reads what it adds gives them none.
"""

from __future__ import annotations

from datetime import timedelta

from prompt_keda.faults.fault import Fault, Stage
from prompt_keda.faults.redis import count_again
from prompt_keda.model.environment import Instrument

CONSUMER = "a-dead-worker"


def delete_streams(stage: Stage) -> None:
    """Delete the streams with their groups."""
    for one in stage.environment.instruments:
        stage.redis.delete_stream(one.stream)


def destroy_groups(stage: Stage) -> None:
    """Delete the groups alone."""
    for one in stage.environment.instruments:
        stage.redis.run(["XGROUP", "DESTROY", one.stream, one.consumer_group])


def forget_count(stage: Stage) -> None:
    """Lose how many events were read, as a restart of Redis before 7.2.4 does."""
    for one in stage.environment.instruments:
        at = _read_one(stage, one)
        stage.redis.run(["XGROUP", "SETID", one.stream, one.consumer_group, at])


def count_too_few(stage: Stage) -> None:
    """Go back to an old count of events read, as a restart of Redis before 7.2.4 does."""
    for one in stage.environment.instruments:
        at = _read_one(stage, one)
        known = stage.redis.stream_info(one.stream)
        old = known.entries_added - 1 if known else 0
        stage.redis.run(["XGROUP", "SETID", one.stream, one.consumer_group, at, "ENTRIESREAD", old])


def trim_unread(stage: Stage) -> None:
    """Add three events, of which one is read, and trim them all."""
    for one in stage.environment.instruments:
        first, *others = (_next_id(stage, number) for number in (1, 2, 3))
        sent: list[list[str | int]] = [["XADD", one.stream, entry, "visit", "of a fault"] for entry in (first, *others)]
        sent += [_read(one), _acknowledge(one, first), ["XTRIM", one.stream, "MAXLEN", "=", 0]]
        stage.redis.run(*sent)


def let_many_wait(stage: Stage) -> None:
    """Add more events than the workers read in a while."""
    for one in stage.environment.instruments:
        stage.redis.add(one.stream, [{"visit": "of a fault"}] * 900)


def read_all(stage: Stage) -> None:
    """Read what waits, without working on it."""
    for one in stage.environment.instruments:
        rest: list[str | int] = ["COUNT", 1000, "NOACK", "STREAMS", one.stream, ">"]
        stage.redis.run(["XREADGROUP", "GROUP", one.consumer_group, CONSUMER, *rest])


def leave_pending(stage: Stage) -> None:
    """Let a consumer read an event an hour ago, and die before it acknowledges."""
    for one in stage.environment.instruments:
        entry = _next_id(stage, 1)
        hour_ms = int(timedelta(hours=1).total_seconds() * 1000)
        claim: list[str | int] = ["XCLAIM", one.stream, one.consumer_group, CONSUMER, 0, entry, "IDLE", hour_ms]
        stage.redis.run(["XADD", one.stream, entry, "visit", "of a fault"], _read(one), claim)


def forget_consumer(stage: Stage) -> None:
    """Delete the dead consumer, and with it what it has left pending."""
    for one in stage.environment.instruments:
        stage.redis.run(["XGROUP", "DELCONSUMER", one.stream, one.consumer_group, CONSUMER])


def fall_silent(stage: Stage) -> None:
    """Let the last event be three days old."""
    for one in stage.environment.instruments:
        old = f"{_now_ms(stage) - int(timedelta(days=3).total_seconds() * 1000)}-0"
        make = ["XGROUP", "CREATE", one.stream, one.consumer_group, "$", "MKSTREAM"]
        stage.redis.run(["DEL", one.stream], make, ["XSETID", one.stream, old])


def begin_anew(stage: Stage) -> None:
    """Make the streams and groups anew."""
    delete_streams(stage)
    count_again(stage)


def _read_one(stage: Stage, one: Instrument) -> str:
    """Let one event be added, read and acknowledged, and give its id."""
    entry = _next_id(stage, 1)
    stage.redis.run(["XADD", one.stream, entry, "visit", "of a fault"], _read(one), _acknowledge(one, entry))
    return entry


def _read(one: Instrument) -> list[str | int]:
    return ["XREADGROUP", "GROUP", one.consumer_group, CONSUMER, "COUNT", 1, "STREAMS", one.stream, ">"]


def _acknowledge(one: Instrument, entry: str) -> list[str | int]:
    return ["XACK", one.stream, one.consumer_group, entry]


def _next_id(stage: Stage, number: int) -> str:
    return f"{_now_ms(stage)}-{number}"


def _now_ms(stage: Stage) -> int:
    return int(stage.redis.survey([]).now_s() * 1000)


FAULTS: tuple[Fault, ...] = (
    Fault(
        "redis/streams-gone",
        "F28",
        "streams and groups are gone",
        delete_streams,
        count_again,
        {"redis/groups-exist": "fail"},
        "has no group",
    ),
    Fault(
        "redis/group-gone",
        "F17",
        "the consumer group is gone, the stream is there",
        destroy_groups,
        count_again,
        {"redis/groups-exist": "fail"},
        "has no group",
    ),
    Fault(
        "redis/count-lost",
        "F16",
        "Redis has lost what was read",
        forget_count,
        count_again,
        {"redis/lag-is-right": "warn"},
        "has lost what was read",
    ),
    Fault(
        "redis/lag-too-high",
        "F16",
        "the lag is higher than what waits",
        count_too_few,
        count_again,
        {"redis/lag-is-right": "fail"},
        "0 events wait, the lag is 1",
    ),
    Fault(
        "redis/unread-trimmed",
        "",
        "events were trimmed before they were read",
        trim_unread,
        count_again,
        {"redis/backlog-not-trimmed": "fail", "redis/lag-is-right": "fail"},
        "2 events were gone before they were read",
    ),
    Fault(
        "redis/many-wait",
        "",
        "nearly as many events wait as the stream is trimmed to",
        let_many_wait,
        read_all,
        {"redis/backlog-not-trimmed": "warn"},
        "the oldest are trimmed unread",
    ),
    Fault(
        "redis/pending-old",
        "",
        "a worker died between reading an event and acknowledging it",
        leave_pending,
        forget_consumer,
        {"redis/pending-is-young": "warn"},
        "given out and not acknowledged",
    ),
    Fault(
        "redis/silent",
        "",
        "no event comes any more",
        fall_silent,
        begin_anew,
        {"redis/fan-out-alive": "warn"},
        "expected within 48 h",
    ),
)
