"""Drills: a fault is brought into the local stack, seen, answered by its runbook, and scaling is proven."""
