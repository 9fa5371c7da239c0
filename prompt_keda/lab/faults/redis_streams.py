"""Faults of the streams in Prompt Redis.

Idle workers wait for events. A transaction in which a consumer of the fault's own reads what it adds gives them none.
Where events of others wait, none of them is taken but by a fault that says so.
"""

from __future__ import annotations

from datetime import timedelta

from prompt_keda.core.waiting import until
from prompt_keda.lab.faults.fault import Fault, Stage
from prompt_keda.lab.faults.redis import count_again

CONSUMER = "a-dead-worker"
_PREPARE = """
local stream, group, consumer, hour_ms = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local function as_table(reply)
  local found = {}
  for at = 1, #reply, 2 do found[reply[at]] = reply[at + 1] end
  return found
end
local function of_group()
  for _, group_reply in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local found = as_table(group_reply)
    if found['name'] == group then return found end
  end
end
if of_group()['last-delivered-id'] == as_table(redis.call('XINFO', 'STREAM', stream))['last-generated-id'] then
  local id = redis.call('XADD', stream, '*', 'visit', 'of a fault')
  redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', 1, 'STREAMS', stream, '>')
  redis.call('XACK', stream, group, id)
end
local last = of_group()['last-delivered-id']
"""
"""What begins each script: where nothing waits, one event of the fault's own is added, read and acknowledged.

So there is one at least, no idle worker is woken by it, and no event of others is taken.
"""
_FORGET = """
if last ~= as_table(redis.call('XINFO', 'STREAM', stream))['last-generated-id'] then return 0 end
redis.call('XGROUP', 'SETID', stream, group, last)
return 1
"""
"""While events wait, nothing is done: whoever reads the newest one lets Redis count again."""
_COUNT_TOO_FEW = (
    "redis.call('XGROUP', 'SETID', stream, group, last, 'ENTRIESREAD', of_group()['entries-read'] - 1) return 1"
)
_LEAVE_PENDING = """
for _, entry in ipairs(redis.call('XRANGE', stream, '-', last)) do
  if #redis.call('XPENDING', stream, group, entry[1], entry[1], 1) == 0 then
    redis.call('XCLAIM', stream, group, consumer, 0, entry[1], 'IDLE', hour_ms, 'FORCE')
    return 1
  end
end
return 0
"""


_TRIM_UNREAD = """
for _ = 1, 3 do redis.call('XADD', stream, '*', 'visit', 'of a fault') end
local read = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', 1, 'STREAMS', stream, '>')
redis.call('XACK', stream, group, read[1][2][1][1])
redis.call('XTRIM', stream, 'MAXLEN', '=', 0)
return 1
"""


def delete_streams(stage: Stage) -> None:
    """Delete the streams with their groups."""
    for instrument in stage.environment.instruments:
        stage.redis.delete_stream(instrument.stream)


def destroy_groups(stage: Stage) -> None:
    """Delete the groups alone."""
    for instrument in stage.environment.instruments:
        stage.redis.run(["XGROUP", "DESTROY", instrument.stream, instrument.consumer_group])


def forget_count(stage: Stage) -> None:
    """Wait until no event waits, and lose how many were read, as a restart of Redis before 7.2.4 does."""
    until(lambda: all(_for_each(stage, _FORGET)), "a group that has read all events")


def count_too_few(stage: Stage) -> None:
    """Go back to an old count of events read, as a restart of Redis before 7.2.4 does."""
    _for_each(stage, _COUNT_TOO_FEW)


def trim_unread(stage: Stage) -> None:
    """Add three events, read and acknowledge the first that waits, and trim all."""
    _for_each(stage, _TRIM_UNREAD)


def let_many_wait(stage: Stage) -> None:
    """Add more events than the workers read in a while."""
    for instrument in stage.environment.instruments:
        stage.redis.add(instrument.stream, [{"visit": "of a fault"}] * 900)


def read_all(stage: Stage) -> None:
    """Read and acknowledge what waits, as fast workers would."""
    for instrument in stage.environment.instruments:
        group: list[str | int] = ["GROUP", instrument.consumer_group, CONSUMER]
        (read,) = stage.redis.run(["XREADGROUP", *group, "COUNT", 2000, "STREAMS", instrument.stream, ">"])
        ids = [entry[0] for _, entries in read or [] for entry in entries]
        if ids:
            stage.redis.run(["XACK", instrument.stream, instrument.consumer_group, *ids])


def leave_pending(stage: Stage) -> None:
    """Let an event that was worked on already look like one that a consumer read an hour ago, and died of."""
    until(lambda: all(_for_each(stage, _LEAVE_PENDING)), "an event that was acknowledged")


def forget_consumer(stage: Stage) -> None:
    """Delete the dead consumer, and with it what it has left pending."""
    for instrument in stage.environment.instruments:
        stage.redis.run(["XGROUP", "DELCONSUMER", instrument.stream, instrument.consumer_group, CONSUMER])


def fall_silent(stage: Stage) -> None:
    """Let the last event be three days old."""
    for instrument in stage.environment.instruments:
        old = f"{_days_ago_ms(stage, 3)}-0"
        make = ["XGROUP", "CREATE", instrument.stream, instrument.consumer_group, "$", "MKSTREAM"]
        stage.redis.run(["DEL", instrument.stream], make, ["XSETID", instrument.stream, old])


def end_silence(stage: Stage) -> None:
    """Make a stream again in which no event has come since; one that has events is silent no longer, and they are waited for."""
    for instrument in stage.environment.instruments:
        info = stage.redis.stream_info(instrument.stream)
        if info and int(info.last_id.partition("-")[0]) < _days_ago_ms(stage, 1):
            stage.redis.delete_stream(instrument.stream)
    count_again(stage)


def _for_each(stage: Stage, script: str) -> list[object]:
    """Run a script on each instrument's group, and return what each has returned."""
    hour_ms = int(timedelta(hours=1).total_seconds() * 1000)
    given = [
        (instrument.stream, instrument.consumer_group, CONSUMER, hour_ms)
        for instrument in stage.environment.instruments
    ]
    return [stage.redis.run(["EVAL", _PREPARE + script, 1, *arguments])[0] for arguments in given]


def _days_ago_ms(stage: Stage, days: int) -> int:
    return int(stage.redis.observe([]).now_s() * 1000) - int(timedelta(days=days).total_seconds() * 1000)


FAULTS: tuple[Fault, ...] = (
    Fault(
        "redis/streams-gone",
        "F28",
        "streams and groups are gone",
        delete_streams,
        count_again,
        {"redis/groups-exist": "fail"},
        "has no group",
        stops_scaling=True,
    ),
    Fault(
        "redis/group-gone",
        "F17",
        "the consumer group is gone, the stream is there",
        destroy_groups,
        count_again,
        {"redis/groups-exist": "fail"},
        "has no group",
        stops_scaling=True,
    ),
    Fault(
        "redis/count-lost",
        "F16",
        "Redis has lost what was read",
        forget_count,
        count_again,
        {"redis/lag-matches-backlog": "warn"},
        "has lost what was read",
        stops_scaling=True,
    ),
    Fault(
        "redis/lag-too-high",
        "F16",
        "the lag is higher than what waits",
        count_too_few,
        count_again,
        {"redis/lag-matches-backlog": "fail"},
        "0 events wait, the lag is 1",
    ),
    Fault(
        "redis/unread-trimmed",
        "",
        "events were trimmed before they were read",
        trim_unread,
        count_again,
        {"redis/backlog-not-trimmed": "fail", "redis/lag-matches-backlog": "fail"},
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
        {"redis/pending-acknowledged": "warn"},
        "given out and not acknowledged",
    ),
    Fault(
        "redis/silent",
        "",
        "no event comes any more",
        fall_silent,
        end_silence,
        {"redis/fan-out-alive": "warn"},
        "expected within 48 h",
    ),
)
