"""Drills: a fault is injected into the local stack, detected by its checks, answered by its runbook, and scaling is verified."""
