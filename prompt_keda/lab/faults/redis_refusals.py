"""Faults of a Prompt Redis that answers PING and is of no use: it takes no event, or events reach no worker.

Nothing that waits is lost by them: a stream that gives way to a string is kept, and a group's place is moved by its count.
"""

from __future__ import annotations

from prompt_keda.clients.redis_state import BACKLOG
from prompt_keda.core.waiting import until
from prompt_keda.lab.faults import scaled_jobs
from prompt_keda.lab.faults.fault import Fault, InChaos, Stage
from prompt_keda.lab.faults.redis import count_again, send

KEPT = "kept-by-a-fault:"
"""Before the name of a stream: its copy, while a string stands in its place."""
FAR_MS = 3_600_000
TOO_MANY = 5000
DAY_S = 86_400
_COUNT_TOO_MANY = """
local last = redis.call('XINFO', 'STREAM', KEYS[1])
local added
for i = 1, #last, 2 do if last[i] == 'last-generated-id' then added = last[i + 1] end end
if #redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1) > 0 and redis.call('XTRIM', KEYS[1], 'MAXLEN', '=', 0) == 0 then
  return 0
end
redis.call('XSETID', KEYS[1], added, 'ENTRIESADDED', 0)
redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], added, 'ENTRIESREAD', ARGV[2])
return 1
"""
_SET_AHEAD = f"""{BACKLOG}
redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], ARGV[2], 'ENTRIESREAD', read or added - waiting)
return 1
"""
"""One script: an event that is read between question and answer would be given out again once the group is set back."""


def put_strings(stage: Stage) -> None:
    """Put a string where each stream stood; the stream is kept under another name."""
    for instrument in stage.environment.instruments:
        if stage.redis.key_type(instrument.stream) == "stream":
            stage.redis.run(
                ["COPY", instrument.stream, KEPT + instrument.stream, "REPLACE"], ["SET", instrument.stream, "x"]
            )
    until(lambda: scaled_jobs.readiness(stage) != {"True"}, "ScaledJobs whose trigger KEDA sees fail")


def put_streams_back(stage: Stage) -> None:
    """Put each kept stream back where a string stands; what somebody has made again meanwhile is left."""
    for instrument in stage.environment.instruments:
        if stage.redis.key_type(instrument.stream) == "string":
            stage.redis.run(["COPY", KEPT + instrument.stream, instrument.stream, "REPLACE"])
        stage.redis.delete_stream(KEPT + instrument.stream)
    count_again(stage)
    scaled_jobs.until_ready(stage)


def count_too_many(stage: Stage) -> None:
    """Let each group have read more events than its stream, empty as a new one, has ever had: the lag is still reported as 0."""
    for instrument in stage.environment.instruments:
        stage.redis.run(["EVAL", _COUNT_TOO_MANY, 1, instrument.stream, instrument.consumer_group, TOO_MANY])


def set_ahead(stage: Stage) -> None:
    """Set each group to an hour from now, with what it has read: no event reaches a worker until then."""
    at = f"{int(stage.redis.observe([]).now_s() * 1000) + FAR_MS}-0"
    for instrument in stage.environment.instruments:
        stage.redis.run(["EVAL", _SET_AHEAD, 1, instrument.stream, instrument.consumer_group, at])


def set_back(stage: Stage) -> None:
    """Set each group back behind what it has read."""
    for instrument in stage.environment.instruments:
        stage.redis.ensure_group(instrument.stream, instrument.consumer_group, "$")
        stage.redis.move_back(instrument.stream, instrument.consumer_group, "$")
    count_again(stage)


def let_expire(stage: Stage) -> None:
    """Let each stream be deleted a day from now."""
    for instrument in stage.environment.instruments:
        stage.redis.run(["EXPIRE", instrument.stream, DAY_S])


def let_stay(stage: Stage) -> None:
    """Let each stream stay."""
    for instrument in stage.environment.instruments:
        stage.redis.persist(instrument.stream)


FAULTS: tuple[Fault, ...] = (
    Fault(
        "redis/replicas-wanted",
        "",
        "Redis refuses writes, because it has too few replicas",
        send(["CONFIG", "SET", "min-replicas-to-write", "1"]),
        send(["CONFIG", "SET", "min-replicas-to-write", "0"]),
        {"redis/accepts-writes": "fail"},
        "NOREPLICAS Not enough good replicas to write",
        stops_scaling=True,
        chaos=InChaos(is_repaired=False),
    ),
    Fault(
        "redis/writes-paused",
        "",
        "Redis lets writes hang, because somebody has paused them",
        send(["CLIENT", "PAUSE", "3600000", "WRITE"]),
        send(["CLIENT", "UNPAUSE"]),
        {"redis/accepts-writes": "fail"},
        "PING is answered, and a write is not",
        stops_scaling=True,
    ),
    Fault(
        "redis/adding-denied",
        "",
        "an ACL denies XADD",
        send(["ACL", "SETUSER", "default", "-xadd"]),
        send(["ACL", "SETUSER", "default", "+xadd"]),
        {"redis/accepts-writes": "fail"},
        "no permissions to run the 'xadd' command",
        stops_scaling=True,
    ),
    Fault(
        "redis/stream-is-a-string",
        "",
        "a string stands where the stream was",
        put_strings,
        put_streams_back,
        {"redis/groups-exist": "fail", "keda/scaled-jobs-ready": "fail"},
        "is a string, not a stream",
        stops_scaling=True,
    ),
    Fault(
        "redis/count-too-high",
        "F16",
        "a group on an empty stream was made with a count of events that never were",
        count_too_many,
        count_again,
        {"redis/lag-matches-backlog": "fail"},
        "more events for read than were ever added",
        stops_scaling=True,
    ),
    Fault(
        "redis/group-ahead",
        "",
        "the group stands at an id that its stream has not reached",
        set_ahead,
        set_back,
        {"redis/lag-matches-backlog": "fail"},
        "no event before it is delivered",
        stops_scaling=True,
    ),
    Fault(
        "redis/stream-expires",
        "",
        "the stream's key has a time to live",
        let_expire,
        let_stay,
        {"redis/streams-permanent": "fail"},
        "with its group and all that waits",
        chaos=InChaos(),
    ),
)
