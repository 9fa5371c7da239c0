"""A Redis in memory, for streams alone, with a worker's side (`read`, `ack`) for tests."""

from __future__ import annotations

import copy
import time
from functools import partial

from prompt_keda.clients.redis_state import (
    MOST_PENDING,
    PENDING_S,
    Backlog,
    Flow,
    GroupInfo,
    OldPending,
    RedisState,
    StreamInfo,
)
from prompt_keda.clients.redis_words import HANGS
from prompt_keda.core.errors import ClientError, ErrorReply, Refused, Unreachable, Untrusted

INFO = {
    "server": {"redis_version": "7.0.15", "uptime_in_seconds": 0, "server_time_usec": 0},
    "stats": {"evicted_keys": 0, "expired_keys": 0},
    "commandstats": {},
    "replication": {"role": "master"},
    "memory": {"used_memory": 2**20, "maxmemory": 0, "maxmemory_policy": "noeviction"},
    "persistence": {
        "loading": 0,
        "rdb_last_bgsave_status": "ok",
        "aof_enabled": 0,
        "aof_last_write_status": "ok",
    },
}


class FakeRedis:
    """Behaves as `RedisStreams` does. ``password`` is what the server wants, ``given`` what the client has.

    While ``down`` is True nothing answers. ``denied`` holds the commands that this login may not run; ``users`` other
    logins: name → password. ``saves`` is what CONFIG GET gives. ``trusts`` says why TLS fails with a client's trust.
    ``refuses`` is what Redis says to each write, ``pauses`` whether it says nothing to it.
    """

    def __init__(self, password="", given=""):
        self.endpoint = "prompt-redis.prompt-redis:6379"
        self.password, self.given, self.down = password, given, False
        self.user, self.users, self.denied_commands = "default", {}, set()
        self.clients = []  # what CLIENT LIST gives: addr, cmd, idle
        self.saves = {"save": "", "appendonly": "no"}
        self.tls, self.trusts = None, lambda tls: ""
        self.refuses, self.pauses = "", False
        self._others = {}  # key that is no stream → its type
        self._lives = {}  # stream → after how many ms it is deleted
        self._streams = {}  # name → {"entries": [id], "added": n, "groups": {name: group}}

    def ping(self):
        if self.down:
            raise Unreachable("Redis", self.endpoint, "connection refused")
        if self.tls and self.trusts(self.tls):
            raise Untrusted("Redis", self.endpoint, self.trusts(self.tls))
        wanted = self.password if self.user == "default" else self.users.get(self.user)
        if wanted != self.given:
            raise Refused("Redis", self.endpoint, "WRONGPASS" if self.given else "NOAUTH Authentication required.")

    def logged_in_as(self, username, password, tls=None):
        made = copy.copy(self)
        made.tls = tls
        made.user, made.given = username or "default", password.reveal() if password else ""
        return made

    def denied(self, stream):
        self.ping()
        return [command for command in ("INFO", "XINFO GROUPS", "XLEN") if command in self.denied_commands]

    def refused_work(self, stream, group):
        self.ping()
        if self.pauses:
            return {"XADD": HANGS}
        refused = {}
        for command in ("XADD", "XREADGROUP", "XACK"):
            words = "WRONGTYPE Operation against a key holding the wrong kind of value"
            if command in self.denied_commands:
                refused[command] = f"this user has no permissions to run the '{command.lower()}' command"
            elif self.refuses:
                refused[command] = self.refuses
            elif stream in self._others and command != "XADD":
                refused[command] = words
        return refused

    def key_type(self, key):
        self.ping()
        return self._others.get(key) or ("stream" if key in self._streams else "none")

    def lives_ms(self, key):
        self.ping()
        return self._lives.get(key)

    def persist(self, key):
        self.ping()
        self._lives.pop(key, None)

    def put_string(self, key):
        """Put a string where a stream stood: SET."""
        self._streams.pop(key, None)
        self._others[key] = "string"

    def expire(self, key, seconds):
        """Let a key be deleted after some seconds: EXPIRE."""
        self._lives[key] = seconds * 1000

    def set_group(self, stream, group, at, read=None):
        """Set a group's place and count of events read: XGROUP SETID."""
        self._streams[stream]["groups"][group].update(at=at, read=read)

    def move_back(self, stream, group, start, by_count=True):
        if not self.backlog(stream, group).is_ahead:
            return False
        inside = self._streams[stream]
        at = inside["added"] if start == "$" else int(start.partition("-")[0])
        read = inside["groups"][group]["read"]
        if by_count and read is not None and inside["added"] - read <= len(inside["entries"]):
            at = read
        inside["groups"][group].update(at=at, read=None)
        return True

    def info(self, section):
        self.ping()
        self._may("INFO")
        return INFO.get(section, {})

    def observe(self, streams):
        self.ping()
        asked = {("info",): self._all_info, ("commandstats",): lambda: self.info("commandstats")}
        asked |= {("time",): time.time, ("saving",): self._saving, ("clients",): lambda: self.clients}
        for stream, group in streams:
            asked["stream", stream] = partial(self.stream_info, stream)
            asked["type", stream] = partial(self.key_type, stream)
            asked["lives", stream] = partial(self.lives_ms, stream)
            asked["group", stream, group] = partial(self.group_info, stream, group)
            asked["backlog", stream, group] = partial(self.backlog, stream, group)
            asked["flow", stream, group] = partial(self._flow, stream, group)
            asked["pending", stream, group] = partial(self._old_pending, stream, group)
        return RedisState({question: _answer(ask) for question, ask in asked.items()})

    def stream_info(self, stream):
        self.ping()
        self._is_stream(stream)
        state = self._streams.get(stream)
        if state is None:
            return None
        first = _id(state["entries"][0]) if state["entries"] else None
        return StreamInfo(len(state["entries"]), _id(state["added"]), state["added"], first, len(state["groups"]))

    def group_info(self, stream, group):
        self.ping()
        self._is_stream(stream)
        state = self._streams.get(stream, {"groups": {}})["groups"].get(group)
        if state is None:
            return None
        at, added = state["at"], self._streams[stream]["added"]
        read = state["read"]
        known = read is not None or at in (0, 1, added)  # Redis can tell for the ends of a stream without a count
        lag = (added - at if read is None else added - read) if known and added else 0 if not added else None
        return GroupInfo(group, len(state["consumers"]), len(state["pending"]), _id(at), read, lag)

    def consumers(self, stream, group):
        self.ping()
        state = self._streams.get(stream, {"groups": {}})["groups"].get(group)
        return sorted(state["consumers"]) if state else []

    def pending_ids(self, stream, group):
        self.ping()
        state = self._streams.get(stream, {"groups": {}})["groups"].get(group, {"pending": ()})
        return {_id(event_id) for event_id in state["pending"]}

    def ensure_group(self, stream, group, start):
        if self.group_info(stream, group) is not None:
            return False
        made = self._stream(stream)
        at = made["added"] if start == "$" else int(start.partition("-")[0])
        made["groups"][group] = {"at": at, "read": at or None, "pending": {}, "consumers": set()}
        return True

    def backlog(self, stream, group):
        info = self.group_info(stream, group)
        if info is None:
            raise ErrorReply("Redis", self.endpoint, f"NOGROUP {group}")
        inside = self._streams[stream]
        at = inside["groups"][group]["at"]
        waiting = sum(event_id > at for event_id in inside["entries"])
        excess = max(0, (info.entries_read or 0) - inside["added"])
        counted = (info.entries_read is not None or at == 0) and not excess
        return Backlog(info.lag, waiting, counted, excess, at > inside["added"])

    def count_read(self, stream, group):
        backlog = self.backlog(stream, group)
        if not backlog.is_right:
            inside = self._streams[stream]
            inside["groups"][group]["read"] = inside["added"] - backlog.waiting
        return not backlog.is_right

    def add(self, stream, events):
        self.ping()
        made, ids = self._stream(stream), []
        for _ in events:
            made["added"] += 1
            made["entries"].append(made["added"])
            ids.append(_id(made["added"]))
        return ids

    def take(self, stream, group, consumer, count):
        if self.group_info(stream, group) is None:
            raise ErrorReply("Redis", self.endpoint, f"NOGROUP {group}")
        ids = self.read(stream, group, consumer, count)
        self.ack(stream, group, ids)
        return len(ids)

    def delete_stream(self, stream):
        self.ping()
        self._streams.pop(stream, None)

    def close(self):
        pass

    def read(self, stream, group, consumer, count):
        """Read as a worker: XREADGROUP … >. Gives ids."""
        state = self._streams[stream]["groups"][group]
        fresh = [event_id for event_id in self._streams[stream]["entries"] if event_id > state["at"]][:count]
        state["consumers"].add(consumer)
        state["pending"].update(dict.fromkeys(fresh, (time.time(), consumer)))
        if fresh:
            state["at"], state["read"] = fresh[-1], (state["read"] or 0) + len(fresh)
        return [_id(event_id) for event_id in fresh]

    def forget(self, stream, group, read=None):
        """Lose the count of events read, or go back to an old one, as a restart with an append-only file does."""
        self._streams[stream]["groups"][group]["read"] = read

    def ack(self, stream, group, ids):
        """Acknowledge as a worker: XACK."""
        for id_ in ids:
            self._streams[stream]["groups"][group]["pending"].pop(int(id_.partition("-")[0]), None)

    def grow_old(self, stream, group, ids, idle_s):
        """Let events be pending since ``idle_s`` seconds ago: XCLAIM … IDLE."""
        pending = self._streams[stream]["groups"][group]["pending"]
        for id_ in ids:
            number = int(id_.partition("-")[0])
            pending[number] = time.time() - idle_s, pending[number][1]

    def trim(self, stream, length):
        """Keep the newest events: XTRIM MAXLEN."""
        entries = self._streams[stream]["entries"]
        del entries[: len(entries) - length]

    def let_come(self, stream, numbers, ago_s):
        """Let events have come so long ago."""
        self._stream(stream).setdefault("came", {}).update(dict.fromkeys(numbers, time.time() - ago_s))

    def let_stand_at(self, stream, number):
        """Let the stream have given out this id: XSETID."""
        self._stream(stream)["added"] = number

    def let_ask(self, stream, group, ago_s):
        """Let the group's consumers have asked last so long ago: it has one then."""
        state = self._streams[stream]["groups"][group]
        state["consumers"].add("worker")
        state["asked"] = time.time() - ago_s

    def _flow(self, stream, group):
        self.ping()
        if self.group_info(stream, group) is None:
            raise ErrorReply("Redis", self.endpoint, f"NOGROUP {group}")
        inside = self._streams[stream]
        state, now = inside["groups"][group], time.time()
        waiting = [event_id for event_id in inside["entries"] if event_id > state["at"]]
        came = inside.get("came", {}).get(waiting[0], now) if waiting else None
        asked = state.get("asked", now) if state["consumers"] else None
        given = state["pending"].get(state["at"])
        ages = (came, asked, given and given[0])
        last = [event_id for event_id in inside["entries"] if event_id <= state["at"]][-3:]
        count = sum(event_id in state["pending"] for event_id in last)
        return Flow(
            *(None if event_id is None else max(0.0, now - event_id) for event_id in ages), unacknowledged_count=count
        )

    def _old_pending(self, stream, group):
        self.ping()
        if self.group_info(stream, group) is None:
            raise ErrorReply("Redis", self.endpoint, f"NOGROUP {group}")
        pending = self._streams[stream]["groups"][group]["pending"].values()
        old = sorted(event for event in pending if time.time() - event[0] > PENDING_S)
        oldest_s, consumer = (time.time() - old[0][0], old[0][1]) if old else (0, "")
        return OldPending(min(len(old), MOST_PENDING), oldest_s, consumer)

    def _all_info(self):
        sections = [self.info(section) for section in INFO if section != "commandstats"]
        return {key: value for section in sections for key, value in section.items()}

    def _saving(self):
        self._may("CONFIG GET")
        return dict(self.saves)

    def _may(self, command):
        if command in self.denied_commands:
            raise Refused(
                "Redis", self.endpoint, f"this user has no permissions to run the '{command.lower()}' command"
            )

    def _is_stream(self, key):
        if key in self._others:
            words = "WRONGTYPE Operation against a key holding the wrong kind of value"
            raise ErrorReply("Redis", self.endpoint, words)

    def _stream(self, stream):
        return self._streams.setdefault(stream, {"entries": [], "added": 0, "groups": {}})


def _answer(ask):
    try:
        return ask()
    except ClientError as error:
        return error


def _id(number) -> str:
    return f"{number}-0"
