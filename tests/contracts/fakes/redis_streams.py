"""A Redis in memory, for streams alone, with a worker's side (`read`, `ack`) for tests."""

from __future__ import annotations

from prompt_keda.clients.redis_streams import Backlog, GroupInfo, StreamInfo
from prompt_keda.errors import BadAnswer, Refused, Unreachable

INFO = {
    "server": {"redis_version": "7.0.15"},
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

    While ``down`` is True nothing answers.
    """

    def __init__(self, password="", given=""):
        self.endpoint = "prompt-redis.prompt-redis:6379"
        self.password, self.given, self.down = password, given, False
        self._streams = {}  # name → {"entries": [id], "added": n, "groups": {name: group}}

    def ping(self):
        if self.down:
            raise Unreachable("Redis", self.endpoint, "connection refused")
        if self.password != self.given:
            raise Refused("Redis", self.endpoint, "WRONGPASS" if self.given else "NOAUTH Authentication required.")

    def info(self, section):
        self.ping()
        return INFO.get(section, {})

    def stream_info(self, stream):
        self.ping()
        found = self._streams.get(stream)
        return StreamInfo(len(found["entries"]), _id(found["added"]), found["added"]) if found else None

    def group_info(self, stream, group):
        self.ping()
        found = self._streams.get(stream, {"groups": {}})["groups"].get(group)
        if found is None:
            return None
        at, added = found["at"], self._streams[stream]["added"]
        read = found["read"]
        known = read is not None or at in (0, 1, added)  # Redis can tell for the ends of a stream without a count
        lag = (added - at if read is None else added - read) if known else None
        return GroupInfo(group, len(found["consumers"]), len(found["pending"]), _id(at), read, lag)

    def consumers(self, stream, group):
        self.ping()
        found = self._streams.get(stream, {"groups": {}})["groups"].get(group)
        return sorted(found["consumers"]) if found else []

    def ensure_group(self, stream, group, start):
        if self.group_info(stream, group) is not None:
            return False
        made = self._stream(stream)
        at = made["added"] if start == "$" else 0
        made["groups"][group] = {"at": at, "read": at or None, "pending": set(), "consumers": set()}
        return True

    def backlog(self, stream, group):
        found = self.group_info(stream, group)
        if found is None:
            raise BadAnswer("Redis", self.endpoint, f"NOGROUP {group}")
        inside = self._streams[stream]
        at = inside["groups"][group]["at"]
        waiting = sum(one > at for one in inside["entries"])
        return Backlog(found.lag, waiting, found.entries_read is not None or at == 0)

    def count_read(self, stream, group):
        seen = self.backlog(stream, group)
        if not seen.is_right:
            inside = self._streams[stream]
            inside["groups"][group]["read"] = inside["added"] - seen.waiting
        return not seen.is_right

    def add(self, stream, events):
        self.ping()
        made, ids = self._stream(stream), []
        for _ in events:
            made["added"] += 1
            made["entries"].append(made["added"])
            ids.append(_id(made["added"]))
        return ids

    def delete_stream(self, stream):
        self.ping()
        self._streams.pop(stream, None)

    def close(self):
        pass

    def read(self, stream, group, consumer, count):
        """Read as a worker: XREADGROUP … >. Gives ids."""
        found = self._streams[stream]["groups"][group]
        fresh = [one for one in self._streams[stream]["entries"] if one > found["at"]][:count]
        found["consumers"].add(consumer)
        found["pending"].update(fresh)
        if fresh:
            found["at"], found["read"] = fresh[-1], (found["read"] or 0) + len(fresh)
        return [_id(one) for one in fresh]

    def forget(self, stream, group, read=None):
        """Lose the count of events read, or go back to an old one, as a restart with an append-only file does."""
        self._streams[stream]["groups"][group]["read"] = read

    def ack(self, stream, group, ids):
        """Acknowledge as a worker: XACK."""
        self._streams[stream]["groups"][group]["pending"] -= {int(one.partition("-")[0]) for one in ids}

    def _stream(self, stream):
        return self._streams.setdefault(stream, {"entries": [], "added": 0, "groups": {}})


def _id(number) -> str:
    return f"{number}-0"
