"""Faults of Prompt Redis itself."""

from __future__ import annotations

import base64
from collections.abc import Callable

from prompt_keda.clients.kube.resources import PODS, SECRETS, STATEFUL_SETS
from prompt_keda.core.errors import Refused
from prompt_keda.core.secret import Secret
from prompt_keda.core.waiting import until
from prompt_keda.lab import state
from prompt_keda.lab.faults import scaled_jobs, vault
from prompt_keda.lab.faults.fault import Fault, InChaos, Stage


def _scale(stage: Stage, replicas: int) -> None:
    place = stage.environment.redis.namespace
    stage.kube.patch(STATEFUL_SETS, stage.environment.redis.service, place, {"spec": {"replicas": replicas}})

    def reached() -> bool:
        pods = stage.kube.list(PODS, place)
        ready = [pod for pod in pods if any(c.get("ready") for c in pod["status"].get("containerStatuses", []))]
        return len(ready) == len(pods) == replicas

    until(reached, f"{replicas} Redis pods")


def stop(stage: Stage) -> None:
    """Stop Redis: no pod stands behind its Service."""
    _scale(stage, 0)


def start(stage: Stage) -> None:
    """Start it again, and count what the restart has lost."""
    _scale(stage, 1)
    count_again(stage)


def restart_empty(stage: Stage) -> None:
    """Let Redis restart without its data."""
    stage.redis.run(["FLUSHALL"])
    _scale(stage, 0)
    _scale(stage, 1)
    scaled_jobs.until_ready(stage)  # KEDA may have missed it meanwhile, and says so until it asks again


def count_again(stage: Stage) -> None:
    """Make the groups again, and count what they have read."""
    for instrument in stage.environment.instruments:
        stage.redis.ensure_group(instrument.stream, instrument.consumer_group, "$")
        stage.redis.count_read(instrument.stream, instrument.consumer_group)


def change_password(stage: Stage) -> None:
    """Give Redis another password."""
    _with_either_password(stage, ["CONFIG", "SET", "requirepass", other_password(stage).reveal()])


def rotate_password(stage: Stage) -> None:
    """Give Redis another password and write it into Vault; the Kubernetes Secret stays as it was."""
    change_password(stage)
    _write_password(stage, other_password(stage))


def restore_password(stage: Stage) -> None:
    """Put the first password back, in Redis, in Vault, and in the Secrets that a redeploy may have brought up to date."""
    first = state.ensure_secret(stage.lab, "redis-password")
    _with_either_password(stage, ["CONFIG", "SET", "requirepass", first.reveal()])
    _write_password(stage, first)
    vault_key = stage.environment.redis.password
    for sync in stage.environment.secrets:
        if vault_key and sync.vault_path == vault_key.path and stage.kube.find(SECRETS, sync.name, sync.namespace):
            metadata = {"name": sync.name, "namespace": sync.namespace}
            data = {vault_key.key: base64.b64encode(first.reveal().encode()).decode()}
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": sync.type, "data": data}
            stage.kube.apply(secret)


def close_volume(stage: Stage) -> None:
    """Let Redis make no file in its volume, and let a snapshot fail."""
    _open_volume(stage, False)


def open_volume(stage: Stage) -> None:
    """Let it make files again, and let a snapshot succeed."""
    _open_volume(stage, True)


def _open_volume(stage: Stage, may_write: bool) -> None:
    (stage.lab.state / "redis-data").chmod(0o700 if may_write else 0o500)
    wanted = "ok" if may_write else "err"

    def reported() -> bool:
        info = stage.redis.observe([]).info()
        if info["rdb_last_bgsave_status"] != wanted and not int(info["rdb_bgsave_in_progress"]):
            stage.redis.run(["BGSAVE"])
        return bool(info["rdb_last_bgsave_status"] == wanted)

    until(reported, f"a snapshot that ended with {wanted}")


def send(*commands: list[str]) -> Callable[[Stage], None]:
    """Return what sends commands that hold no secret."""
    return lambda stage: _send(stage, commands)


def _send(stage: Stage, commands: tuple[list[str], ...]) -> None:
    stage.redis.run(*commands)


def other_password(stage: Stage) -> Secret:
    """Return the password that Redis has while one of these faults has changed it."""
    return state.ensure_secret(stage.lab, "redis-password-of-a-fault")


def _with_either_password(stage: Stage, command: list[str]) -> None:
    try:
        stage.redis.run(command)
    except Refused:
        stage.redis.logged_in_as(None, other_password(stage)).run(command)


def _write_password(stage: Stage, password: Secret) -> None:
    vault_key = stage.environment.redis.password
    if vault_key:
        kv, mount = vault.admin(stage).secrets.kv.v2, stage.environment.vault.mount
        kv.create_or_update_secret(vault_key.path, {vault_key.key: password.reveal()}, mount_point=mount)


FAULTS: tuple[Fault, ...] = (
    Fault(
        "redis/stopped",
        "",
        "Redis has no pod",
        stop,
        start,
        {"redis/answers": "fail"},
        "no ready pod",
        stops_scaling=True,
    ),
    Fault(
        "redis/restarted-empty",
        "F28",
        "Redis came back without its data",
        restart_empty,
        count_again,
        {"redis/not-restarted-empty": "fail", "redis/groups-exist": "fail"},
        "came back without",
        stops_scaling=True,
    ),
    Fault(
        "redis/password-changed",
        "F29",
        "Redis has another password than Vault",
        change_password,
        restore_password,
        {"redis/answers": "fail"},
        "invalid username-password pair",
        stops_scaling=True,
    ),
    Fault(
        "redis/password-rotated",
        "F29",
        "the password was rotated in Redis and Vault, and KEDA has the old one",
        rotate_password,
        restore_password,
        {"redis/keda-may-ask": "fail", "vault/cluster-secrets-fresh": "fail"},
        "the login fails",
        runbook="secrets-missing",
        stops_scaling=True,
    ),
    Fault(
        "redis/info-denied",
        "F22",
        "an ACL denies INFO",
        send(["ACL", "SETUSER", "default", "-info"]),
        send(["ACL", "SETUSER", "default", "+info"]),
        {"redis/keda-may-ask": "fail", "redis/info-allowed": "fail"},
        "INFO is denied",
        stops_scaling=True,
        chaos=InChaos(is_repaired=False),
    ),
    Fault(
        "redis/persistence-off",
        "F28",
        "Redis writes its data nowhere",
        send(["CONFIG", "SET", "appendonly", "no"], ["CONFIG", "SET", "save", ""]),
        send(["CONFIG", "SET", "appendonly", "yes"], ["CONFIG", "SET", "save", "60 1"]),
        {"redis/data-persisted": "warn"},
        "a restart comes back empty",
        chaos=InChaos(),
    ),
    Fault(
        "redis/snapshot-failed",
        "",
        "Redis can make no file in its volume",
        close_volume,
        open_volume,
        {"redis/accepts-writes": "fail"},
        "its last snapshot failed",
        stops_scaling=True,
    ),
    Fault(
        "redis/memory-full",
        "",
        "Redis has reached its memory limit",
        send(["CONFIG", "SET", "maxmemory", "1kb"]),
        send(["CONFIG", "SET", "maxmemory", "0"]),
        {"redis/memory-left": "fail"},
        "new events are refused",
        stops_scaling=True,
    ),
    Fault(
        "redis/replica",
        "",
        "Redis has become a replica of a host that is gone",
        send(["REPLICAOF", "127.0.0.1", "1"]),
        send(["REPLICAOF", "NO", "ONE"]),
        {"redis/is-a-master": "fail"},
        "this Redis is a slave",
        stops_scaling=True,
    ),
)
