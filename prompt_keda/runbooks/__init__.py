"""Runbooks: which one fits, and running it. What is done is kept in an incident's record."""
