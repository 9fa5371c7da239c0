"""The Kubernetes API: login, requests, watches, and what can be read off its objects."""
