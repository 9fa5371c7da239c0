"""Room: what fits on the nodes, what quotas leave, how long a burst takes."""
