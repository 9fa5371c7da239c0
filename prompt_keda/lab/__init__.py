"""The local stack: a real one-node Kubernetes with everything that Prompt KEDA depends on. See docs/local-stack.md."""
