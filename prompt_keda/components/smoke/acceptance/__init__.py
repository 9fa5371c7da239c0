"""The acceptance suite of a redeployed KEDA: KEDA's own end-to-end tests in this toolkit's terms, and what they leave out."""

from __future__ import annotations

from prompt_keda.components.smoke.acceptance import (
    disruption,
    failing_trigger,
    lag,
    minimum,
    pausing,
    rollout,
    strategies,
)

CASES = (
    *rollout.CASES,
    *pausing.CASES,
    *strategies.CASES,
    *lag.CASES,
    *minimum.CASES,
    *failing_trigger.CASES,
    *disruption.CASES,
)
"""The longest first, because four run at once; what disturbs KEDA runs last in any order."""
