"""The local stack's cluster as a container: kind, and a container engine of the stack's own where the machine has none."""
