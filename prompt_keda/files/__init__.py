"""Disk ↔ model."""
