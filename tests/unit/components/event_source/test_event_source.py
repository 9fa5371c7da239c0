"""The port: restoring, verification and smoke tests ask the environment's event source, and nothing else."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from prompt_keda.components.event_source import choice
from prompt_keda.components.event_source.redis_streams import RedisStreamsSource
from prompt_keda.components.run import Context
from prompt_keda.components.smoke import canary, smoke_objects
from prompt_keda.core.errors import StepBroken
from prompt_keda.core.plan import State
from prompt_keda.core.secret import Secret
from prompt_keda.redeploy import restore, verify
from tests.unit.world import World


class Elsewhere:
    """Another event source, as little of one as the callers need."""

    def __init__(self, systems):
        self.groups = {}

    def trigger(self, stream, group, lag_count, activation):
        return {"type": "elsewhere", "metadata": {"topic": stream, "lagThreshold": str(lag_count)}}

    def trigger_parameters(self):
        return {"sasl": Secret("s")}

    def worker_variables(self, stream, group, secret):
        return [{"name": "TOPIC", "value": stream}]

    def require_access(self, stream):
        raise StepBroken("no access")

    def find_length(self, stream):
        return 7

    def find_newest_at(self, stream):
        return "2026-11-28T00:00:00+00:00"

    def find_group(self, stream, group):
        return self.groups.get(stream)

    def backlog(self, stream, group):
        return SimpleNamespace(is_right=True, lag=7, waiting=7, counted=True)

    def start_of_lost_group(self, instrument):
        return "earliest"

    def obstacle(self, stream, group):
        return f"{stream} is closed"

    def misplacement(self, instrument, asked):
        return ""

    def correct_place(self, instrument, asked):
        return None

    def ensure_group(self, stream, group, start):
        self.groups[stream] = start


@pytest.fixture
def world(monkeypatch):
    """A world whose events wait elsewhere; its Redis does not answer."""
    made = World()
    source = Elsewhere(made.systems)
    monkeypatch.setitem(choice.SOURCES, "elsewhere", lambda systems: source)
    made.systems.environment = made.systems.environment.model_copy(update={"event_source": "elsewhere"})
    made.redis.down = True
    return made


def test_streams_are_restored_and_verified_by_the_port_alone(world):
    """Absent, with where they begin; made; and looked at again."""
    context = Context(world.systems, [], {})
    looked = restore.streams_inspect(context)
    assert looked.state is State.TODO and "to begin behind earliest (7 events are there)" in looked.detail
    restore.ensure_streams(context)
    assert restore.streams_inspect(context).state is State.DONE
    assert restore.lag_inspect(context).state is verify.lag_inspect(context).state is State.DONE


def test_a_smoke_test_is_told_how_by_the_port_alone(world):
    """Trigger, TriggerAuthentication, workers' variables, and the canary's."""
    made = smoke_objects.scaled_job(world.systems, "smoke-1", 5, "run")["spec"]
    (trigger,) = made["triggers"]
    assert trigger["type"] == "elsewhere" and trigger["authenticationRef"] == {"name": "smoke-1"}
    pods = [made["jobTargetRef"]["template"]["spec"], canary.job(world.systems, "c")["spec"]["template"]["spec"]]
    for pod in pods:
        named = [variable["name"] for variable in pod["containers"][0]["env"]]
        assert "TOPIC" in named and not [variable for variable in named if variable.startswith("REDIS_STREAM")]


def test_every_environment_has_redis_streams_unless_it_says_otherwise():
    """The single one that there is."""
    systems = World().systems
    assert systems.environment.event_source == "redis-streams"
    assert isinstance(choice.event_source(systems), RedisStreamsSource)
