"""What the Redis client promises: on the double, and on a real redis-server with and without a password."""

from __future__ import annotations

import socket
import threading
import time
from datetime import timedelta

import pytest

from prompt_keda.clients.http.tls import Tls, verified
from prompt_keda.clients.redis_streams import Backlog, RedisStreams
from prompt_keda.clients.redis_words import HANGS, fix_for
from prompt_keda.core.errors import BadAnswer, ErrorReply, Refused, Unreachable
from prompt_keda.core.secret import Secret
from tests.contracts.conftest import SECONDS, free_port, serving
from tests.contracts.fakes.redis_streams import INFO, FakeRedis

PASSWORD = "correct horse"


@pytest.fixture
def start_redis(tmp_path):
    """Return a context manager that runs a redis-server and yields its port; ``pair`` names its certificate: it speaks TLS."""

    def start(password, line="", pair=None):
        port = free_port()
        config = tmp_path / "redis.conf"
        secured = f'requirepass "{password}"\n' if password else ""
        listens = f"port {port}"
        if pair:
            files = f"tls-cert-file {pair}.crt\ntls-key-file {pair}.key"
            listens = f"port 0\ntls-port {port}\ntls-auth-clients no\n{files}\ntls-ca-cert-file {pair}.crt"
        config.write_text(f'bind 127.0.0.1\n{listens}\ndir {tmp_path}\nsave ""\n{secured}{line}\n')
        return port, serving(["redis-server", config], port, tmp_path / "redis.log")

    return start


def trust(authority, name="localhost"):
    """Let a client verify a server by this authority, under this name."""
    return Tls(verified("Redis", "here", authority.ca_file), name)


class RealWorker:
    """A worker's side of a real Redis: the same two calls as the double's."""

    def __init__(self, streams):
        self._redis = streams._redis

    def read(self, stream, group, consumer, count):
        answer = self._redis.xreadgroup(group, consumer, {stream: ">"}, count=count)
        return [entry for _, entries in answer for entry, _ in entries]

    def ack(self, stream, group, ids):
        self._redis.xack(stream, group, *ids)

    def grow_old(self, stream, group, ids, idle_s):
        self._redis.xclaim(stream, group, "pod-1", 0, ids, idle=idle_s * 1000)

    def trim(self, stream, length):
        self._redis.xtrim(stream, maxlen=length, approximate=False)

    def put_string(self, key):
        self._redis.set(key, "x")

    def expire(self, key, seconds):
        self._redis.expire(key, seconds)

    def set_group(self, stream, group, at, read=None):
        counted = [] if read is None else ["ENTRIESREAD", read]
        self._redis.execute_command("XGROUP", "SETID", stream, group, at, *counted)

    def forget(self, stream, group, read=None):
        at = next(info for info in self._redis.xinfo_groups(stream) if info["name"] == group)["last-delivered-id"]
        counted = [] if read is None else ["ENTRIESREAD", read]
        self._redis.execute_command("XGROUP", "SETID", stream, group, at, *counted)


@pytest.fixture(params=["fake", "real", "real with a password", "real by TLS with a password"])
def redis(request, start_redis, authority):
    if request.param == "fake":
        yield FakeRedis()
        return
    password = PASSWORD if "password" in request.param else ""
    by_tls = "TLS" in request.param
    port, running = start_redis(password, pair=authority.folder / "server" if by_tls else None)
    tls = trust(authority) if by_tls else None
    with running:
        made = RedisStreams.direct("127.0.0.1", port, Secret(password) if password else None, SECONDS, tls)
        yield made
        made.close()


@pytest.fixture
def worker(redis):
    return redis if isinstance(redis, FakeRedis) else RealWorker(redis)


def test_what_is_absent_is_none(redis):
    """Neither a stream nor a group is an error."""
    assert redis.stream_info("s") is None and redis.group_info("s", "g") is None and redis.consumers("s", "g") == []
    assert redis.pending_ids("s", "g") == set()
    redis.delete_stream("s")


def test_it_reports_its_version_and_role(redis):
    """Only what the checks read."""
    redis.ping()
    assert redis.info("server")["redis_version"].startswith("7.") and redis.info("replication")["role"] == "master"


@pytest.mark.parametrize("section", ["memory", "persistence"])
def test_it_reports_what_the_double_tells(redis, section):
    """The same keys, of the same types; a Redis that was just started has no limit and no failure."""
    info, wanted = redis.info(section), INFO[section]
    assert {key: type(info[key]) for key in wanted} == {key: type(value) for key, value in wanted.items()}
    assert {key: info[key] for key in wanted if key != "used_memory"} == {
        key: value for key, value in wanted.items() if key != "used_memory"
    }


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
    group = redis.group_info("s", "g")
    assert (group.lag, group.entries_read, group.last_delivered_id == redis.stream_info("s").last_id) == (2, 3, False)


def test_a_group_that_replays_has_the_backlog_as_lag(redis):
    """Start 0 on a stream with events: all are to come, and Redis has counted none as read."""
    redis.add("s", [{"a": "1"}] * 3)
    redis.ensure_group("s", "g", "0")
    group = redis.group_info("s", "g")
    assert (group.lag, group.pending, group.consumers, group.entries_read) == (3, 0, 0, None)


def test_reading_lowers_the_lag_and_acknowledging_the_pending(redis, worker):
    """The two numbers that prove a smoke test: events given out, events acknowledged."""
    redis.ensure_group("s", "g", "$")
    ids = redis.add("s", [{"a": str(number)} for number in range(3)])
    assert worker.read("s", "g", "pod-1", 2) == ids[:2]
    group = redis.group_info("s", "g")
    assert (group.lag, group.pending, group.entries_read, redis.consumers("s", "g")) == (1, 2, 2, ["pod-1"])
    assert redis.pending_ids("s", "g") == set(ids[:2])
    worker.ack("s", "g", ids[:1])
    assert redis.pending_ids("s", "g") == {ids[1]}
    worker.ack("s", "g", ids[:2])
    assert redis.group_info("s", "g").pending == 0 and redis.pending_ids("s", "g") == set()
    assert worker.read("s", "g", "pod-2", 5) == ids[2:]
    assert redis.group_info("s", "g").lag == 0 and redis.group_info("s", "g").last_delivered_id == ids[2]


def test_what_is_taken_is_acknowledged_at_once(redis):
    """Nothing is pending, and the group knows what is left; who takes from no group is told so."""
    redis.ensure_group("s", "g", "0")
    redis.add("s", [{"a": str(number)} for number in range(3)])
    assert redis.take("s", "g", "me", 2) == 2
    group = redis.group_info("s", "g")
    assert (group.lag, group.pending, group.entries_read) == (1, 0, 2)
    assert (redis.take("s", "g", "me", 5), redis.take("s", "g", "me", 5)) == (1, 0)
    with pytest.raises(BadAnswer, match="NOGROUP"):
        redis.take("s", "other", "me", 1)


def test_a_lag_that_was_lost_is_counted_again_and_the_group_is_not_moved(redis, worker):
    """F16: nil becomes the number of events that wait; what is right is left alone."""
    redis.ensure_group("s", "g", "0")
    redis.add("s", [{"a": "1"}] * 5)
    worker.read("s", "g", "pod-1", 2)
    assert redis.backlog("s", "g") == Backlog(3, 3, True) and redis.count_read("s", "g") is False
    worker.forget("s", "g")
    before = redis.group_info("s", "g")
    assert (before.lag, before.entries_read) == (None, None)
    assert redis.backlog("s", "g") == Backlog(None, 3, False)
    assert redis.count_read("s", "g") is True and redis.backlog("s", "g").is_right
    after = redis.group_info("s", "g")
    assert (after.lag, after.entries_read, after.pending) == (3, 2, 2)
    assert after.last_delivered_id == before.last_delivered_id
    redis.add("s", [{"a": "1"}])
    worker.read("s", "g", "pod-1", 1)
    assert redis.group_info("s", "g").lag == 3


@pytest.mark.parametrize("read", [1, 4])
def test_a_lag_that_is_wrong_is_corrected(redis, worker, read):
    """An old count, as a restart brings it back: too many events seem to wait, or too few."""
    redis.ensure_group("s", "g", "0")
    redis.add("s", [{"a": "1"}] * 5)
    worker.read("s", "g", "pod-1", 3)
    worker.forget("s", "g", read)
    backlog = redis.backlog("s", "g")
    assert (backlog.lag, backlog.waiting, backlog.is_right) == (5 - read, 2, False)
    assert redis.count_read("s", "g") is True and redis.group_info("s", "g").lag == 2


def test_a_count_that_was_lost_is_seen_before_the_next_event_makes_the_lag_unknown(redis, worker):
    """All was read when it was lost: the lag is still told as 0, and becomes unknown with the next events."""
    redis.ensure_group("s", "g", "0")
    redis.add("s", [{"a": "1"}] * 3)
    worker.read("s", "g", "pod-1", 3)
    worker.forget("s", "g")
    assert redis.backlog("s", "g") == Backlog(0, 0, False)
    assert redis.count_read("s", "g") is True
    redis.add("s", [{"a": "1"}] * 2)
    assert redis.group_info("s", "g").lag == 2


def test_a_group_that_has_read_nothing_is_right_by_itself(redis):
    """From the start of a stream Redis needs no count."""
    redis.ensure_group("s", "g", "$")
    assert redis.backlog("s", "g").is_right
    redis.add("s", [{"a": "1"}] * 3)
    assert redis.backlog("s", "g").is_right and redis.count_read("s", "g") is False


def test_the_lag_of_a_group_that_is_absent_is_not_counted(redis):
    """No stream, then no group: the server's own words."""
    with pytest.raises(BadAnswer, match=r"no such key|NOGROUP"):
        redis.count_read("s", "g")
    redis.add("s", [{"a": "1"}])
    with pytest.raises(BadAnswer, match="NOGROUP"):
        redis.backlog("s", "g")
    with pytest.raises(BadAnswer, match="NOGROUP"):
        redis.count_read("s", "g")


def test_a_count_that_is_too_high_is_seen_before_the_first_event(redis, worker):
    """`XGROUP CREATE … ENTRIESREAD 5000` on an empty stream: Redis tells lag 0 as long as nothing was added."""
    redis.ensure_group("s", "g", "$")
    worker.set_group("s", "g", 0, 5000)
    assert redis.backlog("s", "g") == Backlog(0, 0, False, 5000)
    assert redis.count_read("s", "g") is True and redis.backlog("s", "g") == Backlog(0, 0, True)
    worker.set_group("s", "g", 0, 5000)
    redis.add("s", [{"a": "1"}] * 6)
    assert redis.backlog("s", "g") == Backlog(-4994, 6, False, 4994)
    assert redis.count_read("s", "g") is True and redis.backlog("s", "g") == Backlog(6, 6, True)


@pytest.mark.parametrize(
    ("read", "start", "by_count", "waiting"),
    [
        (2, "$", True, 3),
        (0, "$", True, 5),
        (5, "0", True, 0),
        (2, "0", False, 5),
        (2, "$", False, 0),
        (None, "$", True, 0),
        (None, "0", True, 5),
    ],
)
def test_a_group_that_stands_ahead_of_its_stream_is_moved_back(redis, worker, read, start, by_count, waiting):
    """No event reaches it there. It goes behind what it has read, where that was counted, or where a person says.

    What stands in its stream, or at its end, is left where it is.
    """
    redis.ensure_group("s", "g", "0")
    ids = redis.add("s", [{"a": "1"}] * 5)
    assert redis.move_back("s", "g", start, by_count) is False and redis.backlog("s", "g").waiting == 5
    worker.set_group("s", "g", int(ids[-1].partition("-")[0]) + 10**6, read)
    assert redis.backlog("s", "g").is_ahead and not redis.backlog("s", "g").is_right
    assert redis.move_back("s", "g", start, by_count) is True
    backlog = redis.backlog("s", "g")
    assert (backlog.waiting, backlog.is_ahead) == (waiting, False)
    assert redis.move_back("s", "g", start, by_count) is False
    redis.count_read("s", "g")
    assert redis.backlog("s", "g") == Backlog(waiting, waiting, True)


def test_what_workers_send_is_tried_without_a_trace(redis, worker):
    """On a missing stream, and on one with a group: nothing is added, read, or made."""
    assert redis.refused_work("s", "g") == {} and redis.key_type("s") == "none"
    redis.ensure_group("s", "g", "0")
    redis.add("s", [{"a": "1"}] * 2)
    worker.read("s", "g", "pod-1", 1)
    before = redis.stream_info("s"), redis.group_info("s", "g")
    assert redis.refused_work("s", "g") == {} and (redis.stream_info("s"), redis.group_info("s", "g")) == before
    assert redis.key_type("s") == "stream"


def test_a_key_that_is_no_stream_is_reported_by_its_type(redis, worker):
    """Redis answers with an error of its own: that is a no, and not unknown."""
    worker.put_string("s")
    redis_state = redis.observe([("s", "g")])
    assert redis.key_type("s") == redis_state.key_type("s") == "string"
    for ask in (
        lambda: redis.stream_info("s"),
        lambda: redis.group_info("s", "g"),
        lambda: redis_state.group("s", "g"),
    ):
        with pytest.raises(ErrorReply, match="WRONGTYPE"):
            ask()
    assert {command: words[:9] for command, words in redis.refused_work("s", "g").items()} == {
        "XREADGROUP": "WRONGTYPE",
        "XACK": "WRONGTYPE",
    }


def test_a_stream_that_expires_is_reported_and_made_to_stay(redis, worker):
    """A missing one expires as little as one that stays."""
    redis.ensure_group("s", "g", "0")
    assert redis.lives_ms("s") is None and redis.observe([("s", "g")]).lives_ms("s") is None
    worker.expire("s", 1000)
    assert 900_000 < redis.lives_ms("s") <= 1_000_000 and redis.observe([("s", "g")]).lives_ms("s") > 900_000
    redis.persist("s")
    assert redis.lives_ms("s") is None and redis.lives_ms("missing") is None


OF_A_NO = {
    "min-replicas-to-write 1": ("NOREPLICAS Not enough good replicas to write.", "min-replicas-to-write"),
    "maxmemory 1kb": ("command not allowed when used memory > 'maxmemory'.", "maxmemory"),
    "replicaof 127.0.0.1 1": ("You can't write against a read only replica.", "master"),
    "user default on nopass ~other* +@all": ("one of the keys used as arguments", "ACL SETUSER"),
    "user default on nopass ~* +@all -xadd": ("this user has no permissions to run the 'xadd' command", "ACL SETUSER"),
}


@pytest.mark.parametrize("line", OF_A_NO)
def test_a_redis_that_answers_ping_and_takes_no_event_says_why(start_redis, line):
    """Its own words, by each setting; and what to do about them is known."""
    words, fix = OF_A_NO[line]
    port, running = start_redis("", line)
    with running:
        redis = RedisStreams.direct("127.0.0.1", port, None, SECONDS)
        redis.ping()
        refused = redis.refused_work("s", "g")
        assert words in refused["XADD"] and fix in fix_for(refused["XADD"]), refused
        redis.close()


def test_a_redis_whose_writes_are_paused_is_reported_though_it_answers_ping(start_redis):
    """CLIENT PAUSE … WRITE: neither INFO nor CLIENT LIST of Redis 7.0 tells of it. What was tried is not done later."""
    port, running = start_redis("")
    with running:
        redis = RedisStreams.direct("127.0.0.1", port, None, timedelta(seconds=0.5))
        redis.run(["CLIENT", "PAUSE", 60000, "WRITE"])
        assert redis.refused_work("s", "g") == {"XADD": HANGS}
        redis.run(["CLIENT", "UNPAUSE"])
        assert redis.refused_work("s", "g") == {} and redis.stream_info("s") is None
        redis.close()


@pytest.mark.parametrize("command", [["EVAL", "return redis.call('NO-SUCH')", 0], ["INCR", "s"], ["NO-SUCH"]])
def test_an_error_reply_is_a_no(start_redis, command):
    """Whatever it is about: Redis has understood, and refuses."""
    port, running = start_redis("")
    with running:
        redis = RedisStreams.direct("127.0.0.1", port, None, SECONDS)
        redis.add("s", [{"a": "1"}])
        with pytest.raises(ErrorReply):
            redis.run(command)
        redis.close()


@pytest.mark.parametrize(("by_hand", "message"), [(True, None), (False, 5)])
def test_a_restart_with_an_append_only_file_really_loses_the_lag(start_redis, by_hand, message):
    """The fault that ours repairs, as it happens: a group made by hand has lag nil, one made with a count too high a lag.

    If this fails, Redis has changed: 7.2.4 and later keep the count.
    """
    for restarted in (False, True):
        port, running = start_redis("", "appendonly yes")
        with running:
            redis = RedisStreams.direct("127.0.0.1", port, None, SECONDS)
            if not restarted:
                redis.add("s", [{"a": "1"}])
                if by_hand:
                    redis._redis.execute_command("XGROUP", "CREATE", "s", "g", "0")
                else:
                    redis.ensure_group("s", "g", "$")
                redis.add("s", [{"a": "1"}] * 3)
                RealWorker(redis).read("s", "g", "pod-1", 9)
                assert redis.backlog("s", "g") == Backlog(0, 0, True)
            else:
                redis.add("s", [{"a": "1"}] * 2)
                assert redis.backlog("s", "g") == Backlog(message, 2, not by_hand)
                redis.count_read("s", "g")
                assert redis.backlog("s", "g") == Backlog(2, 2, True)
            redis.close()


def test_a_stream_counts_what_was_ever_added(redis):
    """Length, last id and count; a deleted stream is gone with its groups."""
    ids = redis.add("s", [{"a": "1"}] * 2)
    redis.ensure_group("s", "g", "0")
    stream = redis.stream_info("s")
    assert (stream.length, stream.last_id, stream.entries_added) == (2, ids[-1], 2)
    redis.delete_stream("s")
    assert redis.stream_info("s") is None and redis.group_info("s", "g") is None


def test_a_plain_dollar_really_loses_the_lag(start_redis):
    """The fault that ours avoids: Redis itself says nil. If this fails, Redis has changed."""
    port, running = start_redis("")
    with running:
        redis = RedisStreams.direct("127.0.0.1", port, None, SECONDS)
        redis.add("s", [{"a": "1"}] * 3)
        redis._redis.execute_command("XGROUP", "CREATE", "s", "g", "$")
        redis.add("s", [{"a": "1"}])
        assert redis.group_info("s", "g").lag is None
        redis.close()


def test_a_look_gives_in_one_round_trip_what_the_single_questions_give(redis, worker):
    """And what only it gives: the clock, the settings of saving, the first event held, the calls of each command."""
    redis.ensure_group("s", "g", "0")
    ids = redis.add("s", [{"a": "1"}] * 4)
    worker.read("s", "g", "pod-1", 2)
    worker.trim("s", 3)
    redis_state = redis.observe([("s", "g")])
    assert redis_state.stream("s") == redis.stream_info("s") and redis_state.stream("s").first_id == ids[1]
    assert redis_state.group("s", "g") == redis.group_info("s", "g")
    assert redis_state.backlog("s", "g") == redis.backlog("s", "g")
    assert redis_state.info()["role"] == "master" and redis_state.info()["redis_version"].startswith("7.")
    assert {"uptime_in_seconds", "evicted_keys", "expired_keys", "used_memory"} <= set(redis_state.info())
    assert redis_state.saving() == {"save": "", "appendonly": "no"}
    assert abs(redis_state.now_s() - time.time()) < 5


def test_a_look_of_what_is_absent(redis):
    """Neither stream nor group is an error; what waits in them is."""
    redis_state = redis.observe([("s", "g")])
    assert redis_state.stream("s") is None and redis_state.group("s", "g") is None
    with pytest.raises(BadAnswer):
        redis_state.backlog("s", "g")
    with pytest.raises(BadAnswer):
        redis_state.old_pending("s", "g")
    assert redis_state.info()["role"] == "master"


def test_a_look_reports_since_when_events_wait_and_are_read(redis, worker):
    """By Redis' own clock: the first event that waits, the last read, and the last event that was given out."""
    redis.ensure_group("s", "g", "0")
    empty = redis.observe([("s", "g")]).flow("s", "g")
    assert (empty.oldest_waiting_s, empty.last_read_s, empty.unacknowledged_s) == (None, None, None)
    redis.add("s", [{"n": "1"}, {"n": "2"}])
    ids = worker.read("s", "g", "pod-1", 1)
    given = redis.observe([("s", "g")]).flow("s", "g")
    assert all(0 <= age < 5 for age in (given.oldest_waiting_s, given.last_read_s, given.unacknowledged_s))
    worker.grow_old("s", "g", ids, 90)
    assert 89 < redis.observe([("s", "g")]).flow("s", "g").unacknowledged_s < 100
    worker.ack("s", "g", ids)
    assert redis.observe([("s", "g")]).flow("s", "g").unacknowledged_s is None
    worker.read("s", "g", "pod-1", 1)
    assert redis.observe([("s", "g")]).flow("s", "g").oldest_waiting_s is None
    redis.add("s", [{"n": str(number)} for number in range(4)])
    ids = worker.read("s", "g", "pod-1", 4)
    worker.ack("s", "g", ids[1:2])
    assert redis.observe([("s", "g")]).flow("s", "g").unacknowledged_count == 2, "of the last three"
    with pytest.raises(BadAnswer):
        redis.observe([("s", "none")]).flow("s", "none")


def test_a_look_reports_what_is_pending_for_long(redis, worker):
    """Not what was given out just now; how many, for how long, and by whom."""
    redis.ensure_group("s", "g", "0")
    redis.add("s", [{"a": "1"}] * 3)
    ids = worker.read("s", "g", "pod-1", 3)
    assert redis.observe([("s", "g")]).old_pending("s", "g").count == 0
    worker.grow_old("s", "g", ids[:2], 7200)
    pending = redis.observe([("s", "g")]).old_pending("s", "g")
    assert (pending.count, pending.consumer) == (2, "pod-1") and 7200 <= pending.oldest_s < 7210
    worker.ack("s", "g", ids)
    assert redis.observe([("s", "g")]).old_pending("s", "g").count == 0


def test_commands_that_took_something_away_are_counted(start_redis):
    """By INFO commandstats, since the start: the checks tell a restart by it."""
    port, running = start_redis("")
    with running:
        redis = RedisStreams.direct("127.0.0.1", port, None, SECONDS)
        assert "cmdstat_del" not in redis.observe([]).info()
        redis.ensure_group("s", "g", "0")
        redis._redis.xgroup_destroy("s", "g")
        redis.delete_stream("s")
        info = redis.observe([]).info()
        assert info["cmdstat_del"]["calls"] == 1 and info["cmdstat_xgroup|destroy"]["calls"] == 1
        redis.close()


def test_a_command_that_fails_is_not_shown(start_redis):
    """Faults set passwords: an error names neither the command nor its words. All or nothing is told by the replies."""
    port, running = start_redis("")
    with running:
        redis = RedisStreams.direct("127.0.0.1", port, None, SECONDS)
        assert redis.run(["XADD", "s", "1-1", "a", "1"], ["XLEN", "s"]) == ["1-1", 1]
        with pytest.raises(BadAnswer) as caught:
            redis.run(["CONFIG", "SET", "requirepass", "wrong-one", "no-such-setting", "1"])
        assert "wrong-one" not in repr(caught.value) and "wrong-one" not in caught.value.what
        redis.close()


@pytest.mark.parametrize("kind", ["fake", "real"])
def test_another_login_sees_what_it_may(kind, start_redis):
    """F22, F29: the same Redis as another user; each command of KEDA's that is denied is named, a login is refused."""
    port, running = start_redis("", f'user keda on ">{PASSWORD}" ~* +@all -info -xlen')
    with running:
        redis = RedisStreams.direct("127.0.0.1", port, None, SECONDS) if kind == "real" else FakeRedis()
        if kind == "fake":
            redis.users["keda"] = PASSWORD
        assert redis.denied("s") == []
        keda = redis.logged_in_as("keda", Secret(PASSWORD))
        if kind == "fake":
            keda.denied_commands = {"INFO", "XLEN"}
        assert keda.denied("s") == ["INFO", "XLEN"]
        redis_state = keda.observe([("s", "g")])
        with pytest.raises(Refused, match="no permissions"):
            redis_state.info()
        assert redis_state.group("s", "g") is None
        with pytest.raises(Refused) as caught:
            redis.logged_in_as("keda", Secret("wrong-one")).denied("s")
        assert "wrong-one" not in caught.value.what
        for client in (redis, keda):
            client.close()


def test_a_redis_that_wants_tls_is_reported(start_redis, authority, tmp_path):
    """It closes the connection silently: TLS is told apart from TCP and from the login."""
    pki, port = authority.folder, free_port()
    files = f"tls-cert-file {pki}/server.crt\ntls-key-file {pki}/server.key\ntls-ca-cert-file {authority.ca_file}"
    _, running = start_redis("", f"tls-port {port}\n{files}")
    with running:
        redis = RedisStreams.direct("127.0.0.1", port, None, SECONDS)
        with pytest.raises(Unreachable, match="TLS"):
            redis.ping()
        redis.close()


@pytest.mark.parametrize("given", ["", "wrong-one"])
@pytest.mark.parametrize("kind", ["fake", "real"])
def test_a_wrong_password_is_refused_and_not_shown(kind, given, start_redis):
    """AUTH is told apart from TCP; the password stands in no message."""
    port, running = start_redis(PASSWORD)
    with running:
        direct = RedisStreams.direct("127.0.0.1", port, Secret(given) if given else None, SECONDS)
        redis = direct if kind == "real" else FakeRedis(PASSWORD, given)
        with pytest.raises(Refused) as caught:
            redis.ping()
    assert "wrong-one" not in caught.value.what


@pytest.mark.parametrize("kind", ["fake", "real"])
def test_nobody_there_is_unreachable(kind):
    """TCP refused, with the address that was tried."""
    redis = RedisStreams.direct("127.0.0.1", free_port(), None, SECONDS) if kind == "real" else FakeRedis()
    redis.down = True
    with pytest.raises(Unreachable) as caught:
        redis.ping()
    assert redis.endpoint in caught.value.what


def test_events_whose_answer_is_lost_are_not_sent_again():
    """The server may have added them: a second try would add them twice. The library's default tries 10 times more."""
    received = []

    def swallow(listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(65536):
                    received.append(data)
                    if b"XADD" not in data:
                        connection.sendall(b"+OK\r\n" * data.count(b"CLIENT"))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=swallow, args=(listener,), daemon=True)
        thread.start()
        redis = RedisStreams.direct("127.0.0.1", listener.getsockname()[1], None, timedelta(seconds=0.5))
        with pytest.raises(Unreachable):
            redis.add("s", [{"a": "1"}])
        redis.close()
    assert b"".join(received).count(b"XADD") == 1
