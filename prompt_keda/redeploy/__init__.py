"""The only writers to a cluster: one file a stage, its STEPS table at the end."""
