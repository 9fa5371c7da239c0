"""The checks of Redis: each is seen red for its reason, and green where nothing is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.core.event import nobody
from prompt_keda.core.run_checks import run_checks
from tests.unit.faults import (
    attribute,
    both,
    broken_verdict,
    change,
    denied,
    environment,
    fails_for,
    latiss,
    own_secret,
    remove,
    scaled_job,
    turns_red,
)
from tests.unit.world import (
    CHECKS,
    GROUP,
    REDIS,
    SCALED_JOB,
    SPACE,
    STREAM,
    TRIGGER,
    WORKER_IMAGE,
    World,
)


def lost_lag(world):
    lost_count(world)
    world.redis.add(STREAM, [{"visit": "1"}] * 2)


def lost_count(world, read=None):
    world.redis.add(STREAM, [{"visit": "1"}] * 2)
    world.redis.read(STREAM, GROUP, "pod-1", 2)
    world.redis.forget(STREAM, GROUP, read)


def renamed_group(world):
    world.redis.delete_stream(STREAM)


def info(section, **values):
    def apply(world):
        original = world.redis.info
        world.redis.info = lambda asked: original(asked) | (values if asked == section else {})

    return apply


def denies(*commands):
    return lambda world: world.redis.denied_commands.update(commands)


def trigger(metadata=None, **fields):
    """Let the live ScaledJob's trigger log in in another way."""
    given = {"type": "redis-streams", "metadata": TRIGGER | (metadata or {})}
    return scaled_job(spec={"triggers": [given | fields]})


def authentication(**spec):
    """Let the TriggerAuthentication be another one."""
    spec = {"secretTargetRef": None} | spec
    return change(kinds.TRIGGER_AUTHENTICATIONS, "prompt-redis", SPACE, spec=spec)


def container(*env):
    """Let the workers' container have this environment."""
    pod = {"containers": [{"name": "prompt-service", "image": WORKER_IMAGE, "env": list(env)}]}
    return scaled_job(spec={"jobTargetRef": {"template": {"spec": pod}}})


def events(count, *, read=0, acknowledged=True, trimmed_to=None):
    """Let events come, of which a worker reads the first."""

    def apply(world):
        redis = world.redis
        redis.add(STREAM, [{"visit": "1"}] * count)
        ids = redis.read(STREAM, GROUP, "pod-1", read) if read else []
        if acknowledged:
            redis.ack(STREAM, GROUP, ids)
        if trimmed_to is not None:
            redis.trim(STREAM, trimmed_to)

    return apply


def left_pending(idle_s):
    def apply(world):
        events(1, read=1, acknowledged=False)(world)
        world.redis.grow_old(STREAM, GROUP, ["1-0"], idle_s)

    return apply


def last_event(**ago):
    """Let the last event have come so long ago."""

    def apply(world):
        came_ms = int((datetime.now(UTC) - timedelta(**ago)).timestamp() * 1000)
        inside = world.redis._stream(STREAM)
        inside["added"], inside["groups"][GROUP]["at"] = came_ms, came_ms

    return apply


def refuses(words):
    return attribute("redis", refuses=words)


def counts_ahead(read):
    """Let the group be made with a count of its own: XGROUP CREATE … ENTRIESREAD."""
    return lambda world: world.redis.set_group(STREAM, GROUP, 0, read)


def stands_ahead(world):
    events(2)(world)
    world.redis.set_group(STREAM, GROUP, 99, 2)


NO_REPLICAS = "NOREPLICAS Not enough good replicas to write."
WRITES, LAG = "redis/accepts-writes", "redis/lag-matches-backlog"
REFERENCE = {"authenticationRef": {"name": "prompt-redis"}}
MAY_ASK = "redis/keda-may-ask"
TRIMMED = "redis/backlog-not-trimmed"
EMPTY = "redis/not-restarted-empty"
OF_A_USER = {"secretTargetRef": [{"parameter": "password", "name": "prompt-redis-auth", "key": "redis-password"}]}
PASSWORD = {"name": "P", "valueFrom": {"secretKeyRef": {"name": "prompt-redis-auth", "key": "redis-password"}}}
OF_INSTRUMENTS = [
    "redis/groups-exist",
    "redis/lag-matches-backlog",
    "redis/backlog-not-trimmed",
    "redis/keda-may-ask",
    "redis/not-restarted-empty",
    "redis/pending-acknowledged",
    "redis/fan-out-alive",
    "redis/streams-permanent",
]
RED = [
    *((check, environment(instruments=()), "unknown", "names none") for check in OF_INSTRUMENTS),
    ("redis/answers", attribute("redis", down=True), "unknown", "connection refused"),
    ("redis/answers", attribute("redis", given="wrong"), "fail", "WRONGPASS"),
    ("redis/version-at-least-7", info("server", redis_version="6.2.1"), "fail", "6.2.1"),
    ("redis/is-a-master", info("replication", role="slave"), "fail", "slave"),
    ("redis/accepts-writes", info("persistence", rdb_last_bgsave_status="err"), "fail", "refuses writes"),
    ("redis/accepts-writes", info("persistence", loading=1), "fail", "loading"),
    (
        "redis/accepts-writes",
        info("persistence", aof_enabled=1, aof_last_write_status="err"),
        "fail",
        "append-only file failed",
    ),
    ("redis/memory-left", info("memory", maxmemory=2**20), "fail", "new events are refused"),
    ("redis/memory-left", info("memory", maxmemory=2**20 + 1), "warn", "1 MiB used of 1 MiB"),
    (
        "redis/memory-left",
        info("memory", maxmemory=2**30, maxmemory_policy="allkeys-lru"),
        "warn",
        "may be evicted",
    ),
    ("redis/lag-matches-backlog", lost_lag, "fail", "2 events wait, the lag is unknown, and KEDA takes that for 0"),
    (
        "redis/lag-matches-backlog",
        lambda world: lost_count(world, 1),
        "fail",
        "0 events wait, the lag is 1, and KEDA believes",
    ),
    ("redis/lag-matches-backlog", lost_count, "warn", "has lost what was read"),
    ("redis/lag-matches-backlog", renamed_group, "fail", "NOGROUP"),
    ("redis/groups-exist", renamed_group, "fail", f"has no group {GROUP}"),
    (
        "redis/groups-exist",
        latiss(renamed_group, fails_for("redis", "group_info", "instrument:latiss")),
        "fail",
        f"has no group {GROUP}",
    ),
    (
        "redis/lag-matches-backlog",
        latiss(lost_lag, lambda world: world.redis.delete_stream("instrument:latiss")),
        "fail",
        "for 0",
    ),
    ("redis/info-allowed", denies("INFO"), "fail", "no permissions to run the 'info' command"),
    ("redis/is-a-master", info("replication", role="slave", master_link_status="down"), "fail", "link down"),
    ("redis/data-persisted", lambda world: world.redis.saves.update(save=""), "warn", "a restart comes back empty"),
    (
        "redis/data-persisted",
        denies("CONFIG GET"),
        "unknown",
        "whether it takes snapshots cannot be seen: this user has no",
    ),
    (EMPTY, renamed_group, "fail", f"came back without {STREAM} with its group {GROUP}"),
    (TRIMMED, events(5, read=2, trimmed_to=1), "fail", "2 events were gone before they were read"),
    (TRIMMED, events(3, read=1, trimmed_to=0), "fail", "2 events were gone before they were read"),
    (TRIMMED, events(800), "warn", "800 events wait; beyond 1000 the oldest are trimmed unread"),
    (
        "redis/pending-acknowledged",
        left_pending(61),
        "warn",
        "1 events were given out and not acknowledged, the oldest for",
    ),
    ("redis/pending-acknowledged", left_pending(3600), "warn", "for 1:00:00 by pod-1"),
    ("redis/pending-acknowledged", renamed_group, "fail", "NOGROUP"),
    (TRIMMED, renamed_group, "fail", "NOGROUP"),
    ("redis/fan-out-alive", last_event(hours=49), "warn", "last event 49.0 h ago, expected within 48 h"),
    (
        "redis/fan-out-alive",
        info("server", uptime_in_seconds=200_000),
        "warn",
        "no event in the 55.6 h that Redis is up",
    ),
    ("redis/fan-out-alive", renamed_group, "unknown", "is missing"),
    (WRITES, refuses(NO_REPLICAS), "fail", f"{STREAM}: XADD, XREADGROUP, XACK refused: {NO_REPLICAS[:-1]}"),
    (
        WRITES,
        both(refuses(NO_REPLICAS), info("replication", min_slaves_good_slaves=0)),
        "fail",
        "(replicas that are well: 0)",
    ),
    (WRITES, attribute("redis", pauses=True), "fail", "PING is answered, and a write is not"),
    (WRITES, denies("XACK"), "fail", "XACK refused: this user has no permissions to run the 'xack' command"),
    (WRITES, latiss(attribute("redis", refuses="BUSY a script runs")), "fail", "refused: BUSY a script runs"),
    ("redis/groups-exist", lambda world: world.redis.put_string(STREAM), "fail", f"{STREAM} is a string, not a stream"),
    (LAG, counts_ahead(5000), "fail", "takes 5000 more events for read than were ever added; once events come"),
    (LAG, both(counts_ahead(5000), events(6)), "fail", "6 events wait, the lag is -4994, and KEDA believes it"),
    (LAG, stands_ahead, "fail", f"{GROUP} stands at 99-0, which the stream has not reached"),
    ("redis/streams-permanent", lambda world: world.redis.expire(STREAM, 1000), "fail", "expires in 0:16:40, with its"),
    (MAY_ASK, denies("INFO"), "fail", "as the default user: INFO is denied"),
    (MAY_ASK, denies("XLEN", "XINFO GROUPS"), "fail", "XINFO GROUPS, XLEN is denied"),
    (MAY_ASK, own_secret(data={"redis-password": "b2xk"}), "fail", "the login fails: WRONGPASS"),
    (MAY_ASK, trigger(), "fail", "without a password: the login fails: NOAUTH"),
    (MAY_ASK, trigger({"enableTLS": "true"}), "fail", "KEDA wants TLS"),
    (MAY_ASK, trigger({"password": "old"}), "fail", "WRONGPASS"),
    (MAY_ASK, trigger({"address": "other.test:6379"}), "fail", "KEDA asks other.test:6379, the environment's Redis is"),
    (MAY_ASK, trigger({"address": "prompt-redis:6379"}), "fail", "KEDA asks prompt-redis:6379"),
    (MAY_ASK, trigger({"address": f"{REDIS[:-4]}6380"}), "fail", "KEDA asks prompt-redis.prompt-redis:6380"),
    (MAY_ASK, trigger({"address": None}), "fail", "KEDA asks no address"),
    (MAY_ASK, trigger({"address": None, "host": "other.test", "port": "6379"}), "fail", "KEDA asks other.test:6379"),
    (
        MAY_ASK,
        both(trigger({"address": None, "addressFromEnv": "A"}), container({"name": "A", "value": "other.test:1"})),
        "fail",
        "KEDA asks an address from elsewhere, the",
    ),
    (
        MAY_ASK,
        both(trigger({"address": None}, **REFERENCE), authentication(azureKeyVault={})),
        "unknown",
        "KEDA's address comes from azureKeyVault",
    ),
    (MAY_ASK, trigger({"databaseIndex": "3"}), "fail", "KEDA asks database 3, the streams are in 0"),
    (
        MAY_ASK,
        trigger({"passwordFromEnv": "P", "username": "keda"}),
        "unknown",
        "which no container's env names plainly",
    ),
    (
        MAY_ASK,
        both(trigger({"passwordFromEnv": "P"}), container({"name": "P", "value": "old"})),
        "fail",
        "WRONGPASS",
    ),
    (MAY_ASK, remove(kinds.TRIGGER_AUTHENTICATIONS, "prompt-redis", SPACE), "fail", "triggerauthentications"),
    (MAY_ASK, own_secret(data={"redis-password": None}), "fail", "Secret prompt-keda-lsstcam/prompt-redis-auth has no"),
    (MAY_ASK, authentication(hashiCorpVault={"address": "a"}), "unknown", "KEDA's password comes from hashiCorpVault"),
    (MAY_ASK, denied("get", "triggerauthentications"), "unknown", "cannot get"),
    (MAY_ASK, scaled_job(spec={"triggers": []}), "fail", "has no trigger of type redis-streams"),
    (MAY_ASK, remove(kinds.SCALED_JOBS, SCALED_JOB, SPACE), "unknown", "is missing: KEDA asks for nothing"),
]


test_a_check_turns_red_for_its_reason = turns_red(RED)


@pytest.mark.parametrize(
    ("check", "fault"),
    [
        (EMPTY, both(renamed_group, info("commandstats", cmdstat_del={"calls": 1}))),
        (EMPTY, both(renamed_group, info("server", uptime_in_seconds=100_000))),
        ("redis/data-persisted", both(denies("CONFIG GET"), info("persistence", aof_enabled=1))),
        (TRIMMED, events(5, read=3, trimmed_to=2)),
        (TRIMMED, lambda world: lost_count(world, 1)),
        ("redis/pending-acknowledged", left_pending(5)),
        ("redis/fan-out-alive", last_event(hours=47)),
        (MAY_ASK, both(trigger({"passwordFromEnv": "P"}), container(PASSWORD))),
        (MAY_ASK, trigger({"password": "value"})),
        (MAY_ASK, trigger({"address": "prompt-redis.prompt-redis.svc.cluster.local:6379"}, **REFERENCE)),
        (MAY_ASK, trigger({"address": None, "host": "prompt-redis.prompt-redis", "port": "6379"}, **REFERENCE)),
        (MAY_ASK, trigger({"address": f"{REDIS},other.test:6379", "databaseIndex": "0"}, **REFERENCE)),
        (MAY_ASK, both(authentication(env=[{"parameter": "password", "name": "P"}]), container(PASSWORD))),
        (
            MAY_ASK,
            both(
                trigger({"username": "keda"}, authenticationRef={"name": "prompt-redis"}),
                lambda world: world.redis.users.update(keda="value"),
            ),
        ),
    ],
)
def test_redis_is_green_in_other_ways_too(check, fault):
    """Another way to log in, and another cause than the one that a check is for."""
    outcome = broken_verdict(check, fault)
    assert outcome.verdict.value == "ok", outcome


def test_a_shared_authentication_takes_its_secret_from_kedas_namespace():
    """ClusterTriggerAuthentication: its Secrets stand beside KEDA, not beside the ScaledJob."""
    world = World()
    world.put(kinds.CLUSTER_TRIGGER_AUTHENTICATIONS, "shared", spec=OF_A_USER)
    trigger(authenticationRef={"name": "shared", "kind": "ClusterTriggerAuthentication"})(world)
    assert "404" in world.verdict(MAY_ASK).observed
    world.put(kinds.SECRETS, "prompt-redis-auth", "keda", data={"redis-password": "dmFsdWU="})
    assert world.verdict(MAY_ASK).verdict.value == "ok"


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (NO_REPLICAS, "CONFIG SET min-replicas-to-write 0"),
        ("this user has no permissions to run the 'xack' command", "ACL SETUSER NAME +xadd +xreadgroup +xack"),
        ("BUSY a script runs", "Look at Redis' log"),
    ],
)
def test_a_no_of_redis_comes_with_what_to_do(words, fix):
    """Whoever reads it at night need not know the setting's name."""
    assert fix in broken_verdict(WRITES, refuses(words)).fix


def test_a_key_of_another_type_is_reported_once():
    """By the check of the groups, with the fix; a restart did not lose it, and writes are not refused for it."""
    verdicts = {check: broken_verdict(check, lambda world: world.redis.put_string(STREAM)) for check in (EMPTY, WRITES)}
    assert {check: outcome.verdict.value for check, outcome in verdicts.items()} == {EMPTY: "ok", WRITES: "ok"}, (
        verdicts
    )
    assert "RENAME it away" in broken_verdict("redis/groups-exist", lambda world: world.redis.put_string(STREAM)).fix


def test_redis_is_asked_once_for_all_of_its_checks():
    """One look, in one round trip; beside it the login and KEDA's own."""
    world, asked = World(), []
    original = world.redis.observe
    world.redis.observe = lambda pairs: [asked.append(pairs), original(pairs)][1]
    of_redis = [check for check in CHECKS.values() if check.category == "redis"]
    results = run_checks(of_redis, world.systems, nobody, timedelta(seconds=30))
    assert {result.verdict.value for result in results} == {"ok"} and asked == [[(STREAM, GROUP)]]
