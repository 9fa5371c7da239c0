"""What Vault refuses says nothing of the systems whose passwords it keeps, and is asked for once."""

from __future__ import annotations

import pytest

from prompt_keda.components.catalogue import ALL_CHECKS
from prompt_keda.core.check import Verdict
from prompt_keda.core.errors import BadAnswer, Refused
from prompt_keda.core.run_checks import look
from tests.unit.world import HOST, World


def locked():
    """Return systems whose Vault refuses the login, nothing that has a password from it, and the logins that were tried."""
    world, tried = World(), []

    def log_in():
        tried.append(1)
        raise Refused("Vault", "https://vault.test", "the login or request was not accepted")

    world.systems._log_in_to_vault = log_in
    for name in ("vault", "redis", f"registry {HOST}"):
        world.systems._made.pop(name)
    return world.systems, tried


def verdict_of(check, systems):
    return look(next(known_check for known_check in ALL_CHECKS if known_check.id == check), systems)


@pytest.mark.parametrize("check", ["redis/answers", "images/keda-images-present", "images/smoke-image-present"])
def test_without_its_password_a_system_is_not_seen(check):
    """UNKNOWN, with Vault's word and what to do: that Redis or the registry is broken was not seen."""
    systems, _ = locked()
    verdict = verdict_of(check, systems)
    assert verdict.verdict is Verdict.UNKNOWN, verdict.observed
    assert "its password cannot be read: Vault at" in verdict.observed and "not accepted" in verdict.observed
    assert "connection to Vault" in verdict.fix


def test_a_login_that_was_refused_is_not_tried_again():
    """Vault locks an AppRole after five refused logins (seen), and a round of checks needs Vault more often than that."""
    systems, tried = locked()
    verdicts = [
        verdict_of(check_id, systems).verdict
        for check_id in ("vault/login-works", "redis/answers", "vault/login-works")
    ]
    assert verdicts == [Verdict.FAIL, Verdict.UNKNOWN, Verdict.FAIL] and len(tried) == 1


@pytest.mark.parametrize(
    ("detail", "verdict"),
    [("MISCONF Redis is configured to save RDB snapshots", Verdict.OK), ("ERR what?", Verdict.UNKNOWN)],
)
def test_a_redis_that_refuses_writes_answers(detail, verdict):
    """A Redis that could not save refuses even PING: redis/accepts-writes is the check that tells of it."""
    world = World()

    def ping():
        raise BadAnswer("Redis", "redis.test", detail)

    world.redis.ping = ping
    assert world.verdict("redis/answers").verdict is verdict
