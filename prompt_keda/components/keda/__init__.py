"""KEDA itself: its CRDs, parts, certificates and metrics."""
