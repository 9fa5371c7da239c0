"""Names in Redis are bytes: those that are no text are shown as far as they are, on a real redis-server."""

from __future__ import annotations

import pytest

from prompt_keda.clients.redis_streams import RedisStreams
from tests.contracts.conftest import SECONDS, free_port, serving

BYTES = b"worker-\xff\x9b31m\xc3\x28"


@pytest.fixture
def redis(tmp_path):
    port = free_port()
    argv = ["redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", tmp_path, "--save", ""]
    with serving(argv, port, tmp_path / "redis.log"):
        made = RedisStreams.direct("127.0.0.1", port, None, SECONDS)
        yield made
        made.close()


def test_a_name_that_is_no_text_hides_nothing_else(redis):
    """A consumer, a group and a field of an event: everything else is still seen, and the name's text is shown."""
    redis.ensure_group("s", "g", "0")
    _, event = redis.run(["XGROUP", "CREATE", "s", BYTES, "0"], ["XADD", "s", "*", BYTES, BYTES])
    redis.run(["XREADGROUP", "GROUP", "g", BYTES, "STREAMS", "s", ">"])
    redis.run(["XCLAIM", "s", "g", BYTES, "0", event, "IDLE", "120000", "JUSTID"])
    redis_state = redis.observe([("s", "g")])
    assert redis_state.stream("s").length == 1 and redis_state.group("s", "g").pending == 1
    assert redis_state.backlog("s", "g").is_right
    (name,) = redis.consumers("s", "g")
    assert redis_state.old_pending("s", "g").consumer == name
    assert name == r"worker-\xff\x9b31m\xc3("
