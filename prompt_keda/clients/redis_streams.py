"""Redis streams: their length, groups and lag (library `redis`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ConnectionError,
    NoPermissionError,
    RedisError,
    ResponseError,
    TimeoutError,
)
from redis.retry import Retry

from prompt_keda.clients.kube import Kube
from prompt_keda.clients.kube_resources import ENDPOINT_SLICES
from prompt_keda.errors import BadAnswer, ClientError, Missing, Refused, Unreachable
from prompt_keda.model.secret import Secret

SYSTEM = "Redis"
_LOOK = """
local group
for _, one in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local found = {}
    for i = 1, #one, 2 do found[one[i]] = one[i + 1] end
    if found['name'] == ARGV[1] then group = found end
end
if not group then return redis.error_reply('NOGROUP ' .. ARGV[1]) end
local at = group['last-delivered-id']
local waiting = #redis.call('XRANGE', KEYS[1], '(' .. at, '+')
local counted = group['entries-read'] or at == '0-0'
"""
"""One script, because no event may come or go between its questions."""
_BACKLOG = f"{_LOOK} return {{group['lag'] and 1 or 0, group['lag'] or 0, waiting, counted and 1 or 0}}"
_COUNT_READ = f"""{_LOOK}
if counted and group['lag'] == waiting then return 0 end
local added, stream = 0, redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #stream, 2 do if stream[i] == 'entries-added' then added = stream[i + 1] end end
redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], at, 'ENTRIESREAD', added - waiting)
return 1
"""


@dataclass(frozen=True)
class StreamInfo:
    """What XINFO STREAM says: events held, the last id given, events ever added."""

    length: int
    last_id: str
    entries_added: int


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
    """

    lag: int | None
    waiting: int
    counted: bool

    @property
    def is_right(self) -> bool:
        """Whether KEDA is told the truth, and will be when the next events come."""
        return self.counted and self.lag == self.waiting


class RedisStreams:
    """One Redis. Make it with `direct` or `through`."""

    def __init__(self, connection: redis.Redis, endpoint: str) -> None:
        self._redis = connection
        self.endpoint = endpoint

    @classmethod
    def direct(cls, host: str, port: int, password: Secret | None, timeout: timedelta) -> RedisStreams:
        """Reach Redis by TCP. Nothing is sent yet."""
        seconds = timeout.total_seconds()
        connection = redis.Redis(
            host=host,
            port=port,
            password=password.reveal() if password else None,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            decode_responses=True,
            protocol=2,
            retry=_once(),
        )
        return cls(connection, f"{host}:{port}")

    @classmethod
    def through(
        cls, kube: Kube, namespace: str, service: str, port: int, password: Secret | None, timeout: timedelta
    ) -> RedisStreams:
        """Reach Redis by a port-forward through the API server, to a ready pod behind its Service.

        Raises
        ------
        Missing
            When the cluster says that no pod behind the Service is ready.
        """
        pod = ready_pod(kube, namespace, service, port)
        seconds = timeout.total_seconds()
        pool = redis.ConnectionPool(
            connection_class=_ForwardedConnection,
            open_socket=lambda: kube.port_forward(namespace, pod, port),
            password=password.reveal() if password else None,
            socket_timeout=seconds,
            decode_responses=True,
            protocol=2,
            retry=_once(),
        )
        return cls(redis.Redis(connection_pool=pool), f"{service}.{namespace}:{port} (port-forward to pod {pod})")

    def ping(self) -> None:
        """Make sure that it answers. Raises `Unreachable`, `Refused` (password) or `BadAnswer`."""
        self._ask(lambda: self._redis.ping())

    def info(self, section: str) -> dict[str, Any]:
        """Give one section of INFO. Raises as `ping` does."""
        found: dict[str, Any] = self._ask(lambda: self._redis.info(section))
        return found

    def stream_info(self, stream: str) -> StreamInfo | None:
        """Give what is known of a stream, or None if it is not there. Raises as `ping` does."""
        answer = self._ask_absent(lambda: self._redis.xinfo_stream(stream))
        if answer is None:
            return None
        return StreamInfo(answer["length"], answer["last-generated-id"], answer.get("entries-added", answer["length"]))

    def group_info(self, stream: str, group: str) -> GroupInfo | None:
        """Give what is known of a consumer group, or None if stream or group is not there. Raises as `ping` does."""
        for one in self._ask_absent(lambda: self._redis.xinfo_groups(stream)) or []:
            if one["name"] == group:
                return GroupInfo(
                    group,
                    one["consumers"],
                    one["pending"],
                    one["last-delivered-id"],
                    one.get("entries-read"),
                    one.get("lag"),
                )
        return None

    def consumers(self, stream: str, group: str) -> list[str]:
        """Give the names of a group's consumers. Raises as `ping` does."""
        found = self._ask_absent(lambda: self._redis.xinfo_consumers(stream, group)) or []
        return [one["name"] for one in found]

    def ensure_group(self, stream: str, group: str, start: str) -> bool:
        """Make a consumer group, and its stream, unless it is there. An existing group is never moved.

        Parameters
        ----------
        start
            ``$`` skips what the stream holds, ``0`` replays it. To skip, the stream's last id and count are given
            explicitly from one reply: with a plain ``$`` the lag is unknown ever after (failure mode F16).

        Returns
        -------
        bool
            True if it was made.
        """
        if self.group_info(stream, group) is not None:
            return False
        known = self.stream_info(stream)
        arguments = ["XGROUP", "CREATE", stream, group]
        if start == "$" and known is not None:
            arguments += [known.last_id, "MKSTREAM", "ENTRIESREAD", str(known.entries_added)]
        else:
            arguments += [start, "MKSTREAM"]
        try:
            self._redis.execute_command(*arguments)  # type: ignore[no-untyped-call]
        except ResponseError as error:
            if "BUSYGROUP" in str(error):  # somebody else made it meanwhile
                return False
            raise self._translated(error) from error
        except RedisError as error:
            raise self._translated(error) from error
        return True

    def backlog(self, stream: str, group: str) -> Backlog:
        """Give a group's lag beside what really waits. It reads, and never writes (EVAL_RO).

        Raises
        ------
        BadAnswer
            When stream or group is not there; otherwise as `ping` does.
        """
        known, lag, waiting, counted = self._ask(lambda: self._redis.eval_ro(_BACKLOG, 1, stream, group))
        return Backlog(int(lag) if known else None, int(waiting), bool(counted))

    def count_read(self, stream: str, group: str) -> bool:
        """Count what a group has read where Redis has lost that, and move the group nowhere. Idempotent: yes.

        Redis before 7.2.4 writes the count of events read neither into its append-only file nor to its replicas
        (redis/redis#12898). After a restart or a failover it is lost, and the next event makes the lag nil; or it is an
        old one, and the lag is too high for good. So it is after unread events were trimmed (redis/redis#13957). KEDA
        2.16.1 takes nil for 0, and makes workers for events that are not there (failure mode F16).

        Returns
        -------
        bool
            False if all was right already. True does not promise that it is now: Redis gives no lag while events that
            wait have been deleted one by one (XDEL).

        Raises
        ------
        BadAnswer
            When stream or group is not there; otherwise as `ping` does.
        """
        return bool(self._ask(lambda: self._redis.eval(_COUNT_READ, 1, stream, group)))

    def add(self, stream: str, events: list[dict[str, str]]) -> list[str]:
        """Add events in one transaction, and give their ids. Raises as `ping` does."""

        def send() -> list[str]:
            with self._redis.pipeline(transaction=True) as pipe:
                for fields in events:
                    pipe.xadd(stream, fields)  # type: ignore[arg-type]
                return [str(one) for one in pipe.execute()]

        ids: list[str] = self._ask(send)
        return ids

    def delete_stream(self, stream: str) -> None:
        """Delete a stream with its groups. Idempotent: yes. Raises as `ping` does."""
        self._ask(lambda: self._redis.delete(stream))

    def close(self) -> None:
        """Close all connections."""
        self._redis.close()
        self._redis.connection_pool.disconnect()

    def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except RedisError as error:
            raise self._translated(error) from error

    def _ask_absent(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except ResponseError as error:
            if "no such key" in str(error) or "NOGROUP" in str(error):
                return None
            raise self._translated(error) from error
        except RedisError as error:
            raise self._translated(error) from error

    def _translated(self, error: RedisError) -> ClientError:
        text = str(error).strip().splitlines()[-1] if str(error) else type(error).__name__
        denied = ("NOAUTH", "WRONGPASS", "NOPERM")
        kinds = (AuthenticationError, AuthorizationError, NoPermissionError)
        if isinstance(error, kinds) or any(word in text for word in denied):
            return Refused(SYSTEM, self.endpoint, text, "Compare the password in Vault with the one that Redis has.")
        if isinstance(error, (ConnectionError, TimeoutError)):
            return Unreachable(SYSTEM, self.endpoint, text)
        return BadAnswer(SYSTEM, self.endpoint, text)


def ready_pod(kube: Kube, namespace: str, service: str, port: int) -> str:
    """Give the name of a ready pod behind a Service.

    Raises
    ------
    Missing
        When there is none: the cluster itself says that nothing serves there.
    """
    slices = kube.list(ENDPOINT_SLICES, namespace, f"kubernetes.io/service-name={service}")
    for one in slices:
        for endpoint in one.get("endpoints") or []:
            target = endpoint.get("targetRef") or {}
            if endpoint.get("conditions", {}).get("ready") and target.get("kind") == "Pod":
                return str(target["name"])
    where = f"{service}.{namespace}:{port}"
    raise Missing(
        SYSTEM, where, "the cluster says that no ready pod is behind this Service", f"kubectl -n {namespace} get pods"
    )


def _once() -> Retry:
    """Send each command once. The library's default sends an XADD whose answer is lost up to 10 times more."""
    return Retry(NoBackoff(), 0)


class _ForwardedConnection(redis.Connection):
    """A connection of redis-py over a socket that the API server gives."""

    def __init__(self, open_socket: Callable[[], Any], **kwargs: Any) -> None:
        self._open_socket = open_socket
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]

    def _connect(self) -> Any:
        forwarded = self._open_socket()
        forwarded.settimeout(self.socket_timeout)
        return forwarded
