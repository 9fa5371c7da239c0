"""What the Redis client promises, on a real redis-server: with and without a password."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from datetime import timedelta

import pytest

from prompt_keda.clients.redis_streams import RedisStreams
from prompt_keda.errors import Refused, Unreachable
from prompt_keda.model.secret import Secret

SECOND = timedelta(seconds=2)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(params=["", "correct horse"], ids=["no password", "password"])
def server(request, tmp_path):
    """A redis-server on loopback; gives port and password."""
    port, program = free_port(), shutil.which("redis-server")
    config = tmp_path / "redis.conf"
    config.write_text(f'bind 127.0.0.1\nport {port}\ndir {tmp_path}\nsave ""\n')
    if request.param:
        config.write_text(config.read_text() + f'requirepass "{request.param}"\n')
    process = subprocess.Popen([program, str(config)], stdout=subprocess.DEVNULL)
    end = time.monotonic() + 10
    while socket.socket().connect_ex(("127.0.0.1", port)):
        assert process.poll() is None and time.monotonic() < end, "redis-server did not start"
    yield port, request.param
    process.kill()
    process.wait()


@pytest.fixture
def redis(server):
    port, password = server
    made = RedisStreams.direct("127.0.0.1", port, Secret(password) if password else None, SECOND)
    yield made
    made.close()


def test_what_is_absent_is_none(redis):
    """Neither a stream nor a group is an error."""
    assert redis.stream_info("s") is None and redis.group_info("s", "g") is None and redis.consumers("s", "g") == []


def test_a_group_is_made_once_and_never_moved(redis):
    """The second call says False and leaves the group where it was."""
    assert redis.ensure_group("s", "g", "0") is True
    redis.add("s", [{"a": "1"}])
    before = redis.group_info("s", "g")
    assert redis.ensure_group("s", "g", "$") is False
    assert redis.group_info("s", "g") == before and before.lag == 1


def test_a_group_that_skips_the_backlog_knows_its_lag(redis):
    """F16: with a plain $ the lag would be nil after the next XADD; ours counts exactly the new events."""
    redis.add("s", [{"a": "1"}] * 3)
    assert redis.ensure_group("s", "g", "$")
    assert redis.group_info("s", "g").lag == 0
    redis.add("s", [{"a": "1"}] * 2)
    assert redis.group_info("s", "g").lag == 2


def test_a_plain_dollar_really_loses_the_lag(redis):
    """The fault that the test above is about: Redis itself says nil. If this fails, Redis has changed."""
    redis.add("s", [{"a": "1"}] * 3)
    redis._redis.execute_command("XGROUP", "CREATE", "s", "g", "$")
    redis.add("s", [{"a": "1"}])
    assert redis.group_info("s", "g").lag is None


def test_a_group_that_replays_has_the_backlog_as_lag(redis):
    """Start 0 on a stream with events."""
    redis.add("s", [{"a": "1"}] * 3)
    redis.ensure_group("s", "g", "0")
    assert redis.group_info("s", "g").lag == 3


@pytest.mark.parametrize("server", ["correct horse"], indirect=True)
def test_a_wrong_password_is_refused_and_not_shown(server):
    """AUTH is told apart from TCP; the password stands in no message."""
    port, _ = server
    for given in (None, Secret("wrong-one")):
        with pytest.raises(Refused) as caught:
            RedisStreams.direct("127.0.0.1", port, given, SECOND).ping()
        assert "wrong-one" not in caught.value.what


def test_nobody_there_is_unreachable():
    """TCP refused, with the address that was tried."""
    port = free_port()
    with pytest.raises(Unreachable, match=f"127.0.0.1:{port}"):
        RedisStreams.direct("127.0.0.1", port, None, SECOND).ping()
