"""keda/no-scaler-errors: a trigger whose time runs out errs more seldom than it is polled."""

from __future__ import annotations

from datetime import timedelta

import pytest

from prompt_keda.core.check import Verdict
from tests.unit.world import SCALED_JOB, SPACE, World

CHECK = "keda/no-scaler-errors"
ERRORS = f'keda_scaled_job_errors_total{{namespace="{SPACE}",scaledJob="{SCALED_JOB}"}} '
LOOP = f'keda_internal_scale_loop_latency_seconds{{namespace="{SPACE}",resource="{SCALED_JOB}",type="scaledjob"}} '


def observed_errors(errors, late_s, polling_s=0.002):
    """Look at an operator with so many errors, whose last poll began so late."""
    world = World()
    instrument = world.systems.environment.instruments[0].model_copy(
        update={"polling_interval": timedelta(seconds=polling_s)}
    )
    world.systems.environment = world.systems.environment.model_copy(update={"instruments": (instrument,)})
    world.put_metrics(f"{ERRORS}{errors}", f"{LOOP}{late_s}", names=())
    verdict = world.verdict(CHECK)
    return verdict.verdict, verdict.observed


def test_a_loop_that_is_late_and_has_erred_is_amber():
    """As it was seen on the stack: Redis out of reach, an error each 10 s, a look of 3 s, and the last poll 8 s late."""
    verdict, observed = observed_errors(11, 8.02)
    assert verdict is Verdict.WARN
    assert "11 errors since the operator's start, and its last poll came 8 s late" in observed


@pytest.mark.parametrize(("errors", "late_s"), [(11, 0.001), (0, 8.02)])
def test_a_loop_in_time_or_without_errors_is_green(errors, late_s):
    """Old errors are told and no more; a machine with much to do is late without any."""
    assert observed_errors(errors, late_s)[0] is Verdict.OK
