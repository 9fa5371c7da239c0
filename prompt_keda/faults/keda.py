"""Faults of KEDA."""

from __future__ import annotations

from prompt_keda.faults import keda_parts, scaled_jobs
from prompt_keda.faults.fault import Fault

FAULTS: tuple[Fault, ...] = (*keda_parts.FAULTS, *scaled_jobs.FAULTS)
