"""What the toolkit's objects bear."""

from __future__ import annotations

RUN_ANNOTATION = "prompt-keda.lsst.io/run"
"""On every object that we mark: the id of the run, so that anyone can see who did it."""
