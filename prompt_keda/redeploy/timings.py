"""How long the parts of a recovery took."""

from __future__ import annotations

from collections.abc import Sequence

from prompt_keda.components.smoke.result import SmokeResult
from prompt_keda.core.plan import StepResult


def parts(steps: Sequence[StepResult], smoke: SmokeResult | None) -> dict[str, float]:
    """Return seconds by name: each step's, and the spans that goals are set for.

    Parameters
    ----------
    smoke
        None: it was not reached.

    Returns
    -------
    dict
        Step id → its duration. ``removal``: from the first to the last removal that was needed.
        ``first_scaled_job``: from the first write of the install, or of the smoke test where nothing was installed, to
        the first Job that KEDA made. What did not happen is left out.
    """
    spans_s = {step.id: round(step.duration_s, 2) for step in steps}
    removed = [step for step in steps if step.acted and step.id.startswith(("remove/", "finalize/"))]
    if removed:
        spans_s["removal"] = round(removed[-1].began_s + removed[-1].duration_s - removed[0].began_s, 2)
    smoke_step = next((step for step in steps if step.id == "verify/smoke"), None)
    if smoke is not None and smoke_step is not None:
        first = next(step for step in steps if step is smoke_step or (step.acted and step.id.startswith("install/")))
        spans_s["first_scaled_job"] = round(smoke_step.began_s + smoke.first_job_s - first.began_s, 2)
    return spans_s
