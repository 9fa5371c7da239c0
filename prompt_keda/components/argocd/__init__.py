"""Argo CD, where it delivers KEDA and the ScaledJobs."""
