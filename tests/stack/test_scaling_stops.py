"""Which faults stop scaling: not enough workers take the events that come meanwhile, and visits are lost."""

from __future__ import annotations

import pytest

from prompt_keda.commands.session import open_session, read_environment
from prompt_keda.components.round import choose, run_round
from prompt_keda.lab.drills.drill import until_green
from prompt_keda.lab.faults import ALL_FAULTS
from prompt_keda.lab.faults.fault import Stage

from .conftest import ENV, at_the_stack_only, changed_environment, run_task, skip_where_lacking
from .scaling import QUICK, Scaling

pytestmark = at_the_stack_only  # faults are made by the stack's own user
SAMPLE = ("keda/operator-gone", "vault/sealed")
"""Those of every test run, one of each kind; the others are exhaustive, up to a minute each."""


class Looks:
    """What check-deps sees of an environment."""

    def __init__(self, environment):
        self._environment = environment

    def look(self):
        with open_session(self._environment) as session:
            return run_round(session.systems, choose())


@pytest.fixture(scope="module")
def quick(deployed, tmp_path_factory):
    """The stack with workers that end soon, and an environment's file that says so."""
    environment = changed_environment(tmp_path_factory.mktemp("quick"), manifest=QUICK)
    assert run_task("redeploy", "--env", environment).returncode == 0
    yield environment
    assert run_task("redeploy", "--env", ENV).returncode == 0


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, id=fault.id, marks=[] if fault.id in SAMPLE else pytest.mark.exhaustive)
        for fault in ALL_FAULTS
    ],
)
def test_a_fault_stops_scaling_as_it_says(quick, fault):
    """Events are sent while it lasts: the workers that KEDA keeps do not take them all, more are needed."""
    skip_where_lacking(fault)
    until_green(Looks(quick), f"the steady state before {fault.id}")
    stage = Stage(read_environment(quick))
    scaling = Scaling(stage)
    try:
        fault.inject(stage)
        goes_on = scaling.goes_on()
    finally:
        fault.revert(stage)
    assert goes_on is not fault.stops_scaling
