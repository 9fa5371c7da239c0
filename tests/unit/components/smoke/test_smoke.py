"""What the smoke test does when KEDA may not ask, or breaks off in the middle of making Jobs. Without a cluster."""

from __future__ import annotations

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.components.smoke import smoke_test
from prompt_keda.core.errors import StepBroken
from tests.unit.world import World


@pytest.fixture
def smoke():
    """A smoke test of five Jobs, whose stream and group are there."""
    world = World()
    made = smoke_test._Smoke(world.systems, 5, lambda event: None, "run", lambda: None)
    world.kube.create(kinds.NAMESPACES, {"metadata": {"name": made.namespace}})
    made.systems.redis.ensure_group(made.name, made.name, "0")
    made._send(made.result.events_count)
    return made


def jobs(smoke, count):
    for number in range(count):
        labels = {"scaledjob.keda.sh/name": smoke.name}
        smoke.systems.kube.create(kinds.JOBS, {"metadata": {"name": f"s{number}", "labels": labels}}, smoke.namespace)


def take(smoke, count):
    smoke.systems.redis.read(smoke.name, smoke.name, "worker", count)


def sent(smoke):
    return smoke.systems.redis.stream_info(smoke.name).length


def test_events_are_sent_again_when_too_few_wait_for_the_missing_jobs(smoke):
    """Four workers have taken all six: nothing asks for the fifth Job any more."""
    jobs(smoke, 4)
    take(smoke, 6)
    assert not smoke._all_jobs_made()[0]
    assert sent(smoke) == smoke.result.events_count == 8
    take(smoke, 2)
    for _ in range(5):
        smoke._all_jobs_made()
        take(smoke, 2)
    assert sent(smoke) == 6 + 2 * smoke_test.MOST_SENT_AGAIN


@pytest.mark.parametrize(("made", "taken"), [(4, 4), (5, 6), (0, 0)])
def test_none_are_sent_again_while_enough_wait_or_all_jobs_are_there(smoke, made, taken):
    """Two wait, and KEDA's activation is one."""
    jobs(smoke, made)
    take(smoke, taken)
    assert smoke._all_jobs_made()[0] == (made == 5)
    assert sent(smoke) == smoke.result.events_count == 6


def test_a_command_that_redis_denies_to_keda_is_reported_before_anything_is_made():
    """KEDA would be waited for until the deadline, and its ScaledJob says no more than that it failed."""
    world = World()
    world.redis.denied_commands = ("INFO",)
    with pytest.raises(StepBroken, match="Redis denies INFO") as broken:
        smoke_test.run_smoke(world.systems, 5, lambda event: None, "run")
    assert "ACL SETUSER" in broken.value.fix
    assert not [
        namespace
        for namespace in world.kube.list(kinds.NAMESPACES)
        if namespace["metadata"]["name"] == "prompt-keda-smoke"
    ]
