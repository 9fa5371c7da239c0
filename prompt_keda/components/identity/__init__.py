"""Who this is, on which cluster, and what it may do."""
