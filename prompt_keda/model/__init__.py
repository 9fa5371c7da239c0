"""Frozen values without any input or output: what the other layers talk about."""
