"""How KEDA and the ScaledJobs come onto a cluster."""
