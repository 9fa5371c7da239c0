"""Redis streams: their length, groups and lag (library `redis`)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ConnectionError,
    NoPermissionError,
    RedisError,
    ResponseError,
    TimeoutError,
)
from redis.retry import Retry

from prompt_keda.clients.http.failures import CUT_OFF, find_reason, find_tls_reason, is_in_handshake, time_over
from prompt_keda.clients.http.tls import Tls
from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.port_forward import why_closed
from prompt_keda.clients.kube.resources import ENDPOINT_SLICES
from prompt_keda.clients.redis_state import (
    BACKLOG,
    GIVE_BACKLOG,
    Backlog,
    GroupInfo,
    RedisState,
    StreamInfo,
    ask,
    read_backlog,
    read_group,
    read_stream,
    read_ttl,
)
from prompt_keda.clients.redis_words import HANGS, fix_for
from prompt_keda.clients.whole_answer import BoundedSocket, bounded
from prompt_keda.core.errors import BadAnswer, ClientError, ErrorReply, Missing, Refused, Unreachable, Untrusted
from prompt_keda.core.secret import Secret

SYSTEM = "Redis"
ANSWERS: dict[str, Any] = {"decode_responses": True, "encoding_errors": "backslashreplace", "protocol": 2}
"""Answers are texts. Names and events are bytes to Redis: one that is no text is shown as far as it is, and hides nothing."""
MOST_PENDING = 10_000
TLS_FIX = "Compare redis.tls of the environment with the certificate that Redis serves."
FORWARD_SILENT = "the port-forward stands, but it gave no answer in time"
"""Nobody learns whether the connection was made at the pod's end."""
_COUNT_READ = f"""{BACKLOG}
if counted and group['lag'] == waiting then return 0 end
redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], at, 'ENTRIESREAD', added - waiting)
return 1
"""
_MOVE_BACK = f"""{BACKLOG}
if not ahead then return 0 end
local start = ARGV[2]
if start == '$' then start = last end
if ARGV[3] == '1' and read and read <= added then
    local unread = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', added - read + 1)
    if #unread > added - read then start = unread[added - read + 1][1]
    elseif #unread == added - read then start = '0-0' end
end
redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], start)
return 1
"""
"""Only a group that stands ahead of its stream is moved: the script looks again before it does. Where it was is returned by the
count of what it has read, if Redis has that: then no event is lost, and none given out twice."""
NO_SUCH_GROUP = "prompt-keda-asks-whether-it-may"
"""A group that is never made: who asks for its events gets NOGROUP, once Redis would take the command."""
OF_NO_EVENT = "0-0"
"""The id that no event can have: XADD refuses it after it was allowed, and XACK finds nothing pending under it."""
WOULD_ADD = "must be greater than 0-0"


class RedisStreams:
    """One Redis. Make it with `direct` or `through`."""

    def __init__(self, connection: redis.Redis, endpoint: str, way: _Way | None = None) -> None:
        self._redis = connection
        self.endpoint = endpoint
        self._way = way

    @classmethod
    def direct(
        cls, host: str, port: int, password: Secret | None, timeout: timedelta, tls: Tls | None = None
    ) -> RedisStreams:
        """Reach Redis by TCP. Nothing is sent yet.

        Parameters
        ----------
        tls
            None: Redis answers without TLS.
        """
        seconds = timeout.total_seconds()
        pool = redis.ConnectionPool(
            connection_class=_Connection,
            host=host,
            port=port,
            tls=tls,
            password=password.reveal() if password else None,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            **ANSWERS,
            retry=_once(),
        )
        return cls(redis.Redis(connection_pool=pool), f"{host}:{port}{_by(tls)}")

    @classmethod
    def through(
        cls,
        kube: Kube,
        namespace: str,
        service: str,
        port: int,
        password: Secret | None,
        timeout: timedelta,
        tls: Tls | None = None,
    ) -> RedisStreams:
        """Reach Redis by a port-forward through the API server, to a ready pod behind its Service.

        Parameters
        ----------
        tls
            None: Redis answers without TLS. The name in the certificate is the Service's, not that of the pod.

        Raises
        ------
        Missing
            When the cluster says that no pod behind the Service is ready.
        """
        pod = ready_pod(kube, namespace, service, port)
        seconds = timeout.total_seconds()
        way = _Way(lambda: kube.port_forward(namespace, pod, port))
        pool = redis.ConnectionPool(
            connection_class=_Connection,
            open_socket=way.open,
            tls=tls,
            password=password.reveal() if password else None,
            socket_timeout=seconds,
            **ANSWERS,
            retry=_once(),
        )
        endpoint = f"{service}.{namespace}:{port}{_by(tls)} (port-forward to pod {pod})"
        return cls(redis.Redis(connection_pool=pool), endpoint, way)

    def logged_in_as(self, username: str | None, password: Secret | None, tls: Tls | None = None) -> RedisStreams:
        """Return the same Redis, reached in the same way, with another login. Nothing is sent yet.

        Parameters
        ----------
        username
            None: the user ``default``.
        password
            None: no login at all.
        tls
            How this one verifies the server; None: as before.
        """
        pool = self._redis.connection_pool
        login = {"username": username, "password": password.reveal() if password else None}
        kwargs = {**pool.connection_kwargs, **login, **({"tls": tls} if tls else {})}
        other = redis.ConnectionPool(connection_class=pool.connection_class, **kwargs)
        return RedisStreams(redis.Redis(connection_pool=other), self.endpoint, self._way)

    def observe(self, streams: Sequence[tuple[str, str]]) -> RedisState:
        """Ask what the checks look at, in one round trip. It reads, and never writes.

        Parameters
        ----------
        streams
            Pairs of a stream and a group.

        Raises
        ------
        Unreachable, Refused, BadAnswer
            When nothing could be asked; what is denied alone is raised where its answer is looked at.
        """
        redis_state: RedisState = self._ask(lambda: ask(self._redis, streams, self._translated))
        return redis_state

    def denied(self, stream: str) -> list[str]:
        """Return those commands that this login may not run, of the three that KEDA asks for a lag.

        KEDA 2.16.1 sends INFO, XINFO GROUPS, and XLEN where it sees no group (pkg/scalers/redis_streams_scaler.go).
        Raises as `ping` does.
        """

        def send() -> list[Any]:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.info()
                pipe.xinfo_groups(stream)
                pipe.xlen(stream)
                return pipe.execute(raise_on_error=False)

        replies: list[Any] = self._ask(send)
        commands = ("INFO", "XINFO GROUPS", "XLEN")
        return [
            command for command, reply in zip(commands, replies, strict=True) if isinstance(reply, NoPermissionError)
        ]

    def refused_work(self, stream: str, group: str) -> dict[str, str]:
        """Return which of the commands of fan-out and workers Redis refuses, each with Redis' words; none: it takes all.

        The commands are those that add, read and acknowledge an event, on the real key, with arguments under which
        they change nothing: Redis looks at rights, memory, replicas and pauses first, and at the arguments last (seen: 7.0.15).

        Raises
        ------
        Unreachable
            When nothing at all is answered. Where PING is, and this is not, writes hang: that is reported as refused.
        Refused
            When the login is.
        """

        def send() -> list[Any]:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.execute_command("XADD", stream, "NOMKSTREAM", OF_NO_EVENT, "prompt-keda", "asks")  # type: ignore[no-untyped-call]
                pipe.execute_command(  # type: ignore[no-untyped-call]
                    "XREADGROUP", "GROUP", NO_SUCH_GROUP, NO_SUCH_GROUP, "COUNT", 1, "STREAMS", stream, ">"
                )
                pipe.execute_command("XACK", stream, group, OF_NO_EVENT)  # type: ignore[no-untyped-call]
                return pipe.execute(raise_on_error=False)

        try:
            replies: list[Any] = self._ask(send)
        except Unreachable:
            self.ping()
            return {"XADD": HANGS}
        words = [str(reply) if isinstance(reply, RedisError) else "" for reply in replies]
        commands = zip(("XADD", "XREADGROUP", "XACK"), words, (WOULD_ADD, "NOGROUP", ""), strict=True)
        return {command: text for command, text, allowed in commands if text and not (allowed and allowed in text)}

    def key_type(self, key: str) -> str:
        """Return the type of a key: ``stream``, ``string``, ``none`` for a missing one. Raises as `ping` does."""
        return str(self._ask(lambda: self._redis.type(key)))

    def lives_ms(self, key: str) -> int | None:
        """Return after how many milliseconds Redis deletes a key; None: it does not. Raises as `ping` does."""
        return read_ttl(self._ask(lambda: self._redis.pttl(key)))

    def persist(self, key: str) -> None:
        """Let a key never expire. Idempotent: yes. Raises as `ping` does."""
        self._ask(lambda: self._redis.persist(key))

    def move_back(self, stream: str, group: str, start: str, by_count: bool = True) -> bool:
        """Move a group that stands ahead of its stream, where no event reaches it; any other is left. Idempotent: yes.

        Parameters
        ----------
        start
            Where it goes, as `ensure_group`'s.
        by_count
            It goes behind as many events as Redis has counted as read instead, where it has counted them.

        Returns
        -------
        bool
            True if it was moved. What it has read is not counted then: see `count_read`.

        Raises
        ------
        ErrorReply
            When stream or group is missing; otherwise as `ping` does.
        """
        return bool(self._ask(lambda: self._redis.eval(_MOVE_BACK, 1, stream, group, start, int(by_count))))

    def ping(self) -> None:
        """Make sure that it answers. Raises `Unreachable`, `Refused` (password) or `BadAnswer`."""
        self._ask(lambda: self._redis.ping())

    def info(self, section: str) -> dict[str, Any]:
        """Return one section of INFO. Raises as `ping` does."""
        info: dict[str, Any] = self._ask(lambda: self._redis.info(section))
        return info

    def stream_info(self, stream: str) -> StreamInfo | None:
        """Return what is known of a stream, or None if it is missing. Raises as `ping` does."""
        answer = self._ask_absent(lambda: self._redis.xinfo_stream(stream))
        return None if answer is None else read_stream(answer)

    def group_info(self, stream: str, group: str) -> GroupInfo | None:
        """Return what is known of a consumer group, or None if stream or group is missing. Raises as `ping` does."""
        return read_group(self._ask_absent(lambda: self._redis.xinfo_groups(stream)) or [], group)

    def consumers(self, stream: str, group: str) -> list[str]:
        """Return the names of a group's consumers. Raises as `ping` does."""
        consumers = self._ask_absent(lambda: self._redis.xinfo_consumers(stream, group)) or []
        return [consumer["name"] for consumer in consumers]

    def pending_ids(self, stream: str, group: str) -> set[str]:
        """Return the ids of the events that a group has given out and that were not acknowledged. Raises as `ping` does."""
        rows = self._ask_absent(lambda: self._redis.xpending_range(stream, group, "-", "+", MOST_PENDING)) or []
        return {row["message_id"] for row in rows}

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
        info = self.stream_info(stream)
        arguments = ["XGROUP", "CREATE", stream, group]
        if start == "$" and info is not None:
            arguments += [info.last_id, "MKSTREAM", "ENTRIESREAD", str(info.entries_added)]
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
        """Return a group's lag beside what really waits. It reads, and never writes (EVAL_RO).

        Raises
        ------
        BadAnswer
            When stream or group is missing; otherwise as `ping` does.
        """
        return read_backlog(self._ask(lambda: self._redis.eval_ro(GIVE_BACKLOG, 1, stream, group)))

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
            When stream or group is missing; otherwise as `ping` does.
        """
        return bool(self._ask(lambda: self._redis.eval(_COUNT_READ, 1, stream, group)))

    def add(self, stream: str, events: list[dict[str, str]]) -> list[str]:
        """Add events in one transaction, and return their ids. Raises as `ping` does."""

        def send() -> list[str]:
            with self._redis.pipeline(transaction=True) as pipe:
                for fields in events:
                    pipe.xadd(stream, fields)  # type: ignore[arg-type]
                return [str(event_id) for event_id in pipe.execute()]

        ids: list[str] = self._ask(send)
        return ids

    def take(self, stream: str, group: str, consumer: str, count: int) -> int:
        """Read events that the group has not read yet, and acknowledge them at once, as workers do; return how many.

        Raises
        ------
        BadAnswer
            When stream or group is missing; otherwise as `ping` does.
        """
        answer = self._ask(
            lambda: self._redis.xreadgroup(
                group, consumer, {stream: ">"}, count=count, noack=True
            )  # nothing is pending
        )
        return sum(len(entries) for _, entries in answer)

    def delete_stream(self, stream: str) -> None:
        """Delete a stream with its groups. Idempotent: yes. Raises as `ping` does."""
        self._ask(lambda: self._redis.delete(stream))

    def run(self, *commands: Sequence[str | int]) -> list[Any]:
        """Run commands, several in one transaction, and return their replies: for a stack's faults, never for a check.

        One alone is sent without a transaction, which a Redis that is out of memory does not begin.
        Raises as `ping` does. A command stands in no message: it may hold a password.
        """

        def send() -> list[Any]:
            with self._redis.pipeline(transaction=len(commands) > 1) as pipe:
                for command in commands:
                    pipe.execute_command(*command)  # type: ignore[no-untyped-call]
                return pipe.execute(raise_on_error=False)

        replies: list[Any] = self._ask(send)
        for reply in replies:
            if isinstance(reply, RedisError):
                raise self._translated(reply)
        return replies

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
        if words := find_tls_reason(error):
            return Untrusted(SYSTEM, self.endpoint, words, TLS_FIX)
        is_reply = isinstance(error, (ResponseError, BusyLoadingError)) or "number of clients" in text
        if is_reply:
            return ErrorReply(SYSTEM, self.endpoint, text, fix_for(text))
        if isinstance(error, (ConnectionError, TimeoutError)):
            return Unreachable(SYSTEM, self.endpoint, self._broken(error, text))
        return BadAnswer(SYSTEM, self.endpoint, text)

    def _broken(self, error: RedisError, text: str) -> str:
        if isinstance(error, TimeoutError):
            if is_in_handshake(error):  # it reads on, because what is sent to it holds no end of a line
                return f"{time_over(error, False)} (a Redis without TLS does so: see redis.tls of the environment)"
            is_connecting = "connecting" in text
            return FORWARD_SILENT if self._way and not is_connecting else time_over(error, is_connecting)
        if self._way and (why := self._way.why()):
            return why
        reason = find_reason(error) or text
        if reason != CUT_OFF:
            return reason
        by_tls = self._redis.connection_pool.connection_kwargs.get("tls")  # its alert may be lost with the connection
        wants = "asks for a certificate of its client" if by_tls else "wants TLS"
        return f"{reason} (a Redis that {wants} does so: see redis.tls of the environment)"


class _Way:
    """The way to a Redis behind a port-forward, and why it ended last."""

    def __init__(self, open_socket: Callable[[], Any]) -> None:
        self._open_socket = open_socket
        self._newest: Any = None

    def open(self) -> Any:
        self._newest = self._open_socket()
        return self._newest

    def why(self) -> str:
        return why_closed(self._newest)


def ready_pod(kube: Kube, namespace: str, service: str, port: int) -> str:
    """Return the name of a ready pod behind a Service.

    Raises
    ------
    Missing
        When there is none: the cluster itself says that nothing serves there.
    """
    slices = kube.list(ENDPOINT_SLICES, namespace, f"kubernetes.io/service-name={service}")
    for endpoint_slice in slices:
        for endpoint in endpoint_slice.get("endpoints") or []:
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


def _by(tls: Tls | None) -> str:
    return " by TLS" if tls else ""


class _Connection(redis.Connection):
    """A connection of redis-py, by TCP or over a socket that the API server gives; with TLS where Redis speaks it."""

    def __init__(self, open_socket: Callable[[], Any] | None = None, tls: Tls | None = None, **kwargs: Any) -> None:
        self._open_socket = open_socket
        self._tls = tls
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]

    def _connect(self) -> Any:
        plain = self._open_socket() if self._open_socket else super()._connect()  # type: ignore[no-untyped-call]
        plain.settimeout(self.socket_timeout)
        if self._tls is None:
            return BoundedSocket(plain)
        own = socket.socket(fileno=plain.detach())  # the API server's is a wrapper, which ssl does not take
        own.settimeout(self.socket_timeout)
        return bounded(self._tls.context).wrap_socket(own, server_hostname=self._tls.server_name)
