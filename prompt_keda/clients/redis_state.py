"""What a Redis says of itself and of several streams, asked in one round trip."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis
from redis.exceptions import RedisError

from prompt_keda.core.errors import ClientError

PENDING_S = 60
"""An event that is pending for longer counts as old. Workers acknowledge before they work: it takes them milliseconds."""
MOST_PENDING = 100
BACKLOG = """
local group
for _, one in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local found = {}
    for i = 1, #one, 2 do found[one[i]] = one[i + 1] end
    if found['name'] == ARGV[1] then group = found end
end
if not group then return redis.error_reply('NOGROUP ' .. ARGV[1]) end
local at = group['last-delivered-id']
local waiting = #redis.call('XRANGE', KEYS[1], '(' .. at, '+')
local stream = {}
local answer = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #answer, 2 do stream[answer[i]] = answer[i + 1] end
local read, added, last = group['entries-read'], stream['entries-added'], stream['last-generated-id']
local excess = read and math.max(0, read - added) or 0
local counted = (read or at == '0-0') and excess == 0
local function order(id) local ms, number = string.match(id, '(%d+)-(%d+)') return tonumber(ms), tonumber(number) end
local at_ms, at_number = order(at)
local last_ms, last_number = order(last)
local ahead = at_ms > last_ms or (at_ms == last_ms and at_number > last_number)
"""
"""One script, because no event may come or go between its questions."""
GIVE_FLOW = """
local at
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local fields = {}
    for i = 1, #group, 2 do fields[group[i]] = group[i + 1] end
    if fields['name'] == ARGV[1] then at = fields['last-delivered-id'] end
end
if not at then return redis.error_reply('NOGROUP ' .. ARGV[1]) end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function age(id)
    return math.max(0, now - tonumber(string.match(id, '^%d+')))
end
local waiting, read, unacknowledged = -1, -1, -1
for _, event in ipairs(redis.call('XRANGE', KEYS[1], '(' .. at, '+', 'COUNT', 1)) do waiting = age(event[1]) end
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    for i = 1, #consumer, 2 do
        if consumer[i] == 'idle' and (read < 0 or consumer[i + 1] < read) then read = consumer[i + 1] end
    end
end
local count = 0
for _, event in ipairs(redis.call('XREVRANGE', KEYS[1], at, '-', 'COUNT', 3)) do
    local id = event[1]
    for _, pending in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)) do
        count = count + 1
        if id == at then unacknowledged = pending[3] end
    end
end
return {waiting, read, unacknowledged, count}
"""
"""Three ages in milliseconds, by Redis' own clock, -1 where there is no such thing; and a count. A group may have thousands
of consumers, because those of dead workers stay: the script sends the newest of their ages alone."""
GIVE_BACKLOG = f"""{BACKLOG}
return {{group['lag'] and 1 or 0, group['lag'] or 0, waiting, counted and 1 or 0, excess, ahead and 1 or 0}}
"""
Question = tuple[str, ...]


@dataclass(frozen=True)
class StreamInfo:
    """What XINFO STREAM says: events held, last id given, events ever added, id of the first event held, number of groups."""

    length: int
    last_id: str
    entries_added: int
    first_id: str | None = None
    groups_count: int = 0


@dataclass(frozen=True)
class GroupInfo:
    """What XINFO GROUPS says. ``lag`` and ``entries_read`` are None where Redis cannot tell (failure mode F16)."""

    name: str
    consumers: int
    pending: int
    last_delivered_id: str
    entries_read: int | None
    lag: int | None


@dataclass(frozen=True)
class Backlog:
    """What a group has still to be given.

    Parameters
    ----------
    lag
        What Redis says, and KEDA believes; None where it cannot tell.
    waiting
        The events after the last one that was given out, counted one by one.
    counted
        False where Redis has lost how many were read: the next events make the lag nil.
    excess
        So many more events Redis takes for read than were ever added: once events come, the lag is too low by that.
    is_ahead
        Whether the group stands after the stream's last id: what comes before its place is never delivered.
    """

    lag: int | None
    waiting: int
    counted: bool
    excess: int = 0
    is_ahead: bool = False

    @property
    def is_right(self) -> bool:
        """Whether the lag that KEDA reads is right, and will be when the next events come."""
        return self.counted and not self.is_ahead and self.lag == self.waiting


@dataclass(frozen=True)
class OldPending:
    """Events that were given out more than `PENDING_S` seconds ago and not acknowledged.

    Parameters
    ----------
    count
        How many; `MOST_PENDING` stands for that many or more.
    oldest_s
        How long the oldest of them is pending, in seconds.
    consumer
        Who was given that one; empty if there is none.
    """

    count: int
    oldest_s: float
    consumer: str


@dataclass(frozen=True)
class Flow:
    """Since when a consumer group's events wait, are read, and are acknowledged, by Redis' own clock.

    Parameters
    ----------
    oldest_waiting_s
        Age of the first event after the last one that was given out, in seconds; None when no event waits.
    last_read_s
        How long ago a consumer was last given an event, or asked for one; None when the group has no consumer. Where
        events wait, whoever asks gets one: so an event was read then. Redis 7.0 counts no read that still waits.
    unacknowledged_s
        How long the last event that was given out is pending, in seconds; None when it was acknowledged.
    unacknowledged_count
        How many of the last three events that were given out are pending.
    """

    oldest_waiting_s: float | None
    last_read_s: float | None
    unacknowledged_s: float | None
    unacknowledged_count: int


class RedisState:
    """Answers to all questions; each raises its own error when it is looked at, so that one denied hides no other.

    Parameters
    ----------
    answers
        Question → its answer, or the `ClientError` that came instead.
    """

    def __init__(self, answers: Mapping[Question, Any]) -> None:
        self._answers = answers

    def info(self) -> dict[str, Any]:
        """Return INFO: all default sections, and ``cmdstat_…`` with the calls of each command since the start."""
        info: dict[str, Any] = self._answer("info") | self._answer("commandstats")
        return info

    def now_s(self) -> float:
        """Return Redis' own clock, in seconds since 1970."""
        return float(self._answer("time"))

    def saving(self) -> dict[str, str]:
        """Return its settings ``save`` and ``appendonly``."""
        settings: dict[str, str] = self._answer("saving")
        return settings

    def lag_asked_s(self, address: str) -> float | None:
        """Return how long ago a client at an address last asked for a group's lag, in seconds; None if none has.

        By Redis' own clock (CLIENT LIST); who has asked for something else since is not seen.
        """
        clients: list[dict[str, Any]] = self._answer("clients")
        ages = [
            float(client["idle"])
            for client in clients
            if str(client["addr"]).rpartition(":")[0] == address and str(client["cmd"]).startswith("xinfo")
        ]
        return min(ages, default=None)

    def stream(self, stream: str) -> StreamInfo | None:
        """Return what is known of a stream, or None if it is missing."""
        info: StreamInfo | None = self._answer("stream", stream)
        return info

    def key_type(self, stream: str) -> str:
        """Return the type of a stream's key: ``stream``, or what stands there instead."""
        return str(self._answer("type", stream))

    def lives_ms(self, stream: str) -> int | None:
        """Return after how many milliseconds Redis deletes a stream; None: it does not."""
        lives_ms: int | None = self._answer("lives", stream)
        return lives_ms

    def group(self, stream: str, group: str) -> GroupInfo | None:
        """Return what is known of a consumer group, or None if stream or group is missing."""
        info: GroupInfo | None = self._answer("group", stream, group)
        return info

    def backlog(self, stream: str, group: str) -> Backlog:
        """Return a group's lag beside what really waits. Raises `BadAnswer` when stream or group is missing."""
        backlog: Backlog = self._answer("backlog", stream, group)
        return backlog

    def flow(self, stream: str, group: str) -> Flow:
        """Return since when events wait and are read. Raises `BadAnswer` when stream or group is missing."""
        flow: Flow = self._answer("flow", stream, group)
        return flow

    def old_pending(self, stream: str, group: str) -> OldPending:
        """Return the events that are pending for too long. Raises `BadAnswer` when stream or group is missing."""
        pending: OldPending = self._answer("pending", stream, group)
        return pending

    def _answer(self, *question: str) -> Any:
        answer = self._answers[question]
        if isinstance(answer, ClientError):
            raise answer
        return answer


def ask(
    connection: redis.Redis,
    streams: Sequence[tuple[str, str]],
    translated: Callable[[RedisError], ClientError],
) -> RedisState:
    """Ask all of it in one pipeline of reading commands.

    Parameters
    ----------
    streams
        Pairs of a stream and a group.
    translated
        Gives this project's error for one of the library's.

    Raises
    ------
    RedisError
        When nothing can be asked at all: no connection, or no login.
    """
    plan = _plan(streams)
    with connection.pipeline(transaction=False) as pipe:
        for send, _ in plan.values():
            send(pipe)
        replies = pipe.execute(raise_on_error=False)
    answers: dict[Question, Any] = {}
    for (question, (_, read)), reply in zip(plan.items(), replies, strict=True):
        answers[question] = _read(question, reply, read, translated)
    return RedisState(answers)


def _plan(streams: Sequence[tuple[str, str]]) -> dict[Question, tuple[Callable[[Any], Any], Callable[[Any], Any]]]:
    """Return for each question how to send it, and how to read its reply."""
    plan: dict[Question, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
        ("info",): (lambda pipe: pipe.info(), dict),
        ("commandstats",): (lambda pipe: pipe.info("commandstats"), dict),
        ("time",): (lambda pipe: pipe.time(), lambda reply: reply[0] + reply[1] / 1e6),
        ("clients",): (lambda pipe: pipe.client_list(), list),
        ("saving",): (lambda pipe: pipe.config_get("save", "appendonly"), dict),
    }
    for stream, group in streams:
        plan |= _plan_of_one(stream, group)
    return plan


def _plan_of_one(stream: str, group: str) -> dict[Question, tuple[Callable[[Any], Any], Callable[[Any], Any]]]:
    old = {"min": "-", "max": "+", "count": MOST_PENDING, "idle": PENDING_S * 1000}
    return {
        ("stream", stream): (lambda pipe: pipe.xinfo_stream(stream), read_stream),
        ("type", stream): (lambda pipe: pipe.type(stream), str),
        ("lives", stream): (lambda pipe: pipe.pttl(stream), read_ttl),
        ("group", stream, group): (lambda pipe: pipe.xinfo_groups(stream), lambda reply: read_group(reply, group)),
        ("backlog", stream, group): (lambda pipe: pipe.eval_ro(GIVE_BACKLOG, 1, stream, group), read_backlog),
        ("flow", stream, group): (lambda pipe: pipe.eval_ro(GIVE_FLOW, 1, stream, group), read_flow),
        ("pending", stream, group): (lambda pipe: pipe.xpending_range(stream, group, **old), _read_pending),
    }


def _read(
    question: Question, reply: Any, read: Callable[[Any], Any], translated: Callable[[RedisError], ClientError]
) -> Any:
    if isinstance(reply, RedisError):
        missing = question[0] in ("stream", "group") and "no such key" in str(reply)
        return None if missing else translated(reply)
    return read(reply)


def read_stream(reply: dict[str, Any]) -> StreamInfo:
    """Read what XINFO STREAM says."""
    first = reply.get("first-entry")
    added = reply.get("entries-added", reply["length"])
    return StreamInfo(reply["length"], reply["last-generated-id"], added, first[0] if first else None, reply["groups"])


def read_group(reply: list[dict[str, Any]], group: str) -> GroupInfo | None:
    """Read what XINFO GROUPS says of one group; None if it is not among them."""
    for row in reply:
        if row["name"] == group:
            return GroupInfo(
                group,
                row["consumers"],
                row["pending"],
                row["last-delivered-id"],
                row.get("entries-read"),
                row.get("lag"),
            )
    return None


def read_backlog(reply: Sequence[Any]) -> Backlog:
    """Read what the script `GIVE_BACKLOG` gives."""
    known, lag, waiting, counted, excess, is_ahead = reply
    return Backlog(int(lag) if known else None, int(waiting), bool(counted), int(excess), bool(is_ahead))


def read_ttl(reply: int) -> int | None:
    """Read what PTTL says, in milliseconds; None where the key never expires, or is missing."""
    return reply if reply >= 0 else None


def read_flow(reply: Sequence[Any]) -> Flow:
    """Read what the script `GIVE_FLOW` gives."""
    waiting, read, unacknowledged = (None if int(age_ms) < 0 else int(age_ms) / 1000 for age_ms in reply[:3])
    return Flow(waiting, read, unacknowledged, int(reply[3]))


def _read_pending(reply: list[dict[str, Any]]) -> OldPending:
    if not reply:
        return OldPending(0, 0, "")
    oldest = max(reply, key=lambda row: row["time_since_delivered"])
    return OldPending(len(reply), oldest["time_since_delivered"] / 1000, str(oldest["consumer"]))
