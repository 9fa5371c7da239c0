"""How long the parts of a recovery took."""

from __future__ import annotations

from collections.abc import Sequence

from prompt_keda.components.smoke.result import SmokeResult
from prompt_keda.core.plan import StepResult


def parts(steps: Sequence[StepResult], smoke: SmokeResult | None) -> dict[str, float]:
    """Give seconds by name: each step's, and the spans that goals are set for.

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
    found = {one.id: round(one.duration_s, 2) for one in steps}
    removed = [one for one in steps if one.acted and one.id.startswith(("remove/", "free/"))]
    if removed:
        found["removal"] = round(removed[-1].began_s + removed[-1].duration_s - removed[0].began_s, 2)
    proof = next((one for one in steps if one.id == "verify/smoke"), None)
    if smoke is not None and proof is not None:
        first = next(one for one in steps if one is proof or (one.acted and one.id.startswith("install/")))
        found["first_scaled_job"] = round(proof.began_s + smoke.first_job_s - first.began_s, 2)
    return found
