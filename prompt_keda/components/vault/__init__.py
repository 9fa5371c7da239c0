"""Vault, and the Secrets that come from it."""
