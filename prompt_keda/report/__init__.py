"""Readers of results and events: text, JSON, JUnit."""
