"""What knows nothing of Kubernetes: checks, plans, running them, events and errors."""
