"""The Kubernetes cluster itself."""
