"""Drills: a fault is injected into the local stack, seen, answered by its runbook, and scaling is proven."""
