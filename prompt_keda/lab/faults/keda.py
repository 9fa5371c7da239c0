"""Faults of KEDA."""

from __future__ import annotations

from prompt_keda.lab.faults import crds, jobs, keda_metrics, keda_parts, keda_restarts, scaled_job_specs, scaled_jobs
from prompt_keda.lab.faults.fault import Fault

FAULTS: tuple[Fault, ...] = (
    *keda_parts.FAULTS,
    *keda_restarts.FAULTS,
    *scaled_jobs.FAULTS,
    *scaled_job_specs.FAULTS,
    *crds.FAULTS,
    *jobs.FAULTS,
    *keda_metrics.FAULTS,
)
