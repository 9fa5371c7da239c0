"""Redis streams as where events wait."""

from __future__ import annotations

from datetime import UTC, datetime

from prompt_keda.clients.http.tls import authorities
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.redis_state import Backlog, GroupInfo
from prompt_keda.clients.redis_words import fix_for
from prompt_keda.clients.systems import Systems
from prompt_keda.components.event_source.restart import RECENT, SECTIONS, started_ms, took_groups_alone, up_for
from prompt_keda.components.event_source.words import other_than_stream, work_refused
from prompt_keda.core.errors import BadAnswer, Refused, StepBroken
from prompt_keda.core.secret import Secret
from prompt_keda.environment.model import Instrument

TRIGGER = "redis-streams"
"""The type of KEDA's trigger."""
CONSUMER = "prompt-keda"
"""Who reads where the toolkit stands in for workers."""


class RedisStreamsSource:
    """An `EventSource`. What KEDA takes: its 2.16.1, pkg/scalers/redis_scaler.go and redis_streams_scaler.go."""

    def __init__(self, systems: Systems) -> None:
        self._systems = systems
        self._settings = systems.environment.redis

    def trigger(self, stream: str, group: str, lag_count: int, activation: int) -> Object:
        """Return KEDA's trigger of type redis-streams; KEDA verifies a certificate for the host of its address."""
        metadata = {
            "address": self._settings.inside_address,
            "stream": stream,
            "consumerGroup": group,
            "lagCount": str(lag_count),
            "activationLagCount": str(activation),
        }
        return {"type": TRIGGER, "metadata": metadata | ({"enableTLS": "true"} if self._settings.tls else {})}

    def trigger_parameters(self) -> dict[str, Secret]:
        """Return password and authority, where Redis has them. Raises as `Systems.secret` does, and `Missing` without the file."""
        key, pem = self._settings.password, self._authorities()
        password = {"password": self._systems.secret(key)} if key else {}
        return password | ({"ca": Secret(pem)} if pem else {})

    def worker_variables(self, stream: str, group: str, secret: str | None) -> list[Object]:
        """Return the variables that Prompt Processing names so (docs/domain.md), and TLS. Raises `Missing` without the file."""
        values = {
            "REDIS_STREAM_HOST": self._settings.inside_address,
            "REDIS_STREAM_NAME": stream,
            "REDIS_STREAM_CONSUMER_GROUP": group,
        }
        if self._settings.tls:
            values["REDIS_TLS"] = "true"
        if pem := self._authorities():
            values["REDIS_TLS_CA"] = pem
        variables: list[Object] = [{"name": name, "value": value} for name, value in values.items()]
        if secret and self._settings.password:
            key = {"name": secret, "key": "password"}
            variables.append({"name": "REDIS_PASSWORD", "valueFrom": {"secretKeyRef": key}})
        return variables

    def require_access(self, stream: str) -> None:
        """Raise `StepBroken` when INFO, XINFO GROUPS or XLEN is denied."""
        if denied := self._systems.redis.denied(stream):
            message = f"Redis denies {', '.join(denied)} to the login that KEDA is given"
            raise StepBroken(
                message, "ACL SETUSER NAME +info +xinfo +xlen; and ~smoke-* where it may use some keys only"
            )

    def find_length(self, stream: str) -> int | None:
        """Return XINFO STREAM's length."""
        info = self._systems.redis.stream_info(stream)
        return info.length if info else None

    def find_newest_at(self, stream: str) -> str | None:
        """Return the time in the id of the stream's last event. Raises as `RedisStreams.stream_info` does."""
        info = self._systems.redis.stream_info(stream)
        try:
            milliseconds = int(info.last_id.partition("-")[0]) if info else 0
            return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat() if milliseconds else None
        except (ValueError, OverflowError, OSError):  # an id that somebody made, and that is no time
            return None

    def find_group(self, stream: str, group: str) -> GroupInfo | None:
        """Return what XINFO GROUPS says."""
        return self._systems.redis.group_info(stream, group)

    def backlog(self, stream: str, group: str) -> Backlog:
        """Return the lag beside the events after the last one given out."""
        return self._systems.redis.backlog(stream, group)

    def start_of_lost_group(self, instrument: Instrument) -> str:
        """Return ``$``, ``0`` or an id of the stream.

        As the environment says. But after a restart of Redis in which the group was lost it begins before all that came
        since: nobody can have read that (docs/decisions/0008-modes.md).
        """
        redis = self._systems.redis
        try:
            info = {key: value for section in SECTIONS for key, value in redis.info(section).items()}
            started, is_recent = started_ms(info), up_for(info) <= RECENT
        except (Refused, BadAnswer, KeyError):  # it says nothing of itself: whether it has lost anything is not known
            return instrument.group_start
        stream = redis.stream_info(instrument.stream)
        if stream and stream.groups_count:  # another group may have read them under the name of before
            return instrument.group_start
        if started is None or not is_recent or took_groups_alone(info):
            return instrument.group_start
        is_older = stream and stream.first_id and int(stream.first_id.partition("-")[0]) < started
        return f"{started}-0" if is_older else "0"

    def obstacle(self, stream: str, group: str) -> str:
        """Return why XADD, XREADGROUP or XACK is refused, or hangs; or that the stream's key is no stream."""
        redis = self._systems.redis
        if message := other_than_stream(stream, redis.key_type(stream)):
            return f"{message}. {fix_for('WRONGTYPE')}"
        message = work_refused(redis.refused_work(stream, group))
        return f"{stream}: {message}. {fix_for(message)}" if message else ""

    def misplacement(self, instrument: Instrument, asked: str) -> str:
        """Return whether the group stands ahead of its stream, or the stream expires."""
        redis, stream = self._systems.redis, instrument.stream
        if redis.backlog(stream, instrument.consumer_group).is_ahead:
            place = f"to {asked}, as asked for" if asked else "behind what it has read"
            return f"{stream} {instrument.consumer_group} stands ahead of its stream, to go {place}"
        return f"{stream} expires, and has to stay" if redis.lives_ms(stream) is not None else ""

    def correct_place(self, instrument: Instrument, asked: str) -> None:
        """Move a group that stands ahead of its stream, and let the stream stay. No other group is moved. Idempotent: yes."""
        redis, stream = self._systems.redis, instrument.stream
        if redis.backlog(stream, instrument.consumer_group).is_ahead:
            start = asked or self.start_of_lost_group(instrument)
            redis.move_back(stream, instrument.consumer_group, start, by_count=not asked)
        if redis.lives_ms(stream) is not None:
            redis.persist(stream)

    def ensure_group(self, stream: str, group: str, start: str) -> None:
        """Make a consumer group with its count. Idempotent: yes."""
        self._systems.redis.ensure_group(stream, group, start)

    def correct_lag(self, stream: str, group: str) -> None:
        """Set a group's count of events read (failure mode F16). Idempotent: yes."""
        self._systems.redis.count_read(stream, group)

    def add(self, stream: str, events: list[dict[str, str]]) -> None:
        """Add events in one transaction."""
        self._systems.redis.add(stream, events)

    def take(self, stream: str, group: str, count: int) -> int:
        """Read without pending entries; return how many."""
        return self._systems.redis.take(stream, group, CONSUMER, count)

    def delete(self, stream: str) -> None:
        """Delete the key. Idempotent: yes."""
        self._systems.redis.delete_stream(stream)

    def _authorities(self) -> str:
        """Return the certificates by which Redis is verified; empty where it is the system's, or no TLS."""
        tls = self._settings.tls
        if tls is None or tls.ca_file is None:
            return ""
        return authorities("Redis", self._settings.inside_address, tls.ca_file)
