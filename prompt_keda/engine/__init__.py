"""Runs checks and plans. It knows nothing of Kubernetes."""
